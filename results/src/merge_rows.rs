//! A table that several people add to: rows of theirs and of ours in one, whoever comes first.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use csv::StringRecord;

use crate::{Error, Result, csv_line::csv_line};

/// What makes rows of a table the same, and what its rows have in common.
#[derive(Clone, Copy, Debug)]
pub struct MergeRule<'a> {
    /// The table's name, as errors tell it.
    pub table: &'a str,
    /// Columns that say what a row is about: a row replaces another with the same values in them.
    pub keys: &'a [&'a str],
    /// Columns, if the table has them, with one value in all rows.
    pub common: &'a [&'a str],
    /// Columns, if the table has them, that rows are sorted by.
    pub order: &'a [&'a str],
}

/// What a table has that another had not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowChanges {
    /// Keys of rows that are new.
    pub added: Vec<String>,
    /// Rows that are others now: their keys, and how many of their cells differ.
    pub changed: Vec<ChangedRow>,
    /// Keys of rows that are gone.
    pub removed: Vec<String>,
}

/// A row that is another now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRow {
    /// Its key.
    pub key: String,
    /// Cells that differ.
    pub cells: usize,
    /// Of these, cells that are empty now.
    pub emptied: usize,
}

/// A table that was read.
struct Rows<'a> {
    rule: &'a MergeRule<'a>,
    columns: Vec<String>,
    rows: Vec<BTreeMap<String, String>>,
}

/// The rows of both tables, sorted: where they have the same key, the new one. The columns of `old`
/// keep their order, and those that only `new` has come last.
///
/// # Errors
/// If a table is none, has a row twice or lacks a key; if a column of numbers in one is text in the
/// other, or if the rows differ in a column that they must have in common.
pub fn merge_rows(old: Option<&str>, new: &str, rule: &MergeRule) -> Result<String> {
    let new = Rows::read(new, rule)?;
    let mut merged = match old {
        Some(old) => Rows::read(old, rule)?,
        None => Rows {
            columns: new.columns.clone(),
            rows: Vec::new(),
            ..new
        },
    };
    let replaced: BTreeSet<String> = new.rows.iter().map(|row| new.key(row)).collect();
    let kept = std::mem::take(&mut merged.rows).into_iter();
    merged.rows = kept
        .filter(|row| !replaced.contains(&key_of(row, rule.keys)))
        .collect();
    merged.agrees_with(&new)?;
    for column in new.columns {
        if !merged.columns.contains(&column) {
            merged.columns.push(column);
        }
    }
    merged.rows.extend(new.rows);
    merged.check_common()?;
    merged.rows.sort_by_key(|row| {
        let order = rule.order.iter().map(|column| row.get(*column).cloned());
        order.collect::<Vec<_>>()
    });
    Ok(merged.text())
}

/// How a table differs from what it was.
pub fn row_changes(old: Option<&str>, new: &str, rule: &MergeRule) -> Result<RowChanges> {
    let new = Rows::read(new, rule)?;
    let old = old.map(|old| Rows::read(old, rule)).transpose()?;
    let old_rows = old.iter().flat_map(|old| &old.rows);
    let mut before: BTreeMap<String, _> = old_rows.map(|row| (new.key(row), row)).collect();
    let mut changes = RowChanges::default();
    for row in &new.rows {
        let key = new.key(row);
        let Some(was) = before.remove(&key) else {
            changes.added.push(key);
            continue;
        };
        let columns: BTreeSet<&String> = row.keys().chain(was.keys()).collect();
        let cell =
            |row: &BTreeMap<String, String>, column| row.get(column).cloned().unwrap_or_default();
        let pairs = columns
            .iter()
            .map(|column| (cell(was, *column), cell(row, *column)));
        let differing: Vec<String> = pairs.filter(|(a, b)| a != b).map(|(_, b)| b).collect();
        if !differing.is_empty() {
            changes.changed.push(ChangedRow {
                key,
                cells: differing.len(),
                emptied: differing.iter().filter(|cell| cell.is_empty()).count(),
            });
        }
    }
    changes.removed = before.into_keys().collect();
    Ok(changes)
}

impl<'a> Rows<'a> {
    fn read(text: &str, rule: &'a MergeRule<'a>) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        let wrong = |reason: &dyn ToString| Error::file(Path::new(rule.table), reason.to_string());
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let head = reader.headers().map_err(|e| wrong(&e))?.clone();
        let columns: Vec<String> = head.iter().map(str::to_owned).collect();
        let distinct: BTreeSet<&String> = columns.iter().collect();
        if distinct.len() < columns.len() || distinct.iter().any(|name| name.trim().is_empty()) {
            return Err(wrong(&"has a column twice, or one without a name"));
        }
        if let Some(key) = rule
            .keys
            .iter()
            .find(|key| !head.iter().any(|name| name == **key))
        {
            return Err(wrong(&format!("has no column {key:?}")));
        }
        let row = |row: StringRecord| {
            let cells = columns.iter().cloned().zip(row.iter().map(str::to_owned));
            cells.collect::<BTreeMap<_, _>>()
        };
        let rows = reader.records().map(|read| read.map(row));
        let rows: Vec<_> = rows
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| wrong(&e))?;
        let mut seen = BTreeSet::new();
        let mut keys = rows.iter().map(|row| key_of(row, rule.keys));
        if let Some(twice) = keys.find(|key| !seen.insert(key.clone())) {
            return Err(wrong(&format!("has two rows of {twice}")));
        }
        Ok(Self {
            rule,
            columns,
            rows,
        })
    }

    fn key(&self, row: &BTreeMap<String, String>) -> String {
        key_of(row, self.rule.keys)
    }

    /// The values of a column that are not empty.
    fn cells<'b>(&'b self, column: &'b str) -> impl Iterator<Item = &'b str> {
        let cells = self.rows.iter().filter_map(move |row| row.get(column));
        cells.map(String::as_str).filter(|cell| !cell.is_empty())
    }

    /// No column is of numbers in one table and of words in the other: a reader takes its type from
    /// all rows, and its meaning has changed.
    fn agrees_with(&self, new: &Self) -> Result<()> {
        for column in &new.columns {
            let known = self.columns.contains(column) && !self.rule.keys.contains(&column.as_str());
            let empty = self.cells(column).next().is_none() || new.cells(column).next().is_none();
            if !known || empty {
                continue;
            }
            let numbers = |rows: &Self| rows.cells(column).all(is_number);
            if numbers(self) != numbers(new) {
                let reason = format!(
                    "the column {column:?} holds numbers here and words there: it has two meanings"
                );
                return Err(Error::file(Path::new(self.rule.table), reason));
            }
        }
        Ok(())
    }

    fn check_common(&self) -> Result<()> {
        for column in self.rule.common {
            let values: BTreeSet<&str> = self.cells(column).collect();
            if values.len() > 1 {
                let values = values.into_iter().collect::<Vec<_>>().join(", ");
                let reason = format!(
                    "its rows would differ in {column} ({values}), and numbers of different versions do not compare: publish to another repository, or measure the others again"
                );
                return Err(Error::file(Path::new(self.rule.table), reason));
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = csv_line(self.columns.iter().cloned());
        for row in &self.rows {
            let cell = |column| row.get(column).cloned().unwrap_or_default();
            text.push_str(&csv_line(self.columns.iter().map(cell)));
        }
        text
    }
}

fn key_of(row: &BTreeMap<String, String>, keys: &[&str]) -> String {
    let value = |key: &&str| row.get(*key).cloned().unwrap_or_default();
    keys.iter().map(value).collect::<Vec<_>>().join(" ")
}

/// Whether a cell is a number as tables of results have them; NaN and words are none.
fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: MergeRule = MergeRule {
        table: "leaderboard.csv",
        keys: &["id", "protocol"],
        common: &["suite_version"],
        order: &["model", "id"],
    };

    fn merge(old: &str, new: &str) -> Result<String> {
        merge_rows(Some(old), new, &RULE)
    }

    #[test]
    fn rows_are_replaced_added_and_sorted_and_columns_stay() {
        let old = "model,id,protocol,suite_version,food\nb,2,clip,1,0.5\na,1,clip,1,0.25\n";
        let new = "id,protocol,model,pets,food\n2,clip,b,0.75,\n3,clip,aa,\"0.125\",1\n";
        let merged = "model,id,protocol,suite_version,food,pets\n\
                      a,1,clip,1,0.25,\naa,3,clip,,1,0.125\nb,2,clip,,,0.75\n";
        assert_eq!(merge(old, new).unwrap(), merged);
        assert_eq!(
            merge(merged, new).unwrap(),
            merged,
            "once more changes nothing"
        );
        assert_eq!(merge_rows(None, merged, &RULE).unwrap(), merged);
        let windows = format!("\u{feff}{}", old.replace('\n', "\r\n"));
        assert_eq!(merge(&windows, new).unwrap(), merged);
        let changes = row_changes(Some(old), merged, &RULE).unwrap();
        assert_eq!(changes.added, ["3 clip"]);
        let changed = ChangedRow {
            key: "2 clip".into(),
            cells: 3,
            emptied: 2,
        };
        assert_eq!(changes.changed, [changed]);
        assert!(changes.removed.is_empty());
        let back = row_changes(Some(merged), old, &RULE).unwrap();
        assert_eq!(back.removed, ["3 clip"]);
        assert_eq!(row_changes(None, old, &RULE).unwrap().added.len(), 2);
    }

    #[test]
    fn whoever_comes_first_the_table_is_the_same() {
        let tables =
            ["a,1", "b,2", "c,3"].map(|row| format!("model,id,protocol,food\n{row},clip,0.5\n"));
        let all = |order: [usize; 3]| {
            let add = |table: Option<String>, next: usize| {
                merge_rows(table.as_deref(), &tables[next], &RULE).ok()
            };
            order.into_iter().fold(None, add).unwrap()
        };
        assert_eq!(all([0, 1, 2]), all([2, 1, 0]));
        assert_eq!(all([0, 1, 2]), all([1, 0, 2]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let old = "model,id,protocol,suite_version,food\na,1,clip,1,0.25\n";
        let refused = |new: &str| merge(old, new).unwrap_err().to_string();
        let words = refused("model,id,protocol,food\nb,2,clip,good\n");
        assert!(
            words.contains("\"food\"") && words.contains("two meanings"),
            "{words}"
        );
        let versions = refused("model,id,protocol,suite_version\nb,2,clip,2\n");
        assert!(versions.contains("suite_version (1, 2)"), "{versions}");
        // The only row of version 1 is replaced: none is left to differ from.
        assert!(merge(old, "model,id,protocol,suite_version\na,1,clip,2\n").is_ok());
        for (new, expected) in [
            ("model,protocol\na,clip\n", "no column \"id\""),
            ("id,protocol,id\n1,clip,1\n", "twice"),
            ("id,protocol,\n1,clip,1\n", "without a name"),
            ("id,protocol\n1,clip\n1,clip\n", "two rows of 1 clip"),
            ("id,protocol\n1,clip,3\n", "fields"),
            ("", "no column"),
        ] {
            let error = refused(new);
            assert!(error.contains(expected), "{new:?}: {error}");
        }
        assert!(merge("<html>", old).is_err());
    }
}
