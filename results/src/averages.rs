//! The paper's averages: vision over 22 numbers, language over 8, multimodal over 11, and the mean
//! of the three (Table 4).

use crate::{
    MetricValue, Published, Record,
    covariance::{Share, are_nested, nested},
    published,
};

/// A mean of a group's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Average {
    /// vision, language, multimodal or macro.
    pub group: &'static str,
    /// The mean, a share; None while a number is missing, since a mean over others would be another
    /// number.
    pub value: Option<f64>,
    /// Standard error over the rows: tasks have rows of their own, recalls of the same queries vary
    /// together; how much both directions of a retrieval do nobody knows without predictions.
    pub standard_error: Option<f64>,
    /// Numbers that are there.
    pub have: usize,
    /// Numbers that belong to it.
    pub of: usize,
}

/// The tasks and metrics of each group are those of the paper's Table 4.
pub(crate) const GROUPS: [&str; 3] = ["vision", "language", "multimodal"];

/// The averages of the records that may stand in a leaderboard; nothing if none of them is of the
/// paper's tasks.
pub fn averages(records: &[Record]) -> Vec<Average> {
    let mut found: Vec<Average> = GROUPS
        .into_iter()
        .map(|group| average(group, records))
        .collect();
    if found.iter().all(|average| average.have == 0) {
        return Vec::new();
    }
    found.push(average_of_all(&found));
    found
}

fn average_of_all(groups: &[Average]) -> Average {
    let all = |read: &dyn Fn(&Average) -> Option<f64>| {
        groups.iter().map(read).collect::<Option<Vec<f64>>>()
    };
    let values = all(&|average| average.value);
    let errors = all(&|average| average.standard_error);
    Average {
        group: "macro",
        value: values.map(|values| values.iter().sum::<f64>() / 3.0),
        standard_error: errors.map(|errors| errors.iter().map(|e| e * e).sum::<f64>().sqrt() / 3.0),
        have: groups.iter().map(|average| average.have).sum(),
        of: groups.iter().map(|average| average.of).sum(),
    }
}

fn average(group: &'static str, records: &[Record]) -> Average {
    let mut cells = published();
    cells.retain(|cell| is_averaged(cell) && group_of(&cell.task) == group);
    let scores = cells.iter().filter_map(|cell| score_of(cell, records));
    let scores: Vec<&MetricValue> = scores.collect();
    let whole = scores.len() == cells.len();
    let count = cells.len() as f64;
    let sum = || scores.iter().map(|score| score.value).sum::<f64>();
    let error = || variance(&cells, &scores).sqrt();
    Average {
        group,
        value: whole.then(|| sum() / count),
        standard_error: whole.then(|| error() / count),
        have: scores.len(),
        of: cells.len(),
    }
}

/// Variance of the scores' sum.
fn variance(cells: &[Published], scores: &[&MetricValue]) -> f64 {
    let mut variance = 0.0;
    for (index, (cell, score)) in cells.iter().zip(scores).enumerate() {
        variance += score.standard_error.powi(2);
        for (other, theirs) in cells.iter().zip(scores).skip(index + 1) {
            if cell.task == other.task && are_nested(&cell.metric, &other.metric) {
                variance += 2.0 * nested(share(score), share(theirs));
            }
        }
    }
    variance
}

fn share(score: &MetricValue) -> Share {
    Share {
        value: score.value,
        error: score.standard_error,
    }
}

/// The tasks of the numbers that an average is over, as the records call them.
pub(crate) fn averaged_tasks(group: &str, records: &[Record]) -> Vec<String> {
    let mut cells = published();
    cells.retain(|cell| is_averaged(cell) && (group == "macro" || group_of(&cell.task) == group));
    let mut names: Vec<String> = Vec::new();
    for cell in &cells {
        let record = record_of(cell, records);
        names.extend(record.map(Record::name).filter(|n| !names.contains(n)));
    }
    names
}

/// Whether a number of the paper is one that its averages are over.
pub(crate) fn is_averaged(cell: &Published) -> bool {
    cell.table == "Table 4" && cell.column == "FLAVA" && !cell.task.starts_with("average")
}

/// What the records have in the place of a number of the paper.
fn score_of<'a>(cell: &Published, records: &'a [Record]) -> Option<&'a MetricValue> {
    let record = record_of(cell, records)?;
    record.metrics.iter().find(|m| m.metric == cell.metric)
}

fn record_of<'a>(cell: &Published, records: &'a [Record]) -> Option<&'a Record> {
    records.iter().find(|r| {
        r.publishable && r.protocol == "flava" && r.variant.is_empty() && is_task(r, &cell.task)
    })
}

/// The paper's table names Hateful Memes without a split.
pub(crate) fn is_task(record: &Record, task: &str) -> bool {
    record.task == task || (task == "hateful-memes" && record.task == "hateful-memes-test-unseen")
}

fn group_of(task: &str) -> &'static str {
    match task {
        "vqav2" | "snli-ve" | "hateful-memes" => "multimodal",
        _ if task.ends_with("-retrieval") => "multimodal",
        _ if task.starts_with("glue-") => "language",
        _ => "vision",
    }
}

/// The middle of sorted values, or the mean of the two in the middle.
pub fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// The averages as lines for people.
pub fn averages_text(averages: &[Average]) -> String {
    let line = |average: &Average| match (average.value, average.standard_error) {
        (Some(value), Some(error)) => {
            format!(
                "{:11} average {:5.1} (standard error {:.2}), {} numbers",
                average.group,
                value * 100.0,
                error * 100.0,
                average.of
            )
        }
        _ => format!(
            "{:11} average: none, {} of its {} numbers are missing",
            average.group,
            average.of - average.have,
            average.of
        ),
    };
    averages.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    /// The paper's own column as records gives the paper's averages; without one cell its group has
    /// none.
    #[test]
    fn the_papers_numbers_give_the_papers_averages() {
        let cells: Vec<_> = published()
            .into_iter()
            .filter(|r| {
                r.table == "Table 4" && r.column == "FLAVA" && !r.task.starts_with("average")
            })
            .collect();
        let mut records: Vec<Record> = Vec::new();
        for cell in &cells {
            let metric = MetricValue {
                metric: cell.metric.clone(),
                value: cell.value / 100.0,
                ..record("x").metrics[0].clone()
            };
            match records.iter_mut().find(|r| r.task == cell.task) {
                Some(known) => known.metrics.push(metric),
                None => records.push(Record {
                    task: cell.task.clone(),
                    metrics: vec![metric],
                    ..record("x")
                }),
            }
        }
        let found = averages(&records);
        let value = |group: &str| {
            found
                .iter()
                .find(|a| a.group == group)
                .unwrap()
                .value
                .unwrap()
                * 100.0
        };
        for (group, of, expected) in [
            ("vision", 22, 79.44),
            ("language", 8, 78.19),
            ("multimodal", 11, 69.92),
            ("macro", 41, 75.85),
        ] {
            assert!(
                (value(group) - expected).abs() < 0.011,
                "{group}: {}",
                value(group)
            );
            assert_eq!(found.iter().find(|a| a.group == group).unwrap().of, of);
        }
        // 1,000 and 5,000 queries of Flickr30K, 5,000 and 25,010 of COCO: 0.241 points, and not the
        // 0.212 of numbers that vary apart.
        for record in &mut records {
            let images = if record.task == "flickr30k-retrieval" {
                1000.0
            } else {
                5000.0
            };
            for score in &mut record.metrics {
                let value = score.value;
                let n = match record.task.as_str() {
                    "vqav2" => 107_394.0,
                    "snli-ve" => 17_901.0,
                    "hateful-memes" => 1000.0,
                    _ if score.metric.starts_with("image") => images * 5.0,
                    _ => images,
                };
                score.standard_error = (value * (1.0 - value) / n).sqrt();
            }
        }
        let multimodal = averages(&records)[2].standard_error.unwrap() * 100.0;
        assert!((multimodal - 0.241).abs() < 0.02, "{multimodal}");
        records.retain(|r| r.task != "mnist");
        let found = averages(&records);
        assert_eq!(
            found.iter().map(|a| a.value.is_some()).collect::<Vec<_>>(),
            [false, true, true, false]
        );
        assert!(
            averages_text(&found)
                .contains("vision      average: none, 1 of its 22 numbers are missing")
        );
        assert!(averages(&[record("mine")]).is_empty());
    }
}
