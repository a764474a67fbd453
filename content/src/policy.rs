//! What may be uploaded.

use crate::media;

/// Limits on files; types are patterns as [`media::matches`] takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Of a file, in bytes.
    pub max_size: u64,
    pub max_thumbnail: u64,
    /// What the files of one user may take together, thumbnails included.
    pub quota: u64,
    /// Empty: any.
    pub accept: Vec<String>,
    pub refuse: Vec<String>,
}

/// Why a file is not taken, and by which limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the file is over the limit of {max} bytes")]
    Size { max: u64 },
    #[error("the thumbnail is over the limit of {max} bytes")]
    ThumbnailSize { max: u64 },
    #[error("the files of this user would be over the limit of {quota} bytes together; {used} are used")]
    Quota { quota: u64, used: u64 },
    #[error("files of the type {found} are not taken")]
    Type { found: String, accept: Vec<String> },
}

impl Refusal {
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Size { .. } | Refusal::ThumbnailSize { .. } => 413,
            Refusal::Quota { .. } => 403,
            Refusal::Type { .. } => 415,
        }
    }

    /// The limit's name, for machines.
    pub fn limit(&self) -> &'static str {
        match self {
            Refusal::Size { .. } => "size",
            Refusal::ThumbnailSize { .. } => "thumbnail",
            Refusal::Quota { .. } => "quota",
            Refusal::Type { .. } => "type",
        }
    }
}

impl Policy {
    /// Whether a file of `size` bytes may be taken from a user whose files have `used` already.
    pub fn check_size(&self, size: u64, used: u64) -> Result<(), Refusal> {
        if size > self.max_size {
            return Err(Refusal::Size { max: self.max_size });
        }
        if used.saturating_add(size) > self.quota {
            return Err(Refusal::Quota { quota: self.quota, used });
        }
        Ok(())
    }

    pub fn check_type(&self, media_type: &str) -> Result<(), Refusal> {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| media::matches(pattern, media_type));
        if any(&self.refuse) || !self.accept.is_empty() && !any(&self.accept) {
            return Err(Refusal::Type { found: media::essence(media_type).to_owned(), accept: self.accept.clone() });
        }
        Ok(())
    }

    /// The longest body of a form that may hold a file: its parts and what stands around them.
    pub fn max_form(&self) -> u64 {
        self.max_size.saturating_add(self.max_thumbnail).saturating_add(64 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            max_size: 100,
            max_thumbnail: 10,
            quota: 150,
            accept: Vec::new(),
            refuse: vec!["application/x-msdownload".into()],
        }
    }

    #[test]
    fn sizes_and_quota() {
        for (size, used, expected) in [
            (100, 50, Ok(())),
            (101, 0, Err(Refusal::Size { max: 100 })),
            (100, 51, Err(Refusal::Quota { quota: 150, used: 51 })),
            (0, 150, Ok(())),
            (1, u64::MAX, Err(Refusal::Quota { quota: 150, used: u64::MAX })),
        ] {
            assert_eq!(policy().check_size(size, used), expected, "{size} beside {used}");
        }
    }

    #[test]
    fn types() {
        let some = Policy { accept: vec!["image/*".into(), "text/vcard".into()], ..policy() };
        for (policy, media, expected) in [
            (policy(), "video/mp4", true),
            (policy(), "application/X-MSDownload; x=y", false),
            (some.clone(), "image/png", true),
            (some.clone(), "text/vcard", true),
            (some, "text/plain", false),
        ] {
            assert_eq!(policy.check_type(media).is_ok(), expected, "{media}");
        }
    }
}
