//! Zero-shot classification (CLIP's protocol): the class whose prompts' mean embedding is nearest
//! to the image's.

use flava_base::stream;
use flava_model::runtime::linear;
use flava_tasks::Outputs;
use rand::seq::SliceRandom;
use serde::Serialize;
use serde_json::json;

use super::method::{MethodInput, MethodOutput, classified};
use crate::Result;

/// Random orders of the class names that the self test scores.
const ORDERS: usize = 20;
/// With more of the random orders as good, a right order would be a coincidence (p > 0.1).
const MOST_AS_GOOD: usize = 2;

/// The share of right answers, and what it is when the class names are given to other classes.
/// Where both are about the same, the model cannot tell the classes, or the names do not stand in
/// the order of the labels.
#[derive(Serialize)]
struct ClassOrder {
    accuracy: f64,
    shuffled: f64,
    gap: f64,
    orders: usize,
    orders_as_good: usize,
}

pub(super) fn run(input: &MethodInput) -> Result<MethodOutput> {
    let classes = input.source.class_embeddings(input.prompts)?; // [classes, projection]
    let images = input.source.image_embeddings(&input.splits.test)?;
    let logits = linear(&images.values, &classes, None)?;
    let mut output = MethodOutput::new(vec![classified(&images, &logits)?]);
    output.skipped = images.skipped;
    if let Some(prompts) = input.prompts {
        output.detail("prompts_per_class", prompts.templates.len());
    }
    if let Outputs::Classes {
        predicted, gold, ..
    } = &output.predictions[0].outputs
    {
        let (count, _) = classes.size2()?;
        let order = ClassOrder::of(predicted, gold, count as usize, input.plan.seed);
        output.detail("class_order", json!(order));
        if order.orders_as_good > MOST_AS_GOOD {
            let reason = "class names in a random order score as well: the model cannot tell the \
                          classes, or the names are not in the labels' order";
            output.notes.push(reason.into());
        }
    }
    Ok(output)
}

impl ClassOrder {
    fn of(predicted: &[usize], gold: &[usize], classes: usize, seed: u64) -> Self {
        let share = |order: &[usize]| {
            let pairs = predicted.iter().zip(gold);
            let right = pairs.filter(|(predicted, gold)| order[**predicted] == **gold);
            right.count() as f64 / gold.len().max(1) as f64
        };
        let mut order: Vec<usize> = (0..classes).collect();
        let accuracy = share(&order);
        let mut rng = stream(seed, "class order");
        let mut shuffled = Vec::with_capacity(ORDERS);
        for _ in 0..ORDERS {
            order.shuffle(&mut rng);
            while classes > 1 && order.is_sorted() {
                order.shuffle(&mut rng);
            }
            shuffled.push(share(&order));
        }
        let mean = shuffled.iter().sum::<f64>() / ORDERS as f64;
        Self {
            accuracy,
            shuffled: mean,
            gap: accuracy - mean,
            orders: ORDERS,
            orders_as_good: shuffled.iter().filter(|share| **share >= accuracy).count(),
        }
    }
}
