//! Content by its hash, in an object store that speaks S3.
//!
//! ```text
//! BUCKET/PREFIX/ab/ab12…   64 hexadecimal digits
//! ```
//! A node moves its own finished files there, in parts where they are large; several nodes may share a bucket, as the same
//! content has the same name.

use std::io::{self, Read as _};
use std::path::Path as File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{BackoffConfig, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, RetryConfig};

use super::{BlobStream, Blobs, blocking};
use crate::{ContentHash, StoreError};

/// Larger files go in parts of this; S3 wants 5 MiB at least, and takes 10,000 parts.
const PART: usize = 8 << 20;
/// Parts of the largest files: 10,000 of these are 640 GB.
const LARGE_PART: usize = 64 << 20;
/// From this on parts are large.
const LARGE: u64 = 16 << 30;
const CONNECT: Duration = Duration::from_secs(5);
/// Silence of the store after which a request is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a request that failed is tried again.
const RETRY: Duration = Duration::from_secs(20);

/// Where the objects are.
#[derive(Clone)]
pub struct S3 {
    pub bucket: String,
    /// What names of objects begin with; may be empty.
    pub prefix: String,
    /// `https://host[:port]`; `None` for AWS itself.
    pub endpoint: Option<String>,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
    /// Whether the bucket is the first label of the host name, as AWS wants it, or the first segment of the path.
    pub bucket_in_host: bool,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("bucket", &self.bucket).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Objects in a store.
#[derive(Debug, Clone)]
pub struct ObjectBlobs {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl ObjectBlobs {
    /// Opens nothing: a store that is not there is seen with the first request.
    ///
    /// # Errors
    /// Where the settings make no sense together.
    pub fn s3(settings: &S3) -> Result<ObjectBlobs, StoreError> {
        let plain = settings.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let options = ClientOptions::new()
            .with_allow_http(plain)
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT)
            .with_read_timeout(SILENCE);
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: RETRY };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.access_key)
            .with_secret_access_key(&settings.secret_key)
            .with_virtual_hosted_style_request(settings.bucket_in_host)
            .with_client_options(options)
            .with_retry(retry)
            .with_http_connector(Connector);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(ObjectBlobs { store: Arc::new(builder.build().map_err(failed)?), prefix: Path::from(&*settings.prefix) })
    }

    fn folder(&self, first_byte: u8) -> Path {
        self.prefix.clone().join(format!("{first_byte:02x}"))
    }

    fn path(&self, hash: ContentHash) -> Path {
        self.folder(hash.0[0]).join(hash.to_string())
    }

    async fn size(&self, path: &Path) -> Result<Option<u64>, StoreError> {
        match self.store.head(path).await {
            Ok(about) => Ok(Some(about.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn send(&self, path: &Path, file: &File, size: u64) -> Result<(), StoreError> {
        let mut source = Source::open(file, if size > LARGE { LARGE_PART } else { PART }).await?;
        if size <= PART as u64 {
            let whole = source.next().await?;
            return self.store.put(path, whole.into()).await.map(drop).map_err(failed);
        }
        let mut upload = self.store.put_multipart(path).await.map_err(failed)?;
        let sent = async {
            loop {
                let part = source.next().await?;
                if part.is_empty() {
                    return upload.complete().await.map(drop).map_err(failed);
                }
                upload.put_part(part.into()).await.map_err(failed)?;
            }
        };
        let done = sent.await;
        if done.is_err() {
            // Parts of what was given up cost money until they are gone.
            let _ = upload.abort().await;
        }
        done
    }
}

#[async_trait::async_trait]
impl Blobs for ObjectBlobs {
    async fn put(&self, hash: ContentHash, file: &File) -> Result<(), StoreError> {
        let (path, local) = (self.path(hash), file.to_owned());
        let size = blocking(move || Ok(std::fs::metadata(local)?.len())).await?;
        // An object is there whole or not at all.
        if self.size(&path).await?.is_none() {
            self.send(&path, file, size).await?;
        }
        let local = file.to_owned();
        blocking(move || std::fs::remove_file(local)).await
    }

    async fn read(&self, hash: ContentHash, first: u64, length: u64) -> Result<Option<BlobStream>, StoreError> {
        let path = self.path(hash);
        let Some(end) = first.checked_add(length).filter(|_| length > 0) else {
            let nothing = || -> BlobStream { Box::pin(futures_util::stream::empty()) };
            return Ok(self.size(&path).await?.map(|_| nothing()));
        };
        let options = GetOptions { range: Some(GetRange::Bounded(first..end)), ..GetOptions::default() };
        match self.store.get_opts(&path, options).await {
            Ok(found) => Ok(Some(Box::pin(found.into_stream().map_err(io::Error::other)))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn remove(&self, hash: ContentHash) -> Result<bool, StoreError> {
        let path = self.path(hash);
        if self.size(&path).await?.is_none() {
            return Ok(false);
        }
        match self.store.delete(&path).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    async fn list(&self, first_byte: u8) -> Result<Vec<ContentHash>, StoreError> {
        let mut objects = self.store.list(Some(&self.folder(first_byte)));
        let mut found = Vec::new();
        while let Some(object) = objects.next().await {
            // What is named otherwise is not ours.
            let object = object.map_err(failed)?;
            found.extend(object.location.filename().and_then(|name| name.parse::<ContentHash>().ok()));
        }
        Ok(found)
    }
}

/// A file, read in parts of one size.
struct Source {
    file: Option<std::fs::File>,
    part: usize,
}

impl Source {
    async fn open(file: &File, part: usize) -> Result<Source, StoreError> {
        let file = file.to_owned();
        let file = blocking(move || std::fs::File::open(file)).await?;
        Ok(Source { file: Some(file), part })
    }

    /// Empty at the end.
    async fn next(&mut self) -> Result<Bytes, StoreError> {
        let Some(mut file) = self.file.take() else { return Ok(Bytes::new()) };
        let part = self.part as u64;
        let read = move || {
            let mut bytes = Vec::new();
            io::Read::by_ref(&mut file).take(part).read_to_end(&mut bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = blocking(read).await?;
        self.file = Some(file);
        Ok(bytes.into())
    }
}

/// Makes clients with the TLS that all of the server uses.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "S3", source };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .no_proxy()
            .user_agent("chappe")
            .build();
        client.map(HttpClient::new).map_err(|error| failed(error.into()))
    }
}

fn failed(error: object_store::Error) -> StoreError {
    io::Error::other(error).into()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn blobs() -> ObjectBlobs {
        ObjectBlobs { store: Arc::new(InMemory::new()), prefix: Path::from("a/b") }
    }

    #[tokio::test]
    async fn objects_are_as_content_on_the_disk() {
        super::super::tests::content_is_kept_once_and_read_in_parts(&blobs()).await;
    }

    #[tokio::test]
    async fn large_files_go_in_parts() {
        let (blobs, dir) = (blobs(), tempfile::tempdir().unwrap());
        let bytes: Vec<u8> = (0..2 * PART + 100).map(|n| (n / 251) as u8).collect();
        let file = dir.path().join("new");
        std::fs::write(&file, &bytes).unwrap();
        let hash = ContentHash([3; 32]);
        blobs.put(hash, &file).await.unwrap();
        let read = blobs.read(hash, 5, bytes.len() as u64 - 5).await.unwrap().unwrap();
        assert!(read.try_collect::<Vec<_>>().await.unwrap().concat() == bytes[5..]);
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = S3 {
            bucket: "b".into(),
            prefix: String::new(),
            endpoint: None,
            region: "r".into(),
            access_key: "public".into(),
            secret_key: "secret".into(),
            bucket_in_host: true,
        };
        assert!(!format!("{settings:?}").contains("secret"));
        assert!(ObjectBlobs::s3(&settings).is_ok());
    }
}
