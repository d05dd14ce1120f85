//! A linear probe on features that `flava-eval embed` wrote; classes are the folders of the images.
//!
//!     flava-eval embed --images examples/data/shapes/train --out train.safetensors
//!     cargo run --example linear_probe -- train.safetensors

use std::{collections::BTreeSet, env, error::Error, fs};

use flava_heads::{FitOptions, Probe};
use safetensors::SafeTensors;
use tch::{Kind, Tensor};

/// scikit-learn's default.
const PENALTY: f64 = 1.0;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args()
        .nth(1)
        .ok_or("linear_probe FEATURES.safetensors")?;
    let bytes = fs::read(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let metadata = header.metadata().as_ref().ok_or("there are no ids")?;
    let ids: Vec<String> = serde_json::from_str(&metadata["ids"])?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let cls = tensors.tensor("cls")?;
    let shape: Vec<i64> = cls.shape().iter().map(|&side| side as i64).collect();
    let features = Tensor::f_from_data_size(cls.data(), &shape, Kind::Float)?;
    let class = |id: &String| id.split('/').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = ids.iter().map(class).collect();
    let names: Vec<String> = names.into_iter().collect();
    let label = |id: &String| {
        names
            .iter()
            .position(|name| *name == class(id))
            .unwrap_or(0) as i64
    };
    let labels = Tensor::f_from_slice(&ids.iter().map(label).collect::<Vec<i64>>())?;
    let options = FitOptions {
        tolerance: 1e-5,
        max_iterations: 1000,
        verify: true,
    };
    let probe = Probe::new(vec![features.shallow_clone()], &labels, names.len() as i64)?;
    let (head, fit) = probe.fit(&[(PENALTY, None)], &options)?.remove(0);
    let predicted = head.forward(&features)?.f_argmax(1, false)?;
    let right = predicted.f_eq_tensor(&labels)?.f_sum(Kind::Int64)?;
    let (right, rows) = (right.int64_value(&[]), ids.len());
    println!(
        "{right} of {rows} right on the rows it was fitted on, {} steps",
        fit.iterations
    );
    Ok(())
}
