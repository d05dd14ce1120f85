//! Our side of `make bench`'s training steps: times steps of one batch and prints them as JSON.
//!
//! steps MODEL BATCH.safetensors PRECISION STEPS: MODEL is a directory of `FlavaForPreTraining`,
//! BATCH holds its inputs by their names in transformers.
//!
//! steps feed MODEL: pairs drawn and prepared a second, and pairs that the model takes a second
//! with its labels cached or not.
//!
//! steps cached MODEL ROWS MICRO: peak memory of one contrastive step over so many pairs, in parts
//! of MICRO.
#![allow(clippy::disallowed_methods, reason = "a benchmark may panic")]

mod place;

use std::{collections::BTreeMap, env, path::Path, sync::Arc, time::Instant};

use flava_model::{
    AttentionKind, FlavaConfig,
    checkpoint::{Checkpoint, read_tensors},
    processor::{ImageProcessorConfig, TextProcessor},
    runtime::{Autocast, Precision, Progress, distributed::Group, peak_memory},
};
use flava_pretrain::{
    Batch, CorpusSampler, ExampleTransform, FlavaForPreTraining, HiddenShares, ImageTokenizer,
    JointTraining, Mixture, OnEmpty, Order, PatchLabels, PretrainingDataset, PretrainingInputs,
    Rank, RowKind, TrainingSchedule, VisualTokens, WordMasks, step_flops,
};
use flava_tasks::{
    Dataset,
    sources::{Corpus, MiniWorld},
};
use flava_training::{AdamW, Learner, ParameterSet, Step, peak_flops};
use serde_json::json;
use tch::{Device, Kind, Tensor, nn::VarStore};

/// Threads that prepare rows.
const THREADS: usize = 2;
/// Different pairs that are drawn.
const DRAWN: usize = 4096;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let device = place::start();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["feed", model] => feed(Path::new(model), device),
        ["cached", model, rows, micro] => cached(
            Path::new(model),
            rows.parse().unwrap(),
            micro.parse().unwrap(),
            device,
        ),
        [model, batch, precision, steps] => timed(
            Path::new(model),
            Path::new(batch),
            precision.parse().unwrap(),
            steps.parse().unwrap(),
            device,
        ),
        _ => {
            eprintln!(
                "usage: steps MODEL BATCH.safetensors PRECISION STEPS | steps feed MODEL | steps cached MODEL ROWS MICRO"
            );
            std::process::exit(2);
        }
    };
    println!("{result}");
}

fn load(folder: &Path, device: Device) -> (FlavaForPreTraining, VarStore) {
    let config = FlavaConfig::from_file(&folder.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(folder).unwrap();
    let (model, store, _) = FlavaForPreTraining::load(
        &checkpoint,
        config,
        device,
        AttentionKind::Fused,
        OnEmpty::Skip,
    )
    .unwrap();
    (model, store)
}

fn timed(
    folder: &Path,
    batch: &Path,
    precision: Precision,
    steps: usize,
    device: Device,
) -> serde_json::Value {
    let batch: BTreeMap<String, Tensor> = read_tensors(batch)
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| {
            // Batches leave masks on the CPU.
            let place = if name == "attention_mask" {
                Device::Cpu
            } else {
                device
            };
            (name, tensor.to_device(place))
        })
        .collect();
    let (mut model, store) = load(folder, device);
    let schedule: TrainingSchedule = serde_json::from_str(
        r#"{"steps": 9, "batch_size": 1, "learning_rate": 1e-4, "warmup": 0, "weight_decay": 0.1, "decay_all": true}"#,
    )
    .unwrap();
    let mut optimiser = AdamW::of(vec![ParameterSet::of(&store)], &schedule.config().adamw);
    let inputs = PretrainingInputs::named(|name| batch.get(name).map(Tensor::shallow_clone));
    let mut best = f64::INFINITY;
    let mut loss = 0.0;
    for _ in 0..=steps {
        let start = Instant::now();
        optimiser.zero_grad().unwrap();
        let total = {
            let _autocast = Autocast::new(device, precision).unwrap();
            model.forward(&inputs).unwrap().losses.total().unwrap()
        };
        total.backward();
        optimiser.step(1e-4).unwrap();
        model.flava.clamp_logit_scale();
        loss = total.to_kind(Kind::Double).double_value(&[]);
        best = best.min(start.elapsed().as_secs_f64());
    }
    let memory = peak_memory(device);
    let kind = match (&inputs.pixel_values, &inputs.text) {
        (Some(_), Some(_)) => RowKind::Pairs,
        (Some(_), None) => RowKind::Images,
        _ => RowKind::Texts,
    };
    let sequences = inputs
        .text
        .as_ref()
        .map(|text| text.input_ids.size2().unwrap());
    let rows = inputs.pixel_values.as_ref().map_or_else(
        || sequences.unwrap_or_default().0,
        |pixels| pixels.size()[0],
    );
    let tokens = batch.get("attention_mask").map_or_else(
        || sequences.unwrap_or_default().1 as f64,
        |mask| mask.sum(Kind::Double).double_value(&[]) / rows as f64,
    );
    let flops = step_flops(
        &model.config,
        kind,
        rows as usize,
        tokens,
        &HiddenShares {
            patches: 75.0 / 196.0,
            words: 0.15,
        },
    );
    let bound = peak_flops(device, precision).unwrap();
    json!({ "seconds": best, "loss": loss, "peak_mb": memory, "gflops": flops / best / 1e9, "bound_gflops": bound / 1e9 })
}

/// Training on drawn pairs; `words` is where visual tokens are kept, if they are.
fn pairs(folder: &Path, rows: usize, words: Option<&Path>, device: Device) -> JointTraining {
    let (model, store) = load(folder, device);
    let image = &model.config.image_config;
    let processor =
        ImageProcessorConfig::for_size(image.image_size as usize, image.patch_size as usize);
    let patches = (image.image_size / image.patch_size).pow(2) as usize;
    let text = Arc::new(TextProcessor::from_directory(folder).unwrap());
    let dataset: Arc<dyn Dataset> = Corpus::Mini {
        world: MiniWorld::Pairs,
        rows: DRAWN,
    }
    .open(Path::new("."), 0)
    .unwrap();
    let masks = WordMasks {
        rate: 0.15,
        whole_words: true,
    };
    let preparation = ExampleTransform::new(
        &processor,
        Arc::clone(&text),
        [(masks, 48), (masks, 48)],
        -100,
        0,
    );
    let preparation = ExampleTransform {
        negatives: 0.1,
        ..preparation
    };
    let labels = words.map_or(PatchLabels::Codebook, |file| {
        let tokenizer = ImageTokenizer {
            codebook: model.codebook().unwrap(),
            patches,
            transform: &preparation.codebook,
            threads: THREADS,
            device,
        };
        let progress = Progress::new(1, "corpus", true);
        let words =
            VisualTokens::open(file, &dataset, &tokenizer, &progress, &Group::alone()).unwrap();
        PatchLabels::Known(Arc::new(words))
    });
    let samples = CorpusSampler {
        name: "pairs".into(),
        order: Order::new("pairs", DRAWN, DRAWN, 0),
        dataset,
        rank: Rank::default(),
        batch_size: rows,
    };
    let reader = PretrainingDataset {
        samples,
        kind: RowKind::Pairs,
        labels,
    };
    JointTraining {
        model,
        store,
        processor,
        text,
        readers: Arc::new(vec![reader]),
        mixture: Arc::new(Mixture::new(&[1.0], 1000, 0)),
        preparation: Arc::new(preparation),
        threads: THREADS,
        contrastive_share: 1.0,
        precision: Precision::F32,
    }
}

fn step(train: &JointTraining, batch: &Batch, micro_batch: usize) -> Step {
    Step {
        micro_batch,
        ..Step::first(&Group::alone(), train, batch).unwrap()
    }
}

/// What the loader gives, and what the model takes, in rows a second.
fn feed(folder: &Path, device: Device) -> serde_json::Value {
    const ROWS: usize = 128;
    const BATCHES: usize = 8;
    let words = env::temp_dir().join(format!("visual-words-{}", std::process::id()));
    let trains = [
        pairs(folder, ROWS, Some(&words), device),
        pairs(folder, ROWS, None, device),
    ];
    std::fs::remove_file(&words).unwrap();
    let [cached, computed] = trains.map(|mut train| {
        let start = Instant::now();
        let batches: Vec<_> = train.batches(0..BATCHES).map(Result::unwrap).collect();
        let loaded = start.elapsed().as_secs_f64();
        let mut best = f64::INFINITY;
        for batch in &batches {
            let start = Instant::now();
            let step = step(&train, batch, 0);
            train.backward(batch, &step).unwrap();
            place::wait(device);
            best = best.min(start.elapsed().as_secs_f64());
        }
        ((BATCHES * ROWS) as f64 / loaded, ROWS as f64 / best)
    });
    json!({ "loaded": cached.0, "taken": cached.1, "loaded_to_label": computed.0, "taken_to_label": computed.1 })
}

/// One step over drawn pairs, in parts.
fn cached(folder: &Path, rows: usize, micro_batch: usize, device: Device) -> serde_json::Value {
    let mut train = pairs(folder, rows, None, device);
    let batch = train.readers[0].batch(0, &train.preparation);
    let before = peak_memory(device);
    let start = Instant::now();
    let metrics = {
        let step = step(&train, &batch, micro_batch);
        train.backward(&batch, &step).unwrap()
    };
    let seconds = start.elapsed().as_secs_f64();
    json!({ "rows_per_s": rows as f64 / seconds, "peak_mb": peak_memory(device), "batch_mb": before, "losses": metrics.losses().len() })
}
