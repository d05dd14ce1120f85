//! A part of the report: words, tables and figures in order.

use super::{
    figures::{Drawing, standalone},
    html::{Element, text_element},
    table::Grid,
};

/// A figure with the values that it shows.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// What it is asked for by; unique in a report.
    pub(super) name: String,
    pub(super) title: String,
    /// What it shows, in a sentence, for who cannot see it.
    pub(super) description: String,
    pub(super) drawing: Drawing,
    pub(super) values: Grid,
}

impl Figure {
    /// As a document of its own.
    pub(super) fn svg(&self) -> String {
        standalone(&self.drawing, &self.id(), &self.title, &self.description)
    }

    /// A name that is an id of HTML: other letters are written as their number.
    fn id(&self) -> String {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c.to_string()
            } else {
                format!("_{:x}", u32::from(c))
            }
        };
        let name: String = self.name.chars().map(plain).collect();
        format!("f-{name}")
    }

    fn element(&self) -> Element {
        let id = self.id();
        let description = text_element("small", &self.description);
        let drawing = self.drawing.element(&id, &self.title, &self.description);
        let values = Element::new("details")
            .child(text_element("summary", "values"))
            .child(self.values.clone().element());
        Element::new("figure")
            .attr("id", id)
            .child(text_element("figcaption", &self.title).child(description))
            .child(Element::new("div").class("draw").child(drawing))
            .child(values)
    }
}

/// A piece of a part.
#[derive(Clone, Debug)]
pub(super) enum Block {
    Html(Element),
    Table(Grid),
    /// Figures beside each other.
    Figures(Vec<Figure>),
}

/// A part of the report.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Its id.
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

impl Section {
    pub(super) fn new(id: &'static str, title: impl ToString) -> Self {
        Self {
            id,
            title: title.to_string(),
            blocks: Vec::new(),
        }
    }

    /// Adds a paragraph.
    pub(super) fn say(&mut self, text: impl ToString) {
        let paragraph = text_element("p", text.to_string());
        self.blocks.push(Block::Html(paragraph));
    }

    /// Adds a paragraph in small letters.
    pub(super) fn note(&mut self, text: impl ToString) {
        let paragraph = text_element("p", text.to_string()).class("note");
        self.blocks.push(Block::Html(paragraph));
    }

    /// Adds the head of what follows.
    pub(super) fn head(&mut self, text: impl ToString) {
        let head = text_element("h3", text.to_string());
        self.blocks.push(Block::Html(head));
    }

    pub(super) fn html(&mut self, element: Element) {
        self.blocks.push(Block::Html(element));
    }

    /// Adds a table, if it has rows.
    pub(super) fn table(&mut self, grid: Grid) {
        if !grid.is_empty() {
            self.blocks.push(Block::Table(grid));
        }
    }

    /// Adds a table that is shown when it is asked for, if it has rows.
    pub(super) fn folded(&mut self, summary: &str, grid: Grid) {
        if !grid.is_empty() {
            let details = Element::new("details").child(text_element("summary", summary));
            self.html(details.child(grid.element()));
        }
    }

    /// Adds figures, if there are any, and says how many of them are left out.
    pub(super) fn figures(&mut self, mut figures: Vec<Figure>, most: usize) {
        let left = figures.len().saturating_sub(most);
        figures.truncate(most);
        if !figures.is_empty() {
            self.blocks.push(Block::Figures(figures));
        }
        if left > 0 {
            self.note(format!("and {left} more such figures, not drawn here"));
        }
    }

    pub(super) fn all_figures(&self) -> impl Iterator<Item = &Figure> {
        self.blocks.iter().flat_map(|block| match block {
            Block::Figures(figures) => figures.as_slice(),
            _ => &[],
        })
    }

    pub(super) fn element(&self) -> Element {
        let id = format!("{}-h", self.id);
        let head = text_element("h2", &self.title).attr("id", &id);
        let blocks = self.blocks.iter().map(|block| match block {
            Block::Html(element) => element.clone(),
            Block::Table(grid) => grid.clone().element(),
            Block::Figures(figures) => Element::new("div")
                .class("figures")
                .children(figures.iter().map(Figure::element)),
        });
        Element::new("section")
            .attr("id", self.id)
            .attr("aria-labelledby", id)
            .child(head)
            .children(blocks)
    }
}
