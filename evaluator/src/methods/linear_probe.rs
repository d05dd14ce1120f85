//! The linear probe (FLAVA appendix B.2; CLIP's recipe): logistic regression on unscaled features,
//! the penalty searched for over twelve decades on held-out rows, then fitted on all rows; the test
//! split is scored once.

use flava_heads::{Chosen, FitOptions, LinearHead, Probe, Ridge, Sweep, Tried};
use serde_json::{Value, json};
use tch::Tensor;

use super::{
    hold_out::HoldOutSplit,
    method::{MethodInput, MethodOutput},
};
use crate::{Result, answers::SavedProbe};

/// What fitting a probe is called among kinds of work.
pub(crate) const FITS: &str = "fits";
/// Steps at most, the paper's; and the largest entry of the gradient of the mean objective.
pub(super) const OPTIONS: FitOptions = FitOptions {
    tolerance: 1e-5,
    max_iterations: 1000,
    verify: true,
};

pub(super) fn run(input: &MethodInput) -> Result<MethodOutput> {
    let classes = input.task.classes as i64;
    let device = input.device();
    let split = HoldOutSplit::new(input, device)?;
    let preview = if input.plan.preview {
        preview(input, &split)
    } else {
        None
    };
    let sweep = if input.plan.full_sweep {
        Sweep::Full
    } else {
        Sweep::Halving
    };
    let metric = input.assignment.metrics[0];
    let (fit, held_out) = (split.fit, split.held_out);
    let score = |head: &LinearHead| {
        split
            .held_out_rows
            .score(head, &held_out.features, metric, &input.task.name)
    };
    let probe = Probe::new(vec![fit.features], &fit.labels, classes)?;
    let unverified = FitOptions {
        verify: false,
        ..OPTIONS
    };
    let chosen = sweep.run(&probe, &score, &unverified)?;
    let Chosen {
        penalty,
        tried,
        head,
    } = chosen;
    let labels = Tensor::f_cat(&[&fit.labels, &held_out.labels], 0)?;
    let mut blocks = probe.into_blocks();
    blocks.push(held_out.features);
    let whole = Probe::new(blocks, &labels, classes)?;
    let (head, fit) = whole.fit(&[(penalty, Some(&head))], &OPTIONS)?.remove(0);
    let (predictions, skipped) =
        input.predict(&|features| Ok(head.forward(&features.f_to_device(device)?)?))?;
    keep(input, &head, penalty, split.rows)?;
    let mut output = MethodOutput::new(predictions);
    output.skipped = split.skipped + skipped;
    output.train_rows = split.rows;
    output.details.extend(preview);
    output.detail("penalty", penalty);
    output.detail("iterations", json!(fit.iterations));
    output.detail("gradient", fit.gradient);
    output.detail("converged", fit.converged);
    output.detail("train_loss", fit.loss);
    output.detail("held_out", split.described);
    output.detail("chosen_by", metric.name());
    output.detail("search", tried.iter().map(report).collect::<Vec<Value>>());
    if !fit.converged {
        output
            .notes
            .push("the probe's fit reached its limit of iterations".into());
        output.departures.push("the fit did not converge".into());
    }
    Ok(output)
}

/// Counts the fit as done, and keeps the probe where that was asked for.
fn keep(input: &MethodInput, head: &LinearHead, penalty: f64, train_rows: usize) -> Result<()> {
    input.progress.did(FITS, 1.0);
    let Some(folder) = &input.plan.save_probe else {
        return Ok(());
    };
    let names = input
        .train()?
        .dataset()
        .class_names()
        .map(<[String]>::to_vec);
    let numbers = || {
        (0..input.task.classes)
            .map(|class| class.to_string())
            .collect()
    };
    let saved = SavedProbe {
        task: input.task.name.clone(),
        feature: input.feature()?,
        model: input.source.encoders()?.loaded.model.identity(),
        class_names: names.unwrap_or_else(numbers),
        penalty,
        train_rows,
    };
    saved.write(head, &input.out.join(folder))
}

/// What ridge regression says at once about what the probe will give.
fn preview(input: &MethodInput, split: &HoldOutSplit) -> Option<(String, Value)> {
    let (fit, held_out) = (&split.fit, &split.held_out);
    let classes = input.task.classes as i64;
    let name = &input.task.name;
    let progress = input.progress;
    match Ridge::fit(fit.view(), classes, held_out.view()) {
        Ok(ridge) => {
            progress.say(&format!(
                "{name}: preview: ridge regression gets {:.4} of the held-out rows right",
                ridge.accuracy
            ));
            let found = json!({ "penalty": ridge.penalty, "accuracy": ridge.accuracy });
            Some(("preview".into(), found))
        }
        Err(error) => {
            progress.say(&format!("{name}: no preview: {error}"));
            None
        }
    }
}

fn report(tried: &Tried) -> Value {
    json!({
        "penalty": tried.penalty,
        "score": tried.score.is_finite().then_some(tried.score),
        "train_loss": tried.fit.loss,
        "iterations": tried.fit.iterations,
        "gradient": tried.fit.gradient,
        "converged": tried.fit.converged,
    })
}
