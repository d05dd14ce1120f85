//! The losses of the discrete VAE.

use flava_model::runtime::{copied, distributed::Group};
use tch::{Kind, Tensor};

use crate::Result;

/// Less the logarithm of the logit-Laplace density of pixels, a mean over all numbers (DALL-E,
/// appendix A.3).
pub(super) fn logit_laplace(pixels: &Tensor, mean: &Tensor, log_width: &Tensor) -> Result<Tensor> {
    let logit = pixels.f_logit(None::<f64>)?;
    let distance = logit.f_sub(mean)?.f_abs()?.f_div(&log_width.f_exp()?)?;
    let norm = pixels
        .f_mul(&pixels.f_rsub_scalar(1)?)?
        .f_mul_scalar(2.0)?
        .f_log()?;
    Ok(distance
        .f_add(log_width)?
        .f_add(&norm)?
        .f_mean(Kind::Float)?)
}

/// The mean divergence of words from the even distribution, of their log-probabilities \[batch,
/// words, height, width\].
pub(super) fn divergence(log_q: &Tensor) -> Result<Tensor> {
    let words = log_q.size()[1] as f64;
    Ok(log_q
        .f_exp()?
        .f_mul(log_q)?
        .f_sum_dim_intlist(1, false, Kind::Float)?
        .f_mean(Kind::Float)?
        .f_add_scalar(words.ln())?)
}

/// How often each word is used, \[words\]: a mean over all patches, of log-probabilities \[batch,
/// words, height, width\].
pub(super) fn usage(log_q: &Tensor) -> Result<Tensor> {
    let probs = log_q.f_exp()?;
    Ok(probs.f_mean_dim([0i64, 2, 3].as_slice(), false, Kind::Float)?)
}

/// How far the words of a whole batch are from being used alike, and the gradient by their use.
pub(super) struct UnevenUsage {
    pub(super) value: Tensor,
    /// \[words\].
    pub(super) gradient: Tensor,
}

/// Of each process's part of the words' use, \[words\], whose sum is that of the whole batch.
pub(super) fn uneven_usage(used: &Tensor, group: &Group) -> Result<UnevenUsage> {
    let whole = copied(&used.f_detach()?)?;
    group.sum(&whole)?.wait()?;
    let whole = whole.f_set_requires_grad(true)?;
    let words = whole.size()[0] as f64;
    let value = whole
        .f_mul(&whole.f_clamp_min(1e-12)?.f_log()?)?
        .f_sum(Kind::Float)?
        .f_add_scalar(words.ln())?;
    value.f_backward()?;
    Ok(UnevenUsage {
        value: value.f_detach()?,
        gradient: whole.grad(),
    })
}
