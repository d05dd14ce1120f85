//! L-BFGS (Nocedal and Wright, algorithm 7.5) with a line search that ends on the strong Wolfe conditions (algorithms 3.5
//! and 3.6), over one flat f64 tensor.

use std::collections::VecDeque;

use tch::{Kind, Tensor};

use crate::Result;

/// Sufficient decrease and curvature, the usual constants of quasi-Newton methods.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Evaluations of one line search.
const MAX_SEARCH: usize = 30;

/// How long to search, and how much to remember.
#[derive(Clone, Copy, Debug)]
pub struct Lbfgs {
    /// Largest absolute entry of the gradient at which a point counts as the minimum.
    pub tolerance: f64,
    /// Steps at most.
    pub max_iterations: usize,
    /// Pairs of steps and gradient changes that shape the next step.
    pub memory: usize,
}

/// Where a search ended.
#[derive(Debug)]
pub struct Minimum {
    /// The point, in the shape of the start.
    pub point: Tensor,
    /// The objective there.
    pub value: f64,
    /// Largest absolute entry of the gradient there.
    pub gradient: f64,
    /// Steps made.
    pub iterations: usize,
    /// Whether the gradient met the tolerance.
    pub converged: bool,
}

/// A point of the line search: step length, value, slope along the direction.
struct Trial {
    step: f64,
    value: f64,
    slope: f64,
    point: Tensor,
    gradient: Tensor,
}

impl Lbfgs {
    /// Minimises `objective`, which gives value and gradient at a point, from `start` (f64).
    pub fn minimise(&self, start: Tensor, mut objective: impl FnMut(&Tensor) -> Result<(f64, Tensor)>) -> Result<Minimum> {
        let mut pairs: VecDeque<(Tensor, Tensor, f64)> = VecDeque::new();
        let (value, gradient) = objective(&start)?;
        let mut at = Trial { step: 0.0, value, slope: 0.0, point: start, gradient };
        let mut iterations = 0;
        while iterations < self.max_iterations && largest(&at.gradient) > self.tolerance {
            let mut direction = direction(&at.gradient, &pairs);
            at.slope = dot(&at.gradient, &direction);
            if at.slope >= 0.0 {
                // Rounding spoilt the memory: start again from steepest descent.
                pairs.clear();
                direction = at.gradient.neg();
                at.slope = dot(&at.gradient, &direction);
            }
            let first = if pairs.is_empty() { (1.0 / dot(&at.gradient, &at.gradient).sqrt()).min(1.0) } else { 1.0 };
            let Some(next) = search(&at, &direction, first, &mut objective)? else { break };
            let (step, change) = (&next.point - &at.point, &next.gradient - &at.gradient);
            let curvature = dot(&step, &change);
            if curvature > f64::EPSILON * dot(&change, &change) {
                pairs.push_back((step, change, 1.0 / curvature));
                if pairs.len() > self.memory {
                    pairs.pop_front();
                }
            }
            at = next;
            iterations += 1;
        }
        let gradient = largest(&at.gradient);
        Ok(Minimum { point: at.point, value: at.value, gradient, iterations, converged: gradient <= self.tolerance })
    }
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    (a * b).sum(Kind::Double).double_value(&[])
}

fn largest(t: &Tensor) -> f64 {
    t.abs().max().double_value(&[])
}

/// The two-loop recursion: minus the approximate inverse Hessian times the gradient.
fn direction(gradient: &Tensor, pairs: &VecDeque<(Tensor, Tensor, f64)>) -> Tensor {
    let mut q = gradient.neg();
    let mut weights = Vec::with_capacity(pairs.len());
    for (step, change, rho) in pairs.iter().rev() {
        let weight = rho * dot(step, &q);
        q -= change * weight;
        weights.push(weight);
    }
    if let Some((_, change, rho)) = pairs.back() {
        q *= 1.0 / (rho * dot(change, change));
    }
    for ((step, change, rho), weight) in pairs.iter().zip(weights.into_iter().rev()) {
        let correction = weight - rho * dot(change, &q);
        q += step * correction;
    }
    q
}

/// A step along `direction` that meets the strong Wolfe conditions, or else the best that lowers the value; None if none does.
fn search(
    start: &Trial,
    direction: &Tensor,
    first: f64,
    objective: &mut impl FnMut(&Tensor) -> Result<(f64, Tensor)>,
) -> Result<Option<Trial>> {
    let mut low = Trial { step: 0.0, point: start.point.shallow_clone(), gradient: start.gradient.shallow_clone(), ..*start };
    let mut high: Option<(f64, f64, f64)> = None; // step, value, slope
    let mut step = first;
    for _ in 0..MAX_SEARCH {
        let point = &start.point + direction * step;
        let (value, gradient) = objective(&point)?;
        let slope = dot(&gradient, direction);
        let bound = start.value + DECREASE * step * start.slope;
        let trial = Trial { step, value, slope, point, gradient };
        if !value.is_finite() || value > bound || (low.step > 0.0 && value >= low.value) {
            high = Some((step, value, slope));
        } else if slope.abs() <= -CURVATURE * start.slope {
            return Ok(Some(trial));
        } else {
            let towards_low = high.is_some_and(|(end, ..)| slope * (end - low.step) >= 0.0) || (high.is_none() && slope >= 0.0);
            if towards_low {
                high = Some((low.step, low.value, low.slope));
            }
            low = trial;
        }
        step = match high {
            Some(high) => between(&low, high),
            None => step * 2.0,
        };
    }
    Ok((low.step > 0.0 && low.value < start.value).then_some(low))
}

/// The minimum of the cubic through both ends, kept off them; the middle where there is none.
fn between(low: &Trial, (step, value, slope): (f64, f64, f64)) -> f64 {
    let width = step - low.step;
    let a = low.slope + slope - 3.0 * (value - low.value) / width;
    let root = (a * a - low.slope * slope).sqrt() * width.signum();
    let cubic = step - width * (slope + root - a) / (slope - low.slope + 2.0 * root);
    let (nearest, farthest) = (low.step + 0.1 * width, low.step + 0.9 * width);
    if cubic.is_finite() { cubic.clamp(nearest.min(farthest), nearest.max(farthest)) } else { low.step + 0.5 * width }
}
