//! Numbers that are none.

use flava_tasks::Feature;
use tch::Tensor;

use crate::{Error, Result};

/// The rows of values \[rows, width\] that are not finite.
pub(crate) fn non_finite_rows(values: &Tensor) -> Result<Vec<i64>> {
    let is_bad = values.f_isfinite()?.f_all_dim(1, false)?.f_logical_not()?;
    Ok(is_bad.f_nonzero()?.f_flatten(0, -1)?.try_into()?)
}

/// Refuses features \[positions, width\] that are not finite.
pub(crate) fn check_finite(
    values: &Tensor,
    positions: &[usize],
    id: &dyn Fn(usize) -> String,
    feature: Feature,
) -> Result<()> {
    let bad = non_finite_rows(values)?;
    let Some(first) = bad.first().and_then(|&row| positions.get(row as usize)) else {
        return Ok(());
    };
    let reason = "a number of it is not finite: the weights are damaged, or the precision is too low for them";
    Err(Error::NotFinite(format!(
        "{} of {}: {reason}",
        feature.name(),
        id(*first)
    )))
}
