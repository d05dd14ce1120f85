//! How long a run still takes: its pieces of work, what a unit of each is expected to cost, and what
//! units of its kind took so far.

use std::collections::BTreeMap;

/// Share of a kind's work that must be done before what it took outweighs what was expected.
const TRUSTED: f64 = 0.03;

/// Work that is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedWork {
    /// The part of the run that it belongs to, such as a task.
    pub piece: String,
    /// What costs alike, such as the rows of one encoder.
    pub kind: String,
    /// How many there are.
    pub units: f64,
    /// Seconds that one is expected to take; only their proportions to those of other kinds count
    /// once any were measured.
    pub cost: f64,
}

/// What is known of a kind of work.
#[derive(Debug, Default)]
struct Kind {
    /// Seconds that all of it was expected to take.
    expected: f64,
    /// Seconds that what is done was expected to take, and took.
    done: f64,
    took: f64,
}

/// What is left of a run.
#[derive(Debug, Default)]
pub struct Forecast {
    left: Vec<ExpectedWork>,
    kinds: BTreeMap<String, Kind>,
    /// Seconds that went by.
    spent: f64,
}

impl Forecast {
    /// Adds work.
    pub fn expect(&mut self, work: ExpectedWork) {
        let kind = self.kinds.entry(work.kind.clone()).or_default();
        kind.expected += work.units * work.cost;
        self.left.push(work);
    }

    /// So many units of a kind took so many seconds; they are of the first piece that has any.
    pub fn did(&mut self, kind: &str, units: f64, seconds: f64) {
        self.spent += seconds;
        let expected = self.take(kind, units);
        let known = self.kinds.entry(kind.to_owned()).or_default();
        known.done += expected;
        // What nobody expected teaches nothing about what it costs.
        if expected > 0.0 {
            known.took += seconds;
        }
    }

    /// So many units need not be done, since what they give is there.
    pub fn spare(&mut self, kind: &str, units: f64) {
        let spared = self.take(kind, units);
        if let Some(known) = self.kinds.get_mut(kind) {
            known.expected = (known.expected - spared).max(0.0);
        }
    }

    /// Time went by that belongs to nothing that is counted.
    pub fn passed(&mut self, seconds: f64) {
        self.spent += seconds;
    }

    /// A piece is over, whatever of it was not done.
    pub fn over(&mut self, piece: &str) {
        for work in self.left.iter_mut().filter(|work| work.piece == piece) {
            if let Some(known) = self.kinds.get_mut(&work.kind) {
                known.expected = (known.expected - work.units * work.cost).max(0.0);
            }
            work.units = 0.0;
        }
        self.left.retain(|work| work.units > 0.0);
    }

    /// Takes units from what is left; the seconds that they were expected to take.
    fn take(&mut self, kind: &str, mut units: f64) -> f64 {
        let mut seconds = 0.0;
        for work in self.left.iter_mut().filter(|work| work.kind == kind) {
            let some = units.min(work.units);
            work.units -= some;
            units -= some;
            seconds += some * work.cost;
        }
        self.left.retain(|work| work.units > 0.0);
        seconds
    }

    /// What seconds of all kinds that were measured took for each that was expected; 1 before any
    /// was.
    fn pace(&self) -> f64 {
        let sum = |of: fn(&Kind) -> f64| self.kinds.values().map(of).sum::<f64>();
        let (took, done) = (sum(|kind| kind.took), sum(|kind| kind.done));
        if done > 0.0 { took / done } else { 1.0 }
    }

    /// Seconds that are left; None before anything was measured.
    pub fn left(&self) -> Option<f64> {
        let measured = self.kinds.values().any(|kind| kind.done > 0.0);
        (measured || self.left.is_empty()).then(|| self.expected())
    }

    /// Seconds that what is left takes, as far as it is known: of what was not measured yet as it
    /// was expected.
    pub fn expected(&self) -> f64 {
        let pace = self.pace();
        let of = |work: &ExpectedWork| {
            let kind = &self.kinds[&work.kind];
            let trust = TRUSTED * kind.expected;
            let own = (kind.took + trust * pace) / (kind.done + trust);
            work.units * work.cost * if own.is_finite() { own } else { pace }
        };
        self.left.iter().map(of).sum()
    }

    /// The share of the run that is done, by time.
    pub fn share(&self) -> f64 {
        let all = self.spent + self.expected();
        if all > 0.0 { self.spent / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(piece: &str, kind: &str, units: f64, cost: f64) -> ExpectedWork {
        ExpectedWork {
            piece: piece.into(),
            kind: kind.into(),
            units,
            cost,
        }
    }

    /// A run over a clock of its own: every unit takes what it is said to take, and after a tenth
    /// of all the seconds the estimate is compared with what is truly left.
    fn estimate_at_a_tenth(
        works: &[ExpectedWork],
        takes: &dyn Fn(&ExpectedWork) -> f64,
    ) -> (f64, f64) {
        let mut forecast = Forecast::default();
        for work in works {
            forecast.expect(work.clone());
        }
        let all: f64 = works.iter().map(|work| work.units * takes(work)).sum();
        let mut clock = 0.0;
        for work in works {
            for _ in 0..work.units as usize {
                forecast.did(&work.kind, 1.0, takes(work));
                clock += takes(work);
                if clock >= all / 10.0 {
                    return (forecast.left().unwrap(), all - clock);
                }
            }
        }
        (0.0, 0.0)
    }

    #[test]
    fn at_a_tenth_of_a_run_what_is_left_is_known_whatever_the_machine() {
        let works = [
            work("a", "image rows", 4000.0, 0.001),
            work("a", "fit", 1.0, 0.5),
            work("b", "text rows", 2000.0, 0.0005),
            work("c", "steps", 900.0, 0.05),
            work("d", "image rows", 1000.0, 0.001),
        ];
        for machine in [0.1, 1.0, 7.0] {
            let (told, truth) = estimate_at_a_tenth(&works, &|work| work.cost * machine);
            assert!(
                (told / truth - 1.0).abs() < 0.01,
                "{machine}: {told} {truth}"
            );
        }
        // A kind that takes twice what was expected is known by its own first units.
        let slow = |work: &ExpectedWork| work.cost * if work.kind == "steps" { 2.0 } else { 1.0 };
        let (told, truth) = estimate_at_a_tenth(&works, &slow);
        assert!((told / truth - 1.0).abs() < 0.25, "{told} {truth}");
    }

    #[test]
    fn what_is_there_already_and_what_is_not_needed_is_not_waited_for() {
        let mut forecast = Forecast::default();
        forecast.expect(work("a", "rows", 100.0, 1.0));
        forecast.expect(work("b", "rows", 100.0, 1.0));
        forecast.expect(work("b", "steps", 50.0, 2.0));
        assert_eq!((forecast.left(), forecast.expected()), (None, 300.0));
        forecast.spare("rows", 40.0);
        forecast.did("rows", 60.0, 30.0);
        assert_eq!(forecast.left(), Some(100.0));
        forecast.over("b");
        assert_eq!((forecast.left(), forecast.share()), (Some(0.0), 1.0));
    }
}
