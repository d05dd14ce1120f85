//! What steps measure. Numbers stay on the device until a line of the log is due, so that no step
//! waits for them.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::Result;

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

/// What one step measured.
#[derive(Debug, Default)]
pub struct StepMetrics {
    /// Losses by name, f64 on the device; their sum is the loss.
    losses: Vec<(&'static str, Tensor)>,
    accuracies: Vec<Accuracy>,
    /// Rows that were trained on.
    pub rows: usize,
    /// Tokens of their texts, padding left out.
    pub tokens: usize,
    /// Rows that were left out.
    pub broken: BrokenRows,
}

impl StepMetrics {
    /// Of a step over so many rows.
    pub fn new(rows: usize) -> Self {
        Self {
            rows,
            ..Self::default()
        }
    }

    /// Adds a loss, or a part of one, to what has its name.
    pub fn add_loss(&mut self, name: &'static str, loss: &Tensor) -> Result<()> {
        let value = loss.detach().f_to_kind(Kind::Double)?;
        match self.losses.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum = sum.f_add(&value)?,
            None => self.losses.push((name, value)),
        }
        Ok(())
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

/// What is summed up between two lines of the log.
#[derive(Debug, Default)]
pub(crate) struct MetricAccumulator {
    losses: BTreeMap<&'static str, Mean>,
    accuracies: BTreeMap<&'static str, Mean>,
    pub(crate) norm: f64,
    pub(crate) steps: usize,
    pub(crate) rows: usize,
    pub(crate) tokens: usize,
    pub(crate) flops: f64,
    /// Waiting for rows included, evaluations not.
    pub(crate) seconds: f64,
    pub(crate) waited: f64,
}

impl MetricAccumulator {
    pub(crate) fn add(&mut self, step: &StepMetrics, norm: f64) -> Result<()> {
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
        self.rows += step.rows;
        self.tokens += step.tokens;
        Ok(())
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

fn accumulate(
    into: &mut BTreeMap<&'static str, Mean>,
    name: &'static str,
    value: &Tensor,
    count: f64,
) -> Result<()> {
    if let Some(mean) = into.get_mut(name) {
        mean.sum = mean.sum.f_add(value)?;
        mean.count += count;
    } else {
        let sum = value.shallow_clone();
        into.insert(name, Mean { sum, count });
    }
    Ok(())
}

fn means(of: &BTreeMap<&'static str, Mean>, ending: &str) -> Result<Vec<(String, f64)>> {
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let sums: Vec<&Tensor> = of.values().map(|mean| &mean.sum).collect();
    let sums = Tensor::f_stack(&sums, 0)?.f_to_device(Device::Cpu)?;
    let sums = Vec::<f64>::try_from(sums)?;
    let named = |((name, mean), sum): ((&&'static str, &Mean), f64)| {
        (format!("{name}{ending}"), sum / mean.count.max(1e-9))
    };
    Ok(of.iter().zip(sums).map(named).collect())
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
            sums.add(&step, 0.0).unwrap();
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
