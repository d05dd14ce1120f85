//! Features as a file.

use std::{collections::HashMap, fs, path::Path};

use flava_model::{
    ImageInputs, LoadOptions, Pretrained, TextInputs,
    checkpoint::Architecture,
    processor::{PassOrder, Text, decode, image_batch, text_batch},
};
use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor};
use tempfile::tempdir;

use crate::support::{
    close::difference,
    fixtures::{digit, write_model},
    program::flava_eval,
};

fn read(path: &Path) -> (Vec<String>, HashMap<String, Tensor>) {
    let bytes = fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let ids = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["ids"]).unwrap();
    (
        ids,
        Tensor::read_safetensors(path)
            .unwrap()
            .into_iter()
            .collect(),
    )
}

#[test]
fn images_become_features_in_the_order_of_their_names() {
    let folder = tempdir().unwrap();
    let model = folder.path().join("model");
    write_model(&model, Architecture::FlavaModel);
    fs::create_dir_all(folder.path().join("pictures/deeper")).unwrap();
    let names = ["b.png", "a.png", "deeper/c.PNG"];
    for (i, name) in names.iter().enumerate() {
        fs::write(folder.path().join("pictures").join(name), digit(i, 0)).unwrap();
    }
    fs::write(folder.path().join("pictures/notes.txt"), "no image").unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "embed",
            "--model",
            "model",
            "--images",
            "pictures",
            "--out",
            "out/f.safetensors",
            "--batch-size",
            "2",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (ids, features) = read(&folder.path().join("out/f.safetensors"));
    assert_eq!(ids, ["a.png", "b.png", "deeper/c.PNG"]);
    let _guard = tch::no_grad_guard();
    let model = Pretrained::open(&model, LoadOptions::default()).unwrap();
    let transform = model.image.transform(PassOrder::default());
    let pixels: Vec<_> = [1, 0, 2]
        .map(|class| transform.apply(&decode(&digit(class, 0)).unwrap()))
        .into();
    let inputs: ImageInputs = image_batch(&pixels, Device::Cpu, Kind::Float).unwrap();
    let output = model.flava().unwrap().encode_image(&inputs).unwrap();
    assert_eq!(
        difference(&features["cls"], &output.cls(), 1e-5, 1e-5),
        None
    );
    assert_eq!(
        difference(
            &features["embedding"],
            &model.flava().unwrap().project_image(&output).unwrap(),
            1e-5,
            1e-5
        ),
        None
    );
}

#[test]
fn texts_become_features_line_by_line_whatever_their_neighbours() {
    let folder = tempdir().unwrap();
    let model = folder.path().join("model");
    write_model(&model, Architecture::FlavaModel);
    let lines = [
        "a photo of a cat",
        "",
        "two dogs and the red house and the blue tree .",
        "dog ?",
    ];
    fs::write(folder.path().join("texts.txt"), lines.join("\n")).unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "embed",
            "--model",
            "model",
            "--texts",
            "texts.txt",
            "--out",
            "t.safetensors",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (ids, features) = read(&folder.path().join("t.safetensors"));
    assert_eq!(ids, ["1", "2", "3", "4"]);
    let _guard = tch::no_grad_guard();
    let model = Pretrained::open(&model, LoadOptions::default()).unwrap();
    for (i, line) in lines.iter().enumerate() {
        let encoding = model.text.encode(&[Text::Single(line)], 40).unwrap();
        let alone: TextInputs = text_batch(&encoding, model.text.pad_id(), Device::Cpu).unwrap();
        let output = model.flava().unwrap().encode_text(&alone).unwrap();
        let row = features["cls"].narrow(0, i as i64, 1);
        assert_eq!(
            difference(&row, &output.cls(), 1e-5, 1e-5),
            None,
            "{line:?} alone and among others"
        );
    }
}
