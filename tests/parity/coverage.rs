//! How often 95 % intervals hold the truth, over simulated data whose truth is known.

use flava_base::stream;
use flava_tasks::{
    Metric, Outputs, Predictions, Score,
    metrics::Interval,
    predictions::{Logits, Ranked},
};
use rand::Rng;

/// What a correct interval's share of hits may be, with what the simulations themselves vary by.
const ALLOWED: std::ops::RangeInclusive<f64> = 0.93..=0.97;

fn coverage(kind: Interval, truth: f64, simulations: u64, simulate: impl Fn(u64) -> Score) {
    let scores: Vec<Score> = (0..simulations).map(simulate).collect();
    assert!(
        scores.iter().all(|score| score.interval == kind),
        "{kind:?}"
    );
    let hits = scores
        .iter()
        .filter(|score| (score.ci_low..=score.ci_high).contains(&truth))
        .count();
    let share = hits as f64 / simulations as f64;
    assert!(
        ALLOWED.contains(&share),
        "{kind:?} intervals hold the truth in {share} of cases"
    );
}

/// A number of the standard normal distribution.
fn normal(rng: &mut impl Rng) -> f64 {
    let (a, b): (f64, f64) = (rng.random::<f64>().max(1e-300), rng.random());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

fn ids(rows: usize) -> Vec<String> {
    (0..rows).map(|i| i.to_string()).collect()
}

fn classes(predicted: Vec<usize>, gold: Vec<usize>, clusters: Option<Vec<usize>>) -> Predictions {
    Predictions {
        ids: ids(gold.len()),
        clusters,
        outputs: Outputs::Classes {
            predicted,
            gold,
            logits: None,
        },
    }
}

#[test]
fn shares() {
    for (n, p) in [(40, 0.75), (500, 0.97)] {
        coverage(Interval::Wilson, p, 4000, |seed| {
            let mut rng = stream(seed, "share");
            let right = (0..n).map(|_| usize::from(rng.random_bool(p))).collect();
            Metric::Accuracy
                .score(&classes(right, vec![1; n], None), "t")
                .unwrap()
        });
    }
}

/// Five rows an image, and images that are easy or hard.
#[test]
fn shares_of_rows_that_share_images() {
    for images in [30, 200] {
        coverage(Interval::Clustered, 0.6, 2000, |seed| {
            let mut rng = stream(seed, "clusters");
            let mut right = Vec::new();
            for _ in 0..images {
                let p = if rng.random_bool(0.5) { 0.9 } else { 0.3 };
                right.extend((0..5).map(|_| usize::from(rng.random_bool(p))));
            }
            let clusters = (0..right.len()).map(|row| row / 5).collect();
            let gold = vec![1; right.len()];
            Metric::Accuracy
                .score(&classes(right, gold, Some(clusters)), "t")
                .unwrap()
        });
    }
}

/// VQA accuracies: several values between 0 and 1, independent, and three questions an image.
#[test]
fn means_of_graded_answers() {
    let given = |agreeing: usize| {
        (0..10)
            .map(|i| {
                if i < agreeing {
                    "yes".into()
                } else {
                    format!("no {i}").into()
                }
            })
            .collect()
    };
    let (graded, truth) = ([0, 1, 2, 3, 10], (0.0 + 0.3 + 0.6 + 0.9 + 1.0) / 5.0);
    coverage(Interval::Student, truth, 2000, |seed| {
        let mut rng = stream(seed, "graded");
        let gold: Vec<_> = (0..60)
            .map(|_| given(graded[rng.random_range(0..5)]))
            .collect();
        let outputs = Outputs::Answers {
            predicted: vec!["yes".into(); 60],
            gold,
        };
        Metric::VqaAccuracy
            .score(
                &Predictions {
                    ids: ids(60),
                    clusters: None,
                    outputs,
                },
                "t",
            )
            .unwrap()
    });
    coverage(Interval::Clustered, truth, 2000, |seed| {
        let mut rng = stream(seed, "graded, clustered");
        let kinds: Vec<usize> = (0..40).map(|_| rng.random_range(0..5)).collect();
        let gold: Vec<_> = (0..120)
            .map(|row| {
                given(
                    graded[if rng.random_bool(0.7) {
                        kinds[row / 3]
                    } else {
                        rng.random_range(0..5)
                    }],
                )
            })
            .collect();
        let outputs = Outputs::Answers {
            predicted: vec!["yes".into(); 120],
            gold,
        };
        let clusters = Some((0..120).map(|row| row / 3).collect());
        Metric::VqaAccuracy
            .score(
                &Predictions {
                    ids: ids(120),
                    clusters,
                    outputs,
                },
                "t",
            )
            .unwrap()
    });
}

#[test]
fn means_over_classes() {
    let rates = [0.95, 0.8, 0.6, 0.4, 0.7];
    coverage(Interval::Stratified, 0.69, 3000, |seed| {
        let mut rng = stream(seed, "classes");
        let gold: Vec<usize> = (0..200).map(|row| row % 5).collect();
        let predicted = gold
            .iter()
            .map(|&class| {
                if rng.random_bool(rates[class]) {
                    class
                } else {
                    (class + 1) % 5
                }
            })
            .collect();
        Metric::MeanPerClass
            .score(&classes(predicted, gold, None), "t")
            .unwrap()
    });
}

/// The same of many classes with few rows each, down to one.
#[test]
fn means_over_classes_of_few_rows() {
    for (count, rows) in [
        (200, &[2][..]),
        (200, &[3]),
        (150, &[1]),
        (120, &[1, 2, 5]),
        (120, &[2, 40]),
    ] {
        for truth in [0.3, 0.7] {
            coverage(Interval::Stratified, truth, 4000, |seed| {
                let mut rng = stream(seed, &format!("classes of {rows:?} rows, {truth}"));
                let gold: Vec<usize> = (0..count)
                    .flat_map(|class| std::iter::repeat_n(class, rows[class % rows.len()]))
                    .collect();
                let predicted = gold
                    .iter()
                    .map(|&class| if rng.random_bool(truth) { class } else { count })
                    .collect();
                Metric::MeanPerClass
                    .score(&classes(predicted, gold, None), "t")
                    .unwrap()
            });
        }
    }
}

/// Scores of two normal distributions one deviation apart: the area is the normal distribution's at
/// 1 / sqrt(2).
#[test]
fn areas_under_the_curve() {
    coverage(Interval::Delong, 0.760_249_938_9, 2000, |seed| {
        let mut rng = stream(seed, "area");
        let gold: Vec<usize> = (0..100).map(|row| usize::from(row % 3 == 0)).collect();
        let values = gold
            .iter()
            .flat_map(|&class| [0.0, (normal(&mut rng) + class as f64) as f32])
            .collect();
        let logits = Logits::new(values, 2, &ids(100)).unwrap();
        let outputs = Outputs::Classes {
            predicted: logits.best(),
            gold,
            logits: Some(logits),
        };
        Metric::RocAuc
            .score(
                &Predictions {
                    ids: ids(100),
                    clusters: None,
                    outputs,
                },
                "t",
            )
            .unwrap()
    });
}

/// Classes that are right with the same probability: both metrics of the infinite table are known.
#[test]
fn f1_and_matthews() {
    let (right, positive): (f64, f64) = (0.8, 0.4);
    let (tp, fp, fn_, tn) = (
        positive * right,
        (1.0 - positive) * (1.0 - right),
        positive * (1.0 - right),
        (1.0 - positive) * right,
    );
    let f1 = 2.0 * tp / (2.0 * tp + fp + fn_);
    let matthews = (tp * tn - fp * fn_) / ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt();
    for (metric, truth) in [
        (Metric::F1, f1),
        (Metric::Matthews, matthews),
        (Metric::AccuracyF1Mean, f64::midpoint(right, f1)),
    ] {
        coverage(Interval::Bootstrap, truth, 1500, |seed| {
            let mut rng = stream(seed, metric.name());
            let gold: Vec<usize> = (0..150)
                .map(|_| usize::from(rng.random_bool(positive)))
                .collect();
            let predicted = gold
                .iter()
                .map(|&class| {
                    if rng.random_bool(right) {
                        class
                    } else {
                        1 - class
                    }
                })
                .collect();
            metric.score(&classes(predicted, gold, None), "t").unwrap()
        });
    }
}

/// Normal numbers of correlation r; Spearman's of them is 6 / pi asin(r / 2).
#[test]
fn correlations() {
    let r = 0.7f64;
    for (metric, truth) in [
        (Metric::Pearson, r),
        (
            Metric::Spearman,
            6.0 / std::f64::consts::PI * (r / 2.0).asin(),
        ),
    ] {
        coverage(Interval::Bootstrap, truth, 1500, |seed| {
            let mut rng = stream(seed, metric.name());
            let predicted: Vec<f64> = (0..150).map(|_| normal(&mut rng)).collect();
            let gold = predicted
                .iter()
                .map(|x| r * x + (1.0 - r * r).sqrt() * normal(&mut rng))
                .collect();
            metric
                .score(
                    &Predictions {
                        ids: ids(150),
                        clusters: None,
                        outputs: Outputs::Values { predicted, gold },
                    },
                    "t",
                )
                .unwrap()
        });
    }
}

/// Captions of one image are found together or not at all.
#[test]
fn recalls() {
    coverage(Interval::Clustered, 0.5, 2000, |seed| {
        let mut rng = stream(seed, "recall");
        let mut images = Vec::new();
        for image in 0..100 {
            let p = if rng.random_bool(0.5) { 0.85 } else { 0.15 };
            images.extend((0..5).map(|_| Ranked {
                image,
                rank: if rng.random_bool(p) { 1 } else { 2 },
            }));
        }
        let outputs = Outputs::Ranks {
            texts: Vec::new(),
            images,
        };
        Metric::ImageRecall1
            .score(
                &Predictions {
                    ids: Vec::new(),
                    clusters: None,
                    outputs,
                },
                "t",
            )
            .unwrap()
    });
}

/// Differences of two models on the same rows, neither better than the other.
#[test]
fn paired_differences() {
    for (clustered, name) in [(false, "plain"), (true, "clustered")] {
        let simulations = 2000;
        let hit = |seed: u64| {
            let mut rng = stream(seed, name);
            let hard: Vec<bool> = (0..60).map(|_| rng.random_bool(0.5)).collect();
            let mut side = || {
                (0..120)
                    .map(|row| usize::from(rng.random_bool(if hard[row / 2] { 0.4 } else { 0.8 })))
                    .collect::<Vec<_>>()
            };
            let clusters = || clustered.then(|| (0..120).map(|row| row / 2).collect());
            let (a, b) = (
                classes(side(), vec![1; 120], clusters()),
                classes(side(), vec![1; 120], clusters()),
            );
            let difference = Metric::Accuracy.compare(&a, &b, "t").unwrap();
            (
                (difference.ci_low..=difference.ci_high).contains(&0.0),
                difference.p < 0.05,
            )
        };
        let outcomes: Vec<(bool, bool)> = (0..simulations).map(hit).collect();
        let share =
            outcomes.iter().filter(|(covered, _)| *covered).count() as f64 / simulations as f64;
        let false_alarms =
            outcomes.iter().filter(|(_, alarm)| *alarm).count() as f64 / simulations as f64;
        assert!(ALLOWED.contains(&share), "{name}: {share}");
        assert!(false_alarms < 0.07, "{name}: {false_alarms}"); // McNemar's exact test gives fewer than it may
    }
}
