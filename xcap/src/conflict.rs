//! Detailed conflict reports (RFC 4825 §11): the body of a 409.

use crate::encode::xml_escape;

/// Of a conflict report.
pub const ERROR_TYPE: &str = "application/xcap-error+xml";
/// Of what we add to it.
pub const EXTENSION_NAMESPACE: &str = "urn:chappe:params:xml:ns:xcap-error";

/// Why a document cannot be made what a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conflict {
    NotWellFormed {
        phrase: String,
    },
    NotXmlFrag {
        phrase: String,
    },
    NoParent {
        /// The closest that exists.
        ancestor: Option<String>,
    },
    SchemaValidation {
        phrase: String,
    },
    NotXmlAttValue {
        phrase: String,
    },
    CannotInsert {
        phrase: &'static str,
    },
    CannotDelete,
    UniquenessFailure {
        phrase: String,
        exists: Vec<Exists>,
    },
    ConstraintFailure {
        phrase: String,
    },
    NotUtf8,
    /// Our own: the user has no room for it.
    Quota {
        what: &'static str,
        limit: u64,
    },
}

/// A value that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exists {
    /// The node, as a percent-encoded selector relative to the document.
    pub field: String,
    pub alternatives: Vec<String>,
}

impl Conflict {
    /// The report.
    pub fn to_xml(&self) -> String {
        let mut out = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xcap-error xmlns=\"urn:ietf:params:xml:ns:xcap-error\">",
        );
        let name = self.element();
        match self {
            Conflict::NoParent { ancestor } => match ancestor {
                Some(uri) => out.push_str(&format!(
                    "<no-parent phrase=\"{}\"><ancestor>{}</ancestor></no-parent>",
                    xml_escape(&self.phrase()),
                    xml_escape(uri)
                )),
                None => out.push_str(&format!("<no-parent phrase=\"{}\"/>", xml_escape(&self.phrase()))),
            },
            Conflict::UniquenessFailure { exists, .. } => {
                out.push_str(&format!("<{name} phrase=\"{}\">", xml_escape(&self.phrase())));
                for one in exists {
                    out.push_str(&format!("<exists field=\"{}\">", xml_escape(&one.field)));
                    for value in &one.alternatives {
                        out.push_str(&format!("<alt-value>{}</alt-value>", xml_escape(value)));
                    }
                    out.push_str("</exists>");
                }
                out.push_str(&format!("</{name}>"));
            }
            Conflict::Quota { what, limit } => out.push_str(&format!(
                "<extension><quota-exceeded xmlns=\"{EXTENSION_NAMESPACE}\" phrase=\"{}\" of=\"{what}\" \
                 limit=\"{limit}\"/></extension>",
                xml_escape(&self.phrase())
            )),
            _ => out.push_str(&format!("<{name} phrase=\"{}\"/>", xml_escape(&self.phrase()))),
        }
        out.push_str("</xcap-error>\n");
        out
    }

    /// Its element in a report.
    pub fn element(&self) -> &'static str {
        match self {
            Conflict::NotWellFormed { .. } => "not-well-formed",
            Conflict::NotXmlFrag { .. } => "not-xml-frag",
            Conflict::NoParent { .. } => "no-parent",
            Conflict::SchemaValidation { .. } => "schema-validation-error",
            Conflict::NotXmlAttValue { .. } => "not-xml-att-value",
            Conflict::CannotInsert { .. } => "cannot-insert",
            Conflict::CannotDelete => "cannot-delete",
            Conflict::UniquenessFailure { .. } => "uniqueness-failure",
            Conflict::ConstraintFailure { .. } => "constraint-failure",
            Conflict::NotUtf8 => "not-utf-8",
            Conflict::Quota { .. } => "extension",
        }
    }

    /// What a person may read.
    pub fn phrase(&self) -> String {
        match self {
            Conflict::NotWellFormed { phrase }
            | Conflict::NotXmlFrag { phrase }
            | Conflict::SchemaValidation { phrase }
            | Conflict::NotXmlAttValue { phrase }
            | Conflict::UniquenessFailure { phrase, .. }
            | Conflict::ConstraintFailure { phrase } => phrase.clone(),
            Conflict::NoParent { .. } => "there is nothing to insert it into".into(),
            Conflict::CannotInsert { phrase } => (*phrase).into(),
            Conflict::CannotDelete => "the same URI would select another element afterwards".into(),
            Conflict::NotUtf8 => "documents are UTF-8".into(),
            Conflict::Quota { what, limit } => format!("a user may have {limit} {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Conflict> {
        let phrase = || "a < b & \"c\"".to_owned();
        vec![
            Conflict::NotWellFormed { phrase: phrase() },
            Conflict::NotXmlFrag { phrase: phrase() },
            Conflict::NoParent { ancestor: None },
            Conflict::NoParent { ancestor: Some("http://h/x?xmlns(a=b)&c".into()) },
            Conflict::SchemaValidation { phrase: phrase() },
            Conflict::NotXmlAttValue { phrase: phrase() },
            Conflict::CannotInsert { phrase: "no" },
            Conflict::CannotDelete,
            Conflict::UniquenessFailure {
                phrase: phrase(),
                exists: vec![Exists { field: "a/@b".into(), alternatives: vec!["c".into(), "<d>".into()] }],
            },
            Conflict::ConstraintFailure { phrase: phrase() },
            Conflict::NotUtf8,
            Conflict::Quota { what: "documents", limit: 3 },
        ]
    }

    #[test]
    fn every_report_has_one_error_element() {
        for conflict in all() {
            let text = conflict.to_xml();
            let document = roxmltree::Document::parse(&text).unwrap();
            let root = document.root_element();
            assert!(root.has_tag_name(("urn:ietf:params:xml:ns:xcap-error", "xcap-error")));
            let children: Vec<_> = root.children().collect();
            let [element] = &*children else { panic!("{text}") };
            assert_eq!(element.tag_name().name(), conflict.element());
            let bearer = if conflict.element() == "extension" { element.first_child().unwrap() } else { *element };
            assert_eq!(bearer.attribute("phrase"), Some(&*conflict.phrase()), "{text}");
        }
    }

    #[test]
    fn help_that_a_report_carries() {
        let texts: Vec<String> = all().iter().map(Conflict::to_xml).collect();
        assert!(texts[3].contains("<ancestor>http://h/x?xmlns(a=b)&amp;c</ancestor>"));
        assert!(
            texts[8]
                .contains("<exists field=\"a/@b\"><alt-value>c</alt-value><alt-value>&lt;d&gt;</alt-value></exists>")
        );
    }
}
