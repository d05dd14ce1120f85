//! Embeddings of unit length, whoever computed them.

use tch::Tensor;

use crate::Result;

/// Smallest norm that is divided by, as in torch's `normalize`.
const SMALLEST_NORM: f64 = 1e-12;

/// Embeddings \[classes, templates, projection\] to their means of unit length, \[classes,
/// projection\].
pub(crate) fn mean_of_templates(embeddings: &Tensor) -> Result<Tensor> {
    unit_length(&embeddings.f_mean_dim(1, false, None)?)
}

/// Vectors of unit length; one of zeros stays.
pub(crate) fn unit_length(values: &Tensor) -> Result<Tensor> {
    let norms = values.f_norm_scalaropt_dim(2.0, [-1], true)?;
    Ok(values.f_div(&norms.f_clamp_min(SMALLEST_NORM)?)?)
}
