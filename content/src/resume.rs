//! What is told of an upload that was cut.

use quick_xml::escape::escape;

/// Says that `received` bytes are there, at least one, and where the others are to be put.
///
/// Clients disagree whether the last byte is counted from 0 or from 1; from 0 is what makes those that go on at `end` send
/// one byte twice, rather than leave one out.
pub fn resume_document(received: u64, url: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<file-resume-info>\n  <file-range start=\"0\" end=\"{}\"/>\n  \
         <data url=\"{}\"/>\n</file-resume-info>\n",
        received.saturating_sub(1),
        escape(url)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_zero() {
        let document = resume_document(200_001, "https://ft.example.com/ft/u/x?a&b");
        assert!(document.contains("<file-range start=\"0\" end=\"200000\"/>"), "{document}");
        assert!(document.contains("<data url=\"https://ft.example.com/ft/u/x?a&amp;b\"/>"), "{document}");
    }
}
