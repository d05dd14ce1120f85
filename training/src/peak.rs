//! The speed that training is compared with.

use std::time::Instant;

use flava_model::runtime::{Precision, linear};
use tch::{Device, Kind, Tensor};

use crate::Result;

/// Products that are measured; the fastest counts.
const TRIES: usize = 6;

/// What a large product reaches on a device, in floating-point operations a second.
pub fn peak_flops(device: Device, precision: Precision) -> Result<f64> {
    let _guard = tch::no_grad_guard();
    let side: i64 = if device.is_cuda() { 8192 } else { 1024 };
    let matrix = Tensor::f_ones([side, side], (Kind::Float, device))?;
    let matrix = matrix.f_to_kind(precision.kind())?;
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let start = Instant::now();
        let product = linear(&matrix, &matrix, None)?;
        let first = product.f_select(0, 0)?.f_select(0, 0)?;
        let _waited = first.f_to_kind(Kind::Double)?.double_value(&[]); // for a GPU
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (side as f64).powi(3) / best)
}
