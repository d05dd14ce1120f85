//! Several processes against one: the gradients of a batch whose rows they share, and what they
//! exchange for them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use flava_base::LrDecay;

use flava_model::{
    ImageInputs,
    runtime::{
        Precision, Progress,
        distributed::{Collective, Exchange, Group},
    },
};
use flava_pretrain::{JointTraining, LossWeights, Rank};
use flava_training::{
    AdamWConfig, Learner, LrSchedule, Reduction, Schedule, Sharding, Step, Trainer, TrainerConfig,
};
use tch::{Device, Kind, Tensor};
use tempfile::tempdir;

use super::training::joint;
use crate::support::{fixtures::DrawingAlone, processes::together};

/// A batch that processes share.
#[derive(Clone, Copy, Debug)]
struct Shared {
    rows: usize,
    micro_batch: usize,
    contrastive_share: f64,
    /// Which batch of the corpus.
    nth: u64,
}

/// Sums over all processes: of the gradients that a parameter has in any of them, and of losses.
struct Sums {
    gradients: BTreeMap<String, Tensor>,
    losses: BTreeMap<&'static str, f64>,
}

/// All gradients and losses of a batch, as each of so many processes has them in the end.
fn sums(world: usize, shared: Shared, alone: &DrawingAlone) -> Vec<Sums> {
    sums_of_changed(world, shared, alone, &|_| {})
}

/// The same of a training that is changed before.
fn sums_of_changed(
    world: usize,
    shared: Shared,
    alone: &DrawingAlone,
    change: &(dyn Fn(&mut JointTraining) + Sync),
) -> Vec<Sums> {
    let one_after_the_other = Mutex::new(());
    together(world, |group| {
        let mut train = {
            let _drawing = one_after_the_other.lock().unwrap();
            joint(shared.contrastive_share, alone)
        };
        change(&mut train);
        let samples = &mut Arc::get_mut(&mut train.readers).unwrap()[0].samples;
        samples.batch_size = shared.rows;
        samples.rank = Rank {
            rank: group.rank(),
            world,
        };
        sums_of(&mut train, group, shared)
    })
}

fn sums_of(train: &mut JointTraining, group: &Group, shared: Shared) -> Sums {
    let batch = train.readers[0].batch(shared.nth, &train.preparation);
    let step = Step {
        micro_batch: shared.micro_batch,
        ..Step::first(group, train, &batch).unwrap()
    };
    let metrics = train.backward(&batch, &step).unwrap();
    let mut losses: BTreeMap<&'static str, f64> = metrics.losses().into_iter().collect();
    for loss in losses.values_mut() {
        *loss = group.sums(&[*loss]).unwrap()[0];
    }
    let mut variables: Vec<(String, Tensor)> = train.store.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    let mut gradients = BTreeMap::new();
    for (name, variable) in variables {
        let gradient = variable.grad();
        let reached = f64::from(gradient.defined());
        if group.sums(&[reached]).unwrap()[0] == 0.0 {
            continue;
        }
        let sum = if gradient.defined() {
            gradient.copy()
        } else {
            variable.zeros_like().detach()
        };
        group.sum(&sum).unwrap().wait().unwrap();
        gradients.insert(name, sum);
    }
    Sums { gradients, losses }
}

/// All losses: sums over rows, divided by numbers of the whole batch, whoever has the rows. Of five
/// rows some processes have one, which matches or does not, and no hidden word.
#[test]
fn gradients_of_processes_are_those_of_one() {
    let alone = DrawingAlone::new();
    let all = Shared {
        rows: 24,
        micro_batch: 0,
        contrastive_share: 1.0,
        nth: 0,
    };
    for (world, shared) in [
        (2, all),
        (
            3,
            Shared {
                micro_batch: 5,
                ..all
            },
        ),
        (
            4,
            Shared {
                rows: 5,
                nth: 3,
                ..all
            },
        ),
        (
            4,
            Shared {
                rows: 5,
                nth: 4,
                ..all
            },
        ),
        (
            3,
            Shared {
                rows: 2,
                nth: 5,
                ..all
            },
        ),
        (
            2,
            Shared {
                contrastive_share: 0.3,
                ..all
            },
        ),
        (
            3,
            Shared {
                contrastive_share: 0.5,
                micro_batch: 3,
                ..all
            },
        ),
    ] {
        // Parts of one process too, so that gradients are cached in both.
        let of_one = &sums(
            1,
            Shared {
                micro_batch: 2,
                ..shared
            },
            &alone,
        )[0];
        for of_some in sums(world, shared, &alone) {
            assert!(of_some.losses.keys().eq(of_one.losses.keys()), "{shared:?}");
            for (name, loss) in &of_one.losses {
                let other = of_some.losses[name];
                assert!(
                    (loss - other).abs() < 1e-6 * loss.abs().max(1.0),
                    "{name} {shared:?}"
                );
            }
            let names = of_some.gradients.keys();
            assert!(names.eq(of_one.gradients.keys()), "{world} {shared:?}");
            for (name, gradient) in &of_one.gradients {
                let difference = (gradient - &of_some.gradients[name]).abs().max();
                let size = gradient.norm().to_kind(Kind::Double).double_value(&[]);
                assert!(
                    difference.double_value(&[]) < 1e-6 * size.max(1.0),
                    "{name} of {size:.1e} differs by {difference:?}, {world} processes, {shared:?}"
                );
            }
        }
    }
}

/// The contrastive loss alone, of pairs that all match.
fn contrastive_alone(train: &mut JointTraining) {
    Arc::get_mut(&mut train.preparation).unwrap().negatives = 0.0;
    train.model.weights = LossWeights {
        mim: 0.0,
        mlm: 0.0,
        itm: 0.0,
        mmm_image: 0.0,
        mmm_text: 0.0,
        ..train.model.weights
    };
}

/// The loss by Hugging Face's way: each process's rows against the embeddings of all, and the mean
/// over the processes; with the gradients of its variables.
fn by_hugging_faces_way(world: usize, alone: &DrawingAlone) -> Sums {
    let mut train = joint(1.0, alone);
    contrastive_alone(&mut train);
    let batch = train.readers[0].batch(0, &train.preparation);
    let (flava, rows) = (&train.model.flava, batch.len());
    let pixels = batch.pixels(0..rows, Device::Cpu).unwrap();
    let image = flava.encode_image_cls(&ImageInputs::new(pixels)).unwrap();
    let image = flava.project_image(&image).unwrap();
    let texts = batch.texts(0..rows, train.text.pad_id(), Device::Cpu);
    let text = flava.encode_text_cls(&texts.unwrap()).unwrap();
    let text = flava.project_text(&text).unwrap();
    let scale = flava.clamped_logit_scale().unwrap().exp();
    let own = (rows / world) as i64;
    let of_process = |rank: usize| {
        let start = rank as i64 * own;
        let labels = Tensor::arange_start(start, start + own, (Kind::Int64, Device::Cpu));
        let against = |queries: &Tensor, all: &Tensor| {
            let logits = queries.narrow(0, start, own).matmul(&all.tr()) * &scale;
            logits.cross_entropy_for_logits(&labels)
        };
        (against(&image, &text) + against(&text, &image)) / 2.0
    };
    let losses: Vec<Tensor> = (0..world).map(of_process).collect();
    let loss = Tensor::stack(&losses, 0).mean(Kind::Float);
    loss.backward();
    let variables = train.store.variables().into_iter();
    let reached = variables.filter(|(_, variable)| variable.grad().defined());
    let gradients = reached.map(|(name, variable)| (name, variable.grad().copy()));
    Sums {
        gradients: gradients.collect(),
        losses: [("global_contrastive", loss.double_value(&[]))].into(),
    }
}

fn norm(gradients: &BTreeMap<String, Tensor>) -> f64 {
    let squares = gradients.values().map(|gradient| {
        let norm = gradient.norm().double_value(&[]);
        norm * norm
    });
    squares.sum::<f64>().sqrt()
}

/// The contrastive loss and its gradients through the embeddings of all processes: as Hugging Face
/// has them, and as the loss changes where the weights do.
#[test]
fn the_contrastive_loss_is_hugging_faces_and_its_gradient_the_numerical_one() {
    let alone = DrawingAlone::new();
    let shared = Shared {
        rows: 24,
        micro_batch: 5,
        contrastive_share: 1.0,
        nth: 0,
    };
    for world in [2, 3] {
        let theirs = by_hugging_faces_way(world, &alone);
        let ours = &sums_of_changed(world, shared, &alone, &contrastive_alone)[0];
        let loss = |sums: &Sums| sums.losses["global_contrastive"];
        assert!((loss(ours) - loss(&theirs)).abs() < 1e-6 * loss(&theirs));
        let size = norm(&theirs.gradients);
        for (name, gradient) in &theirs.gradients {
            let off = (gradient - &ours.gradients[name]).norm().double_value(&[]);
            assert!(off < 1e-6 * size, "{name}: {off:.1e} of {size:.1e}");
        }
        let numbers = |gradient: &Tensor| Vec::<f32>::try_from(gradient.view(-1)).unwrap();
        let direction: BTreeMap<&String, Vec<f32>> = ours
            .gradients
            .iter()
            .map(|(name, gradient)| (name, numbers(gradient)))
            .collect();
        let moved = |by: f64| {
            let move_along = |train: &mut JointTraining| {
                contrastive_alone(train);
                let _guard = tch::no_grad_guard();
                for (name, mut variable) in train.store.variables() {
                    if let Some(numbers) = direction.get(&name) {
                        let gradient = Tensor::from_slice(numbers).view_as(&variable);
                        let _moved = variable.g_add_(&(gradient * (by / size)));
                    }
                }
            };
            loss(&sums_of_changed(world, shared, &alone, &move_along)[0])
        };
        let step = 5e-3;
        let numerical = (moved(step) - moved(-step)) / (2.0 * step);
        let off = (numerical / size - 1.0).abs();
        assert!(off < 2e-3, "{world}: {numerical} is not {size}");
    }
}

/// What one of 1,024 processes would exchange in two steps of pairs, of which each has two; and the
/// names and sizes of what is trained.
fn trace(
    rank: usize,
    sharding: Sharding,
    precision: Precision,
    alone: &DrawingAlone,
) -> (Vec<Exchange>, Vec<(String, Vec<i64>)>) {
    const WORLD: usize = 1024;
    let folder = tempdir().unwrap();
    let group = Group::simulated(rank, WORLD);
    let mut train = joint(1.0, alone);
    train.precision = precision;
    let samples = &mut Arc::get_mut(&mut train.readers).unwrap()[0].samples;
    samples.batch_size = 2 * WORLD;
    samples.rank = Rank { rank, world: WORLD };
    let sets = train.parameters();
    let parameters = sets.iter().flat_map(|set| &set.parameters);
    let sizes = parameters.map(|parameter| (parameter.name.clone(), parameter.tensor.size()));
    // Pairs reach no head of images or texts alone.
    let sizes = sizes.filter(|(name, _)| {
        !["mim_head", "mlm_head"]
            .iter()
            .any(|head| name.starts_with(head))
    });
    let sizes = sizes.collect();
    let trainer = Trainer {
        name: "joint",
        folder: folder.path(),
        config: TrainerConfig {
            lr_schedule: LrSchedule {
                peak: 1e-4,
                last: 1e-4,
                warmup: 0,
                steps: 2,
                decay: LrDecay::Constant,
            },
            adamw: AdamWConfig {
                betas: [0.9, 0.99],
                eps: 1e-8,
                weight_decay: 0.0,
                decay_all: true,
            },
            clip_norm: 0.0,
            ema: 0.0,
            save_every: 0,
            keep: 0,
            max_broken: 0.0,
        },
        seed: 0,
        key: "key",
        precision,
        micro_batch: 0,
        group: &group,
        sharding: Some(sharding),
        progress: &Progress::new(1, "steps", true),
        evaluation: None,
        device: Device::Cpu,
        peak_flops: 0.0,
    };
    trainer.run(train).unwrap();
    (group.take_trace(), sizes)
}

/// Whatever rows a process has, it comes to the same collectives as all others, and these are the
/// ones that a dry run counts.
#[test]
fn the_first_and_the_last_of_many_processes_exchange_the_same() {
    let alone = DrawingAlone::new();
    let ways = [Sharding::None, Sharding::Optimiser]
        .into_iter()
        .chain([Reduction::Pass, Reduction::Step].map(Sharding::Full));
    let ways = ways.map(|sharding| (sharding, Precision::F32));
    let halves = (Sharding::Full(Reduction::Pass), Precision::Bf16);
    for (sharding, precision) in ways.chain([halves]) {
        let (first, sizes) = trace(0, sharding, precision, &alone);
        let (last, _) = trace(1023, sharding, precision, &alone);
        // What the log tells is of other lengths.
        let order = |trace: &[Exchange]| -> Vec<Exchange> {
            let one = |exchange: &Exchange| Exchange {
                bytes: if exchange.kind == Kind::Uint8 {
                    0
                } else {
                    exchange.bytes
                },
                ..*exchange
            };
            trace.iter().map(one).collect()
        };
        assert_eq!(order(&first), order(&last), "{sharding:?}");
        let named = sizes.iter().map(|(name, size)| (name.as_str(), &size[..]));
        let schedule = Schedule::new(named, 1024, sharding, precision.kind());
        let each = |trace: &[Exchange], what: Collective| -> Vec<usize> {
            let of = trace.iter().filter(|exchange| exchange.collective == what);
            let is_number = |kind: Kind| kind == Kind::Float || kind == precision.kind();
            let of = of.filter(|exchange| is_number(exchange.kind));
            of.map(|exchange| exchange.bytes).collect()
        };
        let bytes = |trace: &[Exchange], what| each(trace, what).iter().sum::<usize>();
        // Each unit once a step, and in the same order.
        for what in [Collective::Sum, Collective::ReduceScatter] {
            let of_both = each(&first, what);
            let (of_first, of_second) = of_both.split_at(of_both.len() / 2);
            assert_eq!(of_first, of_second, "{what:?} {sharding:?}");
        }
        let sums_of_step = each(&first, Collective::Sum).len() / 2;
        assert_eq!(
            sums_of_step,
            each(&schedule.update, Collective::Sum).len(),
            "{sharding:?}"
        );
        let blocks: (usize, usize) =
            schedule
                .blocks
                .iter()
                .fold((0, 0), |(gathers, sums), block| {
                    let of_pairs = block.name.contains("multimodal");
                    let (gather, sum) = match sharding {
                        Sharding::Full(Reduction::Step) if !of_pairs => (5, 1),
                        _ if of_pairs => (2, 1),
                        _ => (5, 2),
                    };
                    let weights = gather * block.weights.bytes;
                    (gathers + weights, sums + sum * block.gradients.bytes)
                });
        // Images and texts, forth and back.
        let embeddings = 2 * 2048 * 24 * 4;
        for (what, of_blocks) in [
            (Collective::AllGather, blocks.0),
            (Collective::ReduceScatter, blocks.1),
        ] {
            let of_step = bytes(&schedule.update, what) + of_blocks + embeddings;
            let found = bytes(&first, what);
            // The last state is gathered to be saved.
            let saved = found - 2 * of_step;
            let is_saving = what == Collective::AllGather && sharding != Sharding::None;
            assert!(
                saved == 0 || is_saving,
                "{what:?} {sharding:?}: {found}, 2 x {of_step}"
            );
        }
        let sums = bytes(&first, Collective::Sum);
        assert_eq!(
            sums,
            2 * bytes(&schedule.update, Collective::Sum),
            "{sharding:?}"
        );
    }
}
