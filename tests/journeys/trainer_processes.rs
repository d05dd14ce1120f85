//! The training loop in several processes, over a learner whose numbers are known.

use std::{fs, ops::Range, path::Path};

use flava_base::{LrDecay, stream};
use flava_model::{
    checkpoint::{read_tensors, write_tensors},
    runtime::{Precision, Progress, distributed::Group},
};
use flava_training::{
    AdamWConfig, BatchRows, Batches, BrokenRows, Error, Learner, LrSchedule, ParameterSet, Result,
    Sharding, Step, StepMetrics, Trainer, TrainerConfig, TrainingState, Update,
};
use rand::Rng;
use tch::{Device, Kind, Tensor};
use tempfile::tempdir;

use crate::support::{processes::together, trainings};

const STEPS: usize = 20;
/// Rows of a batch, one of which is broken.
const ROWS: usize = 11;
const WEIGHTS: &str = "model.safetensors";

/// Brings tensors to numbers that depend on step and row; some steps leave one of them out, and
/// only odd rows reach another.
struct Goals {
    weights: Vec<(String, Tensor)>,
    own: Range<usize>,
    clips: bool,
    hurry: Hurry,
    drawn: Option<u64>,
    /// Rows at once for which this process has memory.
    memory: Option<usize>,
}

/// When gradients are said to be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hurry {
    /// Never: they go out after the backward passes.
    None,
    /// When they are: they go out during the last pass.
    Right,
    /// A pass too early: what comes late is summed apart.
    TooMuch,
    /// Before any pass.
    Drawn,
}

struct Numbers {
    step: usize,
    own: BatchRows,
}

impl Goals {
    /// Of sizes with every kind of rest.
    fn new(group: &Group, way: Way) -> Self {
        let sizes: [(&str, &[i64]); 5] = [
            ("a.table", &[300, 7]),
            ("a.encoder.layer.0.dense.weight", &[33, 5]),
            ("a.encoder.layer.0.dense.bias", &[33]),
            ("b.odd", &[64]),
            ("scale", &[]),
        ];
        let weight = |(name, size): (&str, &[i64])| {
            let count: i64 = size.iter().product();
            let numbers = Tensor::arange(count, (Kind::Float, Device::Cpu)) * 0.37;
            let weight = numbers.sin().view(size).set_requires_grad(true);
            (name.to_owned(), weight)
        };
        let weights = match way.drawn {
            Some(seed) => drawn_sizes(seed)
                .iter()
                .map(|(name, size)| weight((name, size)))
                .collect(),
            None => sizes.into_iter().map(weight).collect(),
        };
        Self {
            weights,
            own: group.share(ROWS),
            clips: way.clips,
            hurry: way.hurry,
            drawn: way.drawn,
            memory: way.memory.filter(|_| group.rank() == 1),
        }
    }

    fn loss(&self, step: usize, place: usize) -> Result<Option<Tensor>> {
        let mut total: Option<Tensor> = None;
        for (number, (name, weight)) in self.weights.iter().enumerate() {
            let of_row = |seed| drawn(seed, &format!("{step} {place} {number}"));
            let is_reached = match name.as_str() {
                _ if let Some(seed) = self.drawn => of_row(seed).random_bool(0.6),
                "a.table" => !step.is_multiple_of(3),
                "b.odd" => place % 2 == 1,
                _ => true,
            };
            if !is_reached {
                continue;
            }
            let goal = ((step * ROWS + place + number) as f64 * 0.7).sin();
            let loss = weight.f_sub_scalar(goal)?.f_square()?.f_sum(Kind::Float)?;
            total = Some(match total {
                Some(total) => total.f_add(&loss)?,
                None => loss,
            });
        }
        Ok(total)
    }
}

fn drawn(seed: u64, of: &str) -> impl Rng + use<> {
    stream(seed, of)
}

/// Blocks and tables of drawn sizes, in a drawn order.
fn drawn_sizes(seed: u64) -> Vec<(String, Vec<i64>)> {
    let mut rng = drawn(seed, "sizes");
    let size = |number| {
        let block = rng.random_range(0..4);
        let name = match rng.random_range(0..3) {
            0 => format!("tower.encoder.layer.{block}.part{number}"),
            1 => format!("other.encoder.layer.{block}.part{number}"),
            _ => format!("head{block}.part{number}.weight"),
        };
        let size = (0..rng.random_range(0..3)).map(|_| rng.random_range(1..40));
        (name, size.collect())
    };
    (0..12).map(size).collect()
}

impl Learner for Goals {
    type Batch = Numbers;
    type Error = Error;

    fn batches(&self, steps: Range<usize>) -> Batches<Numbers, Error> {
        let own = self.own.clone();
        let batch = move |step: usize| {
            let broken = step % ROWS;
            let places: Vec<usize> = own.clone().filter(|place| *place != broken).collect();
            let own = BatchRows {
                ids: places.iter().map(|place| format!("row {place}")).collect(),
                broken: BrokenRows {
                    count: own.len() - places.len(),
                    first_reason: format!("row {broken} is no image"),
                },
                places,
            };
            Ok(Numbers { step, own })
        };
        Box::new(steps.map(batch))
    }

    fn rows<'b>(&self, batch: &'b Numbers) -> &'b BatchRows {
        &batch.own
    }

    fn kind(&self, batch: &Numbers) -> &'static str {
        ["some", "others"][batch.step % 2]
    }

    fn flops(&self, _batch: &Numbers) -> f64 {
        1.0
    }

    fn parameters(&self) -> Vec<ParameterSet> {
        let weights = self.weights.iter();
        let all = weights.map(|(name, weight)| (name.clone(), weight.shallow_clone()));
        vec![ParameterSet::new(all)]
    }

    fn backward(&mut self, batch: &Numbers, step: &Step) -> Result<StepMetrics> {
        let mut metrics = StepMetrics::default();
        metrics.add_no_loss("squared_error")?;
        for part in step.parts(&batch.own) {
            if self.memory.is_some_and(|most| part.rows.len() > most) {
                let error = tch::TchError::Torch("CUDA out of memory. Tried to ..".into());
                return Err(error.into());
            }
            let last = part.rows.end.checked_sub(1);
            let hurried = match self.hurry {
                Hurry::None => None,
                Hurry::Right => last,
                Hurry::TooMuch => last.and_then(|last| last.checked_sub(1)),
                Hurry::Drawn => {
                    let seed = self.drawn.unwrap_or_default();
                    let of_process = format!("{} {:?}", batch.step, self.own);
                    let count = part.rows.len().max(1);
                    Some(drawn(seed, &of_process).random_range(0..count))
                }
            };
            for row in part.rows.clone() {
                if Some(row) == hurried {
                    step.begin_backward(&part);
                }
                let Some(loss) = self.loss(batch.step, batch.own.places[row])? else {
                    continue;
                };
                let loss = loss.f_div_scalar(step.whole.len() as f64)?;
                loss.f_mul_scalar(step.loss_scale)?.f_backward()?;
                metrics.add_loss("squared_error", &loss)?;
            }
        }
        Ok(metrics)
    }

    fn before_update(&mut self, update: &mut Update, _step: &Step) -> Result<()> {
        if self.clips {
            update.clip_each(0.2)?;
        }
        Ok(())
    }

    fn save(&self, folder: &Path, _state: &TrainingState) -> Result<()> {
        let weights = self.weights.iter();
        let weights = weights.map(|(name, weight)| (name.clone(), weight.detach()));
        Ok(write_tensors(&folder.join(WEIGHTS), weights.collect())?)
    }

    fn load(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(WEIGHTS);
        let mut loaded = read_tensors(&path)?;
        for (name, weight) in &mut self.weights {
            let position = loaded.iter().position(|(known, _)| known == name).unwrap();
            weight.set_data(&loaded.swap_remove(position).1); // other memory
        }
        Ok(())
    }
}

/// How a training is run, or a stretch of it.
#[derive(Clone, Copy, Debug)]
struct Way {
    world: usize,
    sharding: Sharding,
    /// Steps until it is interrupted.
    until: usize,
    clips: bool,
    hurry: Hurry,
    /// Sizes, and what each row reaches.
    drawn: Option<u64>,
    /// Rows at once for which process 1 has memory.
    memory: Option<usize>,
}

const ALONE: Way = Way {
    world: 1,
    sharding: Sharding::None,
    until: STEPS,
    clips: false,
    hurry: Hurry::Right,
    drawn: None,
    memory: None,
};

fn train(folder: &Path, way: Way) {
    let schedule = |steps| LrSchedule {
        peak: 0.05,
        last: 0.05,
        warmup: 2,
        steps,
        decay: LrDecay::Constant,
    };
    together(way.world, |group| {
        let progress = Progress::new(1, "steps", true);
        let trainer = Trainer {
            name: "goals",
            folder,
            config: TrainerConfig {
                lr_schedule: schedule(way.until),
                adamw: AdamWConfig {
                    betas: [0.9, 0.99],
                    eps: 1e-6,
                    weight_decay: 0.01,
                    decay_all: true,
                },
                clip_norm: if way.clips { 0.5 } else { 0.0 },
                ema: 0.9,
                save_every: 0,
                keep: 0,
                max_broken: 0.5,
            },
            seed: 3,
            key: "key",
            precision: Precision::F32,
            micro_batch: 0,
            group,
            sharding: Some(way.sharding),
            progress: &progress,
            evaluation: None,
            device: Device::Cpu,
            peak_flops: 0.0,
        };
        trainer.run(Goals::new(group, way)).unwrap();
    });
}

/// Weights, moments and averages of a folder's last state.
fn state(folder: &Path) -> Vec<(String, Tensor)> {
    let all = ["model", "optimiser", "ema"].into_iter();
    all.flat_map(|what| trainings::state(&folder.join("last"), what))
        .collect()
}

fn trained(ways: &[Way]) -> (Vec<(String, Tensor)>, TrainingState) {
    let folder = tempdir().unwrap();
    for way in ways {
        train(folder.path(), *way);
    }
    let path = folder.path().join("last/training_state.json");
    let counts = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    (state(folder.path()), counts)
}

/// The largest difference between two states, relative to the sizes of their tensors.
fn difference(a: &[(String, Tensor)], b: &[(String, Tensor)]) -> f64 {
    assert!(
        a.iter()
            .map(|(name, _)| name)
            .eq(b.iter().map(|(name, _)| name))
    );
    let off = |((_, a), (name, b)): (&(String, Tensor), &(String, Tensor))| {
        assert_eq!(a.size(), b.size(), "{name}");
        let size = b.abs().max().double_value(&[]).max(1e-12);
        (a - b).abs().max().double_value(&[]) / size
    };
    a.iter().zip(b).map(off).fold(0.0, f64::max)
}

#[test]
fn processes_train_as_one_whatever_each_has_of_the_optimiser() {
    for clips in [false, true] {
        let (as_one, counts) = trained(&[Way { clips, ..ALONE }]);
        assert_eq!(counts.rows, ((STEPS * ROWS) as u64, STEPS as u64));
        for world in 2..=4 {
            let whole = Way {
                world,
                clips,
                ..ALONE
            };
            let (replicated, of_replicated) = trained(&[whole]);
            let in_parts = Way {
                sharding: Sharding::Optimiser,
                ..whole
            };
            let (sharded, of_sharded) = trained(&[in_parts]);
            assert_eq!((&of_replicated, &of_sharded), (&counts, &counts));
            let off = difference(&replicated, &as_one);
            assert!(off < 1e-5, "{world} processes: {off:.1e}");
            let off = difference(&sharded, &replicated);
            // Norms are sums in another order.
            assert!(off <= if clips { 1e-5 } else { 0.0 }, "{world}: {off:.1e}");
        }
    }
}

#[test]
fn a_state_goes_on_in_any_number_of_processes() {
    let (as_one, counts) = trained(&[ALONE]);
    let ways = [
        (1, Sharding::None),
        (2, Sharding::None),
        (2, Sharding::Optimiser),
        (3, Sharding::Optimiser),
    ];
    for (before, sharding) in ways {
        for (after, other) in ways {
            let first = Way {
                world: before,
                sharding,
                until: 7,
                ..ALONE
            };
            let second = Way {
                world: after,
                sharding: other,
                ..ALONE
            };
            let (state, of_all) = trained(&[first, second]);
            assert_eq!(of_all, counts);
            let off = difference(&state, &as_one);
            assert!(off < 1e-5, "{first:?} then {second:?}: {off:.1e}");
        }
    }
}

/// Memory that is short in one process is short in all: they go on with fewer rows at once, to the
/// same weights.
#[test]
fn where_memory_is_short_in_one_all_go_on_with_fewer_rows() {
    for (world, sharding) in [(2, Sharding::None), (3, Sharding::Optimiser)] {
        let way = Way {
            world,
            sharding,
            hurry: Hurry::None,
            ..ALONE
        };
        let (plain, counts) = trained(&[way]);
        let (short, of_short) = trained(&[Way {
            memory: Some(2),
            ..way
        }]);
        assert_eq!((counts.micro_batch, of_short.micro_batch), (0, 2));
        assert_eq!(counts.rows, of_short.rows);
        let off = difference(&short, &plain);
        assert!(off < 1e-5, "{world} of {sharding:?}: {off:.1e}");
    }
}

/// When gradients go out changes nothing, also where that is before they are complete.
#[test]
fn gradients_that_go_out_early_sum_up_to_the_same() {
    for sharding in [Sharding::None, Sharding::Optimiser] {
        for world in [2, 3] {
            let state = |hurry| {
                let way = Way {
                    world,
                    sharding,
                    hurry,
                    ..ALONE
                };
                trained(&[way]).0
            };
            let late = state(Hurry::None);
            let off = difference(&state(Hurry::Right), &late);
            assert!(off == 0.0, "{world} processes, {sharding:?}: {off:.1e}");
            let off = difference(&state(Hurry::TooMuch), &late);
            assert!(off < 1e-5, "{world} processes, {sharding:?}: {off:.1e}");
        }
    }
}

/// Whatever units there are, whoever reaches them, and whenever gradients are said to be complete:
/// all processes come to the same sums.
#[test]
fn drawn_units_that_go_out_at_drawn_moments_sum_up_to_the_same() {
    for seed in 0..8 {
        let way = Way {
            drawn: Some(seed),
            hurry: Hurry::Drawn,
            until: 8,
            ..ALONE
        };
        let (as_one, _) = trained(&[way]);
        for sharding in [Sharding::None, Sharding::Optimiser] {
            let world = 2 + seed as usize % 3;
            let (state, _) = trained(&[Way {
                world,
                sharding,
                ..way
            }]);
            let off = difference(&state, &as_one);
            // A gradient that is lost or counted twice is a matter of tenths.
            assert!(
                off < 1e-3,
                "draw {seed}, {world} of {sharding:?}: {off:.1e}"
            );
        }
    }
}
