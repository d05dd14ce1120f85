//! `AdamW` (Loshchilov and Hutter 2019) by libtorch's fused kernel, with its state in tensors that
//! are saved.
#![allow(unsafe_code, reason = "the shim's operators take raw libtorch tensors")]

use std::{collections::BTreeMap, ffi::c_int};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::{Error, Result, runtime::onednn::check};

unsafe extern "C" {
    fn flava_adamw(
        parameters: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        means: *const *mut C_tensor,
        squares: *const *mut C_tensor,
        steps: *const *mut C_tensor,
        count: usize,
        rate: f64,
        beta1: f64,
        beta2: f64,
        decay: f64,
        eps: f64,
    ) -> c_int;
    fn flava_norm(tensors: *const *mut C_tensor, count: usize, out: *mut f64) -> c_int;
    fn flava_forget_gradients(tensors: *const *mut C_tensor, count: usize) -> c_int;
    fn flava_scale(tensors: *const *mut C_tensor, count: usize, factor: f64) -> c_int;
}

/// Parameters that are treated alike.
#[derive(Debug)]
pub struct Group {
    /// By name.
    pub parameters: Vec<(String, Tensor)>,
    /// What the step's learning rate is multiplied by.
    pub rate_factor: f64,
    /// Weight decay, as a share of the rate.
    pub decay: f64,
}

/// First and second moment, and number of steps.
#[derive(Debug)]
struct Moments {
    mean: Tensor,
    square: Tensor,
    steps: Tensor,
}

/// The optimiser and its state.
#[derive(Debug)]
pub struct AdamW {
    groups: Vec<Group>,
    betas: (f64, f64),
    eps: f64,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// Over groups of f32 parameters.
    pub fn new(groups: Vec<Group>, betas: (f64, f64), eps: f64) -> Self {
        Self {
            groups,
            betas,
            eps,
            moments: BTreeMap::new(),
        }
    }

    /// All parameters that have a gradient now.
    fn with_gradients(&self) -> impl Iterator<Item = &(String, Tensor)> {
        self.groups
            .iter()
            .flat_map(|group| &group.parameters)
            .filter(|(_, parameter)| parameter.grad().defined())
    }

    /// The norm of all gradients together; not finite where one of them is not.
    pub fn gradient_norm(&self) -> Result<f64> {
        let gradients: Vec<Tensor> = self
            .with_gradients()
            .map(|(_, parameter)| parameter.grad())
            .collect();
        let pointers = pointers(&gradients);
        let mut norm = 0.0;
        if !gradients.is_empty() {
            // SAFETY: the tensors outlive the call, which writes one number.
            check(unsafe { flava_norm(pointers.as_ptr(), pointers.len(), &raw mut norm) })?;
        }
        Ok(norm)
    }

    /// Multiplies all gradients.
    pub fn scale_gradients(&self, factor: f64) -> Result<()> {
        let gradients: Vec<Tensor> = self
            .with_gradients()
            .map(|(_, parameter)| parameter.grad())
            .collect();
        let pointers = pointers(&gradients);
        // SAFETY: as above; the tensors are changed in place.
        if gradients.is_empty() {
            Ok(())
        } else {
            check(unsafe { flava_scale(pointers.as_ptr(), pointers.len(), factor) })
        }
    }

    /// Cuts each parameter's gradient to a norm of its own, as DINO does.
    pub fn clip_each(&self, most: f64) -> Result<()> {
        for (_, parameter) in self.with_gradients() {
            let mut gradient = parameter.grad();
            let norm = gradient
                .f_norm()?
                .f_to_kind(Kind::Double)?
                .double_value(&[]);
            if norm > most {
                let _cut = tch::no_grad(|| gradient.f_mul_scalar_(most / norm))?;
            }
        }
        Ok(())
    }

    /// Sets the weight decay of the groups that have one.
    pub fn set_decay(&mut self, decay: f64) {
        self.groups
            .iter_mut()
            .filter(|group| group.decay > 0.0)
            .for_each(|group| group.decay = decay);
    }

    /// Takes all gradients away: a parameter that a step does not reach has none, and is not
    /// updated.
    pub fn forget_gradients(&self) -> Result<()> {
        let parameters: Vec<*mut C_tensor> = self
            .groups
            .iter()
            .flat_map(|group| &group.parameters)
            .map(|(_, parameter)| parameter.as_ptr().cast_mut())
            .collect();
        // SAFETY: the tensors outlive the call.
        check(unsafe { flava_forget_gradients(parameters.as_ptr(), parameters.len()) })
    }

    /// One step at a learning rate, of the parameters that have gradients.
    pub fn step(&mut self, rate: f64) -> Result<()> {
        for group in &self.groups {
            let mut all: [Vec<Tensor>; 5] = Default::default();
            for (name, parameter) in group
                .parameters
                .iter()
                .filter(|(_, parameter)| parameter.grad().defined())
            {
                if !self.moments.contains_key(name) {
                    let zeros = || parameter.f_zeros_like().map(|zeros| zeros.detach());
                    let steps = Tensor::f_zeros([] as [i64; 0], (Kind::Float, parameter.device()))?;
                    self.moments.insert(
                        name.clone(),
                        Moments {
                            mean: zeros()?,
                            square: zeros()?,
                            steps,
                        },
                    );
                }
                let moments = &self.moments[name];
                let row = [
                    parameter,
                    &parameter.grad(),
                    &moments.mean,
                    &moments.square,
                    &moments.steps,
                ]
                .map(Tensor::shallow_clone);
                all.iter_mut()
                    .zip(row)
                    .for_each(|(list, tensor)| list.push(tensor));
            }
            let lists = all.each_ref().map(|list| pointers(list));
            if lists[0].is_empty() {
                continue;
            }
            let (rate, (beta1, beta2)) = (rate * group.rate_factor, self.betas);
            let [p, g, m, v, s] = lists.each_ref().map(Vec::as_ptr);
            // SAFETY: five lists of as many tensors, which outlive the call.
            check(unsafe {
                flava_adamw(
                    p,
                    g,
                    m,
                    v,
                    s,
                    lists[0].len(),
                    rate,
                    beta1,
                    beta2,
                    group.decay,
                    self.eps,
                )
            })?;
        }
        Ok(())
    }

    /// The moments and step counts by name, as they are saved.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let named = |(name, m): (&String, &Moments)| {
            [
                ("mean", &m.mean),
                ("square", &m.square),
                ("steps", &m.steps),
            ]
            .map(|(part, tensor)| (format!("{part}.{name}"), tensor.shallow_clone()))
        };
        self.moments.iter().flat_map(named).collect()
    }

    /// Takes a saved state over.
    ///
    /// # Errors
    /// If a part of it is missing or of another shape than its parameter.
    pub fn load_state(&mut self, state: Vec<(String, Tensor)>) -> Result<()> {
        let mut state: BTreeMap<String, Tensor> = state.into_iter().collect();
        let known: Vec<(String, Tensor)> = self
            .groups
            .iter()
            .flat_map(|group| &group.parameters)
            .map(|(name, p)| (name.clone(), p.shallow_clone()))
            .collect();
        for (name, parameter) in known {
            let mut take = |part: &str| state.remove(&format!("{part}.{name}"));
            let Some(mean) = take("mean") else { continue };
            let lacking = || Error::Input(format!("the optimiser's state of {name} does not fit"));
            let (square, steps) = (
                take("square").ok_or_else(lacking)?,
                take("steps").ok_or_else(lacking)?,
            );
            if mean.size() != parameter.size() || square.size() != parameter.size() {
                return Err(lacking());
            }
            let place = |t: Tensor| t.f_to_device(parameter.device());
            self.moments.insert(
                name,
                Moments {
                    mean: place(mean)?,
                    square: place(square)?,
                    steps: place(steps)?,
                },
            );
        }
        match state.keys().next() {
            Some(strange) => Err(Error::Input(format!(
                "the optimiser's state has {strange}, which the model does not have"
            ))),
            None => Ok(()),
        }
    }
}

fn pointers(tensors: &[Tensor]) -> Vec<*mut C_tensor> {
    tensors
        .iter()
        .map(|tensor| tensor.as_ptr().cast_mut())
        .collect()
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// Two steps by hand, the textbook's formulas: g = 2 x, decay 0.1.
    #[test]
    fn steps_are_the_textbooks_and_go_on_from_a_saved_state() {
        let x = Tensor::from_slice(&[1.0f32, -2.0]).set_requires_grad(true);
        let group = |x: &Tensor| {
            vec![Group {
                parameters: vec![("x".into(), x.shallow_clone())],
                rate_factor: 2.0,
                decay: 0.1,
            }]
        };
        let mut optimiser = AdamW::new(group(&x), (0.9, 0.99), 1e-8);
        let (mut expected, mut m, mut v) = ([1.0f64, -2.0], [0.0; 2], [0.0; 2]);
        for step in 1..=4 {
            if step == 3 {
                let state = optimiser.state();
                optimiser = AdamW::new(group(&x), (0.9, 0.99), 1e-8);
                optimiser
                    .load_state(
                        state
                            .into_iter()
                            .map(|(name, t)| (name, t.copy()))
                            .collect(),
                    )
                    .unwrap();
            }
            optimiser.forget_gradients().unwrap();
            x.square().sum(Kind::Float).backward();
            let norm = optimiser.gradient_norm().unwrap();
            let by_hand = expected.iter().map(|x| 4.0 * x * x).sum::<f64>().sqrt();
            assert!((norm - by_hand).abs() < 1e-5);
            optimiser.step(0.01).unwrap();
            for i in 0..2 {
                let g = 2.0 * expected[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.99 * v[i] + 0.01 * g * g;
                expected[i] -= 0.02 * 0.1 * expected[i];
                let (m_hat, v_hat) = (
                    m[i] / (1.0 - 0.9f64.powi(step)),
                    v[i] / (1.0 - 0.99f64.powi(step)),
                );
                expected[i] -= 0.02 * m_hat / (v_hat.sqrt() + 1e-8);
            }
            let ours: Vec<f64> = x
                .to_device(Device::Cpu)
                .to_kind(Kind::Double)
                .detach()
                .try_into()
                .unwrap();
            assert!(
                ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
                "{ours:?}, expected {expected:?}"
            );
        }
        assert!(
            optimiser
                .load_state(vec![("mean.y".into(), x.copy())])
                .is_err()
        );
    }
}
