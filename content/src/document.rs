//! The document that describes an uploaded file: the answer to the upload, and the body of the message that announces it.

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{XmlVersion, name::QName};

/// Its media type.
pub const FILE_TYPE: &str = "application/vnd.gsma.rcs-ft-http+xml";

/// Longest document that is read, in bytes.
pub const MAX_DOCUMENT: usize = 32 * 1024;

const NAMESPACE: &str = "urn:gsma:params:xml:ns:rcs:rcs:fthttp";
const AUDIO_NAMESPACE: &str = "urn:gsma:params:xml:ns:rcs:rcs:rram";
const MAX_DEPTH: usize = 16;

/// A file, and a small picture of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDocument {
    pub thumbnail: Option<FileInfo>,
    pub file: FileInfo,
}

/// One `file-info`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileInfo {
    pub size: u64,
    pub name: Option<String>,
    pub content_type: String,
    pub url: String,
    /// RFC 3339, as text.
    pub until: Option<String>,
    /// `render` for audio messages, else `attachment` or nothing.
    pub disposition: Option<String>,
    /// As it was written: seconds by the one, milliseconds by the other.
    pub playing_length: Option<String>,
}

/// Why a document is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    #[error("{len} bytes, over the limit of {MAX_DOCUMENT}")]
    TooLong { len: usize },
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("not well-formed, or not UTF-8")]
    Malformed,
    #[error("a document type or an entity of its own")]
    DocumentType,
    #[error("no <{0}>")]
    Missing(&'static str),
    #[error("more than one file")]
    Several,
}

impl FileDocument {
    /// Reads a document. Namespaces do not matter, since deployed clients write none, nor does the order of elements.
    pub fn parse(bytes: &[u8]) -> Result<FileDocument, DocumentError> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(DocumentError::TooLong { len: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| DocumentError::Malformed)?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
        let mut reading = Reading::default();
        loop {
            match reader.read_event().map_err(|_| DocumentError::Malformed)? {
                Event::Start(tag) => reading.open(&tag)?,
                Event::Empty(tag) => {
                    reading.open(&tag)?;
                    reading.close()?;
                }
                Event::End(_) => reading.close()?,
                Event::Text(text) => reading.text.push_str(&text.xml10_content()),
                Event::CData(text) => reading.text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(c)) => reading.text.push(c),
                    Ok(None) => {
                        let name = reference.xml10_content();
                        let text = resolve_predefined_entity(&name).ok_or(DocumentError::DocumentType)?;
                        reading.text.push_str(text);
                    }
                    Err(_) => return Err(DocumentError::Malformed),
                },
                Event::DocType(_) => return Err(DocumentError::DocumentType),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof if reading.path.is_empty() => return reading.finish(),
                Event::Eof => return Err(DocumentError::Malformed),
            }
        }
    }

    /// The document, the thumbnail first as the schema has it.
    pub fn to_xml(&self) -> String {
        let audio = match self.file.playing_length {
            Some(_) => format!(" xmlns:am=\"{AUDIO_NAMESPACE}\""),
            None => String::new(),
        };
        let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<file xmlns=\"{NAMESPACE}\"{audio}>\n");
        if let Some(thumbnail) = &self.thumbnail {
            thumbnail.write("thumbnail", &mut out);
        }
        self.file.write("file", &mut out);
        out.push_str("</file>\n");
        out
    }
}

impl FileInfo {
    fn write(&self, kind: &str, out: &mut String) {
        out.push_str(&format!("  <file-info type=\"{kind}\""));
        if let Some(disposition) = &self.disposition {
            out.push_str(&format!(" file-disposition=\"{}\"", escape(disposition.as_str())));
        }
        out.push_str(&format!(">\n    <file-size>{}</file-size>\n", self.size));
        if let Some(name) = &self.name {
            out.push_str(&format!("    <file-name>{}</file-name>\n", escape(name.as_str())));
        }
        out.push_str(&format!("    <content-type>{}</content-type>\n", escape(self.content_type.as_str())));
        if let Some(length) = &self.playing_length {
            out.push_str(&format!("    <am:playing-length>{}</am:playing-length>\n", escape(length.as_str())));
        }
        out.push_str(&format!("    <data url=\"{}\"", escape(self.url.as_str())));
        if let Some(until) = &self.until {
            out.push_str(&format!(" until=\"{}\"", escape(until.as_str())));
        }
        out.push_str("/>\n  </file-info>\n");
    }
}

/// A time as documents have it, from seconds since the epoch: without a fraction, which some clients cannot read.
pub fn until(seconds: u64) -> String {
    let text = chappe_imdn::date_time(seconds.saturating_mul(1000));
    text.replace(".000Z", "Z")
}

#[derive(Default)]
struct Reading {
    /// Local names of the open elements.
    path: Vec<String>,
    seen_root: bool,
    text: String,
    is_thumbnail: bool,
    now: FileInfo,
    has_size: bool,
    file: Option<FileInfo>,
    thumbnail: Option<FileInfo>,
}

impl Reading {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), DocumentError> {
        if self.path.len() == MAX_DEPTH {
            return Err(DocumentError::TooDeep);
        }
        let name = tag.local_name().as_ref().to_owned();
        match (self.path.len(), name.as_str()) {
            (0, "file") if !self.seen_root => self.seen_root = true,
            (0, _) => return Err(DocumentError::Missing("file")),
            (1, "file-info") => {
                self.now = FileInfo { disposition: attribute(tag, "file-disposition")?, ..FileInfo::default() };
                self.has_size = false;
                self.is_thumbnail = attribute(tag, "type")?.is_some_and(|kind| kind.trim() == "thumbnail");
            }
            (2, "data") => {
                self.now.url = attribute(tag, "url")?.unwrap_or_default().trim().to_owned();
                self.now.until = attribute(tag, "until")?;
            }
            _ => {}
        }
        self.text.clear();
        self.path.push(name);
        Ok(())
    }

    fn close(&mut self) -> Result<(), DocumentError> {
        let name = self.path.pop().ok_or(DocumentError::Malformed)?;
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        match (self.path.len(), name.as_str()) {
            (2, "file-size") => {
                self.now.size = text.parse().map_err(|_| DocumentError::Missing("file-size"))?;
                self.has_size = true;
            }
            (2, "file-name") => self.now.name = Some(text.to_owned()),
            (2, "content-type") => self.now.content_type = text.to_owned(),
            (2, "playing-length") => self.now.playing_length = Some(text.to_owned()),
            (1, "file-info") => self.close_info()?,
            _ => {}
        }
        Ok(())
    }

    fn close_info(&mut self) -> Result<(), DocumentError> {
        let info = std::mem::take(&mut self.now);
        if !self.has_size {
            return Err(DocumentError::Missing("file-size"));
        }
        if info.url.is_empty() {
            return Err(DocumentError::Missing("data"));
        }
        let place = if self.is_thumbnail { &mut self.thumbnail } else { &mut self.file };
        if place.replace(info).is_some() {
            return Err(DocumentError::Several);
        }
        Ok(())
    }

    fn finish(self) -> Result<FileDocument, DocumentError> {
        let file = self.file.ok_or(DocumentError::Missing("file-info"))?;
        Ok(FileDocument { thumbnail: self.thumbnail, file })
    }
}

/// An attribute without a namespace.
fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, DocumentError> {
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_| DocumentError::Malformed)?;
        if attribute.key == QName(name) {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| DocumentError::DocumentType)?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beach() -> FileDocument {
        FileDocument {
            thumbnail: Some(FileInfo {
                size: 9216,
                content_type: "image/jpeg".into(),
                url: "https://ft.example.com/ft/t/8fA2kQ".into(),
                until: Some("2026-04-03T10:15:30Z".into()),
                ..FileInfo::default()
            }),
            file: FileInfo {
                size: 482_113,
                name: Some("beach & <sea>.jpg".into()),
                content_type: "image/jpeg".into(),
                url: "https://ft.example.com/ft/d/8fA2kQ".into(),
                until: Some("2026-04-03T10:15:30Z".into()),
                disposition: Some("render".into()),
                playing_length: Some("4".into()),
            },
        }
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let xml = beach().to_xml();
        assert!(xml.find("\"thumbnail\"") < xml.find("type=\"file\""));
        assert_eq!(FileDocument::parse(xml.as_bytes()), Ok(beach()));
    }

    #[test]
    fn documents_of_clients() {
        let plain = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<file><file-info type=\"file\">\
            <file-size>7</file-size><file-name>a.txt</file-name><content-type>text/plain</content-type>\
            <data url = \"http://h/x?a=1&amp;b=2\" until = \"2026-01-01T00:00:00Z\"/></file-info></file>";
        let read = FileDocument::parse(plain.as_bytes()).unwrap();
        assert_eq!((read.file.url.as_str(), read.file.size, read.thumbnail), ("http://h/x?a=1&b=2", 7, None));
        let foreign = "\u{feff}<f:file xmlns:f=\"urn:x\" xmlns:e=\"urn:y\"><f:file-info type=\"file\">\
            <e:branded-url>http://b</e:branded-url><f:file-size> 7 </f:file-size><f:content-type>a/b</f:content-type>\
            <e:more><f:file-size>no</f:file-size></e:more><f:data url=\"u\"/></f:file-info></f:file>";
        assert_eq!(FileDocument::parse(foreign.as_bytes()).unwrap().file.size, 7);
    }

    #[test]
    fn times() {
        assert_eq!(until(1_775_211_330), "2026-04-03T10:15:30Z");
    }

    #[test]
    fn what_is_no_document() {
        let info = "<file-info type=\"file\"><file-size>1</file-size><data url=\"u\"/></file-info>";
        let deep = format!("<file>{}", "<a>".repeat(40));
        let long = format!("<file>{info}{}</file>", " ".repeat(MAX_DOCUMENT));
        for (xml, expected) in [
            ("", DocumentError::Missing("file-info")),
            ("<html/>", DocumentError::Missing("file")),
            ("<file/>", DocumentError::Missing("file-info")),
            (
                "<file><file-info type=\"file\"><data url=\"u\"/></file-info></file>",
                DocumentError::Missing("file-size"),
            ),
            (
                "<file><file-info type=\"file\"><file-size>1</file-size></file-info></file>",
                DocumentError::Missing("data"),
            ),
            (&format!("<file>{info}{info}</file>"), DocumentError::Several),
            (&format!("<file>{info}"), DocumentError::Malformed),
            (&format!("<!DOCTYPE file [<!ENTITY a \"b\">]><file>{info}</file>"), DocumentError::DocumentType),
            (&format!("<file>{info}&lol;</file>"), DocumentError::DocumentType),
            (&deep, DocumentError::TooDeep),
            (&long, DocumentError::TooLong { len: long.len() }),
        ] {
            assert_eq!(FileDocument::parse(xml.as_bytes()), Err(expected), "{xml:.80}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[<>/a-z\"=& ]{0,80}|<file>[<>/a-z\"=&;]{0,60}") {
            let _ = FileDocument::parse(text.as_bytes());
        }
    }
}
