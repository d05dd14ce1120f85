//! Our side of `make parity`: all states of a checkpoint over images and sentences, and the
//! checkpoint written anew.
//!
//! states MODEL PICTURES SENTENCES OUT.safetensors COPY
#![allow(clippy::disallowed_methods, reason = "a benchmark may panic")]

use std::{env, fs, path::Path};

use flava_model::{
    AttentionKind, FlavaConfig, LoadOptions, Pretrained,
    checkpoint::{Architecture, Checkpoint, write_directory},
    processor::{PassOrder, Text, decode, image_batch, text_batch},
};
use flava_pretrain::{FlavaForPreTraining, OnEmpty};
use tch::{Device, Kind, Tensor};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [model, images, sentences, out, copy] = &args[..] else {
        eprintln!("usage: states MODEL PICTURES SENTENCES OUT.safetensors COPY");
        std::process::exit(2);
    };
    let model = Path::new(model);
    write_states(
        model,
        Path::new(images),
        Path::new(sentences),
        Path::new(out),
    );
    write_copy(model, Path::new(copy));
}

fn write_states(model: &Path, images: &Path, sentences: &Path, out: &Path) {
    let _guard = tch::no_grad_guard();
    let model = Pretrained::open(model, LoadOptions::default()).unwrap();
    let mut files: Vec<_> = fs::read_dir(images)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let transform = model.image.transform(PassOrder::default());
    let pixels: Vec<_> = files
        .iter()
        .map(|f| transform.apply(&decode(&fs::read(f).unwrap()).unwrap()))
        .collect();
    let image_inputs = image_batch(&pixels, Device::Cpu, Kind::Float).unwrap();
    let sentences = fs::read_to_string(sentences).unwrap();
    let texts: Vec<Text> = sentences.lines().map(Text::Single).collect();
    let text_inputs = text_batch(
        &model.text.encode(&texts, 77).unwrap(),
        model.text.pad_id(),
        Device::Cpu,
    )
    .unwrap();
    let image = model.flava().unwrap().encode_image(&image_inputs).unwrap();
    let text = model.flava().unwrap().encode_text(&text_inputs).unwrap();
    let multimodal = model
        .flava()
        .unwrap()
        .encode_multimodal(&image, &text, text_inputs.attention_mask.as_ref())
        .unwrap();
    let cls_only = model
        .flava()
        .unwrap()
        .encode_image_cls(&image_inputs)
        .unwrap();
    let tensors = [
        ("pixel_values", image_inputs.pixel_values.shallow_clone()),
        ("input_ids", text_inputs.input_ids.shallow_clone()),
        (
            "image_embedding",
            model.flava().unwrap().project_image(&image).unwrap(),
        ),
        (
            "text_embedding",
            model.flava().unwrap().project_text(&text).unwrap(),
        ),
        ("image_cls", cls_only.cls()),
        ("image", image.last_hidden_state),
        ("text", text.last_hidden_state),
        ("multimodal", multimodal.last_hidden_state),
    ];
    Tensor::write_safetensors(&tensors.map(|(name, t)| (name, t.contiguous())), out).unwrap();
}

fn write_copy(model: &Path, copy: &Path) {
    let config = FlavaConfig::from_file(&model.join("config.json")).unwrap();
    let parts = Pretrained::open(model, LoadOptions::default()).unwrap();
    let checkpoint = Checkpoint::open(model).unwrap();
    let (_model, store, report) = FlavaForPreTraining::load(
        &checkpoint,
        config.clone(),
        Device::Cpu,
        AttentionKind::Fused,
        OnEmpty::Skip,
    )
    .unwrap();
    println!("{report}");
    write_directory(
        copy,
        Architecture::FlavaForPreTraining,
        &config,
        store.variables(),
        &parts.image,
        &parts.text,
    )
    .unwrap();
}
