//! The commands that make numbers again, as far as their records tell.

use std::collections::BTreeMap;

use crate::Record;

/// The variant of a record that `flava-finetune` made of another method's task.
const FINE_TUNED: &str = "fine_tune";

/// A command and how many records it makes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    pub(super) line: String,
    pub(super) records: usize,
}

/// Commands for records, those of the same settings in one; of very many tasks the first.
pub(super) fn commands<'a>(
    records: impl Iterator<Item = &'a Record>,
    most_tasks: usize,
) -> Vec<Command> {
    let mut by_start: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records {
        let task = quoted(&record.task);
        let start = if record.variant == FINE_TUNED {
            format!("flava-finetune {task} {}", settings(record))
        } else {
            format!("flava-eval {}", settings(record))
        };
        by_start.entry(start).or_default().push(task);
    }
    let command = |(start, mut tasks): (String, Vec<String>)| {
        let records = tasks.len();
        tasks.truncate(most_tasks);
        let left = records - tasks.len();
        let rest = if left > 0 {
            format!(" # and {left} more tasks")
        } else {
            String::new()
        };
        let line = if start.starts_with("flava-finetune") {
            start
        } else {
            format!("{start} --tasks {}{rest}", tasks.join(","))
        };
        Command { line, records }
    };
    by_start.into_iter().map(command).collect()
}

fn settings(record: &Record) -> String {
    let mut words = Vec::new();
    if record.model != "embedded" {
        words.push(format!("--model {}", quoted(&model(record))));
    }
    words.push(format!("--protocol {}", quoted(&record.protocol)));
    let parts = record.variant.split('.');
    let parts = parts.filter(|part| !part.is_empty() && *part != FINE_TUNED);
    words.extend(parts.map(|part| match part {
        "linear_probe" | "knn" | "few_shot" => format!("--method {}", part.replace('_', "-")),
        "full_sweep" => "--sweep full".to_owned(),
        feature => format!("--features {}", quoted(feature)),
    }));
    let (precision, seed) = (quoted(&record.precision), record.seed);
    words.push(format!("--precision {precision} --seed {seed}"));
    if !record.mismatches.is_empty() {
        words.push("--allow-mismatch".to_owned());
    }
    if record.skipped > 0 {
        words.push("--skip-broken".to_owned());
    }
    if record.departures.iter().any(|what| what == "--limit") {
        words.push(format!("--limit {}", limit(record)));
    }
    words.join(" ")
}

fn model(record: &Record) -> String {
    if record.model_revision.is_empty() {
        record.model.clone()
    } else {
        format!("{}@{}", record.model, record.model_revision)
    }
}

/// Rows that were taken of each split; N where the scores do not tell.
fn limit(record: &Record) -> String {
    let scores = record.metrics.iter();
    let rows = scores.filter(|score| score.split == record.split);
    let rows = rows.map(|score| score.n).find(|n| *n < record.rows_of);
    rows.map_or_else(|| "N".to_owned(), |n| n.to_string())
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    fn line(record: &Record) -> String {
        commands([record].into_iter(), 9)[0].line.clone()
    }

    #[test]
    fn a_command_says_what_the_record_tells() {
        let mut record = record("food101");
        record.model = "facebook/flava-full".into();
        record.model_revision = "abc".into();
        record.variant = "knn.image_layer9".into();
        assert_eq!(
            line(&record),
            "flava-eval --model facebook/flava-full@abc --protocol flava --method knn --features \
             image_layer9 --precision f32 --seed 0 --tasks food101"
        );
        record.variant = "fine_tune".into();
        record.departures = vec!["--limit".into()];
        record.rows_of = 100;
        let told = line(&record);
        assert!(told.starts_with("flava-finetune food101 --model"), "{told}");
        assert!(told.ends_with("--seed 0 --limit 9"), "{told}");
        record.model = "it's; rm".into();
        assert!(line(&record).contains("--model 'it'\\''s; rm@abc' "));
    }

    #[test]
    fn records_of_the_same_settings_share_a_command() {
        let records = ["a", "b", "c"].map(record);
        let found = commands(records.iter(), 2);
        assert_eq!((found.len(), found[0].records), (1, 3));
        assert!(found[0].line.ends_with("--tasks a,b # and 1 more tasks"));
    }
}
