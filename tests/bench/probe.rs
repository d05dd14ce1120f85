//! The probe's fit and search for `make bench`: probe FILE CLASSES PENALTY | probe FILE CLASSES
//! search | probe synthetic ROWS FEATURES CLASSES
//!
//! The last draws clusters on the device, keeps them in f16 on a GPU, and searches.
//!
//! FILE is safetensors with train and held [rows, features] in f32, and `train_labels` and
//! `held_labels` in int64.
#![allow(clippy::disallowed_methods, reason = "a benchmark may panic")]

mod place;

use std::{env, time::Instant};

use flava_heads::{FitOptions, LinearHead, Probe, Sweep, accuracy};
use flava_model::runtime::peak_memory;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const OPTIONS: FitOptions = FitOptions {
    tolerance: 1e-5,
    max_iterations: 1000,
    verify: false,
};

fn main() {
    let device = place::start();
    let args: Vec<String> = env::args().skip(1).collect();
    if let [what, sizes @ ..] = &args[..]
        && what == "synthetic"
    {
        let sizes: Vec<i64> = sizes.iter().map(|size| size.parse().unwrap()).collect();
        println!("{}", synthetic(sizes[..].try_into().unwrap(), device));
        return;
    }
    let [file, classes, what] = &args[..] else {
        panic!("probe FILE CLASSES PENALTY|search")
    };
    let tensors: std::collections::HashMap<String, Tensor> = Tensor::read_safetensors(file)
        .unwrap()
        .into_iter()
        .collect();
    let _warm = Tensor::randn([512, 512], (Kind::Float, Device::Cpu))
        .matmul(&Tensor::randn([512, 512], (Kind::Float, Device::Cpu)));
    std::fs::write("/proc/self/clear_refs", "5").unwrap(); // the peak is counted from here
    let before = memory("VmRSS:");
    let start = Instant::now();
    let probe = Probe::new(
        vec![tensors["train"].shallow_clone()],
        &tensors["train_labels"],
        classes.parse().unwrap(),
    )
    .unwrap();
    let described = start.elapsed().as_secs_f64();
    let (fits, head) = if let Ok(penalty) = what.parse::<f64>() {
        let (head, fit) = probe
            .fit(
                &[(penalty, None)],
                &FitOptions {
                    verify: true,
                    ..OPTIONS
                },
            )
            .unwrap()
            .remove(0);
        (vec![(penalty, fit, 0.0)], head)
    } else {
        let held = (&tensors["held"], &tensors["held_labels"]);
        let chosen = Sweep::Halving
            .run(&probe, &|head| accuracy(head, held.0, held.1), &OPTIONS)
            .unwrap();
        (
            chosen
                .tried
                .iter()
                .map(|t| (t.penalty, t.fit, t.score))
                .collect(),
            chosen.head,
        )
    };
    let seconds = start.elapsed().as_secs_f64();
    let report = |(penalty, fit, accuracy): &(f64, flava_heads::Fit, f64)| json!({ "penalty": penalty, "loss": fit.loss, "gradient": fit.gradient, "iterations": fit.iterations, "accuracy": accuracy });
    println!(
        "{}",
        json!({
            "seconds": seconds, "described": described, "fits": fits.iter().map(report).collect::<Vec<_>>(),
            "predicted": predicted(&head, &tensors["held"]), "extra_mb": (memory("VmHWM:") - before) / 1e6,
            "features_mb": tensors["train"].numel() as f64 * 4e-6,
        })
    );
}

/// The whole search over drawn rows around a centre a class, a tenth of them held out.
fn synthetic([rows, width, classes]: [i64; 3], device: Device) -> serde_json::Value {
    let kind = if device.is_cuda() {
        Kind::Half
    } else {
        Kind::Float
    };
    tch::manual_seed(0);
    let centres = Tensor::randn([classes, width], (Kind::Float, device));
    let draw = |count: i64| {
        let labels = Tensor::randint(classes, [count], (Kind::Int64, device));
        let block = |start: i64| {
            let size = (count - start).min(1 << 16);
            let near = centres.index_select(0, &labels.narrow(0, start, size));
            let values = near * 0.2 + Tensor::randn([size, width], (Kind::Float, device));
            values.to_kind(kind)
        };
        let blocks: Vec<Tensor> = (0..count).step_by(1 << 16).map(block).collect();
        (blocks, labels)
    };
    let (train, train_labels) = draw(rows - rows / 10);
    let (held, held_labels) = draw(rows / 10);
    let held = Tensor::cat(&held, 0);
    place::wait(device);
    let start = Instant::now();
    let probe = Probe::new(train, &train_labels, classes).unwrap();
    let score = |head: &LinearHead| accuracy(head, &held, &held_labels);
    let chosen = Sweep::Halving.run(&probe, &score, &OPTIONS).unwrap();
    place::wait(device);
    json!({
        "seconds": start.elapsed().as_secs_f64(), "peak_mb": peak_memory(device), "fits": chosen.tried.len(),
        "iterations": chosen.tried.iter().map(|t| t.fit.iterations).sum::<usize>(), "penalty": chosen.penalty,
        "accuracy": chosen.tried.iter().map(|t| t.score).fold(0.0, f64::max),
    })
}

fn predicted(head: &LinearHead, features: &Tensor) -> Vec<i64> {
    head.forward(features)
        .unwrap()
        .argmax(1, false)
        .try_into()
        .unwrap()
}

/// Resident memory in bytes.
fn memory(what: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        * 1024.0
}
