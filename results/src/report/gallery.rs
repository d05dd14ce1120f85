//! Rows one by one, with their images where the data is at hand.

use super::{
    embedded::Embedding,
    html::{Element, text_element},
    number::cut,
    view::Study,
};
use crate::Record;

/// Letters of a row's name and of what is told of it.
const LETTERS: usize = 120;

/// A row to be shown.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// What its image is asked for by.
    pub(super) row: String,
    pub(super) name: String,
    pub(super) told: String,
}

/// Rows in a list that can be opened, with their images.
pub(super) fn gallery(study: &Study, record: &Record, caption: &str, rows: &[Shown]) -> Element {
    let shown = |row: &Shown| {
        let mut item = Element::new("li").children(image(study, record, row));
        item = item.child(text_element("strong", cut(&row.name, LETTERS)));
        let told = cut(&row.told, LETTERS);
        item.child(Element::new("br")).text(told)
    };
    let summary = text_element("summary", caption);
    let list = Element::new("ul").class("gallery");
    Element::new("details")
        .child(summary)
        .child(list.children(rows.iter().map(shown)))
}

fn image(study: &Study, record: &Record, row: &Shown) -> Option<Element> {
    let bytes = study
        .options
        .images
        .and_then(|images| images(record, &row.row))?;
    let most = study.options.most_image_bytes;
    match study.images.borrow_mut().embed(&bytes, most) {
        Embedding::Here(image) => {
            let element = Element::new("img")
                .attr("id", image.id)
                .attr("src", image.uri);
            Some(element.attr("alt", format!("image of {}", row.name)))
        }
        Embedding::Before(id) => {
            let link = text_element("a", "image shown before").attr("href", format!("#{id}"));
            Some(Element::new("div").child(link))
        }
        Embedding::None => None,
    }
}
