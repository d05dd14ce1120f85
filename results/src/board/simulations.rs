//! Boards of made-up checkpoints whose truth is known: what the intervals hold.

use std::path::Path;

use flava_tasks::{Outputs, Predictions, predictions::Ranked};
use rand::{Rng, SeedableRng, rngs::StdRng};
use statrs::distribution::{ContinuousCDF, Normal};

use super::*;
use crate::{MetricValue, RunFolder, record::record};

/// Checkpoints that answer rows right by a skill of theirs and an ease that rows have.
struct World {
    skills: Vec<f64>,
    rows: usize,
    tasks: [&'static str; 2],
}

impl World {
    /// How often a checkpoint is right, over all rows that there could be.
    fn truth(skill: f64) -> f64 {
        Normal::standard().cdf(skill)
    }

    /// An outcome of one sample of rows, shared by all.
    fn entries(&self, folder: &Path, rng: &mut StdRng) -> Vec<Entry> {
        let ease =
            |rng: &mut StdRng| Normal::standard().inverse_cdf(rng.random_range(1e-6..1.0 - 1e-6));
        let mut members: Vec<Vec<Measured>> = vec![Vec::new(); self.skills.len()];
        for task in self.tasks {
            let rows: Vec<f64> = (0..self.rows).map(|_| ease(rng)).collect();
            for (model, skill) in self.skills.iter().enumerate() {
                let right: Vec<bool> = rows.iter().map(|row| skill + row > 0.0).collect();
                members[model].push(measured(&folder.join(model.to_string()), task, &right));
            }
        }
        let entry = |(model, records): (usize, Vec<Measured>)| Entry {
            model: format!("model {model}"),
            protocol: "flava".into(),
            precision: "f32".into(),
            origin: Origin::Measured,
            members: vec![Member {
                fingerprint: format!("{model:064}"),
                records,
            }],
        };
        members.into_iter().enumerate().map(entry).collect()
    }
}

/// A record of such answers, with its predictions beside it.
fn measured(folder: &Path, task: &str, right: &[bool]) -> Measured {
    let n = right.len();
    let predictions = Predictions {
        ids: (0..n).map(|row| format!("{row:06}")).collect(),
        clusters: None,
        outputs: Outputs::Classes {
            predicted: right.iter().map(|right| usize::from(*right)).collect(),
            gold: vec![1; n],
            logits: None,
        },
    };
    let path = RunFolder::predictions_in(folder, task, None);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    predictions.write(&path, task).unwrap();
    let value = right.iter().filter(|right| **right).count() as f64 / n as f64;
    let score = MetricValue {
        value,
        n,
        standard_error: (value * (1.0 - value) / n as f64).sqrt(),
        ..record(task).metrics[0].clone()
    };
    Measured {
        record: Record {
            metrics: vec![score],
            ..record(task)
        },
        folder: Some(folder.to_owned()),
        from: folder.display().to_string(),
    }
}

/// 95 % intervals of averages hold the truth in 95 % of the worlds, and intervals of ranks the true
/// rank in at least as many.
#[test]
fn intervals_of_averages_and_ranks_hold_the_truth() {
    const WORLDS: usize = 100;
    let world = World {
        skills: vec![0.0, 0.1, 0.5, 0.55, 1.0],
        rows: 300,
        tasks: ["sim-a", "sim-b"],
    };
    let folder = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    let options = BoardOptions {
        draws: 200,
        ..BoardOptions::default()
    };
    let (mut averages, mut ranks, mut narrow) = (0, 0, 0);
    for _ in 0..WORLDS {
        let entries = world.entries(folder.path(), &mut rng);
        let board = Board::of(entries, Vec::new(), &options).unwrap();
        for row in &board.rows {
            let model: usize = row.entry.model[6..].parse().unwrap();
            let truth = World::truth(world.skills[model]);
            let [low, high] = row.common.as_ref().unwrap().interval().unwrap();
            averages += usize::from(low <= truth && truth <= high);
            let rank = row.rank.unwrap();
            let true_rank = world.skills.len() - model;
            ranks += usize::from(rank.low <= true_rank && true_rank <= rank.high);
            narrow += usize::from(rank.high - rank.low < 2);
        }
    }
    let all = (WORLDS * world.skills.len()) as f64;
    let (averages, ranks, narrow) = (
        averages as f64 / all,
        ranks as f64 / all,
        narrow as f64 / all,
    );
    assert!((0.92..0.98).contains(&averages), "averages: {averages}");
    assert!(ranks >= 0.93, "ranks: {ranks}");
    assert!(narrow > 0.6, "intervals of ranks say something: {narrow}");
}

/// The error of a mean of nested recalls, from predictions and from their values alone.
#[test]
fn nested_recalls_have_the_same_error_with_and_without_predictions() {
    let ranked = |image: usize| Ranked {
        image,
        rank: [1, 1, 3, 9, 2][image % 5],
    };
    let predictions = Predictions {
        ids: Vec::new(),
        clusters: None,
        outputs: Outputs::Ranks {
            texts: (0..2000).map(ranked).collect(),
            images: (0..2000).map(|image| ranked(image * 7 % 2000)).collect(),
        },
    };
    let folder = tempfile::tempdir().unwrap();
    let path = RunFolder::predictions_in(folder.path(), "flickr30k-retrieval", None);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    predictions.write(&path, "flickr30k-retrieval").unwrap();
    let score = |metric: &str, value: f64| MetricValue {
        metric: metric.into(),
        value,
        n: 2000,
        standard_error: (value * (1.0 - value) / 2000.0).sqrt(),
        ..record("x").metrics[0].clone()
    };
    let record = Record {
        metrics: vec![score("text_recall@1", 0.4), score("text_recall@5", 0.8)],
        family: "multimodal".into(),
        ..record("flickr30k-retrieval")
    };
    let error = |with_predictions: bool| {
        let measured = Measured {
            record: record.clone(),
            folder: with_predictions.then(|| folder.path().to_owned()),
            from: String::new(),
        };
        let entry = Entry {
            model: "m".into(),
            protocol: "flava".into(),
            precision: "f32".into(),
            origin: Origin::Measured,
            members: vec![Member {
                fingerprint: "0".into(),
                records: vec![measured],
            }],
        };
        let options = BoardOptions {
            draws: 4000,
            ..BoardOptions::default()
        };
        let board = Board::of(vec![entry], Vec::new(), &options).unwrap();
        assert_eq!(board.common.len(), 2);
        board.rows[0].common.as_ref().unwrap().over_rows.unwrap()
    };
    let (drawn, told) = (error(true), error(false));
    assert!((drawn / told - 1.0).abs() < 0.05, "{drawn} {told}");
}
