//! Comparing tensors within a stated tolerance.

use tch::{Device, Kind, Tensor};

/// What is wrong between `ours` and `theirs`, or nothing: |a - b| <= atol + rtol |b| everywhere,
/// NaN where NaN is.
pub fn difference(ours: &Tensor, theirs: &Tensor, atol: f64, rtol: f64) -> Option<String> {
    if ours.size() != theirs.size() {
        return Some(format!(
            "shape {:?}, expected {:?}",
            ours.size(),
            theirs.size()
        ));
    }
    if ours.numel() == 0 {
        return None;
    }
    let [a, b] = [ours, theirs].map(|t| t.detach().to_device(Device::Cpu).to_kind(Kind::Double));
    let (nan_a, nan_b) = (a.isnan(), b.isnan());
    if nan_a != nan_b {
        return Some(format!(
            "{} NaN, expected {}",
            nan_a.sum(Kind::Int64),
            nan_b.sum(Kind::Int64)
        ));
    }
    let (a, b) = (a.nan_to_num(0.0, None, None), b.nan_to_num(0.0, None, None));
    let distance = (&a - &b).abs();
    let excess = (&distance - (b.abs() * rtol + atol))
        .max()
        .double_value(&[]);
    (excess > 0.0).then(|| format!("differs by up to {:.2e}", distance.max().double_value(&[])))
}
