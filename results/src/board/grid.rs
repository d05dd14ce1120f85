//! A table of text, as Markdown and as LaTeX.

/// What stands where nothing is known.
pub(super) const NONE: &str = "-";

/// A table of text that is escaped.
pub(super) struct TextTable {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl TextTable {
    /// The columns in which some row has something.
    pub(super) fn without_empty_columns(self) -> Self {
        let is_told = |column: usize| self.rows.iter().any(|row| row[column] != NONE);
        let told: Vec<usize> = (0..self.head.len())
            .filter(|column| is_told(*column))
            .collect();
        let of = |cells: &[String]| told.iter().map(|&column| cells[column].clone()).collect();
        Self {
            head: of(&self.head),
            rows: self.rows.iter().map(|row| of(row)).collect(),
        }
    }

    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let rows = self.rows.iter().map(|row| line(row));
        rows.fold(line(&self.head) + &rule, |text, row| text + &row)
    }

    /// For the package booktabs.
    pub(super) fn latex(&self) -> String {
        let line = |cells: &[String]| format!("{} \\\\\n", cells.join(" & "));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        let (head, columns) = (line(&self.head), "l".repeat(self.head.len()));
        format!(
            "\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head}\\midrule\n{rows}\\bottomrule\n\\end{{tabular}}\n\n"
        )
    }
}
