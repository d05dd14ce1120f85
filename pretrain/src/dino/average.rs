//! The teacher's weights: at first those of the student, then their moving average.

use tch::{Tensor, nn::VarStore};

use crate::{Error, Result};

/// The variables whose names begin with `prefix`.
fn variables(store: &VarStore, prefix: &str) -> impl Iterator<Item = (String, Tensor)> {
    let all = store.variables().into_iter();
    all.filter(move |(name, _)| name.starts_with(prefix))
}

/// Copies the variables whose names begin with `prefix` from one store into another.
pub(super) fn copy(from: &VarStore, to: &VarStore, prefix: &str) -> Result<()> {
    let _guard = tch::no_grad_guard();
    let from = from.variables();
    for (name, mut variable) in variables(to, prefix) {
        let value = from
            .get(&name)
            .ok_or_else(|| Error::Input(format!("{name} is missing")))?;
        variable.f_copy_(value)?;
    }
    Ok(())
}

/// `average` of the names that begin with `prefix` takes a step towards `of`.
pub(super) fn ema_update(
    average: &VarStore,
    of: &VarStore,
    prefix: &str,
    momentum: f64,
) -> Result<()> {
    let _guard = tch::no_grad_guard();
    let of = of.variables();
    for (name, mut variable) in variables(average, prefix) {
        let _moved = variable.f_lerp_(&of[&name], 1.0 - momentum)?;
    }
    Ok(())
}
