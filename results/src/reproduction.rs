//! How far a measured number is from the paper's.

use std::sync::OnceLock;

use flava_tasks::Registry;

use crate::{MetricValue, Published, Record, Result, published};

/// The paper's column of the whole model.
pub const WHOLE: &str = "FLAVA";
/// Rows that another order of sums, another decoder or another rounding moves.
const FEW_ROWS: u64 = 5;
/// Standard errors that hold 95 % of a normal distribution.
const TWO_SIDED_95: f64 = 1.96;

/// What is to be said of a number beside a published one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same to the printed decimals, rounded or cut off.
    Same,
    /// So few rows answered otherwise explain it, as any change of arithmetic makes.
    WithinRows(u64),
    /// Within two standard errors: other rows of the same kind would make as much.
    WithinErrors,
    /// Farther.
    Off,
    /// Another protocol, method or recipe, as it says: not compared.
    NotCompared(String),
}

impl Verdict {
    /// Of which kind it is, as tables have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Same => "same to the printed decimals",
            Self::WithinRows(_) => "within 5 rows",
            Self::WithinErrors => "within 2 standard errors",
            Self::Off => "off",
            Self::NotCompared(_) => "other protocol: not compared",
        }
    }

    /// The same with its number or reason.
    pub fn words(&self) -> String {
        match self {
            Self::WithinRows(1) => "one row apart".to_owned(),
            Self::WithinRows(rows) => format!("{rows} rows apart"),
            Self::NotCompared(reason) => format!("not compared: {reason}"),
            Self::Off => "more than 2 standard errors off".to_owned(),
            other => other.name().to_owned(),
        }
    }
}

/// A measured number beside a published one.
#[derive(Clone, Debug, PartialEq)]
pub struct Reproduction {
    /// The record's name.
    pub task: String,
    /// The metric.
    pub metric: String,
    /// In percent.
    pub measured: f64,
    /// In percent, as printed.
    pub published: f64,
    /// Measured less published, in points.
    pub difference: f64,
    /// The smallest number of rows that must have been answered otherwise; None of metrics that do
    /// not count rows.
    pub rows: Option<u64>,
    /// Whether the printed value is a share of as many rows at all; None of metrics that do not
    /// count rows.
    pub is_reachable: Option<bool>,
    /// What that is.
    pub verdict: Verdict,
}

/// Each number of a record that the paper has too, in this column of Table 4.
///
/// # Errors
/// If the registry cannot be read.
pub fn reproduction(record: &Record, column: &str) -> Result<Vec<Reproduction>> {
    let registry = registry()?;
    let own = registry.get(&record.task).map(|task| task.name.as_str());
    let is_task = |cell: &&Published| {
        let named = registry.get(&cell.task).map(|task| task.name.as_str());
        own.is_some() && named == own
    };
    let of_column = cells()
        .iter()
        .filter(|cell| cell.table == "Table 4" && cell.column == column);
    let pair = |cell: &Published| {
        let score = record
            .metrics
            .iter()
            .find(|score| score.metric == cell.metric)?;
        Some(compare(record, score, cell))
    };
    Ok(of_column.filter(is_task).filter_map(pair).collect())
}

/// A score of a record beside a number of the paper.
pub(crate) fn compare(record: &Record, score: &MetricValue, cell: &Published) -> Reproduction {
    let counts = counts_rows(&score.metric).then_some(score.n);
    let printed = if cell.printed.is_empty() {
        2
    } else {
        decimals(&cell.printed)
    };
    let measured = score.value * 100.0;
    let rows = counts.map(|n| rows_apart(measured, cell.value, n, printed));
    Reproduction {
        task: record.name(),
        metric: score.metric.clone(),
        measured,
        published: cell.value,
        difference: measured - cell.value,
        rows,
        is_reachable: counts.map(|n| is_reachable(cell.value, n, printed)),
        verdict: verdict(record, score, cell.value, rows),
    }
}

/// The built-in registry, which is read once.
fn registry() -> Result<&'static Registry> {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    if let Some(registry) = REGISTRY.get() {
        return Ok(registry);
    }
    let read = Registry::built_in()?;
    Ok(REGISTRY.get_or_init(|| read))
}

/// The paper's numbers, which are read once.
fn cells() -> &'static [Published] {
    static CELLS: OnceLock<Vec<Published>> = OnceLock::new();
    CELLS.get_or_init(published)
}

fn verdict(record: &Record, score: &MetricValue, published: f64, rows: Option<u64>) -> Verdict {
    let measured = score.value * 100.0;
    let few = rows.filter(|rows| *rows <= FEW_ROWS);
    if let Some(reason) = other_protocol(record) {
        Verdict::NotCompared(reason)
    } else if prints_as(measured, published, 2) {
        Verdict::Same
    } else if let Some(rows) = few {
        Verdict::WithinRows(rows)
    } else if (measured - published).abs() <= TWO_SIDED_95 * score.standard_error * 100.0 {
        Verdict::WithinErrors
    } else {
        Verdict::Off
    }
}

/// What of a record is not as the paper has it, if anything.
fn other_protocol(record: &Record) -> Option<String> {
    if record.protocol != "flava" {
        Some(format!("protocol {}", record.protocol))
    } else if !record.departures.is_empty() {
        Some(record.departures.join("; "))
    } else if !record.variant.is_empty() {
        Some(format!("run as {}", record.variant))
    } else {
        (!record.publishable).then(|| "not publishable".to_owned())
    }
}

/// Metrics that are a number of rows over all rows.
fn counts_rows(metric: &str) -> bool {
    metric == "accuracy" || metric == "top5" || metric.contains("recall@")
}

fn decimals(printed: &str) -> i32 {
    printed
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len() as i32)
}

/// Whether a number is printed as another with so many decimals, rounded or cut off: the paper's
/// averages show that it does both.
fn prints_as(value: f64, printed: f64, decimals: i32) -> bool {
    let scale = 10f64.powi(decimals);
    let wanted = (printed * scale).round();
    let value = value * scale;
    // What is exactly between two may have been rounded either way.
    (value - wanted).abs() <= 0.5 + 1e-9 || (value + 1e-9).floor() == wanted
}

/// Whether some number of `n` rows prints so.
fn is_reachable(printed: f64, n: usize, decimals: i32) -> bool {
    let nearest = (printed / 100.0 * n as f64).round();
    let near = [nearest - 1.0, nearest, nearest + 1.0];
    near.iter()
        .any(|count| prints_as(count / n as f64 * 100.0, printed, decimals))
}

/// The smallest number of rows between a measured value and one that prints as the published one.
fn rows_apart(measured: f64, printed: f64, n: usize, decimals: i32) -> u64 {
    let n = n as f64;
    let count = (measured / 100.0 * n).round();
    let target = (printed / 100.0 * n).round();
    let ends = |count: f64| prints_as(count / n * 100.0, printed, decimals);
    // Of the counts that print so, if any, the nearest one.
    let reach = (n / 10f64.powi(decimals + 2)).ceil() + 1.0;
    let mut best = (count - target).abs();
    let mut candidate = target - reach;
    while candidate <= target + reach {
        if ends(candidate) {
            best = best.min((count - candidate).abs());
        }
        candidate += 1.0;
    }
    best as u64
}

/// Of so many compared numbers those that chance alone puts farther than two standard errors, were
/// the rows drawn anew.
pub fn off_by_chance(compared: usize) -> f64 {
    compared as f64 * 0.05
}

/// What the log of a run says of it: `published 54.31, 0.12 lower (6 rows)`.
impl std::fmt::Display for Reproduction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "published {:.2}, ", self.published)?;
        if self.verdict == Verdict::Same {
            return write!(f, "the same");
        }
        let side = if self.difference > 0.0 {
            "higher"
        } else {
            "lower"
        };
        write!(f, "{:.2} {side}", self.difference.abs())?;
        match (&self.verdict, self.rows) {
            (Verdict::NotCompared(_), _) => write!(f, " (not by the paper's protocol)"),
            (_, Some(1)) => write!(f, " (1 row)"),
            (_, Some(rows)) => write!(f, " ({rows} rows)"),
            (_, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    fn dtd(right: usize, change: impl Fn(&mut Record)) -> Reproduction {
        let mut record = Record {
            task: "dtd".into(),
            ..record("dtd")
        };
        let (n, value) = (1880, right as f64 / 1880.0);
        record.metrics.truncate(1);
        record.metrics[0] = MetricValue {
            value,
            n,
            standard_error: (value * (1.0 - value) / 1880.0).sqrt(),
            ..record.metrics[0].clone()
        };
        change(&mut record);
        reproduction(&record, WHOLE).unwrap().remove(0)
    }

    /// The paper has 77.29 of FLAVA on DTD: 1,453 of 1,880.
    #[test]
    fn every_verdict_has_its_case() {
        let same = dtd(1453, |_| {});
        assert_eq!(
            (&same.verdict, same.rows, same.is_reachable),
            (&Verdict::Same, Some(0), Some(true))
        );
        assert_eq!(same.to_string(), "published 77.29, the same");
        let near = dtd(1450, |_| {});
        assert_eq!(
            (&near.verdict, near.rows),
            (&Verdict::WithinRows(3), Some(3))
        );
        assert_eq!(near.to_string(), "published 77.29, 0.16 lower (3 rows)");
        let errors = dtd(1480, |_| {});
        assert_eq!(
            (&errors.verdict, errors.rows),
            (&Verdict::WithinErrors, Some(27))
        );
        assert_eq!(dtd(1600, |_| {}).verdict, Verdict::Off);
        for change in [
            (|r: &mut Record| r.protocol = "clip".into()) as fn(&mut Record),
            |r| r.variant = "knn".into(),
            |r| r.departures = vec!["--limit".into()],
        ] {
            let other = dtd(1453, change);
            assert!(other.verdict.words().starts_with("not compared: "));
        }
        assert!(
            dtd(1400, |r| r.protocol = "clip".into())
                .to_string()
                .ends_with("(not by the paper's protocol)")
        );
        assert!(reproduction(&record("mine"), WHOLE).unwrap().is_empty());
    }

    #[test]
    fn a_printed_value_is_a_share_of_the_rows_or_not() {
        assert!(is_reachable(77.29, 1880, 2));
        // 1/1,496 is 0.0668: not every second decimal is a share of so few rows.
        assert!(!is_reachable(50.03, 1496, 2) && is_reachable(50.0, 1496, 2));
        assert!(is_reachable(57.5, 8, 1) == prints_as(62.5, 57.5, 1));
        // Cut off, as the paper's averages are in places.
        assert!(
            prints_as(75.856, 75.85, 2)
                && prints_as(75.846, 75.85, 2)
                && !prints_as(75.861, 75.85, 2)
        );
        assert_eq!(rows_apart(50.0, 50.01, 1000, 2), 0);
        assert_eq!(rows_apart(50.0, 49.0, 1000, 2), 10);
    }
}
