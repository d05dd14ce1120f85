//! Rows of cells as a table for people.

use std::ops::Range;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// How a table looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TableKind {
    /// Columns with nothing between them.
    Plain,
    /// Markdown.
    Markdown,
}

/// Rows of cells in columns, those of `right` to the right; a row is a line, and no cell is broken.
pub fn rows_table(
    head: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    right: Range<usize>,
) -> String {
    TableKind::Plain.table(head, rows, right)
}

impl TableKind {
    /// A table of this kind, as [`rows_table`].
    pub(crate) fn table(
        self,
        head: &[&str],
        rows: impl Iterator<Item = Vec<String>>,
        right: Range<usize>,
    ) -> String {
        let mut table = Table::new();
        table
            .load_preset(match self {
                Self::Plain => presets::NOTHING,
                Self::Markdown => presets::ASCII_MARKDOWN,
            })
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(head);
        for row in rows {
            table.add_row(match self {
                Self::Plain => row,
                Self::Markdown => row.iter().map(|cell| cell.replace('|', "\\|")).collect(),
            });
        }
        for column in right {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines: Vec<String> = table
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        lines.join("\n")
    }
}
