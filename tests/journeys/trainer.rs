//! The training loop by itself, over a learner that can be made to fail.

use std::{cell::Cell, fs, ops::Range, path::Path};

use flava_base::LrDecay;
use flava_model::{
    checkpoint::{load_exactly, read_tensors, write_tensors},
    runtime::{Precision, Progress, distributed::Group},
};
use flava_training::{
    AdamWConfig, BatchRows, Batches, BrokenRows, Candidate, Error, Evaluation, Learner, Log,
    LrSchedule, ParameterSet, Result, Sharding, Step, StepMetrics, Trained, Trainer, TrainerConfig,
    TrainingState,
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use tempfile::tempdir;

const STEPS: usize = 12;
const ROWS: usize = 8;
const WEIGHTS: &str = "weights.safetensors";

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// More rows at once do not fit.
    Memory(usize),
    /// The program ends before this step.
    Killed(usize),
    /// Losses are no numbers from this step on.
    NotFinite(usize),
    /// So many rows of each batch cannot be read.
    Broken(usize),
}

/// Brings a weight to the mean of numbers that depend on step and row.
struct Mean {
    weight: Tensor,
    fault: Fault,
}

/// A step's number, and the rows that are whole.
struct Numbers {
    step: usize,
    own: BatchRows,
}

impl Mean {
    fn new(fault: Fault) -> Self {
        let weight = Tensor::from_slice(&[0.5f32, -0.5]).set_requires_grad(true);
        Self { weight, fault }
    }
}

impl Learner for Mean {
    type Batch = Numbers;
    type Error = Error;

    fn batches(&self, steps: Range<usize>) -> Batches<Numbers, Error> {
        let broken = match self.fault {
            Fault::Broken(count) => BrokenRows {
                count,
                first_reason: "row 3 is no image".into(),
            },
            _ => BrokenRows::default(),
        };
        let ids = (0..ROWS).map(|row| format!("row {row}"));
        let own = BatchRows {
            broken,
            ..BatchRows::whole(ids.collect(), 0)
        };
        let batch = move |step| {
            let own = own.clone();
            Ok(Numbers { step, own })
        };
        Box::new(steps.map(batch))
    }

    fn rows<'b>(&self, batch: &'b Numbers) -> &'b BatchRows {
        &batch.own
    }

    fn flops(&self, _batch: &Numbers) -> f64 {
        1.0
    }

    fn parameters(&self) -> Vec<ParameterSet> {
        vec![ParameterSet::new([(
            "weight".to_owned(),
            self.weight.shallow_clone(),
        )])]
    }

    fn backward(&mut self, batch: &Numbers, step: &Step) -> Result<StepMetrics> {
        let mut metrics = StepMetrics::default();
        if matches!(self.fault, Fault::Killed(at) if at == step.number) {
            return Err(Error::Interrupted);
        }
        for part in step.parts(&batch.own) {
            if matches!(self.fault, Fault::Memory(most) if part.rows.len() > most) {
                let error = tch::TchError::Torch("CUDA out of memory. Tried to ..".into());
                return Err(error.into());
            }
            for row in part.rows {
                let goal = ((batch.step * ROWS + row) as f64 * 0.7).sin() * step.loss_scale;
                let mut loss = self
                    .weight
                    .f_sub_scalar(goal)?
                    .f_square()?
                    .f_sum(Kind::Float)?;
                if matches!(self.fault, Fault::NotFinite(from) if step.number >= from) {
                    loss = loss.f_mul_scalar(f64::NAN)?;
                }
                let loss = loss.f_div_scalar(ROWS as f64)?;
                loss.f_backward()?;
                metrics.add_loss("squared_error", &loss)?;
            }
        }
        Ok(metrics)
    }

    fn save(&self, folder: &Path, _state: &TrainingState) -> Result<()> {
        let weight = vec![("weight".to_owned(), self.weight.detach())];
        Ok(write_tensors(&folder.join(WEIGHTS), weight)?)
    }

    fn load(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(WEIGHTS);
        let weight = [("weight".to_owned(), self.weight.shallow_clone())];
        Ok(load_exactly(weight, read_tensors(&path)?, &path)?)
    }
}

fn config() -> TrainerConfig {
    TrainerConfig {
        lr_schedule: LrSchedule {
            peak: 0.1,
            last: 0.0,
            warmup: 2,
            steps: STEPS,
            decay: LrDecay::Linear,
        },
        adamw: AdamWConfig {
            betas: [0.9, 0.99],
            eps: 1e-8,
            weight_decay: 0.01,
            decay_all: true,
        },
        clip_norm: 1.0,
        ema: 0.0,
        save_every: 3,
        keep: 2,
        max_broken: 0.5,
    }
}

fn train(
    folder: &Path,
    config: TrainerConfig,
    fault: Fault,
    evaluation: Option<Evaluation<Mean>>,
) -> Result<Trained> {
    let progress = Progress::new(1, "steps", true);
    let trainer = Trainer {
        name: "mean",
        folder,
        config,
        seed: 3,
        key: "key",
        precision: Precision::F32,
        micro_batch: 0,
        group: &Group::alone(),
        sharding: Some(Sharding::None),
        progress: &progress,
        evaluation,
        device: Device::Cpu,
        peak_flops: 0.0,
    };
    trainer.run(Mean::new(fault))
}

fn weights(folder: &Path) -> Vec<f32> {
    let tensors = read_tensors(&folder.join(WEIGHTS)).unwrap();
    Vec::try_from(&tensors[0].1).unwrap()
}

#[test]
fn a_training_that_ends_early_goes_on_as_if_it_had_not() {
    let (whole, parts) = (tempdir().unwrap(), tempdir().unwrap());
    let averaged = || TrainerConfig {
        ema: 0.5,
        ..config()
    };
    let first = train(whole.path(), averaged(), Fault::None, None).unwrap();
    for at in [4, 7, 11] {
        let killed = train(parts.path(), averaged(), Fault::Killed(at), None);
        assert!(matches!(killed, Err(Error::Interrupted)));
    }
    let last = train(parts.path(), averaged(), Fault::None, None).unwrap();
    assert_eq!(last.state, first.state);
    for part in ["last", "best"] {
        assert_eq!(
            weights(&parts.path().join(part)),
            weights(&whole.path().join(part)),
            "{part}"
        );
    }
    assert!(last.folder.ends_with("best"), "the average is the result");
    assert_ne!(
        weights(&whole.path().join("best")),
        weights(&whole.path().join("last"))
    );
    let kept = |number: usize| whole.path().join(format!("step-{number}")).exists();
    assert!(!kept(6) && kept(9) && kept(12));
    // Another key is another training.
    let progress = Progress::new(1, "steps", true);
    let other = Trainer {
        name: "mean",
        folder: whole.path(),
        config: config(),
        seed: 3,
        key: "other",
        precision: Precision::F32,
        micro_batch: 0,
        group: &Group::alone(),
        sharding: Some(Sharding::None),
        progress: &progress,
        evaluation: None,
        device: Device::Cpu,
        peak_flops: 0.0,
    };
    assert!(matches!(
        other.run(Mean::new(Fault::None)),
        Err(Error::OtherTraining { .. })
    ));
}

#[test]
fn where_memory_is_short_fewer_rows_go_through_at_once() {
    let (all, few) = (tempdir().unwrap(), tempdir().unwrap());
    train(all.path(), config(), Fault::None, None).unwrap();
    let trained = train(few.path(), config(), Fault::Memory(3), None).unwrap();
    assert_eq!(trained.state.micro_batch, 2);
    assert_eq!(
        weights(&few.path().join("last")),
        weights(&all.path().join("last"))
    );
    let never = train(
        few.path().join("x").as_path(),
        config(),
        Fault::Memory(0),
        None,
    );
    assert!(never.unwrap_err().to_string().contains("memory is short"));
}

#[test]
fn training_stops_early_and_keeps_the_first_best() {
    let folder = tempdir().unwrap();
    let count = Cell::new(0);
    let evaluate = |_: &mut Mean, candidate: &Candidate, log: &mut Log| -> Result<Option<f64>> {
        count.set(count.get() + 1);
        log.note("evaluation", candidate.step, &[("score", 1.0)])?;
        Ok(Some(if candidate.step == 4 { 2.0 } else { 1.0 }))
    };
    let evaluation = Evaluation {
        every: 2,
        patience: 2,
        best_by: "score",
        evaluate: &evaluate,
    };
    let trained = train(folder.path(), config(), Fault::None, Some(evaluation)).unwrap();
    assert_eq!(
        (trained.state.best, trained.state.step, count.get()),
        (Some((4, 2.0)), 8, 4)
    );
    let log = fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let kinds = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!((kinds("train"), kinds("evaluation")), (8, 4));
    let first = &lines[0];
    assert_eq!(first["loss"], first["squared_error"]);
}

#[test]
fn numbers_that_are_none_and_broken_rows_end_training_with_a_reason() {
    let folder = tempdir().unwrap();
    let error = train(folder.path(), config(), Fault::NotFinite(4), None).unwrap_err();
    assert!(matches!(&error, Error::NotFinite { .. }), "{error}");
    let report = fs::read_to_string(folder.path().join("not_finite.json")).unwrap();
    assert!(
        report.contains("\"row 7\"") && report.contains("squared_error"),
        "{report}"
    );
    assert!(
        weights(&folder.path().join("last"))
            .iter()
            .all(|weight| weight.is_finite())
    );
    let folder = tempdir().unwrap();
    let error = train(folder.path(), config(), Fault::Broken(9), None).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("max_broken") && text.contains("row 3 is no image"),
        "{text}"
    );
    let some = train(
        folder.path().join("x").as_path(),
        config(),
        Fault::Broken(7),
        None,
    )
    .unwrap();
    assert_eq!(some.state.rows, (180, 84));
}
