//! Tables: a caption, heads with a scope, the first rows of many and the count of the rest.

use super::{
    html::{Element, text_element},
    number::{count, cut},
};

/// Letters of a cell; names and reasons come from data and may have any length.
const LETTERS: usize = 400;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// Something that is drawn or cannot be sorted by.
    Other,
}

/// A table in the making.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    caption: String,
    columns: Vec<(String, Kind)>,
    rows: Vec<Vec<Element>>,
    left: usize,
    sortable: bool,
    /// The column that it is sorted by.
    sorted: Option<usize>,
}

impl Grid {
    pub(super) fn new(caption: impl ToString) -> Self {
        Self {
            caption: caption.to_string(),
            columns: Vec::new(),
            rows: Vec::new(),
            left: 0,
            sortable: false,
            sorted: None,
        }
    }

    /// With a column of names or words.
    pub(super) fn words(self, head: impl ToString) -> Self {
        self.column(head, Kind::Text)
    }

    /// With columns of numbers.
    pub(super) fn numbers(self, heads: &[&str]) -> Self {
        let add = |grid: Self, head: &&str| grid.column(head, Kind::Number);
        heads.iter().fold(self, add)
    }

    pub(super) fn column(mut self, head: impl ToString, kind: Kind) -> Self {
        self.columns.push((head.to_string(), kind));
        self
    }

    /// A table that the reader may sort.
    pub(super) fn sortable(mut self) -> Self {
        self.sortable = true;
        self
    }

    /// Says which column it is sorted by, the least first.
    pub(super) fn sorted(mut self, column: Option<usize>) -> Self {
        self.sorted = column;
        self
    }

    /// Adds a row of texts.
    pub(super) fn row(&mut self, cells: &[String]) {
        let cells = cells
            .iter()
            .map(|cell| text_element("td", cut(cell, LETTERS)));
        self.rows.push(cells.collect());
    }

    /// Adds a row of cells, `td` each.
    pub(super) fn cells(&mut self, cells: Vec<Element>) {
        self.rows.push(cells);
    }

    /// Says that so many more rows were left out.
    pub(super) fn left(mut self, left: usize) -> Self {
        self.left = left;
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table, in a frame that scrolls where it is too wide.
    pub(super) fn element(self) -> Element {
        let head = self.columns.iter().enumerate().map(|(place, column)| {
            let (head, kind) = column;
            let mut cell = text_element("th", head).attr("scope", "col");
            if self.sorted == Some(place) {
                cell = cell.attr("aria-sort", "ascending");
            }
            match kind {
                Kind::Text => cell.class("w"),
                Kind::Number => cell,
                Kind::Other => cell.class("o"),
            }
        });
        let head = Element::new("thead").child(Element::new("tr").children(head));
        let columns = &self.columns;
        let rows = self.rows.into_iter().map(|cells| row(cells, columns));
        let mut table = Element::new("table");
        if self.sortable {
            table = table.class("sort");
        }
        let table = table
            .child(text_element("caption", &self.caption))
            .child(head)
            .child(Element::new("tbody").children(rows));
        let framed = Element::new("div").class("wide").child(table);
        if self.left == 0 {
            return framed;
        }
        let rest = format!("and {} not shown", count(self.left, "more row"));
        Element::new("div")
            .child(framed)
            .child(text_element("p", rest).class("rest"))
    }
}

/// A row whose first cell is its head.
fn row(cells: Vec<Element>, columns: &[(String, Kind)]) -> Element {
    let kind = |place: usize| columns.get(place).map(|(_, kind)| *kind);
    let cells = cells.into_iter().enumerate();
    let cells = cells.map(|(place, cell)| {
        let is_long = cell.is_long();
        match (place, kind(place)) {
            (0, _) if is_long => cell.renamed("th").attr("scope", "row").class("l"),
            (0, _) => cell.renamed("th").attr("scope", "row"),
            (_, Some(Kind::Text)) if is_long => cell.class("w l"),
            (_, Some(Kind::Text)) => cell.class("w"),
            (_, _) => cell,
        }
    });
    Element::new("tr").children(cells)
}

/// The first `most` of some, and how many are left.
pub(super) fn first<T>(mut all: Vec<T>, most: usize) -> (Vec<T>, usize) {
    let left = all.len().saturating_sub(most);
    all.truncate(most);
    (all, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_a_scope_and_the_rest_is_counted() {
        let mut grid = Grid::new("Colours").words("name").numbers(&["n"]);
        grid.row(&["<red>".into(), "1".into()]);
        let html = grid.left(2).element().to_string();
        for part in [
            "<caption>Colours</caption>",
            "<th scope=\"col\" class=\"w\">name</th>",
            "<th scope=\"row\">&lt;red&gt;</th>",
            "<td>1</td>",
            "and 2 more rows not shown",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert_eq!(first(vec![1, 2, 3], 2), (vec![1, 2], 1));
    }
}
