//! `results.csv`: a line for each score. It holds what was measured and nothing of when or how
//! fast: the same measurements give the same bytes.

use crate::{Record, csv_line::csv_line};

/// Columns; new ones are added at the end.
const COLUMNS: [&str; 32] = [
    "task",
    "variant",
    "task_version",
    "family",
    "protocol",
    "method",
    "feature",
    "split",
    "metric",
    "value",
    "standard_error",
    "ci_low",
    "ci_high",
    "interval",
    "chance",
    "n",
    "skipped",
    "train_rows",
    "model",
    "model_revision",
    "model_fingerprint",
    "data",
    "data_revision",
    "data_fingerprint",
    "transform",
    "precision",
    "seed",
    "publishable",
    "initialisation",
    "recipe",
    "recipe_digest",
    "departures",
];

/// The whole table of some records, with its head.
pub fn csv_table(records: &[Record]) -> String {
    let line = |fields: [String; 32]| csv_line(fields.iter().map(|field| cell(field)));
    let mut table = line(COLUMNS.map(str::to_owned));
    for record in records {
        (0..record.metrics.len()).for_each(|metric| table.push_str(&line(row(record, metric))));
    }
    table
}

fn row(record: &Record, metric: usize) -> [String; 32] {
    let score = &record.metrics[metric];
    [
        record.task.clone(),
        record.variant.clone(),
        record.task_version.to_string(),
        record.family.clone(),
        record.protocol.clone(),
        record.method.clone(),
        record.feature.clone(),
        score.split.clone(),
        score.metric.clone(),
        score.value.to_string(),
        score.standard_error.to_string(),
        score.ci_low.to_string(),
        score.ci_high.to_string(),
        score.interval.clone(),
        if metric == 0 {
            record.chance.to_string()
        } else {
            String::new()
        },
        score.n.to_string(),
        record.skipped.to_string(),
        record.train_rows.to_string(),
        record.model.clone(),
        record.model_revision.clone(),
        record.model_fingerprint.clone(),
        record.data.clone(),
        record.data_revision.clone(),
        record.data_fingerprint.clone(),
        record.transform.clone(),
        record.precision.clone(),
        record.seed.to_string(),
        record.publishable.to_string(),
        record.initialisation.clone(),
        record.recipe.clone(),
        record.recipe_digest.clone(),
        record.departures.join("; "),
    ]
}

/// A cell that a spreadsheet takes for text: what begins as a formula does, and is no number, has
/// an apostrophe before it.
fn cell(text: &str) -> String {
    let formula =
        text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(
            ["=cmd|x", "@a", "-1.5", "-x", "a=b", ""].map(cell),
            ["'=cmd|x", "'@a", "-1.5", "'-x", "a=b", ""]
        );
    }

    #[test]
    fn numbers_and_names_read_back_exactly() {
        let table = csv_table(&[record("a"), record("b")]);
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(
            rows[0][9].parse::<f64>().unwrap().to_bits(),
            (0.1f64 + 0.2).to_bits()
        );
        assert_eq!(
            (&rows[2][0], &rows[3][8], &rows[0][18]),
            ("b", "mean_per_class", "a, \"quoted\" folder")
        );
    }
}
