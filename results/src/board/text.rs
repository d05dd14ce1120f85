//! A board for people: Markdown, LaTeX, JSON.

use serde_json::{Value, json};

use super::{
    Board, Origin, Row,
    average::Mean,
    entry::{Cell, Measured},
    grid::TextTable,
};
use crate::{
    Result,
    reproduction::{Reproduction, Verdict, WHOLE, off_by_chance, reproduction},
};

/// What stands over the Markdown tables.
const LEGEND: &str = "\
In percent. Intervals hold 95 % of what other rows of the same data would have given: of averages \
in brackets, of ranks behind the rank, with the same rows drawn for all checkpoints. In the second \
table the standard error stands in parentheses.";

impl Board {
    /// The whole board as Markdown: ranks and averages, each number, and how far it is from the
    /// paper where that was asked for.
    ///
    /// # Errors
    /// If the registry cannot be read.
    pub fn markdown(&self) -> Result<String> {
        let mut text = format!(
            "{LEGEND}\n\n{}\n{}",
            self.summary(Markup::Markdown).markdown(),
            self.numbers(Markup::Markdown).markdown()
        );
        if self
            .rows
            .iter()
            .any(|row| row.entry.origin == Origin::Published)
        {
            text.push_str(&self.distances()?);
        }
        if !self.notes.is_empty() {
            let notes = self
                .notes
                .iter()
                .map(|note| format!("* {}\n", Markup::Markdown.escape(note)));
            text += "\n";
            text.extend(notes);
        }
        Ok(text)
    }

    /// Ranks and averages alone.
    pub fn markdown_summary(&self) -> String {
        self.summary(Markup::Markdown).markdown()
    }

    /// Ranks, averages and numbers as two tables for the package booktabs.
    pub fn latex(&self) -> String {
        let tables = [self.summary(Markup::Latex), self.numbers(Markup::Latex)];
        let notes = self.notes.iter().map(|note| format!("% {note}\n"));
        tables.iter().map(TextTable::latex).chain(notes).collect()
    }

    /// Everything, for programs.
    pub fn json(&self) -> Value {
        let column = |column: &super::Column| json!({ "task": column.task, "metric": column.metric, "group": column.group });
        json!({
            "suite": self.columns.suite.name(),
            "suite_version": self.columns.suite_version,
            "columns": self.columns.all.iter().map(column).collect::<Vec<_>>(),
            "common": self.common.iter().map(|&at| self.columns.all[at].name()).collect::<Vec<_>>(),
            "ranked_by": if self.is_complete { "average" } else { "average_common" },
            "rows": self.rows.iter().map(|row| self.json_row(row)).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    fn json_row(&self, row: &Row) -> Value {
        let average = |average: &Mean| {
            json!({ "value": average.value, "standard_error_rows": average.over_rows, "standard_error_tasks": average.over_tasks,
                "standard_deviation_seeds": average.over_seeds })
        };
        let cell = |cell: &Cell| {
            json!({ "value": cell.value, "standard_error": cell.standard_error, "standard_deviation_seeds": cell.over_seeds,
                "n": cell.n, "chance": cell.chance, "publishable": cell.publishable })
        };
        let cells = self.columns.all.iter().zip(&row.cells);
        let cells =
            cells.filter_map(|(column, found)| Some((column.name(), cell(found.as_ref()?))));
        let groups = row.groups.iter().map(|group| {
            (
                group.group.to_owned(),
                group.average.as_ref().map(average).into(),
            )
        });
        json!({
            "rank": row.rank.map(|rank| json!({ "rank": rank.rank, "low": rank.low, "high": rank.high })),
            "model": row.entry.model,
            "protocol": row.entry.protocol,
            "precision": row.entry.precision,
            "source": row.entry.origin.name(),
            "fingerprints": row.entry.members.iter().map(|member| &member.fingerprint).collect::<Vec<_>>(),
            "date": row.entry.date(),
            "program": row.entry.told(|record| &record.program),
            "publishable": row.is_publishable(),
            "present": row.present,
            "average": row.average.as_ref().map(average),
            "average_common": row.common.as_ref().map(average),
            "groups": groups.collect::<serde_json::Map<String, Value>>(),
            "win_rate": row.win_rate,
            "average_rescaled": row.rescaled,
            "numbers": cells.collect::<serde_json::Map<String, Value>>(),
        })
    }

    fn summary(&self, markup: Markup) -> TextTable {
        let whole = self.columns.averaged().count();
        let mut head = vec![
            "rank".to_owned(),
            "checkpoint".into(),
            "protocol".into(),
            format!("average of {whole}"),
        ];
        let with_common = !self.is_complete && !self.common.is_empty();
        if with_common {
            head.push(format!("mean of {} that all have", self.common.len()));
        }
        head.extend(self.columns.groups().into_iter().map(str::to_owned));
        head.extend(["numbers", "win rate", "from chance to 1"].map(str::to_owned));
        let row = |row: &Row| {
            let rank = row.rank.map_or("-".to_owned(), |rank| {
                format!("{} ({} to {})", rank.rank, rank.low, rank.high)
            });
            let mut cells = vec![
                rank,
                markup.name(row, &self.rows),
                markup.escape(&row.entry.protocol),
                average(row.average.as_ref()),
            ];
            if with_common {
                cells.push(average(row.common.as_ref()));
            }
            cells.extend(
                row.groups
                    .iter()
                    .map(|group| average(group.average.as_ref())),
            );
            cells.extend([
                format!("{} of {whole}", row.present),
                percent(row.win_rate),
                percent(row.rescaled),
            ]);
            cells
        };
        let rows = self.rows.iter().map(row).collect();
        TextTable { head, rows }.without_empty_columns()
    }

    /// Tasks down, checkpoints across.
    fn numbers(&self, markup: Markup) -> TextTable {
        let mut head = vec!["task".to_owned(), "metric".to_owned()];
        head.extend(self.rows.iter().map(|row| markup.name(row, &self.rows)));
        let is_there = |at: &usize| self.rows.iter().any(|row| row.cells[*at].is_some());
        let line = |at: usize| {
            let column = &self.columns.all[at];
            let mut line = vec![markup.escape(&column.task), markup.escape(&column.metric)];
            line.extend(self.rows.iter().map(|row| number(row.cells[at].as_ref())));
            line
        };
        let rows = (0..self.columns.all.len())
            .filter(is_there)
            .map(line)
            .collect();
        TextTable { head, rows }
    }

    /// How far each measured number is from the paper's.
    fn distances(&self) -> Result<String> {
        let mut text = String::new();
        for row in self
            .rows
            .iter()
            .filter(|row| row.entry.origin < Origin::Foreign)
        {
            let mut found = Vec::new();
            for Measured { record, .. } in row.entry.records() {
                found.extend(reproduction(record, WHOLE)?);
            }
            if !found.is_empty() {
                let name = Markup::Markdown.name(row, &self.rows);
                let (told, table) = (verdicts(&found), distance_grid(&found).markdown());
                let parts = [
                    "\n",
                    &name,
                    " beside the paper's ",
                    WHOLE,
                    ": ",
                    &told,
                    "\n\n",
                    &table,
                ];
                text.extend(parts);
            }
        }
        Ok(text)
    }
}

/// How often each verdict stands, and what chance alone would do.
fn verdicts(found: &[Reproduction]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for distance in found {
        let name = distance.verdict.name();
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let told = counts.iter().map(|(name, count)| format!("{count} {name}"));
    let told = told.collect::<Vec<_>>().join(", ");
    let is_compared =
        |distance: &&Reproduction| !matches!(distance.verdict, Verdict::NotCompared(_));
    let compared = found.iter().filter(is_compared).count();
    let chance = off_by_chance(compared);
    format!(
        "{told}. Were the rows drawn anew, chance alone would put about {chance:.1} of {compared} \
         farther than 2 standard errors."
    )
}

fn distance_grid(found: &[Reproduction]) -> TextTable {
    let head = [
        "task",
        "metric",
        "measured",
        "published",
        "difference",
        "rows",
        "reachable",
        "verdict",
    ];
    let row = |distance: &Reproduction| {
        vec![
            Markup::Markdown.escape(&distance.task),
            distance.metric.clone(),
            format!("{:.2}", distance.measured),
            format!("{:.2}", distance.published),
            format!("{:+.2}", distance.difference),
            distance
                .rows
                .map_or("-".to_owned(), |rows| rows.to_string()),
            distance
                .is_reachable
                .map_or("-", |is| if is { "yes" } else { "no" })
                .to_owned(),
            distance.verdict.name().to_owned(),
        ]
    };
    TextTable {
        head: head.map(str::to_owned).to_vec(),
        rows: found.iter().map(row).collect(),
    }
}

/// What text is written for.
#[derive(Clone, Copy)]
enum Markup {
    Markdown,
    Latex,
}

impl Markup {
    /// A row's checkpoint: published ones in italics, marked where it may not stand in a
    /// leaderboard.
    fn name(self, row: &Row, rows: &[Row]) -> String {
        let same = |other: &&Row| other.entry.model == row.entry.model;
        let precision = &row.entry.precision;
        let precision = if rows.iter().filter(same).count() > 1 && !precision.is_empty() {
            format!(" {precision}")
        } else {
            String::new()
        };
        let mark = if row.is_publishable() {
            ""
        } else {
            " (not publishable)"
        };
        let seeds = row.entry.members.len();
        let seeds = if seeds > 1 {
            format!(" ({seeds} seeds)")
        } else {
            String::new()
        };
        let name = self.escape(&format!("{}{precision}{seeds}{mark}", row.entry.model));
        match (self, row.entry.origin) {
            (Self::Markdown, Origin::Published | Origin::Foreign) => format!("*{name}*"),
            (Self::Latex, Origin::Published | Origin::Foreign) => format!("\\emph{{{name}}}"),
            _ => name,
        }
    }

    /// Text that stays text.
    fn escape(self, text: &str) -> String {
        let escape = |character: char| match (self, character) {
            (_, '\n' | '\r') => " ".to_owned(),
            (Self::Markdown, '|' | '*' | '_' | '`' | '[' | ']' | '\\') => format!("\\{character}"),
            (Self::Markdown, '<') => "&lt;".to_owned(),
            (Self::Markdown, '&') => "&amp;".to_owned(),
            (Self::Latex, '&' | '%' | '$' | '#' | '_' | '{' | '}') => format!("\\{character}"),
            (Self::Latex, '\\') => "\\textbackslash{}".to_owned(),
            (Self::Latex, '~') => "\\textasciitilde{}".to_owned(),
            (Self::Latex, '^') => "\\textasciicircum{}".to_owned(),
            (_, character) => character.to_string(),
        };
        text.chars().map(escape).collect()
    }
}

fn average(average: Option<&Mean>) -> String {
    let Some(average) = average else {
        return "-".to_owned();
    };
    let value = average.value * 100.0;
    match average.interval() {
        Some([low, high]) => format!("{value:.2} [{:.2}, {:.2}]", low * 100.0, high * 100.0),
        None => format!("{value:.2}"),
    }
}

fn number(cell: Option<&Cell>) -> String {
    let Some(cell) = cell else {
        return "-".to_owned();
    };
    let value = cell.value * 100.0;
    match cell.standard_error {
        Some(error) => format!("{value:.2} ({:.2})", error * 100.0),
        None => format!("{value:.2}"),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1}", share * 100.0))
}
