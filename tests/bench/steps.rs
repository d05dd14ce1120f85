//! Our side of `make bench`'s training steps: times steps of one batch and prints them as JSON.
//!
//! steps MODEL BATCH.safetensors PRECISION STEPS: MODEL is a directory of `FlavaForPreTraining`, BATCH holds its inputs by their names in
//! transformers.
//!
//! steps cached MODEL ROWS MICRO: peak memory of one contrastive step over so many pairs, in parts of MICRO.

use std::{collections::BTreeMap, env, path::Path, sync::Arc, time::Instant};

use flava_model::{
    AttentionKind, FlavaConfig, TextInputs,
    checkpoint::{Checkpoint, read_tensors},
    processor::{ImageProcessorConfig, TextProcessor},
    runtime::{
        LoaderOptions, Precision, keep_freed_memory,
        training::{Autocast, peak_memory},
    },
};
use flava_pretrain::{
    FlavaForPreTraining, Mixture, OnEmpty, Order, Parameter, Preparation, PretrainingInputs, Rank, Reader, RowKind, Train,
    TrainingSchedule, WordMasks, optimiser_of,
};
use flava_tasks::sources::{Corpus, MiniWorld};
use serde_json::json;
use tch::{Device, Kind, Tensor, nn::VarStore};

const THREADS: i32 = 2;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    keep_freed_memory();
    tch::set_num_threads(THREADS);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["cached", model, rows, micro] => cached(Path::new(model), rows.parse().unwrap(), micro.parse().unwrap()),
        [model, batch, precision, steps] => timed(Path::new(model), Path::new(batch), precision.parse().unwrap(), steps.parse().unwrap()),
        _ => {
            eprintln!("usage: steps MODEL BATCH.safetensors PRECISION STEPS | steps cached MODEL ROWS MICRO");
            std::process::exit(2);
        }
    };
    println!("{result}");
}

fn load(folder: &Path) -> (FlavaForPreTraining, VarStore) {
    let config = FlavaConfig::from_file(&folder.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(folder).unwrap();
    let (model, store, _) = FlavaForPreTraining::load(&checkpoint, config, Device::Cpu, AttentionKind::Fused, OnEmpty::Skip).unwrap();
    (model, store)
}

fn timed(folder: &Path, batch: &Path, precision: Precision, steps: usize) -> serde_json::Value {
    let batch: BTreeMap<String, Tensor> = read_tensors(batch).unwrap().into_iter().collect();
    let (mut model, store) = load(folder);
    let schedule: TrainingSchedule = serde_json::from_str(
        r#"{"steps": 9, "batch_size": 1, "learning_rate": 1e-4, "warmup": 0, "weight_decay": 0.1, "decay_all": true}"#,
    )
    .unwrap();
    let mut optimiser = optimiser_of(Parameter::of(&store), &schedule);
    let get = |name: &str| batch.get(name).map(Tensor::shallow_clone);
    let text = |name: &str| get(name).map(|ids| TextInputs { attention_mask: get("attention_mask"), ..TextInputs::new(ids) });
    let inputs = PretrainingInputs {
        pixel_values: get("pixel_values"),
        bool_masked_pos: get("bool_masked_pos"),
        mim_labels: get("mim_labels"),
        text: text("input_ids"),
        masked_text: text("input_ids_masked"),
        mlm_labels: get("mlm_labels"),
        itm_labels: get("itm_labels"),
        ..PretrainingInputs::default()
    };
    let mut best = f64::INFINITY;
    let mut loss = 0.0;
    for _ in 0..=steps {
        let start = Instant::now();
        optimiser.forget_gradients().unwrap();
        let total = {
            let _autocast = Autocast::new(Device::Cpu, precision).unwrap();
            model.forward(&inputs).unwrap().losses.total().unwrap()
        };
        total.backward();
        optimiser.step(1e-4).unwrap();
        model.flava.clamp_logit_scale();
        loss = total.to_kind(Kind::Double).double_value(&[]);
        best = best.min(start.elapsed().as_secs_f64());
    }
    json!({ "seconds": best, "loss": loss, "peak_mb": peak_memory() })
}

/// One step over drawn pairs, in parts.
fn cached(folder: &Path, rows: usize, micro_batch: usize) -> serde_json::Value {
    let (model, store) = load(folder);
    let image = &model.config.image_config;
    let processor = ImageProcessorConfig::for_size(image.image_size as usize, image.patch_size as usize);
    let text = Arc::new(TextProcessor::from_directory(folder).unwrap());
    let dataset = Corpus::Mini { world: MiniWorld::Pairs, rows: 4096 }.open(Path::new("."), 0).unwrap();
    let reader = Reader {
        name: "pairs".into(),
        order: Order::new("pairs", 4096, 4096, 0),
        dataset,
        kind: RowKind::Pairs,
        batch_size: rows,
        rank: Rank::default(),
        visual_words: None,
    };
    let masks = WordMasks { rate: 0.15, whole_words: true };
    let preparation = Preparation::new(&processor, Arc::clone(&text), [(masks, 48), (masks, 48)], -100, 0);
    let preparation = Preparation { negatives: 0.1, ..preparation };
    let batch = reader.batch(0, &preparation).unwrap();
    let before = peak_memory();
    let train = Train {
        model,
        store,
        processor,
        text,
        readers: Arc::new(Vec::new()),
        mixture: Arc::new(Mixture::new(&[1.0], 1, 0)),
        preparation: Arc::new(preparation),
        loader: LoaderOptions::default(),
        micro_batch,
        contrastive_share: 1.0,
        precision: Precision::F32,
    };
    let start = Instant::now();
    let observed = train.backward(&batch, 0, 1.0).unwrap();
    json!({ "seconds": start.elapsed().as_secs_f64(), "peak_mb": peak_memory(), "batch_mb": before, "losses": observed.losses.len() })
}
