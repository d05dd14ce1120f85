//! What the mini suite gives without a model: logistic regression on pixels, on the words of a
//! text, or on the words of the question alone, and neighbours among pixels. Prints a line for
//! each: task, what is read, accuracy, its 95 % interval.
//!
//! baselines
#![allow(clippy::disallowed_methods, reason = "a benchmark may panic")]

use std::collections::HashMap;

use flava_heads::{FitOptions, Neighbours, Probe, Sweep, accuracy};
use flava_model::processor::{Filter, PassOrder, PixelSize, decode, resize};
use flava_tasks::{Dataset, Label, Metric, Outputs, Predictions, Registry, predictions::Logits};
use tch::{Kind, Tensor};

/// Side that images are shrunk to.
const SIDE: usize = 12;
const OPTIONS: FitOptions = FitOptions {
    tolerance: 1e-5,
    max_iterations: 1000,
    verify: false,
};
/// One training row in so many chooses the penalty.
const HELD_OUT: i64 = 10;

fn main() {
    let registry = Registry::built_in().unwrap();
    for (task, reads) in [
        ("mini-groups", "pixels"),
        ("mini-things-knn", "pixels"),
        ("mini-sentence", "words"),
        ("mini-paraphrase", "words"),
        ("mini-vqa", "words of the question"),
        ("mini-entailment", "words of the statement"),
    ] {
        let task = registry.get(task).unwrap();
        let source = &task.sources[0];
        let open = |split| {
            task.open_split(source, split, std::path::Path::new("."), 0)
                .unwrap()
                .dataset
        };
        let (train, test) = (open(source.train.as_ref().unwrap()), open(&source.test));
        let (train_x, test_x) = if reads == "pixels" {
            (pixels(&*train), pixels(&*test))
        } else {
            words(&*train, &*test)
        };
        let (train_y, test_y) = (labels(&*train), labels(&*test));
        let logits = if task.name.ends_with("knn") {
            Neighbours::new(&train_x, &train_y, task.classes as i64, 0.07)
                .unwrap()
                .votes(&test_x, &[20])
                .unwrap()
                .remove(0)
        } else {
            probe((&train_x, &train_y), &test_x, task.classes as i64)
        };
        let values: Vec<f32> = logits
            .to_kind(Kind::Float)
            .flatten(0, -1)
            .try_into()
            .unwrap();
        let ids: Vec<String> = (0..test.len()).map(|row| test.id(row)).collect();
        let gold: Vec<i64> = test_y.try_into().unwrap();
        let logits = Logits::new(values, task.classes, &ids).unwrap();
        let outputs = Outputs::Classes {
            predicted: logits.best(),
            gold: gold.into_iter().map(|class| class as usize).collect(),
            logits: Some(logits),
        };
        let score = Metric::Accuracy
            .score(
                &Predictions {
                    ids,
                    clusters: None,
                    outputs,
                },
                &task.name,
            )
            .unwrap();
        println!(
            "{:18} {:24} {:.1} ({:.1} to {:.1})",
            task.name,
            reads,
            score.value * 100.0,
            score.ci_low * 100.0,
            score.ci_high * 100.0
        );
    }
}

fn labels(rows: &dyn Dataset) -> Tensor {
    let class = |row| {
        if let Label::Class(class) = rows.label(row) {
            class as i64
        } else {
            panic!("no class")
        }
    };
    Tensor::from_slice(&(0..rows.len()).map(class).collect::<Vec<_>>())
}

fn pixels(rows: &dyn Dataset) -> Tensor {
    let image = |row| {
        let image = decode(&rows.get(row).unwrap().image.unwrap()).unwrap();
        resize::<3>(
            &image.rgb,
            PixelSize {
                width: image.width,
                height: image.height,
            },
            PixelSize {
                width: SIDE,
                height: SIDE,
            },
            Filter::Bicubic,
            PassOrder::default(),
        )
    };
    let flat: Vec<f32> = (0..rows.len())
        .flat_map(image)
        .map(|byte| f32::from(byte) / 255.0)
        .collect();
    Tensor::from_slice(&flat).view([rows.len() as i64, -1])
}

/// Counts of the words of the training texts, each text of a pair apart.
fn words(train: &dyn Dataset, test: &dyn Dataset) -> (Tensor, Tensor) {
    let split = |rows: &dyn Dataset, row: usize| -> Vec<(usize, String)> {
        let texts = rows.texts_of(row).unwrap();
        texts
            .iter()
            .enumerate()
            .flat_map(|(position, text)| {
                text.split(' ').map(move |word| (position, word.to_owned()))
            })
            .collect()
    };
    let mut known: HashMap<(usize, String), usize> = HashMap::new();
    for row in 0..train.len() {
        for word in split(train, row) {
            let next = known.len();
            known.entry(word).or_insert(next);
        }
    }
    let counts = |rows: &dyn Dataset| {
        let mut flat = vec![0f32; rows.len() * known.len()];
        for row in 0..rows.len() {
            for position in split(rows, row).iter().filter_map(|word| known.get(word)) {
                flat[row * known.len() + position] += 1.0;
            }
        }
        Tensor::from_slice(&flat).view([rows.len() as i64, -1])
    };
    (counts(train), counts(test))
}

/// The probe of flava-eval: the penalty chosen on a tenth of the rows, then fitted on all.
fn probe((features, labels): (&Tensor, &Tensor), test: &Tensor, classes: i64) -> Tensor {
    let rows = features.size()[0];
    let (held, fit): (Vec<i64>, Vec<i64>) = (0..rows).partition(|row| row % HELD_OUT == 0);
    let pick = |t: &Tensor, rows: &[i64]| t.index_select(0, &Tensor::from_slice(rows));
    let part = Probe::new(vec![pick(features, &fit)], &pick(labels, &fit), classes).unwrap();
    let chosen = Sweep::Halving
        .run(
            &part,
            &|head| accuracy(head, &pick(features, &held), &pick(labels, &held)),
            &OPTIONS,
        )
        .unwrap();
    let whole = Probe::new(vec![features.shallow_clone()], labels, classes).unwrap();
    whole.fit(&[(chosen.penalty, None)], &OPTIONS).unwrap()[0]
        .0
        .forward(test)
        .unwrap()
}
