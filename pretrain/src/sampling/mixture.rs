//! From which corpus each step's batch comes: one corpus a step gives all of it, drawn by the
//! corpora's shares (FLAVA appendix A.2).

use flava_base::stream;
use rand::Rng;

/// The corpus of each step and how often it came before.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// Of each step: the corpus, and the number of its steps before this one.
    steps: Vec<(u8, u32)>,
}

impl Mixture {
    /// Draws for `steps` steps; a step's corpus depends on the seed and the step alone.
    pub fn new(shares: &[f64], steps: usize, seed: u64) -> Self {
        let total: f64 = shares.iter().sum();
        let mut sampled = vec![0; shares.len()];
        let pick = |step: usize| {
            let mut position =
                stream(seed, &format!("mixture, step {step}")).random::<f64>() * total;
            let last = shares.iter().rposition(|share| *share > 0.0).unwrap_or(0);
            shares
                .iter()
                .position(|share| {
                    position -= share;
                    position < 0.0
                })
                .unwrap_or(last)
        };
        let steps = (0..steps)
            .map(|step| {
                let corpus = if shares.len() == 1 { 0 } else { pick(step) };
                sampled[corpus] += 1;
                (corpus as u8, sampled[corpus] - 1)
            })
            .collect();
        Self { steps }
    }

    /// A step's corpus, and how many of the steps before were its.
    pub fn step(&self, step: usize) -> (usize, u64) {
        let (corpus, before) = self.steps[step];
        (corpus.into(), before.into())
    }

    /// How many of the first `steps` steps each of `corpora` corpora has.
    pub fn sampled(&self, steps: usize, corpora: usize) -> Vec<u64> {
        let mut sampled = vec![0; corpora];
        self.steps[..steps]
            .iter()
            .for_each(|(corpus, _)| sampled[usize::from(*corpus)] += 1);
        sampled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's shares over its number of updates: each count within four standard deviations of
    /// its mean.
    #[test]
    fn shares_are_those_asked_for() {
        const STEPS: usize = 50_000;
        let shares = [0.70, 0.15, 0.15];
        let mixture = Mixture::new(&shares, STEPS, 0);
        for (sampled, share) in mixture.sampled(STEPS, 3).into_iter().zip(shares) {
            let (mean, sd) = (
                share * STEPS as f64,
                (STEPS as f64 * share * (1.0 - share)).sqrt(),
            );
            assert!(
                (sampled as f64 - mean).abs() < 4.0 * sd,
                "{sampled}, expected {mean} +- {sd}"
            );
        }
        // No memory: a corpus follows itself as often as its share says.
        let same = (1..STEPS)
            .filter(|&step| mixture.step(step).0 == 0 && mixture.step(step - 1).0 == 0)
            .count() as f64;
        assert!((same / STEPS as f64 - 0.49).abs() < 0.01, "{same}");
    }

    #[test]
    fn a_step_knows_how_many_came_before() {
        let mixture = Mixture::new(&[1.0, 0.0, 2.0], 500, 4);
        assert_eq!(mixture.sampled(500, 3)[1], 0);
        for step in [0, 1, 17, 499] {
            let (corpus, before) = mixture.step(step);
            assert_eq!(mixture.sampled(step, 3)[corpus], before);
        }
        assert_eq!(
            Mixture::new(&[1.0, 0.0, 2.0], 100, 4).step(99),
            mixture.step(99),
            "whatever comes later"
        );
    }
}
