//! Several processes against one: the gradients of a batch whose rows they share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use flava_model::runtime::distributed::Group;
use flava_pretrain::{JointTraining, Rank};
use flava_training::{Learner, Step};
use tch::{Kind, Tensor};

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
    let one_after_the_other = Mutex::new(());
    together(world, |group| {
        let mut train = {
            let _drawing = one_after_the_other.lock().unwrap();
            joint(shared.contrastive_share, alone)
        };
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
