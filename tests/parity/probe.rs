//! The probe's logistic regression against scikit-learn's, from `tests/golden/sklearn_golden.py`.

use std::{fs, path::Path};

use flava_heads::{FitOptions, LinearHead};
use serde_json::Value;
use tch::{Kind, Tensor};

fn matrix(value: &Value) -> Tensor {
    let rows: Vec<Tensor> = value.as_array().unwrap().iter().map(vector).collect();
    Tensor::stack(&rows, 0)
}

fn vector(value: &Value) -> Tensor {
    Tensor::from_slice(&value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>())
}

fn largest(t: &Tensor) -> f64 {
    t.abs().max().double_value(&[])
}

#[test]
fn fits_are_those_of_scikit_learn() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/logistic_regression.json");
    let golden: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let (features, labels) = (matrix(&case["x"]), vector(&case["y"]).to_kind(Kind::Int64));
        let (classes, c) = (case["classes"].as_i64().unwrap(), case["c"].as_f64().unwrap());
        let options = FitOptions { tolerance: 1e-7, max_iterations: 10_000, verify: true };
        let (head, fit) = LinearHead::fit((&features, &labels), classes, 1.0 / c, &options, None).unwrap();
        assert!(fit.converged, "{fit:?}");
        let objective = case["objective"].as_f64().unwrap();
        assert!(fit.loss <= objective + 1e-9 && fit.loss > objective - 1e-6, "{} for {objective}", fit.loss);
        let logits = head.forward(&features).unwrap();
        let logits = logits.to_kind(Kind::Double);
        let theirs = features.matmul(&matrix(&case["coef"]).tr()) + vector(&case["intercept"]);
        // Two columns and one sigmoid differ by what is common to both columns.
        let (ours, theirs) = if classes == 2 {
            (logits.select(1, 1) - logits.select(1, 0), theirs.select(1, 0))
        } else {
            let centred = |t: &Tensor| t - t.mean_dim(1, true, None);
            (centred(&logits), centred(&theirs))
        };
        let difference = largest(&(ours - &theirs)) / largest(&theirs);
        assert!(difference < 1e-4, "{classes} classes, C {c}: logits differ by {difference:.1e} of the largest");
        let again = LinearHead::fit((&features, &labels), classes, 1.0 / c, &options, Some(&head)).unwrap().1;
        assert!(again.iterations <= fit.iterations && (again.loss - fit.loss).abs() < 1e-9, "{fit:?}, and from there {again:?}");
    }
}
