//! L-BFGS (Nocedal and Wright, algorithm 7.5) with a line search that ends on the strong Wolfe
//! conditions (algorithms 3.5 and 3.6), as a machine that says where it wants the objective and is
//! told: many of them share one pass over the data.

use std::collections::VecDeque;

/// Sufficient decrease and curvature, the usual constants of quasi-Newton methods.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Evaluations of one line search.
const MAX_SEARCH: usize = 20;
/// Pairs from which the memory knows something of the curvature.
const KNOWN: usize = 3;
/// Relative changes of the value below which rounding decides.
const ROUNDING: f64 = 1e-10;

/// A point on the line: step length, value, slope along the direction, gradient.
#[derive(Clone, Debug)]
struct Trial {
    step: f64,
    value: f64,
    slope: f64,
    gradient: Vec<f64>,
}

/// An end of the bracket of a line search.
#[derive(Clone, Copy, Debug)]
struct End {
    step: f64,
    value: f64,
    slope: f64,
}

impl Trial {
    fn end(&self) -> End {
        End {
            step: self.step,
            value: self.value,
            slope: self.slope,
        }
    }

    /// Near the minimum the value's change is lost in rounding; there the slope alone decides.
    fn is_flat(&self, start: End) -> bool {
        (self.value - start.value).abs() <= ROUNDING * start.value.abs() && self.is_level(start)
    }

    /// The curvature condition.
    fn is_level(&self, start: End) -> bool {
        self.slope.abs() <= -CURVATURE * start.slope
    }

    /// Whether the value is above sufficient decrease, or above the bracket's lower end.
    fn is_high(&self, start: End, low: End) -> bool {
        let bound = start.value + DECREASE * self.step * start.slope;
        !self.value.is_finite() || self.value > bound || (low.step > 0.0 && self.value >= low.value)
    }
}

/// One search for a minimum.
#[derive(Debug)]
pub(crate) struct Minimiser {
    point: Vec<f64>,
    direction: Vec<f64>,
    /// Steps, changes of the gradient, and one over their product. They only shape the next step:
    /// f32 is enough.
    pairs: VecDeque<(Vec<f32>, Vec<f32>, f64)>,
    memory: usize,
    /// Where the search has come to; None before the first evaluation.
    at: Option<Trial>,
    low: Option<Trial>,
    high: Option<End>,
    step: f64,
    tried: usize,
    /// Whether the next place is taken whatever it is: the best of a search that found no better.
    settled: bool,
    /// Steps made.
    pub(crate) iterations: usize,
    /// Whether no step lowers the value any more, to within rounding.
    pub(crate) stuck: bool,
}

impl Minimiser {
    pub(crate) fn new(start: Vec<f64>, memory: usize) -> Self {
        Self {
            direction: vec![0.0; start.len()],
            point: start,
            pairs: VecDeque::new(),
            memory,
            at: None,
            low: None,
            high: None,
            step: 0.0,
            tried: 0,
            settled: false,
            iterations: 0,
            stuck: false,
        }
    }

    /// Where value and gradient are wanted.
    pub(crate) fn ask(&self) -> Vec<f64> {
        self.point
            .iter()
            .zip(&self.direction)
            .map(|(x, d)| x + self.step * d)
            .collect()
    }

    /// Takes them; true if that place is where the search goes on from.
    pub(crate) fn tell(&mut self, value: f64, gradient: Vec<f64>) -> bool {
        let slope = dot(&gradient, &self.direction);
        let trial = Trial {
            step: self.step,
            value,
            slope,
            gradient,
        };
        let Some(at) = &self.at else {
            self.at = Some(Trial {
                slope: 0.0,
                ..trial
            });
            self.begin();
            return true;
        };
        self.tried += 1;
        let start = End {
            step: 0.0,
            ..at.end()
        };
        let low = self.low(start);
        if self.settled || trial.is_flat(start) {
            return self.accept(trial);
        }
        if trial.is_high(start, low) {
            self.high = Some(trial.end());
        } else if trial.is_level(start) {
            return self.accept(trial);
        } else {
            self.lower(trial, low);
        }
        if self.tried >= MAX_SEARCH {
            self.give_up(start);
        } else {
            self.narrow(start);
        }
        false
    }

    /// The lower end of the line's bracket, `start` before there is another.
    fn low(&self, start: End) -> End {
        self.low.as_ref().map_or(start, Trial::end)
    }

    /// Takes a trial as the lower end; the one before becomes the higher where the slope has
    /// turned.
    fn lower(&mut self, trial: Trial, low: End) {
        let turned = self.high.map_or(trial.slope >= 0.0, |high| {
            trial.slope * (high.step - low.step) >= 0.0
        });
        if turned {
            self.high = Some(low);
        }
        self.low = Some(trial);
    }

    /// Ends a line search that found no good step: with the best of it, or from steepest descent.
    fn give_up(&mut self, start: End) {
        match self.low.take() {
            Some(low) if low.value < start.value => (self.step, self.settled) = (low.step, true),
            _ if self.pairs.is_empty() => self.stuck = true,
            _ => {
                self.pairs.clear();
                self.begin();
            }
        }
    }

    /// The next step of a line search: within the bracket, or twice as far where it is open.
    fn narrow(&mut self, start: End) {
        self.step = match self.high {
            Some(high) => between(self.low(start), high),
            None => self.step * 2.0,
        };
    }

    /// About how much lower the minimum is than where the search has come to, as the memory of
    /// curvature has it; infinite without.
    pub(crate) fn expected_gain(&self) -> f64 {
        self.at
            .as_ref()
            .filter(|_| self.pairs.len() >= KNOWN)
            .map_or(f64::INFINITY, |at| -at.slope / 2.0)
    }

    fn accept(&mut self, trial: Trial) -> bool {
        let Some(at) = self.at.take() else {
            return false;
        };
        let step = self.direction.iter().map(|d| (d * trial.step) as f32);
        let step: Vec<f32> = step.collect();
        let gradients = trial.gradient.iter().zip(&at.gradient);
        let change: Vec<f32> = gradients.map(|(new, old)| (new - old) as f32).collect();
        for (x, d) in self.point.iter_mut().zip(&self.direction) {
            *x += d * trial.step;
        }
        self.remember(step, change);
        self.at = Some(trial);
        self.iterations += 1;
        self.begin();
        true
    }

    /// Keeps a pair where its curvature is more than rounding.
    fn remember(&mut self, step: Vec<f32>, change: Vec<f32>) {
        let curvature = dot(&step, &change);
        if curvature > f64::from(f32::EPSILON) * 1e-3 * dot(&change, &change) {
            self.pairs.push_back((step, change, 1.0 / curvature));
            if self.pairs.len() > self.memory {
                self.pairs.pop_front();
            }
        }
    }

    /// A new line.
    fn begin(&mut self) {
        let Some(at) = &mut self.at else { return };
        self.direction = direction(&at.gradient, &self.pairs);
        at.slope = dot(&at.gradient, &self.direction);
        if at.slope >= 0.0 {
            // Rounding spoilt the memory: start again from steepest descent.
            self.pairs.clear();
            self.direction = at.gradient.iter().map(|g| -g).collect();
            at.slope = dot(&at.gradient, &self.direction);
        }
        self.stuck = at.slope == 0.0;
        // The space is scaled so that a step of one is about right, but the first must not leave
        // it.
        self.step = if self.pairs.is_empty() {
            (4.0 / (-at.slope).sqrt()).min(1.0)
        } else {
            1.0
        };
        (self.low, self.high, self.tried, self.settled) = (None, None, 0, false);
    }
}

fn dot<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    // Eight sums at once, which the compiler keeps in one register.
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a8.iter().zip(b8) {
        for i in 0..8 {
            sums[i] += a[i].into() * b[i].into();
        }
    }
    sums.iter().sum::<f64>()
        + a_rest
            .iter()
            .zip(b_rest)
            .map(|(&a, &b)| a.into() * b.into())
            .sum::<f64>()
}

/// y += factor x
fn add(y: &mut [f64], factor: f64, x: &[f32]) {
    y.iter_mut()
        .zip(x)
        .for_each(|(y, x)| *y += factor * f64::from(*x));
}

/// The two-loop recursion: minus the approximate inverse Hessian times the gradient.
fn direction(gradient: &[f64], pairs: &VecDeque<(Vec<f32>, Vec<f32>, f64)>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut weights = Vec::with_capacity(pairs.len());
    for (step, change, rho) in pairs.iter().rev() {
        let weight = rho * dot(step, &q);
        add(&mut q, -weight, change);
        weights.push(weight);
    }
    if let Some((_, change, rho)) = pairs.back() {
        let scale = 1.0 / (rho * dot(change, change));
        for q in &mut q {
            *q *= scale;
        }
    }
    for ((step, change, rho), weight) in pairs.iter().zip(weights.into_iter().rev()) {
        let correction = weight - rho * dot(change, &q);
        add(&mut q, correction, step);
    }
    q
}

/// The minimum of the cubic through both ends, kept off them; the middle where there is none.
fn between(low: End, high: End) -> f64 {
    let width = high.step - low.step;
    let a = low.slope + high.slope - 3.0 * (high.value - low.value) / width;
    let root = (a * a - low.slope * high.slope).sqrt() * width.signum();
    let cubic = high.step - width * (high.slope + root - a) / (high.slope - low.slope + 2.0 * root);
    let (nearest, farthest) = (low.step + 0.1 * width, low.step + 0.9 * width);
    if cubic.is_finite() {
        cubic.clamp(nearest.min(farthest), nearest.max(farthest))
    } else {
        low.step + 0.5 * width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimise(
        start: Vec<f64>,
        objective: impl Fn(&[f64]) -> (f64, Vec<f64>),
    ) -> (Vec<f64>, usize) {
        let mut search = Minimiser::new(start, 10);
        for _ in 0..500 {
            let (value, gradient) = objective(&search.ask());
            let small = gradient.iter().all(|g| g.abs() < 1e-9);
            if search.tell(value, gradient) && small || search.stuck {
                break;
            }
        }
        (search.point.clone(), search.iterations)
    }

    #[test]
    fn rosenbrocks_valley_is_walked_to_its_end() {
        let (point, iterations) = minimise(vec![-1.2, 1.0], |p| {
            let (x, y) = (p[0], p[1]);
            let value = (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
            (
                value,
                vec![
                    -2.0 * (1.0 - x) - 400.0 * x * (y - x * x),
                    200.0 * (y - x * x),
                ],
            )
        });
        assert!(
            point.iter().all(|x| (x - 1.0).abs() < 1e-7) && iterations < 80,
            "{point:?} after {iterations}"
        );
    }

    #[test]
    fn an_overshooting_first_step_is_taken_back() {
        let (point, _) = minimise(vec![3.0], |p| {
            (p[0].powi(4) * 1e6, vec![4e6 * p[0].powi(3)])
        });
        assert!(point[0].abs() < 1e-4, "{point:?}");
    }
}
