//! Ranks of a table that several people write to: what each knows of its own rows alone.

use csv::{ReaderBuilder, StringRecord};

use super::{
    rank::{Rank, ranks},
    resampled::normal_draws,
};
use crate::{Error, Result, covariance::Share, csv_line::csv_line};

/// Draws of the intervals.
const DRAWS: usize = 1000;

/// The wide table with its ranks made anew, over the rows that have an average. Nobody's
/// predictions are at hand: errors are drawn apart, and the intervals are wider than those of runs.
///
/// # Errors
/// If it is no such table.
pub fn rerank(table: &str) -> Result<String> {
    let broken = |e: csv::Error| Error::Board(format!("the table of all: {e}"));
    let mut reader = ReaderBuilder::new().from_reader(table.as_bytes());
    let head = reader.headers().map_err(broken)?.clone();
    let rows: Vec<StringRecord> = reader
        .records()
        .collect::<std::result::Result<_, _>>()
        .map_err(broken)?;
    let column = |name: &str| {
        let found = head.iter().position(|column| column == name);
        found.ok_or_else(|| Error::Board(format!("the table of all has no column {name}")))
    };
    let (average, error) = (column("average")?, column("average_se")?);
    let number = |row: &StringRecord, column: usize| {
        row.get(column).and_then(|cell| cell.parse::<f64>().ok())
    };
    let ranked: Vec<usize> = (0..rows.len())
        .filter(|&row| number(&rows[row], average).is_some())
        .collect();
    let values: Vec<f64> = ranked
        .iter()
        .filter_map(|&row| number(&rows[row], average))
        .collect();
    let who = column("model_fingerprint")?;
    let drawn = ranked.iter().zip(&values).map(|(&row, value)| {
        let told = Share {
            value: *value,
            error: number(&rows[row], error).unwrap_or(0.0),
        };
        let who = rows[row].get(who).unwrap_or_default();
        normal_draws(&format!("table {who} {row}"), told, DRAWS)
    });
    let found = ranks(&values, &drawn.collect::<Vec<_>>());
    let mut text = csv_line(head.iter().map(str::to_owned));
    for (at, row) in rows.iter().enumerate() {
        let position = ranked.iter().position(|ranked| *ranked == at);
        let rank = position.map(|position| found[position]);
        let cells = head
            .iter()
            .zip(row)
            .map(|(name, cell)| ranked_cell(name, cell, rank));
        text.push_str(&csv_line(cells));
    }
    Ok(text)
}

fn ranked_cell(name: &str, cell: &str, rank: Option<Rank>) -> String {
    let told =
        |read: fn(Rank) -> usize| rank.map_or_else(String::new, |rank| read(rank).to_string());
    match name {
        "rank" => told(|rank| rank.rank),
        "rank_low" => told(|rank| rank.low),
        "rank_high" => told(|rank| rank.high),
        _ => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_others_are_ranked_and_rows_without_an_average_are_not() {
        let table = "rank,rank_low,rank_high,model,model_fingerprint,average,average_se\n\
                     1,1,1,a,aa,0.5,0.01\n1,1,1,b,bb,0.7,0.01\n,,,c,cc,,\n";
        let ranked = rerank(table).unwrap();
        let lines: Vec<&str> = ranked.lines().collect();
        assert_eq!(
            lines[1..],
            ["2,2,2,a,aa,0.5,0.01", "1,1,1,b,bb,0.7,0.01", ",,,c,cc,,"]
        );
        assert_eq!(rerank(&ranked).unwrap(), ranked);
        assert!(rerank("model\nx\n").is_err());
    }
}
