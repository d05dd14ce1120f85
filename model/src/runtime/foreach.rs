//! Operators over lists of tensors, each one call of libtorch: an optimiser's step, norms, scaling.
#![allow(unsafe_code, reason = "the shim's operators take raw libtorch tensors")]

use std::ffi::c_int;

use tch::Tensor;
use torch_sys::C_tensor;

use super::onednn::check;
use crate::Result;

unsafe extern "C" {
    fn flava_adamw(
        parameters: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        means: *const *mut C_tensor,
        squares: *const *mut C_tensor,
        steps: *const *mut C_tensor,
        count: usize,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> c_int;
    fn flava_norm(tensors: *const *mut C_tensor, count: usize, out: *mut f64) -> c_int;
    fn flava_forget_gradients(tensors: *const *mut C_tensor, count: usize) -> c_int;
    fn flava_set_gradient(tensor: *mut C_tensor, gradient: *const C_tensor) -> c_int;
    fn flava_scale(tensors: *const *mut C_tensor, count: usize, factor: f64) -> c_int;
}

/// A step of `AdamW` over parameters that are treated alike; the lists are of one length.
#[derive(Debug)]
pub struct AdamWStep<'a> {
    /// f32; changed in place.
    pub parameters: &'a [Tensor],
    /// Of each.
    pub gradients: &'a [Tensor],
    /// First moments; changed in place.
    pub means: &'a [Tensor],
    /// Second moments; changed in place.
    pub squares: &'a [Tensor],
    /// Steps that each has made, f32; changed in place.
    pub steps: &'a [Tensor],
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the moments.
    pub betas: [f64; 2],
    /// What keeps the division from zero.
    pub eps: f64,
    /// As a share of the learning rate.
    pub weight_decay: f64,
}

/// libtorch's fused kernel of `AdamW` (Loshchilov and Hutter 2019).
///
/// # Errors
/// If the lists are of other lengths, and what libtorch says.
pub fn fused_adamw(step: &AdamWStep) -> Result<()> {
    let lists = [
        step.parameters,
        step.gradients,
        step.means,
        step.squares,
        step.steps,
    ];
    let count = step.parameters.len();
    if lists.iter().any(|list| list.len() != count) {
        return Err(crate::Error::Input("an optimiser's lists differ".into()));
    }
    if count == 0 {
        return Ok(());
    }
    let [p, g, m, v, s] = lists.map(pointers);
    let [beta1, beta2] = step.betas;
    // SAFETY: five lists of as many tensors, which outlive the call.
    check(unsafe {
        flava_adamw(
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            s.as_ptr(),
            count,
            step.lr,
            beta1,
            beta2,
            step.weight_decay,
            step.eps,
        )
    })
}

/// The norm of all numbers of some tensors together; not finite where one of them is not.
pub fn norm(tensors: &[Tensor]) -> Result<f64> {
    let pointers = pointers(tensors);
    let mut norm = 0.0;
    if !tensors.is_empty() {
        // SAFETY: the tensors outlive the call, which writes one number.
        check(unsafe { flava_norm(pointers.as_ptr(), pointers.len(), &raw mut norm) })?;
    }
    Ok(norm)
}

/// Multiplies tensors in place.
pub fn scale(tensors: &[Tensor], factor: f64) -> Result<()> {
    if tensors.is_empty() {
        return Ok(());
    }
    let pointers = pointers(tensors);
    // SAFETY: the tensors outlive the call.
    check(unsafe { flava_scale(pointers.as_ptr(), pointers.len(), factor) })
}

/// Takes the gradients of some variables away.
pub fn clear_gradients(variables: &[Tensor]) -> Result<()> {
    let pointers = pointers(variables);
    // SAFETY: the tensors outlive the call.
    check(unsafe { flava_forget_gradients(pointers.as_ptr(), pointers.len()) })
}

/// Gives a variable a gradient of its own size, or takes it away.
pub fn set_gradient(variable: &Tensor, gradient: Option<&Tensor>) -> Result<()> {
    let gradient = gradient.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: both outlive the call; libtorch counts the gradient's users.
    check(unsafe { flava_set_gradient(variable.as_ptr().cast_mut(), gradient) })
}

fn pointers(tensors: &[Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|t| t.as_ptr().cast_mut()).collect()
}
