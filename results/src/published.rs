//! The paper's numbers, as printed and with its slips corrected and marked.

use serde::Deserialize;

/// `paper.csv` beside this crate.
const TABLE: &str = include_str!("../paper.csv");

/// A number of the paper.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Published {
    /// Such as "Table 4".
    pub table: String,
    /// The model or setting it belongs to.
    pub column: String,
    /// Our name of the task, or of an average.
    pub task: String,
    /// Our name of the metric.
    pub metric: String,
    /// In percent.
    pub value: f64,
    /// What is printed, where that is a slip; else empty.
    pub printed: String,
    /// What to know about it.
    pub note: String,
}

/// All of them, in the order of the tables.
///
/// # Panics
/// Never: a test reads the file.
pub fn published() -> Vec<Published> {
    csv::Reader::from_reader(TABLE.as_bytes())
        .deserialize()
        .collect::<Result<_, _>>()
        .expect("paper.csv is part of the program")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(rows: &[Published], column: &str, task: &str, metric: &str) -> Option<f64> {
        let row = |row: &&Published| {
            row.table == "Table 4"
                && row.column == column
                && row.task == task
                && row.metric == metric
        };
        rows.iter().find(row).map(|row| row.value)
    }

    /// Each average of Table 4 is the mean of its cells: 22 vision tasks, 8 of language, 11
    /// multimodal numbers, and the three. Some are truncated in the paper and not rounded.
    #[test]
    fn the_averages_follow_from_the_cells() {
        let rows = published();
        for column in [
            "FLAVA_C",
            "FLAVA_MM",
            "FLAVA w/o init",
            "FLAVA",
            "CLIP (PMD)",
            "CLIP (400M)",
        ] {
            let cells = |pick: &dyn Fn(&str) -> bool| {
                let mine = |row: &&Published| {
                    row.table == "Table 4"
                        && row.column == column
                        && pick(&row.task)
                        && !row.task.starts_with("average")
                };
                rows.iter()
                    .filter(mine)
                    .map(|row| row.value)
                    .collect::<Vec<f64>>()
            };
            let multimodal = |task: &str| {
                ["vqav2", "snli-ve", "hateful-memes"].contains(&task)
                    || task.ends_with("-retrieval")
            };
            let groups = [
                ("average-nlp", cells(&|task| task.starts_with("glue-")), 8),
                ("average-multimodal", cells(&multimodal), 11),
                (
                    "average-vision",
                    cells(&|task| !task.starts_with("glue-") && !multimodal(task)),
                    22,
                ),
            ];
            let mut macro_average = 0.0;
            for (name, cells, count) in groups {
                assert_eq!(cells.len(), count, "{column} {name}");
                let mean = cells.iter().sum::<f64>() / count as f64;
                assert!(
                    (mean - value(&rows, column, name, "mean").unwrap()).abs() < 0.011,
                    "{column} {name}: {mean}"
                );
                macro_average += mean / 3.0;
            }
            assert!(
                (macro_average - value(&rows, column, "average-macro", "mean").unwrap()).abs()
                    < 0.011,
                "{column}: {macro_average}"
            );
        }
    }

    #[test]
    fn corrected_slips_are_marked() {
        let corrected: Vec<Published> = published()
            .into_iter()
            .filter(|row| !row.printed.is_empty())
            .collect();
        assert_eq!(corrected.len(), 1);
        assert_eq!(
            (
                corrected[0].task.as_str(),
                corrected[0].value,
                corrected[0].printed.as_str()
            ),
            ("glue-qqp", 88.60, "98.61")
        );
        assert_eq!(
            value(&published(), "FLAVA", "food101", "accuracy"),
            Some(88.51)
        );
    }
}
