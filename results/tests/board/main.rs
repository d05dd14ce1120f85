//! Boards of made-up checkpoints whose truth is known: what the intervals hold.

use std::{fs, path::Path};

use flava_results::{
    MetricValue, Record, RunFolder,
    board::{Board, BoardOptions},
};
use flava_tasks::{Outputs, Predictions, predictions::Ranked};
use rand::{Rng, SeedableRng, rngs::StdRng};
use statrs::distribution::{ContinuousCDF, Normal};

const WORLDS: usize = 100;
const SKILLS: [f64; 5] = [0.0, 0.1, 0.5, 0.55, 1.0];
const TASKS: [&str; 2] = ["sim-a", "sim-b"];
const ROWS: usize = 300;

fn score(metric: &str, value: f64, n: usize) -> MetricValue {
    MetricValue {
        metric: metric.into(),
        split: "test".into(),
        value,
        standard_error: (value * (1.0 - value) / n as f64).sqrt(),
        ci_high: 1.0,
        interval: "wilson".into(),
        n,
        higher_is_better: true,
        ..MetricValue::default()
    }
}

fn write(folder: &Path, task: &str, metrics: Vec<MetricValue>, predictions: Option<&Predictions>) {
    let record = Record {
        task: task.into(),
        task_version: 1,
        protocol: "flava".into(),
        metrics,
        model: folder.file_name().unwrap().to_string_lossy().into_owned(),
        model_fingerprint: folder.display().to_string(),
        precision: "f32".into(),
        publishable: true,
        program: "flava 0.1.0".into(),
        ..Record::default()
    };
    fs::create_dir_all(folder.join("predictions")).unwrap();
    if let Some(predictions) = predictions {
        predictions
            .write(&RunFolder::predictions_in(folder, task, None), task)
            .unwrap();
    }
    fs::write(
        folder.join(format!("{task}.json")),
        record.to_file().unwrap(),
    )
    .unwrap();
}

/// Checkpoints answer rows right by a skill of theirs and an ease that rows have.
fn world(folder: &Path, rng: &mut StdRng) -> Vec<String> {
    let normal = Normal::standard();
    for task in TASKS {
        let ease: Vec<f64> = (0..ROWS)
            .map(|_| normal.inverse_cdf(rng.random_range(1e-6..1.0 - 1e-6)))
            .collect();
        for (model, skill) in SKILLS.iter().enumerate() {
            let right: Vec<usize> = ease
                .iter()
                .map(|row| usize::from(skill + row > 0.0))
                .collect();
            let value = right.iter().sum::<usize>() as f64 / ROWS as f64;
            let predictions = Predictions {
                ids: (0..ROWS).map(|row| format!("{row:06}")).collect(),
                clusters: None,
                outputs: Outputs::Classes {
                    predicted: right,
                    gold: vec![1; ROWS],
                    logits: None,
                },
            };
            let run = folder.join(model.to_string());
            write(
                &run,
                task,
                vec![score("accuracy", value, ROWS)],
                Some(&predictions),
            );
        }
    }
    let run = |model: usize| folder.join(model.to_string()).display().to_string();
    (0..SKILLS.len()).map(run).collect()
}

/// 95 % intervals of averages hold the truth in 95 % of the worlds, and intervals of ranks the true
/// rank in at least as many.
#[test]
fn intervals_of_averages_and_ranks_hold_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    let options = BoardOptions {
        draws: 200,
        ..BoardOptions::default()
    };
    let (mut averages, mut ranks, mut narrow) = (0, 0, 0);
    for _ in 0..WORLDS {
        let board = Board::read(&world(folder.path(), &mut rng), &options).unwrap();
        for row in &board.rows {
            let model: usize = row.entry.model.parse().unwrap();
            let truth = Normal::standard().cdf(SKILLS[model]);
            let [low, high] = row.common.as_ref().unwrap().interval().unwrap();
            averages += usize::from(low <= truth && truth <= high);
            let (rank, true_rank) = (row.rank.unwrap(), SKILLS.len() - model);
            ranks += usize::from(rank.low <= true_rank && true_rank <= rank.high);
            narrow += usize::from(rank.high - rank.low < 2);
        }
    }
    let share = |count: usize| count as f64 / (WORLDS * SKILLS.len()) as f64;
    let (averages, ranks, narrow) = (share(averages), share(ranks), share(narrow));
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
            images: (0..2000).map(ranked).collect(),
        },
    };
    let folder = tempfile::tempdir().unwrap();
    let options = BoardOptions {
        draws: 4000,
        ..BoardOptions::default()
    };
    let error = |name: &str, predictions: Option<&Predictions>| {
        let run = folder.path().join(name);
        let metrics = vec![
            score("text_recall@1", 0.4, 2000),
            score("text_recall@5", 0.8, 2000),
        ];
        write(&run, "flickr30k-retrieval", metrics, predictions);
        let board = Board::read(&[run.display().to_string()], &options).unwrap();
        assert_eq!(board.common.len(), 2);
        board.rows[0].common.as_ref().unwrap().over_rows.unwrap()
    };
    let (drawn, told) = (error("with", Some(&predictions)), error("without", None));
    assert!((drawn / told - 1.0).abs() < 0.05, "{drawn} {told}");
    let apart = (0.4f64 * 0.6 / 2000.0 + 0.8 * 0.2 / 2000.0).sqrt() / 2.0;
    assert!(
        told > apart * 1.1,
        "recalls of the same queries vary together"
    );
}
