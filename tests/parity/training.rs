//! Training step by step: transformers' losses and torch's `AdamW` over fifty steps, and gradients
//! of parts against those of the whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use flava_model::{
    AttentionKind, FlavaConfig,
    checkpoint::{Checkpoint, read_tensors},
    processor::{ImageProcessorConfig, PassOrder, TextProcessor},
    runtime::{Precision, distributed::Group},
};
use flava_pretrain::{
    CorpusSampler, Dino, DinoSetup, ExampleTransform, FlavaForPreTraining, JointTraining, Mixture,
    OnEmpty, Order, PatchLabels, PretrainingDataset, PretrainingInputs, Rank, Recipe, RowKind,
    Stage, TrainingSchedule, WordMasks,
};
use flava_tasks::sources::{Corpus, MiniWorld};
use flava_training::{AdamW, Learner, ParameterSet, Step};
use tch::{Device, Kind, Tensor, nn::VarStore};

use crate::support::{
    fixtures::{DrawingAlone, random_model},
    place::{device, root},
};

const STEPS: usize = 50;

/// The batches and losses of `training_golden.py`, and the model that it began with.
fn golden_model() -> (BTreeMap<String, Tensor>, FlavaForPreTraining, VarStore) {
    let root = root().join("tests/golden");
    let golden: BTreeMap<String, Tensor> = read_tensors(&root.join("training/golden.safetensors"))
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_device(device())))
        .collect();
    let config = FlavaConfig::from_file(&root.join("base/config.json")).unwrap();
    let checkpoint = Checkpoint::open(&root.join("base")).unwrap();
    let (model, store, _) = FlavaForPreTraining::load(
        &checkpoint,
        config,
        device(),
        AttentionKind::Fused,
        OnEmpty::Skip,
    )
    .unwrap();
    (golden, model, store)
}

/// `tests/golden/training_golden.py` wrote the batches, the losses of every step and the weights at
/// the end.
#[test]
fn fifty_steps_follow_transformers_and_adamw() {
    let (golden, mut model, store) = golden_model();
    let first: BTreeMap<String, Tensor> = store
        .variables()
        .into_iter()
        .map(|(name, variable)| (name, variable.detach().copy()))
        .collect();
    let json = r#"{"steps": 50, "batch_size": 4, "learning_rate": 2e-3, "warmup": 10, "weight_decay": 0.1, "decay_all": true}"#;
    let schedule: TrainingSchedule = serde_json::from_str(json).unwrap();
    let rates = schedule.config().lr_schedule;
    let mut optimiser = AdamW::of(vec![ParameterSet::of(&store)], &schedule.config().adamw);
    for step in 0..STEPS {
        let inputs = golden_batch(&golden, step % 6);
        optimiser.zero_grad().unwrap();
        let output = model.forward(&inputs).unwrap();
        output.losses.total().unwrap().backward();
        optimiser.step(rates.lr(step)).unwrap();
        model.flava.clamp_logit_scale();
        for (name, loss) in output.losses.named() {
            let theirs = golden.get(&format!("losses/{step}/{name}"));
            assert_eq!(loss.is_some(), theirs.is_some(), "step {step}: {name}");
            let (Some(loss), Some(theirs)) = (loss, theirs) else {
                continue;
            };
            let difference = (loss.double_value(&[]) - theirs.double_value(&[])).abs();
            assert!(
                difference < 1e-4,
                "step {step}: {name} differs by {difference:.1e}"
            );
        }
    }
    let mut compared = 0;
    for (name, variable) in store.variables() {
        // A key's bias moves all scores of a query alike: its gradient is rounding, which AdamW
        // brings to full size.
        let Some(theirs) = golden
            .get(&format!("final/{name}"))
            .filter(|_| !name.ends_with("attention.key.bias"))
        else {
            continue;
        };
        let norm = |t: &Tensor| t.to_kind(Kind::Double).norm().double_value(&[]);
        let (moved, off) = (
            norm(&(theirs - &first[&name])),
            norm(&(theirs - variable.detach())),
        );
        assert!(
            off <= 1e-3 * moved + 1e-9,
            "{name} moved by {moved:.2e} and is off by {off:.1e}"
        );
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
}

/// Last blocks that compute what is scored alone give the losses and gradients of those that
/// compute everything.
#[test]
fn states_that_no_loss_reads_change_nothing() {
    let (golden, model, store) = golden_model();
    let mut scored = BTreeSet::new();
    for batch in 0..6 {
        let mut seen: Vec<(Vec<f64>, BTreeMap<String, Tensor>)> = Vec::new();
        for all_states in [false, true] {
            let inputs = PretrainingInputs {
                all_states,
                ..golden_batch(&golden, batch)
            };
            let losses = model.forward(&inputs).unwrap().losses;
            losses.total().unwrap().backward();
            let present = losses
                .named()
                .into_iter()
                .filter_map(|(name, loss)| Some((name, loss?.double_value(&[]))));
            let (names, values): (Vec<&str>, Vec<f64>) = present.unzip();
            scored.extend(names);
            let variables = store
                .variables()
                .into_iter()
                .filter(|(_, variable)| variable.grad().defined());
            seen.push((
                values,
                variables
                    .map(|(name, mut variable)| (name, take_gradient(&mut variable)))
                    .collect(),
            ));
        }
        let [(some, some_gradients), (all, all_gradients)] = &seen[..] else {
            unreachable!()
        };
        assert!(
            !some.is_empty() && some.iter().zip(all).all(|(a, b)| (a - b).abs() < 1e-6),
            "batch {batch}: {some:?} {all:?}"
        );
        for (name, gradient) in all_gradients {
            let scale = gradient.abs().max().double_value(&[]).max(1.0);
            let off = (gradient - &some_gradients[name])
                .abs()
                .max()
                .double_value(&[]);
            assert!(
                off < 1e-6 * scale,
                "batch {batch}: {name} is off by {off:.1e} of {scale:.1e}"
            );
        }
    }
    assert!(scored.into_iter().eq([
        "global_contrastive",
        "itm",
        "mim",
        "mlm",
        "mmm_image",
        "mmm_text"
    ]));
}

fn take_gradient(variable: &mut Tensor) -> Tensor {
    let gradient = variable.grad().copy();
    variable.zero_grad();
    gradient
}

fn golden_batch(golden: &BTreeMap<String, Tensor>, batch: usize) -> PretrainingInputs {
    PretrainingInputs::named(|name| {
        golden
            .get(&format!("batch{batch}/inputs/{name}"))
            .map(Tensor::shallow_clone)
    })
}

pub(super) fn joint(contrastive_share: f64, alone: &DrawingAlone) -> JointTraining {
    let mini = root().join("evaluator/assets/mini");
    let text = Arc::new(TextProcessor::from_directory(&mini).unwrap());
    let part = |layers| {
        format!(
            r#"{{"hidden_size": 32, "num_hidden_layers": {layers}, "num_attention_heads": 2, "intermediate_size": 48}}"#
        )
    };
    let json = format!(
        r#"{{"hidden_size": 32, "projection_dim": 24, "image_config": {}, "text_config": {}, "multimodal_config": {},
            "image_codebook_config": {{"hidden_size": 8, "vocab_size": 64}}}}"#,
        part(2),
        part(2),
        part(1)
    );
    let mut config: FlavaConfig = serde_json::from_str(&json).unwrap();
    (
        config.image_config.image_size,
        config.image_config.patch_size,
        config.image_config.vocab_size,
    ) = (32, 8, 64);
    config.text_config.vocab_size = text.vocab_size() as i64;
    config.text_config.max_position_embeddings = 64;
    let mut processor = ImageProcessorConfig::for_size(32, 8);
    (
        processor.total_mask_patches,
        processor.mask_group_min_patches,
    ) = (6, 2);
    let (model, store) = random_model(config, 5, alone);
    let dataset = Corpus::Mini {
        world: MiniWorld::Pairs,
        rows: 64,
    }
    .open(Path::new("."), 0)
    .unwrap();
    let samples = CorpusSampler {
        name: "pairs".into(),
        order: Order::new("pairs", 64, 64, 0),
        dataset,
        rank: Rank::default(),
        batch_size: 24,
    };
    let reader = PretrainingDataset {
        samples,
        kind: RowKind::Pairs,
        labels: PatchLabels::Codebook,
    };
    let masks = WordMasks {
        rate: 0.3,
        whole_words: true,
    };
    let preparation = ExampleTransform::new(
        &processor,
        Arc::clone(&text),
        [(masks, 40), (masks, 40)],
        -100,
        0,
    );
    let preparation = ExampleTransform {
        negatives: 0.3,
        ..preparation
    };
    JointTraining {
        model,
        store,
        processor,
        text,
        readers: Arc::new(vec![reader]),
        mixture: Arc::new(Mixture::new(&[1.0], 4, 0)),
        preparation: Arc::new(preparation),
        threads: 2,
        contrastive_share,
        precision: Precision::F32,
    }
}

fn gradients(
    train: &mut JointTraining,
    micro_batch: usize,
) -> (BTreeMap<String, Tensor>, Vec<(&'static str, f64)>) {
    let batch = train.readers[0].batch(0, &train.preparation);
    let step = Step {
        micro_batch,
        ..Step::first(&Group::alone(), train, &batch).unwrap()
    };
    let metrics = train.backward(&batch, &step).unwrap();
    let mut losses = metrics.losses();
    losses.sort_by_key(|(name, _)| *name);
    let all = train
        .store
        .variables()
        .into_iter()
        .filter(|(_, variable)| variable.grad().defined());
    (
        all.map(|(name, variable)| (name, variable.grad().copy()))
            .collect(),
        losses,
    )
}

/// All losses of all parts, the contrastive one over the whole batch by gradient caching, against
/// one pass.
#[test]
fn gradients_of_parts_are_those_of_the_whole() {
    let alone = DrawingAlone::new();
    let (whole, losses) = gradients(&mut joint(1.0, &alone), 0);
    assert_eq!(losses.len(), 4, "{losses:?}");
    for micro_batch in [1, 5, 12] {
        let (parts, part_losses) = gradients(&mut joint(1.0, &alone), micro_batch);
        for ((name, loss), (_, part_loss)) in losses.iter().zip(&part_losses) {
            assert!(
                (loss - part_loss).abs() < 1e-5,
                "{name}: {loss} and {part_loss}, micro-batch {micro_batch}"
            );
        }
        assert_eq!(whole.len(), parts.len());
        for (name, gradient) in &whole {
            let difference = (gradient - &parts[name]).abs().max().double_value(&[]);
            let size = gradient.abs().max().double_value(&[]);
            assert!(
                difference < 1e-6 * size.max(1.0),
                "{name} of {size:.1e} differs by {difference:.1e}, micro-batch {micro_batch}"
            );
        }
    }
}

/// A local contrastive loss has fewer wrong partners.
#[test]
fn a_local_contrastive_loss_looks_at_fewer() {
    let alone = DrawingAlone::new();
    let loss = |share: f64| {
        gradients(&mut joint(share, &alone), 0)
            .1
            .into_iter()
            .find(|(name, _)| *name == "global_contrastive")
            .unwrap()
            .1
    };
    let (global, local) = (loss(1.0), loss(0.25));
    assert!(
        local < global - 0.5,
        "{local} and {global}: six candidates against 24"
    );
}

/// DINO's loss, gradients and centre of a batch that goes through student and teacher in parts,
/// activations kept or not, are those of one that goes through whole.
#[test]
fn a_batch_of_views_in_parts_is_the_whole() {
    let settings = [
        "image.outputs=32",
        "image.hidden=24",
        "image.bottleneck=16",
        "image.local_crops=3",
        "image.local_size=16",
    ];
    let recipe = Recipe::open("mini", &settings.map(str::to_owned)).unwrap();
    let Some((_, Stage::Dino(stage))) = recipe.stages().find(|(name, _)| *name == "image") else {
        panic!("image is DINO")
    };
    let alone = DrawingAlone::new();
    let step = |micro_batch: usize, recompute: bool| {
        let JointTraining {
            model,
            store,
            processor,
            text,
            ..
        } = joint(1.0, &alone);
        let dataset = Corpus::Mini {
            world: MiniWorld::Pairs,
            rows: 32,
        }
        .open(Path::new("."), 0)
        .unwrap();
        let samples = CorpusSampler {
            name: "images".into(),
            order: Order::new("images", 32, 32, 0),
            dataset,
            rank: Rank::default(),
            batch_size: 7,
        };
        let setup = DinoSetup {
            model,
            store,
            processor,
            pass_order: PassOrder::default(),
            text,
            samples,
            seed: 3,
            threads: 2,
            precision: Precision::F32,
            recompute,
        };
        let mut dino = Dino::new(setup, stage).unwrap();
        let batch = dino.batches(0..1).next().unwrap().unwrap();
        let step = Step {
            micro_batch,
            ..Step::first(&Group::alone(), &dino, &batch).unwrap()
        };
        let losses = dino.backward(&batch, &step).unwrap().losses();
        let reached = dino
            .parameters()
            .into_iter()
            .flat_map(|set| set.parameters)
            .filter(|parameter| parameter.tensor.grad().defined());
        let gradients: Vec<(String, Tensor)> = reached
            .map(|parameter| (parameter.name, parameter.tensor.grad().copy()))
            .collect();
        dino.after_update(&step).unwrap();
        (losses[0].1, dino.extra_metrics()[0].1, gradients)
    };
    let (loss, centre, whole) = step(0, false);
    assert!(loss > 1.0 && centre > 0.0, "{loss} {centre}");
    for (micro_batch, recompute) in [(1, false), (3, false), (0, true), (5, true)] {
        let (part_loss, part_centre, parts) = step(micro_batch, recompute);
        assert!(
            (loss - part_loss).abs() < 1e-5 && (centre - part_centre).abs() < 1e-5,
            "{micro_batch}: {loss} and {part_loss}"
        );
        assert!(whole.len() > 30 && whole.len() == parts.len());
        for ((name, gradient), (_, part)) in whole.iter().zip(&parts) {
            let size = gradient.abs().max().double_value(&[]);
            let difference = (gradient - part).abs().max().double_value(&[]);
            assert!(
                difference < 1e-6 * size.max(1.0),
                "{name} of {size:.1e} differs by {difference:.1e}, micro-batch {micro_batch}"
            );
        }
    }
}

/// Exchanged captions are as many as asked for, and say something else.
#[test]
fn captions_are_exchanged_as_often_as_asked_for() {
    let alone = DrawingAlone::new();
    let train = joint(1.0, &alone);
    let (mut all, mut exchanged) = (0.0, 0.0);
    for nth in 0..60 {
        let batch = train.readers[0].batch(nth, &train.preparation);
        let labels: Vec<i64> = batch
            .itm_labels(0..batch.len(), Device::Cpu)
            .unwrap()
            .try_into()
            .unwrap();
        all += labels.len() as f64;
        exchanged += labels.iter().filter(|&&label| label == 0).count() as f64;
    }
    let (mean, sd) = (0.3 * all, (0.3 * 0.7 * all).sqrt());
    assert!((exchanged - mean).abs() < 4.0 * sd, "{exchanged} of {all}");
}
