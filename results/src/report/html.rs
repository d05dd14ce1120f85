//! Elements of HTML and SVG, written so that nothing from data can become markup: text and values
//! of attributes are escaped where they are added, and there is no other way in.

use std::fmt::{self, Display, Write};

use flava_base::escaped;

/// Elements of HTML that have no inside and no end.
const VOID: [&str; 3] = ["br", "img", "meta"];

/// Letters that a table's cell has on one line.
const ONE_LINE: usize = 40;

/// An element with its attributes and what is in it.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: String,
    inside: String,
}

impl Element {
    /// An empty one.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            attributes: String::new(),
            inside: String::new(),
        }
    }

    /// The same under another name.
    pub(super) fn renamed(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Whether what is in it needs more than one line of a table.
    pub(super) fn is_long(&self) -> bool {
        self.inside.len() > ONE_LINE
    }

    /// With an attribute.
    pub(super) fn attr(mut self, name: &'static str, value: impl Display) -> Self {
        self.attributes.push(' ');
        self.attributes.push_str(name);
        self.attributes.push_str("=\"");
        push_escaped(&mut self.attributes, &value.to_string());
        self.attributes.push('"');
        self
    }

    /// With classes of the style sheet.
    pub(super) fn class(self, classes: impl Display) -> Self {
        self.attr("class", classes)
    }

    /// With text behind what is in it.
    pub(super) fn text(mut self, text: impl Display) -> Self {
        push_escaped(&mut self.inside, &text.to_string());
        self
    }

    /// With the end of a line behind what is in it.
    pub(super) fn newline(mut self) -> Self {
        self.inside.push('\n');
        self
    }

    /// With an element behind what is in it.
    pub(super) fn child(mut self, child: Self) -> Self {
        child.push_to(&mut self.inside);
        self
    }

    /// With elements behind what is in it.
    pub(super) fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        for child in children {
            child.push_to(&mut self.inside);
        }
        self
    }

    /// With the program's own style sheet or script in it, as it is.
    pub(super) fn verbatim(mut self, source: &str) -> Self {
        self.inside.push_str(source);
        self
    }

    /// With JSON in it, which stays JSON: no tag can begin inside a string.
    pub(super) fn json(mut self, value: &serde_json::Value) -> Self {
        self.inside
            .push_str(&value.to_string().replace('<', "\\u003c"));
        self
    }

    fn push_to(&self, out: &mut String) {
        out.push('<');
        out.push_str(self.name);
        out.push_str(&self.attributes);
        out.push('>');
        if !VOID.contains(&self.name) {
            out.push_str(&self.inside);
            out.push_str("</");
            out.push_str(self.name);
            out.push('>');
        }
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::with_capacity(self.inside.len() + 64);
        self.push_to(&mut out);
        f.write_str(&out)
    }
}

/// Short for an element with nothing but text.
pub(super) fn text_element(name: &'static str, text: impl Display) -> Element {
    Element::new(name).text(text)
}

/// Control characters are written out: none is allowed in XML, and some turn text around.
fn push_escaped(out: &mut String, text: &str) {
    for c in escaped(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
                let _infallible = write!(out, "{}", c.escape_unicode());
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let hostile = "<img src=x onerror=alert(1)>\"'&\u{202e}\u{7}";
        let element = Element::new("td").attr("title", hostile).text(hostile);
        let clean = "&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;\\u{202e}\\u{7}";
        assert_eq!(
            element.to_string(),
            format!("<td title=\"{clean}\">{clean}</td>")
        );
        let script = Element::new("script").json(&serde_json::json!(["</script><b>"]));
        assert_eq!(
            script.to_string(),
            "<script>[\"\\u003c/script>\\u003cb>\"]</script>"
        );
        assert_eq!(Element::new("br").to_string(), "<br>");
    }
}
