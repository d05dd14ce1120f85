//! `AdamW` (Loshchilov and Hutter 2019) by libtorch's fused kernel, with its state in tensors that
//! are saved.

use std::collections::BTreeMap;

use flava_model::runtime::{AdamWStep, clear_gradients, fused_adamw, norm, scale};
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Parameters that are treated alike.
#[derive(Debug)]
pub struct ParameterGroup {
    /// By name.
    pub parameters: Vec<(String, Tensor)>,
    /// What the step's learning rate is multiplied by.
    pub lr_scale: f64,
    /// Weight decay, as a share of the learning rate.
    pub weight_decay: f64,
}

/// First and second moment, and number of steps.
#[derive(Debug)]
struct Moments {
    mean: Tensor,
    square: Tensor,
    steps: Tensor,
}

impl Moments {
    fn zeros(parameter: &Tensor) -> Result<Self> {
        let zeros = || parameter.f_zeros_like().map(|zeros| zeros.detach());
        Ok(Self {
            mean: zeros()?,
            square: zeros()?,
            steps: Tensor::f_zeros([] as [i64; 0], (Kind::Float, parameter.device()))?,
        })
    }
}

/// The optimiser and its state.
#[derive(Debug)]
pub struct AdamW {
    groups: Vec<ParameterGroup>,
    betas: [f64; 2],
    eps: f64,
    moments: BTreeMap<String, Moments>,
}

/// What does not change in an optimiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay rates of the two moments.
    pub betas: [f64; 2],
    /// What keeps the division from zero.
    pub eps: f64,
    /// Weight decay, as a share of the learning rate.
    pub weight_decay: f64,
    /// Whether biases, norms, positions and tokens decay too.
    pub decay_all: bool,
}

impl AdamW {
    /// Over groups of f32 parameters.
    pub fn new(groups: Vec<ParameterGroup>, betas: [f64; 2], eps: f64) -> Self {
        Self {
            groups,
            betas,
            eps,
            moments: BTreeMap::new(),
        }
    }

    /// The same over what is this process's of each parameter, by name; without those of which it
    /// has nothing.
    pub(crate) fn of_own(mut self, own: impl Fn(&str) -> Option<Tensor>) -> Self {
        for group in &mut self.groups {
            let all = std::mem::take(&mut group.parameters).into_iter();
            let own = all.filter_map(|(name, _)| own(&name).map(|own| (name, own)));
            group.parameters = own.collect();
        }
        self
    }

    fn parameters(&self) -> impl Iterator<Item = &(String, Tensor)> {
        self.groups.iter().flat_map(|group| &group.parameters)
    }

    fn gradients(&self) -> Vec<Tensor> {
        self.parameters()
            .map(|(_, parameter)| parameter.grad())
            .filter(Tensor::defined)
            .collect()
    }

    /// The norm of all gradients together; not finite where one of them is not.
    pub fn gradient_norm(&self) -> Result<f64> {
        Ok(norm(&self.gradients())?)
    }

    /// Multiplies all gradients.
    pub fn scale_gradients(&self, factor: f64) -> Result<()> {
        Ok(scale(&self.gradients(), factor)?)
    }

    /// Cuts each parameter's gradient to a norm of its own, as DINO does; `norms` brings the norms
    /// of what is here of each, by name, to those of whole parameters.
    pub fn clip_each(
        &self,
        max_norm: f64,
        norms: impl FnOnce(Vec<(&str, f64)>) -> Result<Vec<f64>>,
    ) -> Result<()> {
        let reached = || {
            let all = self.parameters().map(|(name, p)| (name.as_str(), p.grad()));
            all.filter(|(_, gradient)| gradient.defined())
        };
        let mut own = Vec::new();
        for (name, gradient) in reached() {
            let norm = gradient.f_norm()?.f_to_kind(Kind::Double)?;
            own.push((name, norm.double_value(&[])));
        }
        for ((_, mut gradient), norm) in reached().zip(norms(own)?) {
            if norm > max_norm {
                let _cut = tch::no_grad(|| gradient.f_mul_scalar_(max_norm / norm))?;
            }
        }
        Ok(())
    }

    /// Sets the weight decay of the groups that have one.
    pub fn set_weight_decay(&mut self, weight_decay: f64) {
        for group in self.groups.iter_mut().filter(|g| g.weight_decay > 0.0) {
            group.weight_decay = weight_decay;
        }
    }

    /// Takes all gradients away: a parameter that a step does not reach has none, and is not
    /// updated.
    pub fn zero_grad(&self) -> Result<()> {
        let parameters: Vec<Tensor> = self.parameters().map(|(_, p)| p.shallow_clone()).collect();
        Ok(clear_gradients(&parameters)?)
    }

    /// One step at a learning rate, of the parameters that have gradients.
    pub fn step(&mut self, lr: f64) -> Result<()> {
        for group in &self.groups {
            let mut all: [Vec<Tensor>; 5] = Default::default();
            let with_gradients = group.parameters.iter().filter(|(_, p)| p.grad().defined());
            for (name, parameter) in with_gradients {
                if !self.moments.contains_key(name) {
                    self.moments
                        .insert(name.clone(), Moments::zeros(parameter)?);
                }
                let Moments {
                    mean,
                    square,
                    steps,
                } = &self.moments[name];
                let row = [parameter, &parameter.grad(), mean, square, steps];
                for (list, tensor) in all.iter_mut().zip(row) {
                    list.push(tensor.shallow_clone());
                }
            }
            let [parameters, gradients, means, squares, steps] = &all;
            fused_adamw(&AdamWStep {
                parameters,
                gradients,
                means,
                squares,
                steps,
                lr: lr * group.lr_scale,
                betas: self.betas,
                eps: self.eps,
                weight_decay: group.weight_decay,
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
            .parameters()
            .map(|(name, p)| (name.clone(), p.shallow_clone()))
            .collect();
        for (name, parameter) in known {
            let mut take = |part: &str| state.remove(&format!("{part}.{name}"));
            let Some(mean) = take("mean") else { continue };
            let lacking = || input(format!("the optimiser's state of {name} does not fit"));
            let (square, steps) = (
                take("square").ok_or_else(lacking)?,
                take("steps").ok_or_else(lacking)?,
            );
            if mean.size() != parameter.size() || square.size() != parameter.size() {
                return Err(lacking());
            }
            let position = |t: Tensor| t.f_to_device(parameter.device());
            self.moments.insert(
                name,
                Moments {
                    mean: position(mean)?,
                    square: position(square)?,
                    steps: position(steps)?,
                },
            );
        }
        match state.keys().next() {
            Some(strange) => Err(input(format!(
                "the optimiser's state has {strange}, which the model does not have"
            ))),
            None => Ok(()),
        }
    }
}

fn input(reason: String) -> Error {
    Error::Model(flava_model::Error::Input(reason))
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
            vec![ParameterGroup {
                parameters: vec![("x".into(), x.shallow_clone())],
                lr_scale: 2.0,
                weight_decay: 0.1,
            }]
        };
        let mut optimiser = AdamW::new(group(&x), [0.9, 0.99], 1e-8);
        let (mut expected, mut m, mut v) = ([1.0f64, -2.0], [0.0; 2], [0.0; 2]);
        for step in 1..=4 {
            if step == 3 {
                let state = optimiser.state();
                optimiser = AdamW::new(group(&x), [0.9, 0.99], 1e-8);
                optimiser
                    .load_state(
                        state
                            .into_iter()
                            .map(|(name, t)| (name, t.copy()))
                            .collect(),
                    )
                    .unwrap();
            }
            optimiser.zero_grad().unwrap();
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
