//! The linear probe (FLAVA appendix B.2; CLIP's recipe): logistic regression on unscaled features,
//! the penalty searched for over twelve decades on held-out rows, then fitted on all rows; the test
//! split is scored once.

use flava_heads::{Chosen, FitOptions, Probe, Ridge, Sweep};
use serde_json::{Map, Value, json};
use tch::Tensor;

use super::{Answer, Job, fit::Division, predict};
use crate::{Result, features::Extractor};

/// Steps at most, the paper's; and the largest entry of the gradient of the mean objective.
pub(super) const OPTIONS: FitOptions = FitOptions {
    tolerance: 1e-5,
    max_iterations: 1000,
    verify: true,
};

pub(super) fn run(job: &Job, extractor: &Extractor) -> Result<Answer> {
    let classes = job.task.classes as i64;
    let Division {
        fit,
        held_out,
        held_out_rows,
        rows,
        skipped,
        described,
    } = Division::new(job, extractor, extractor.model.options.device)?;
    let mut details = Map::new();
    if job.preview {
        let line = match Ridge::fit(&fit.0, &fit.1, classes, (&held_out.0, &held_out.1)) {
            Ok(ridge) => {
                details.insert(
                    "preview".into(),
                    json!({ "penalty": ridge.penalty, "accuracy": ridge.accuracy }),
                );
                format!(
                    "preview: ridge regression gets {:.4} of the held-out rows right",
                    ridge.accuracy
                )
            }
            Err(error) => format!("no preview: {error}"),
        };
        extractor
            .progress
            .say(&format!("{}: {line}", job.task.name));
    }
    let sweep = if job.full_sweep {
        Sweep::Full
    } else {
        Sweep::Halving
    };
    let probe = Probe::new(vec![fit.0], &fit.1, classes)?;
    let metric = job.assignment.metrics[0];
    let score = |head: &flava_heads::LinearHead| {
        held_out_rows.score(head, &held_out.0, (metric, &job.task.name))
    };
    let Chosen {
        penalty,
        tried,
        head,
    } = sweep.run(
        &probe,
        &score,
        &FitOptions {
            verify: false,
            ..OPTIONS
        },
    )?;
    let labels = Tensor::f_cat(&[&fit.1, &held_out.1], 0)?;
    let mut blocks = probe.into_blocks();
    blocks.push(held_out.0);
    let whole = Probe::new(blocks, &labels, classes)?;
    let (head, fit) = whole.fit(&[(penalty, Some(&head))], &OPTIONS)?.remove(0);
    let (predictions, skipped_of_test) = predict(job, extractor, &|features| {
        Ok(head.forward(&features.f_to_device(extractor.model.options.device)?)?)
    })?;
    details.insert("penalty".into(), json!(penalty));
    details.insert("iterations".into(), json!(fit.iterations));
    details.insert("gradient".into(), json!(fit.gradient));
    details.insert("converged".into(), json!(fit.converged));
    details.insert("train_loss".into(), json!(fit.loss));
    details.insert("held_out".into(), described);
    details.insert("chosen_by".into(), json!(metric.name()));
    details.insert(
        "search".into(),
        Value::Array(tried.iter().map(report).collect()),
    );
    let mut answer = Answer::new(predictions, skipped + skipped_of_test, rows, details);
    if !fit.converged {
        answer
            .notes
            .push("the probe's fit reached its limit of iterations".into());
        answer.departures.push("the fit did not converge".into());
    }
    Ok(answer)
}

fn report(tried: &flava_heads::Tried) -> Value {
    json!({
        "penalty": tried.penalty, "score": tried.score.is_finite().then_some(tried.score), "train_loss": tried.fit.loss, "iterations": tried.fit.iterations,
        "gradient": tried.fit.gradient, "converged": tried.fit.converged,
    })
}
