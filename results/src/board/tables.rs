//! A board as CSV: wide, a row a checkpoint; long, a line a score.

use super::{Board, Row, average::Mean};
use crate::{
    Result,
    csv_line::csv_line,
    csv_table::{cell, columns_of, values_of},
    reproduction::{Reproduction, WHOLE, reproduction},
};

/// Columns that stand before the tasks.
const BEFORE: [&str; 14] = [
    "rank",
    "rank_low",
    "rank_high",
    "model",
    "model_revision",
    "model_fingerprint",
    "protocol",
    "precision",
    "average",
    "average_se",
    "average_ci_low",
    "average_ci_high",
    "tasks_present",
    "tasks_of",
];
/// Columns that stand behind them; new ones are added at the end.
const BEHIND: [&str; 13] = [
    "program",
    "suite_version",
    "date",
    "source",
    "publishable",
    "average_se_tasks",
    "average_sd_seeds",
    "seeds",
    "average_common",
    "average_common_se",
    "numbers_common",
    "win_rate",
    "average_rescaled",
];
/// What the long table has besides the columns of `results.csv`.
const LONG: [&str; 6] = [
    "source",
    "published",
    "difference_points",
    "difference_rows",
    "published_is_reachable",
    "verdict",
];
/// Groups whose averages have columns, whether the suite has such tasks or not.
const GROUPS: [&str; 3] = ["vision", "language", "multimodal"];

impl Board {
    /// A row a checkpoint and protocol. Numbers are shares; a cell that is empty is not known.
    pub fn wide_csv(&self) -> String {
        let groups = GROUPS
            .into_iter()
            .flat_map(|group| [group.to_owned(), format!("{group}_se")]);
        let tasks = self.columns.all.iter().flat_map(|column| {
            let name = column.name();
            [name.clone(), format!("{name}_se")]
        });
        let head = BEFORE
            .into_iter()
            .map(str::to_owned)
            .chain(groups)
            .chain(tasks);
        let head = csv_line(
            head.chain(BEHIND.into_iter().map(str::to_owned))
                .map(|name| cell(&name)),
        );
        self.rows
            .iter()
            .fold(head, |table, row| table + &csv_line(self.wide_line(row)))
    }

    fn wide_line(&self, row: &Row) -> Vec<String> {
        let average = row.average.as_ref();
        let interval = average.and_then(Mean::interval);
        let rank = |read: fn(&super::Rank) -> usize| {
            row.rank
                .as_ref()
                .map_or_else(String::new, |rank| read(rank).to_string())
        };
        let mut line = vec![
            rank(|rank| rank.rank),
            rank(|rank| rank.low),
            rank(|rank| rank.high),
            cell(&row.entry.model),
            cell(&row.entry.told(|record| &record.model_revision)),
            cell(&row.entry.fingerprints()),
            cell(&row.entry.protocol),
            cell(&row.entry.precision),
            share(average.map(|average| average.value)),
            share(average.and_then(|average| average.over_rows)),
            share(interval.map(|[low, _]| low)),
            share(interval.map(|[_, high]| high)),
            row.present.to_string(),
            self.columns.averaged().count().to_string(),
        ];
        for group in GROUPS {
            let found = row.groups.iter().find(|found| found.group == group);
            let average = found.and_then(|found| found.average.as_ref());
            line.push(share(average.map(|average| average.value)));
            line.push(share(average.and_then(|average| average.over_rows)));
        }
        for number in &row.cells {
            line.push(share(number.as_ref().map(|number| number.value)));
            line.push(share(
                number.as_ref().and_then(|number| number.standard_error),
            ));
        }
        line.extend(self.behind(row));
        line
    }

    fn behind(&self, row: &Row) -> [String; 13] {
        let (average, common) = (row.average.as_ref(), row.common.as_ref());
        [
            cell(&row.entry.told(|record| &record.program)),
            self.columns.suite_version.clone(),
            row.entry.date().to_owned(),
            row.entry.origin.name().to_owned(),
            row.is_publishable().to_string(),
            share(average.map(|average| average.over_tasks)),
            share(average.and_then(|average| average.over_seeds)),
            row.entry.members.len().to_string(),
            share(common.map(|common| common.value)),
            share(common.and_then(|common| common.over_rows)),
            self.common.len().to_string(),
            share(row.win_rate),
            share(row.rescaled),
        ]
    }

    /// A line a score: the columns of `results.csv`, where the number comes from, and how far it is
    /// from the paper's.
    ///
    /// # Errors
    /// If the registry cannot be read.
    pub fn long_csv(&self) -> Result<String> {
        let head = columns_of().into_iter().chain(LONG).map(cell);
        let mut table = csv_line(head);
        for row in &self.rows {
            for measured in row.entry.records() {
                let distances = reproduction(&measured.record, WHOLE)?;
                for (index, line) in values_of(&measured.record).into_iter().enumerate() {
                    let score = &measured.record.metrics[index];
                    let distance = distances.iter().find(|found| {
                        found.metric == score.metric
                            && index == first_of(&measured.record, &score.metric)
                    });
                    let origin = row.entry.origin;
                    let distance = distance.filter(|_| origin < super::Origin::Published);
                    let more = distance.map_or_else(Default::default, told);
                    let source = [origin.name().to_owned()];
                    table.push_str(&csv_line(line.into_iter().chain(source).chain(more)));
                }
            }
        }
        Ok(table)
    }
}

/// Where a metric stands first among a record's scores.
fn first_of(record: &crate::Record, metric: &str) -> usize {
    let found = record
        .metrics
        .iter()
        .position(|score| score.metric == metric);
    found.unwrap_or(0)
}

fn told(distance: &Reproduction) -> [String; 5] {
    [
        format!("{:.2}", distance.published),
        format!("{:.4}", distance.difference),
        distance
            .rows
            .map_or_else(String::new, |rows| rows.to_string()),
        distance
            .is_reachable
            .map_or_else(String::new, |is| is.to_string()),
        distance.verdict.name().to_owned(),
    ]
}

/// A share with as many digits as anybody needs; empty where there is none.
fn share(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.6}"))
}
