//! The probe's logistic regression against scikit-learn's, from `tests/golden/sklearn_golden.py`.

use std::fs;

use flava_heads::{FitOptions, Labelled, LinearHead, Moments, Neighbours, Probe, Sweep, accuracy};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::support::{fixtures::DrawingAlone, place::root};

fn matrix(value: &Value) -> Tensor {
    let rows: Vec<Tensor> = value.as_array().unwrap().iter().map(vector).collect();
    Tensor::stack(&rows, 0)
}

fn vector(value: &Value) -> Tensor {
    Tensor::from_slice(
        &value
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect::<Vec<f64>>(),
    )
}

fn labelled<'a>(features: &'a Tensor, labels: &'a Tensor) -> Labelled<'a> {
    Labelled { features, labels }
}

fn largest(t: &Tensor) -> f64 {
    t.abs().max().double_value(&[])
}

#[test]
fn fits_are_those_of_scikit_learn() {
    let path = root().join("tests/golden/logistic_regression.json");
    let golden: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let (features, labels) = (matrix(&case["x"]), vector(&case["y"]).to_kind(Kind::Int64));
        let (classes, c) = (
            case["classes"].as_i64().unwrap(),
            case["c"].as_f64().unwrap(),
        );
        let options = FitOptions {
            tolerance: 1e-7,
            max_iterations: 10_000,
            verify: true,
        };
        let (head, fit) = LinearHead::fit(
            labelled(&features, &labels),
            classes,
            1.0 / c,
            &options,
            None,
        )
        .unwrap();
        assert!(fit.converged, "{fit:?}");
        let objective = case["objective"].as_f64().unwrap();
        assert!(
            fit.loss <= objective + 1e-9 && fit.loss > objective - 1e-6,
            "{} for {objective}",
            fit.loss
        );
        let logits = head.forward(&features).unwrap();
        let logits = logits.to_kind(Kind::Double);
        let theirs = features.matmul(&matrix(&case["coef"]).tr()) + vector(&case["intercept"]);
        // Two columns and one sigmoid differ by what is common to both columns.
        let (ours, theirs) = if classes == 2 {
            (
                logits.select(1, 1) - logits.select(1, 0),
                theirs.select(1, 0),
            )
        } else {
            let centred = |t: &Tensor| t - t.mean_dim(1, true, None);
            (centred(&logits), centred(&theirs))
        };
        let difference = largest(&(ours - &theirs)) / largest(&theirs);
        assert!(
            difference < 1e-4,
            "{classes} classes, C {c}: logits differ by {difference:.1e} of the largest"
        );
        let again = LinearHead::fit(
            labelled(&features, &labels),
            classes,
            1.0 / c,
            &options,
            Some(&head),
        )
        .unwrap()
        .1;
        assert!(
            again.iterations <= fit.iterations && (again.loss - fit.loss).abs() < 1e-9,
            "{fit:?}, and from there {again:?}"
        );
    }
}

fn golden(section: &str) -> Vec<Value> {
    let path = root().join("tests/golden/metrics.json");
    let all: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    all[section].as_array().unwrap().clone()
}

#[test]
fn neighbours_vote_as_by_hand() {
    for (i, case) in golden("knn").iter().enumerate() {
        let labels = vector(&case["labels"]).to_kind(Kind::Int64);
        let (classes, k) = (
            case["classes"].as_i64().unwrap(),
            case["k"].as_i64().unwrap(),
        );
        let neighbours = Neighbours::new(
            &matrix(&case["train"]),
            &labels,
            classes,
            case["temperature"].as_f64().unwrap(),
        )
        .unwrap();
        let votes = neighbours
            .votes(&matrix(&case["test"]), &[1, k])
            .unwrap()
            .pop()
            .unwrap();
        let theirs = matrix(&case["scores"]);
        assert!(
            largest(&((&votes - &theirs) / theirs.max())) < 1e-9,
            "case {i}"
        );
        let predicted: Vec<i64> = votes.argmax(1, false).try_into().unwrap();
        let expected: Vec<i64> = case["predicted"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_i64().unwrap())
            .collect();
        assert_eq!(predicted, expected, "case {i}");
    }
}

#[test]
fn ridge_regression_is_scikit_learns() {
    for (i, case) in golden("ridge").iter().enumerate() {
        let labels = vector(&case["y"]).to_kind(Kind::Int64);
        let classes = case["classes"].as_i64().unwrap();
        let head = Moments::new(&matrix(&case["x"]), &labels, classes)
            .unwrap()
            .solve(case["alpha"].as_f64().unwrap())
            .unwrap();
        let (weight, bias) = head.parts();
        let scores = matrix(&case["test"]).matmul(&weight.tr()) + bias;
        assert!(
            largest(&(scores - matrix(&case["scores"]))) < 1e-9,
            "case {i}"
        );
    }
}

/// Three classes of noise around their centres: the search reports every penalty, its choice is the
/// best, and many penalties fitted together are each as good as alone.
#[test]
fn penalties_are_searched_for_as_clip_does() {
    let alone = DrawingAlone::new();
    tch::manual_seed(5);
    let rows = |count: i64| {
        let labels = Tensor::randint(3, [count], (Kind::Int64, tch::Device::Cpu));
        let centres = Tensor::from_slice2(&[
            [1.0f32, 0.0, 0.0, 0.5],
            [0.0, 1.0, 0.0, -0.5],
            [0.0, 0.0, 1.0, 4.0],
        ]);
        (
            centres.index_select(0, &labels)
                + Tensor::randn([count, 4], (Kind::Float, tch::Device::Cpu))
                + 30.0,
            labels,
        )
    };
    let (fit, held_out) = (rows(300), rows(100));
    drop(alone);
    let options = FitOptions {
        tolerance: 1e-6,
        max_iterations: 1000,
        verify: true,
    };
    let probe = Probe::new(
        vec![fit.0.narrow(0, 0, 100), fit.0.narrow(0, 100, 200)],
        &fit.1,
        3,
    )
    .unwrap();
    let score = |head: &LinearHead| accuracy(head, &held_out.0, &held_out.1);
    let full = Sweep::Full.run(&probe, &score, &options).unwrap();
    let halving = Sweep::Halving.run(&probe, &score, &options).unwrap();
    assert_eq!(full.tried.len(), 97);
    assert!(
        (11..=15).contains(&halving.tried.len()),
        "{}",
        halving.tried.len()
    );
    let best = full.tried.iter().map(|t| t.score).fold(0.0, f64::max);
    let strongest = full
        .tried
        .iter()
        .filter(|t| t.score == best)
        .map(|t| t.penalty)
        .fold(0.0, f64::max);
    assert_eq!(full.penalty, strongest, "of equal ones the strongest");
    for tried in halving.tried.iter().chain(&full.tried) {
        let alone = LinearHead::fit(labelled(&fit.0, &fit.1), 3, tried.penalty, &options, None)
            .unwrap()
            .1;
        assert!(
            tried.fit.converged && (tried.fit.loss / alone.loss - 1.0).abs() < 1e-5,
            "{tried:?} for {alone:?}"
        );
    }
    assert!(
        Probe::new(vec![fit.0.narrow(0, 0, 300) * f64::NAN], &fit.1, 3).is_err(),
        "what is not finite is refused"
    );
}
