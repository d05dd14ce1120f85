//! What mixed precision does on GPUs: products of a half kind with weights of f32, and the sums and
//! norms between them as one kernel each.
#![allow(
    unsafe_code,
    reason = "the shim's operators take and give raw libtorch tensors"
)]

use std::{
    ffi::{CStr, c_char, c_int},
    ptr,
};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use super::{Autocast, half_pass::scalar_type, onednn::call};
use crate::Result;

unsafe extern "C" {
    fn flava_half_linear(
        xs: *const C_tensor,
        weights: *const *mut C_tensor,
        biases: *const *mut C_tensor,
        count: usize,
        kind: c_int,
        out: *mut *mut C_tensor,
    ) -> c_int;
    fn flava_residual_norm(
        source: *const c_char,
        xs: *const C_tensor,
        branch: *const C_tensor,
        gain: *const C_tensor,
        bias: *const C_tensor,
        eps: f64,
        kind: c_int,
        sum: *mut *mut C_tensor,
        ys: *mut *mut C_tensor,
    ) -> c_int;
}

/// `xs` \[.., in\] times one to three `weights` (out, in) of f32 transposed, plus their biases
/// (out), side by side: \[.., outs\] of the half kind, differentiable. Gradients of weights are of
/// f32 from their product on.
pub(super) fn linear(
    xs: &Tensor,
    weights: &[&Tensor],
    biases: Option<&[&Tensor]>,
    kind: Kind,
) -> Result<Tensor> {
    let raw = |tensors: &[&Tensor]| -> Vec<*mut C_tensor> {
        let tensors = tensors.iter();
        tensors.map(|tensor| tensor.as_ptr().cast_mut()).collect()
    };
    let (all, biases) = (raw(weights), biases.map(raw));
    let biases = biases.as_ref().map_or(ptr::null(), Vec::as_ptr);
    // SAFETY: all tensors outlive the call, and both lists are of one length.
    call(|out| unsafe {
        flava_half_linear(
            xs.as_ptr(),
            all.as_ptr(),
            biases,
            all.len(),
            scalar_type(kind),
            out,
        )
    })
}

/// Numbers of a row that a warp shares evenly, and that its registers hold.
const STRIDE: i64 = 128;
const WIDEST: i64 = 1536;
/// The kernel's source, compiled on the GPU that it runs on.
const SOURCE: &str = concat!(include_str!("../../csrc/norm.cu"), "\0");

/// The sum of a residual stream \[.., size\] and what a branch gives, and the layer norm of it in
/// the kind that products read, as one kernel; without a branch, `xs` and its norm. None where no
/// kernel is for them: on CPUs, and where no half kind is read.
pub fn residual_norm(
    xs: &Tensor,
    branch: Option<&Tensor>,
    gain: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Option<(Tensor, Tensor)>> {
    let Some(kind) = half_of(xs, gain)? else {
        return Ok(None);
    };
    if !branch.is_none_or(|branch| branch.kind() == kind && branch.size() == xs.size()) {
        return Ok(None);
    }
    let source = CStr::from_bytes_with_nul(SOURCE.as_bytes()).unwrap_or_default();
    let branch = branch.map_or(ptr::null(), tch::Tensor::as_ptr);
    let mut ys = ptr::null_mut();
    let sum = call(|out| {
        // SAFETY: all tensors outlive the call and are on one GPU; the source is a constant. The
        // shim stores two new tensors and returns 0, or neither.
        unsafe {
            let (xs, gain, bias) = (xs.as_ptr(), gain.as_ptr(), bias.as_ptr());
            flava_residual_norm(
                source.as_ptr(),
                xs,
                branch,
                gain,
                bias,
                eps,
                scalar_type(kind),
                out,
                &raw mut ys,
            )
        }
    })?;
    // SAFETY: the shim succeeded, so `ys` owns a new tensor, which tch now frees.
    Ok(Some((sum, unsafe { Tensor::from_ptr(ys) })))
}

/// The half kind that the norm of a stream is read in.
fn half_of(xs: &Tensor, gain: &Tensor) -> Result<Option<Kind>> {
    let width = xs.size().last().copied().unwrap_or(0);
    let fits = xs.device().is_cuda() && width > 0 && width % STRIDE == 0 && width <= WIDEST;
    if !fits || gain.size() != [width] {
        return Ok(None);
    }
    Ok(match (xs.kind(), gain.kind()) {
        (Kind::Float, Kind::Float) => Autocast::now(xs.device())?,
        (Kind::Half, Kind::Half) => Some(Kind::Half),
        (Kind::BFloat16, Kind::BFloat16) => Some(Kind::BFloat16),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::{super::half_pass::HalfPass, *};

    /// A product with three weights is three products, whose weights get gradients of f32.
    #[test]
    fn products_of_halves_are_those_of_autocast() {
        tch::manual_seed(0);
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let drawn: Vec<Tensor> = [
            &[2, 5, 16][..],
            &[8, 16],
            &[8, 16],
            &[4, 16],
            &[8],
            &[8],
            &[4],
        ]
        .map(random)
        .into();
        let factors = Tensor::arange(20, (Kind::Float, Device::Cpu));
        let computed = |act: &dyn Fn(&[Tensor]) -> Tensor| {
            let leaves: Vec<Tensor> = drawn
                .iter()
                .map(|t| t.copy().set_requires_grad(true))
                .collect();
            let ys = {
                let _pass = HalfPass::begin(Kind::BFloat16).unwrap();
                act(&leaves)
            };
            assert_eq!((ys.kind(), ys.size()), (Kind::BFloat16, vec![2, 5, 20]));
            (ys.to_kind(Kind::Float) * &factors)
                .sum(Kind::Float)
                .backward();
            let gradients: Vec<Tensor> = leaves.iter().map(Tensor::grad).collect();
            (ys.detach(), gradients)
        };
        let (one, by_one) = computed(&|leaves| {
            let all: Vec<&Tensor> = leaves.iter().collect();
            linear(all[0], &all[1..4], Some(&all[4..]), Kind::BFloat16).unwrap()
        });
        let (three, by_three) = computed(&|leaves| {
            let half: Vec<Tensor> = leaves.iter().map(|t| t.to_kind(Kind::BFloat16)).collect();
            let each = (1..4).map(|i| half[0].linear(&half[i], Some(&half[i + 3])));
            Tensor::cat(&each.collect::<Vec<_>>(), -1)
        });
        assert_eq!(one, three);
        for (a, b) in by_one.iter().zip(by_three) {
            let far = (a - &b).abs().max().double_value(&[]) / b.abs().max().double_value(&[]);
            assert!(a.kind() == Kind::Float && far < 1e-2, "{far}");
        }
    }
}
