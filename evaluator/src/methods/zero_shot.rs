//! Zero-shot classification (CLIP's protocol): the class whose prompts' mean embedding is nearest
//! to the picture's.

use flava_base::stream;
use flava_model::processor::Text;
use flava_tasks::{Feature, Outputs, sources::Prompts};
use rand::seq::SliceRandom;
use serde_json::{Map, json};
use tch::Tensor;

use super::{Answer, Job, classified};
use crate::{Result, features::Extractor};

/// Random orders of the class names that the self test scores.
const ORDERS: usize = 20;

pub(super) fn run(job: &Job, prompts: &Prompts, extractor: &Extractor) -> Result<Answer> {
    let classes = class_embeddings(&prompts.templates, &prompts.class_names, extractor)?; // [classes, projection]
    let pictures = extractor.features(&job.splits.test, Feature::IMAGE_EMBEDDING)?;
    let predictions = classified(
        &pictures,
        &pictures.values.f_matmul(&classes.f_transpose(0, 1)?)?,
    )?;
    let mut details = Map::new();
    details.insert("prompts_per_class".into(), prompts.templates.len().into());
    if let Outputs::Classes {
        predicted, gold, ..
    } = &predictions.outputs
    {
        details.insert(
            "class_order".into(),
            class_order(predicted, gold, prompts.class_names.len(), job.seed),
        );
    }
    // With this many of twenty random orders as good, a right order would be a coincidence (p >
    // 0.1).
    let as_good = details
        .get("class_order")
        .and_then(|test| test["orders_as_good"].as_u64());
    let mut answer = Answer::new(vec![predictions], pictures.skipped, 0, details);
    if as_good.is_some_and(|as_good| as_good > 2) {
        let reason = "class names in a random order score as well: the model cannot tell the classes, or the names are not in the labels' order";
        answer.notes.push(reason.into());
    }
    Ok(answer)
}

/// The share of right answers, and what it is when the class names are given to other classes.
/// Where both are about the same, the model cannot tell the classes, or the names do not stand in
/// the order of the labels.
fn class_order(
    predicted: &[usize],
    gold: &[usize],
    classes: usize,
    seed: u64,
) -> serde_json::Value {
    let share = |order: &[usize]| {
        let right = predicted
            .iter()
            .zip(gold)
            .filter(|(predicted, gold)| order[**predicted] == **gold)
            .count();
        right as f64 / gold.len().max(1) as f64
    };
    let mut order: Vec<usize> = (0..classes).collect();
    let accuracy = share(&order);
    let mut rng = stream(seed, "class order");
    let shuffled: Vec<f64> = (0..ORDERS)
        .map(|_| {
            order.shuffle(&mut rng);
            while classes > 1 && order.is_sorted() {
                order.shuffle(&mut rng);
            }
            share(&order)
        })
        .collect();
    let mean = shuffled.iter().sum::<f64>() / ORDERS as f64;
    let better = shuffled.iter().filter(|other| **other >= accuracy).count();
    json!({ "accuracy": accuracy, "shuffled": mean, "gap": accuracy - mean, "orders": ORDERS, "orders_as_good": better })
}

/// The mean of each class's prompt embeddings, brought to unit length again: \[classes,
/// projection\].
fn class_embeddings(
    templates: &[String],
    class_names: &[String],
    extractor: &Extractor,
) -> Result<Tensor> {
    let prompts: Vec<String> = class_names
        .iter()
        .flat_map(|name| templates.iter().map(move |t| t.replace("{c}", name)))
        .collect();
    let texts: Vec<Text> = prompts.iter().map(|p| Text::Single(p)).collect();
    let embeddings = extractor.text_embeddings(&texts, "prompts")?; // [classes * templates, projection]
    let (count, width) = (class_names.len() as i64, embeddings.size()[1]);
    let means = embeddings
        .f_view([count, templates.len() as i64, width])?
        .f_mean_dim(1, false, None)?; // [classes, projection]
    let norms = means
        .f_norm_scalaropt_dim(2.0, [-1], true)?
        .f_clamp_min(1e-12)?;
    Ok(means.f_div(&norms)?)
}
