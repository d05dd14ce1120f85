//! What steps measure. Numbers stay on the device until a line of the log is due, so that no step
//! waits for them.

use std::collections::BTreeMap;

use flava_model::runtime::distributed::Group;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// How many answers of one kind are right.
#[derive(Debug)]
pub struct Accuracy {
    /// Of which task.
    pub name: &'static str,
    /// Right answers, a whole number on the device.
    pub correct: Tensor,
    /// All answers.
    pub total: usize,
}

impl Accuracy {
    /// How many of the labels \[rows\] have the largest of the logits \[rows, classes\].
    pub fn of(name: &'static str, logits: &Tensor, labels: &Tensor) -> Result<Self> {
        let _guard = tch::no_grad_guard();
        let predicted = logits.f_argmax(1, false)?;
        Ok(Self {
            name,
            correct: predicted.f_eq_tensor(labels)?.f_sum(Kind::Int64)?,
            total: labels.size()[0] as usize,
        })
    }
}

/// Rows that were left out because they cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokenRows {
    /// How many.
    pub count: usize,
    /// What is wrong with the first of them.
    pub first_reason: String,
}

/// What one step measured in this process.
#[derive(Debug, Default)]
pub struct StepMetrics {
    /// Losses by name, f64 on the device; their sum is the loss.
    losses: Vec<(&'static str, Tensor)>,
    accuracies: Vec<Accuracy>,
    /// Tokens of the rows' texts, padding left out.
    pub tokens: usize,
}

impl StepMetrics {
    /// Adds a loss, or a part of one, to what has its name.
    pub fn add_loss(&mut self, name: &'static str, loss: &Tensor) -> Result<()> {
        let value = loss.detach().f_to_kind(Kind::Double)?;
        match self.losses.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum = sum.f_add(&value)?,
            None => self.losses.push((name, value)),
        }
        Ok(())
    }

    /// Adds nothing to a loss that other processes have.
    pub fn add_no_loss(&mut self, name: &'static str) -> Result<()> {
        self.add_loss(name, &Tensor::from(0.0f64))
    }

    /// Adds right answers.
    pub fn add_accuracy(&mut self, accuracy: Accuracy) {
        self.accuracies.push(accuracy);
    }

    /// The losses by name; waits for the device.
    pub fn losses(&self) -> Vec<(&'static str, f64)> {
        let value = |(name, loss): &(&'static str, Tensor)| (*name, loss.double_value(&[]));
        self.losses.iter().map(value).collect()
    }

    /// The sum of all losses; waits for the device.
    pub fn total_loss(&self) -> Result<f64> {
        let Some(((_, first), others)) = self.losses.split_first() else {
            return Ok(0.0);
        };
        let mut total = first.shallow_clone();
        for (_, loss) in others {
            total = total.f_add(loss)?;
        }
        Ok(total.double_value(&[]))
    }
}

/// A mean in the making.
#[derive(Debug)]
struct Mean {
    sum: Tensor,
    count: f64,
}

type Means = BTreeMap<String, Mean>;

/// What is summed up between two lines of the log.
#[derive(Debug, Default)]
pub(crate) struct MetricAccumulator {
    losses: Means,
    accuracies: Means,
    pub(crate) norm: f64,
    pub(crate) steps: usize,
    /// Of all processes.
    pub(crate) rows: usize,
    pub(crate) tokens: usize,
    pub(crate) flops: f64,
    /// Waiting for rows included, evaluations not.
    pub(crate) seconds: f64,
    pub(crate) waited: f64,
}

/// What a process tells the others of its sums.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    losses: Vec<(String, f64, f64)>,
    accuracies: Vec<(String, f64, f64)>,
    tokens: usize,
    flops: f64,
}

impl MetricAccumulator {
    /// Adds what a step measured here, over so many rows of all processes.
    pub(crate) fn add(&mut self, step: &StepMetrics, rows: usize, norm: f64) -> Result<()> {
        for (name, loss) in &step.losses {
            accumulate(&mut self.losses, name, loss, 1.0)?;
        }
        for accuracy in &step.accuracies {
            let correct = accuracy.correct.f_to_kind(Kind::Double)?;
            let total = accuracy.total as f64;
            accumulate(&mut self.accuracies, accuracy.name, &correct, total)?;
        }
        self.norm += norm;
        self.steps += 1;
        self.rows += rows;
        self.tokens += step.tokens;
        Ok(())
    }

    /// The sums of all processes: of losses, which are sums over rows, and of right answers.
    pub(crate) fn of_all(mut self, group: &Group) -> Result<Self> {
        if !group.has_others() {
            return Ok(self);
        }
        let own = Told {
            losses: told(&self.losses)?,
            accuracies: told(&self.accuracies)?,
            tokens: std::mem::take(&mut self.tokens),
            flops: std::mem::take(&mut self.flops),
        };
        (self.losses, self.accuracies) = (Means::new(), Means::new());
        let own = serde_json::to_vec(&own).map_err(not_told)?;
        for bytes in group.gather_bytes(&own)? {
            let of: Told = serde_json::from_slice(&bytes).map_err(not_told)?;
            for (name, sum, steps) in of.losses {
                let mean = join(&mut self.losses, name, sum)?;
                mean.count = mean.count.max(steps); // the same steps, in every process
            }
            for (name, correct, total) in of.accuracies {
                join(&mut self.accuracies, name, correct)?.count += total;
            }
            self.tokens += of.tokens;
            self.flops += of.flops;
        }
        Ok(self)
    }

    /// The mean of each loss over its steps, read from the device at once.
    pub(crate) fn mean_losses(&self) -> Result<Vec<(String, f64)>> {
        means(&self.losses, "")
    }

    /// The mean of the sum of all losses over all steps.
    pub(crate) fn total_loss(&self) -> Result<f64> {
        let sums = means(&self.losses, "")?;
        let total: f64 = sums
            .iter()
            .zip(self.losses.values())
            .map(|((_, mean), loss)| mean * loss.count)
            .sum();
        Ok(total / self.steps.max(1) as f64)
    }

    /// The share of right answers of each kind, named `.._accuracy`.
    pub(crate) fn accuracies(&self) -> Result<Vec<(String, f64)>> {
        means(&self.accuracies, "_accuracy")
    }
}

fn accumulate(into: &mut Means, name: &str, value: &Tensor, count: f64) -> Result<()> {
    if let Some(mean) = into.get_mut(name) {
        mean.sum = mean.sum.f_add(value)?;
        mean.count += count;
    } else {
        let sum = value.shallow_clone();
        into.insert(name.to_owned(), Mean { sum, count });
    }
    Ok(())
}

/// Adds to a sum, without a count.
fn join(into: &mut Means, name: String, value: f64) -> Result<&mut Mean> {
    let mean = into.entry(name).or_insert_with(|| Mean {
        sum: Tensor::from(0.0f64),
        count: 0.0,
    });
    mean.sum = mean.sum.f_add_scalar(value)?;
    Ok(mean)
}

/// Sums and counts by name.
fn told(of: &Means) -> Result<Vec<(String, f64, f64)>> {
    let sums = sums(of)?.into_iter();
    let named = |(sum, (name, mean)): (f64, (&String, &Mean))| (name.clone(), sum, mean.count);
    Ok(sums.zip(of).map(named).collect())
}

fn not_told(error: serde_json::Error) -> Error {
    Error::Model(flava_model::Error::Process(error.to_string()))
}

/// Read from the device at once.
fn sums(of: &Means) -> Result<Vec<f64>> {
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let sums: Vec<&Tensor> = of.values().map(|mean| &mean.sum).collect();
    let sums = Tensor::f_stack(&sums, 0)?.f_to_device(Device::Cpu)?;
    Ok(Vec::<f64>::try_from(sums)?)
}

fn means(of: &Means, ending: &str) -> Result<Vec<(String, f64)>> {
    let named = |((name, mean), sum): ((&String, &Mean), f64)| {
        (format!("{name}{ending}"), sum / mean.count.max(1e-9))
    };
    Ok(of.iter().zip(sums(of)?).map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_accuracies_are_means_of_their_own_steps() {
        let mut sums = MetricAccumulator::default();
        for (number, loss) in [1.0, 2.0, 6.0].into_iter().enumerate() {
            let mut step = StepMetrics::default();
            step.add_loss("mlm", &Tensor::from(loss)).unwrap();
            if number < 2 {
                step.add_loss("itm", &Tensor::from(0.5)).unwrap();
                step.add_loss("itm", &Tensor::from(0.5)).unwrap();
                step.add_accuracy(Accuracy {
                    name: "itm",
                    correct: Tensor::from(number as i64),
                    total: 2,
                });
            }
            assert_eq!(
                step.total_loss().unwrap(),
                loss + f64::from(u8::from(number < 2))
            );
            sums.add(&step, 1, 0.0).unwrap();
        }
        let named = |name: &str, value: f64| (name.to_owned(), value);
        assert_eq!(
            sums.mean_losses().unwrap(),
            [named("itm", 1.0), named("mlm", 3.0)]
        );
        assert_eq!(sums.accuracies().unwrap(), [named("itm_accuracy", 0.25)]);
        assert!((sums.total_loss().unwrap() - 11.0 / 3.0).abs() < 1e-12);
    }
}
