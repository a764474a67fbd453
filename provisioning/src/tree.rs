//! `wap-provisioningdoc`: characteristics with parameters, in a fixed order.

/// A node: a type, parameters, and more nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Characteristic {
    kind: &'static str,
    parms: Vec<(&'static str, String)>,
    children: Vec<Characteristic>,
}

impl Characteristic {
    pub fn new(kind: &'static str) -> Characteristic {
        Characteristic { kind, parms: Vec::new(), children: Vec::new() }
    }

    /// With a parameter more; an empty value is left out.
    #[must_use]
    pub fn parm(mut self, name: &'static str, value: impl ToString) -> Characteristic {
        let value = value.to_string();
        if !value.is_empty() {
            self.parms.push((name, value));
        }
        self
    }

    /// With a node more; an empty one is left out.
    #[must_use]
    pub fn child(mut self, child: Characteristic) -> Characteristic {
        if !child.is_empty() {
            self.children.push(child);
        }
        self
    }

    #[must_use]
    pub fn children(self, children: impl IntoIterator<Item = Characteristic>) -> Characteristic {
        children.into_iter().fold(self, Characteristic::child)
    }

    pub fn is_empty(&self) -> bool {
        self.parms.is_empty() && self.children.is_empty()
    }

    fn write(&self, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        out.push_str(&format!("{indent}<characteristic type=\"{}\">\n", escaped(self.kind)));
        for (name, value) in &self.parms {
            out.push_str(&format!("{indent}  <parm name=\"{}\" value=\"{}\"/>\n", escaped(name), escaped(value)));
        }
        for child in &self.children {
            child.write(depth + 1, out);
        }
        out.push_str(&format!("{indent}</characteristic>\n"));
    }
}

/// A whole document.
pub(crate) fn write(nodes: &[Characteristic]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<wap-provisioningdoc version=\"1.1\">\n");
    for node in nodes {
        node.write(1, &mut out);
    }
    out.push_str("</wap-provisioningdoc>\n");
    out
}

/// A value of an attribute. Line ends are kept (XML 1.0 §3.3.3); what XML cannot hold at all is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => {}
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_empty_ones_left_out() {
        let node = Characteristic::new("MSG")
            .parm("title", "a \"b\" <c> & d\ne\u{1}")
            .parm("message", "")
            .child(Characteristic::new("X"));
        assert_eq!(
            write(&[node]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<wap-provisioningdoc version=\"1.1\">\n  <characteristic type=\"MSG\">\n    \
             <parm name=\"title\" value=\"a &quot;b&quot; &lt;c&gt; &amp; d&#10;e\"/>\n  </characteristic>\n</wap-provisioningdoc>\n"
        );
    }
}
