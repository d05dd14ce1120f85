//! Scores class predictions with an interval: lines `PREDICTED GOLD` on standard input.
//!
//!     printf '0 0\n1 1\n1 0\n' | cargo run --example score_predictions -- mean_per_class

use std::{env, error::Error, io::stdin};

use flava_tasks::{Metric, Outputs, Predictions};

fn main() -> Result<(), Box<dyn Error>> {
    let name = env::args().nth(1).unwrap_or_else(|| "accuracy".into());
    let metric: Metric = serde_json::from_value(name.clone().into())?;
    let (mut predicted, mut gold) = (Vec::new(), Vec::new());
    for line in stdin().lines() {
        let line = line?;
        let (answer, truth) = line.split_once(' ').ok_or("a line is PREDICTED GOLD")?;
        predicted.push(answer.trim().parse()?);
        gold.push(truth.trim().parse()?);
    }
    let predictions = Predictions {
        ids: (0..gold.len()).map(|row| row.to_string()).collect(),
        clusters: None,
        outputs: Outputs::Classes {
            predicted,
            gold,
            logits: None,
        },
    };
    let score = metric
        .score(&predictions, "lines")
        .ok_or("the metric is not defined of these")?;
    let (low, high) = (score.ci_low, score.ci_high);
    println!(
        "{name} {:.4}, 95 % {low:.4} to {high:.4}, n {}",
        score.value, score.n
    );
    Ok(())
}
