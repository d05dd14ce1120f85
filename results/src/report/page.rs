//! The whole file: one document that fetches nothing, can be read without scripts, and says in its
//! policy that no other script may run.

use sha2::{Digest, Sha256};

use super::{
    embedded::base64,
    html::{Element, text_element},
    palette::page_style,
    section::Section,
};

/// Sorts tables and opens everything before printing.
const SCRIPT: &str = include_str!("sort.js");

/// What a document is made of.
pub(super) struct Page<'a> {
    pub(super) title: String,
    pub(super) sections: &'a [Section],
    /// What is copied for programs.
    pub(super) records: Option<serde_json::Value>,
    /// What stands at the end.
    pub(super) footer: String,
}

impl Page<'_> {
    /// The document.
    pub(super) fn document(&self) -> String {
        let html = Element::new("html")
            .attr("lang", "en")
            .child(self.head())
            .child(self.body());
        format!("<!DOCTYPE html>\n{html}\n")
    }

    fn head(&self) -> Element {
        let hash = base64(&Sha256::digest(SCRIPT));
        let policy = format!(
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{hash}'; \
             base-uri 'none'; form-action 'none'"
        );
        let meta = |name: &'static str, value: &str| {
            let element = Element::new("meta").attr("name", name);
            element.attr("content", value)
        };
        Element::new("head")
            .child(Element::new("meta").attr("charset", "utf-8"))
            .child(
                Element::new("meta")
                    .attr("http-equiv", "Content-Security-Policy")
                    .attr("content", policy),
            )
            .child(meta("viewport", "width=device-width, initial-scale=1"))
            .child(meta("color-scheme", "light dark"))
            .child(text_element("title", &self.title))
            .child(Element::new("style").verbatim(&page_style()))
    }

    fn body(&self) -> Element {
        let links = self.sections.iter().map(|section| {
            let link = text_element("a", &section.title).attr("href", format!("#{}", section.id));
            Element::new("li").child(link)
        });
        let links = Element::new("ul").children(links);
        let nav = Element::new("nav").attr("aria-label", "parts").child(links);
        let sections = self.sections.iter().map(Section::element);
        let records = self.records.iter().map(|records| {
            Element::new("script")
                .attr("type", "application/json")
                .attr("id", "records")
                .json(records)
        });
        Element::new("body")
            .child(
                Element::new("header")
                    .child(text_element("h1", &self.title))
                    .child(nav),
            )
            .child(Element::new("main").children(sections))
            .child(text_element("footer", &self.footer))
            .children(records)
            .child(Element::new("script").verbatim(SCRIPT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_one_script() {
        assert!(SCRIPT.len() <= 3 << 10 && !SCRIPT.contains("</"));
        let page = Page {
            title: "<b>".into(),
            sections: &[],
            records: None,
            footer: String::new(),
        };
        let document = page.document();
        assert!(document.contains("<title>&lt;b&gt;</title>"));
        assert!(document.contains("default-src &#39;none&#39;"));
    }
}
