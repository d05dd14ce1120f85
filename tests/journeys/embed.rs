//! Features as a file.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use arrow_array::{FixedSizeListArray, Float32Array, StringArray};
use flava_base::npy_start;
use flava_model::{
    ImageInputs, LoadOptions, Pretrained, TextInputs,
    checkpoint::Architecture,
    processor::{PassOrder, Text, decode, image_batch, text_batch},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
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

/// Pairs, states of one's choice, and every kind of file hold the same numbers; what is there is
/// not written over without a word.
#[test]
fn pairs_become_states_in_the_file_that_the_ending_says() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("pictures")).unwrap();
    let mut table = vec!["image,caption".to_owned()];
    for row in 0..9 {
        fs::write(at(&format!("pictures/{row}.png")), digit(row % 3, row)).unwrap();
        table.push(format!("pictures/{row}.png,the number {}", row % 3));
    }
    fs::write(at("pairs.csv"), table.join("\n")).unwrap();
    let embed = |args: &[&str]| {
        let args = [&["embed", "--pairs", "pairs.csv"], args].concat();
        flava_eval(folder.path(), &args)
    };
    let features = ["--features", "multimodal_cls,image_embedding,text_mean"];
    let run = embed(&[&features[..], &["--out", "all.safetensors"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (ids, all) = read(&at("all.safetensors"));
    assert_eq!((ids.len(), all.len()), (9, 3));
    // One state, of no other batch size.
    let run = embed(&["--out", "joint.npy", "--batch-size", "2"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let bytes = fs::read(at("joint.npy")).unwrap();
    let numbers = &bytes[npy_start(&bytes).unwrap()..];
    let expected = &all["multimodal_cls"];
    let joint = Tensor::from_data_size(numbers, &expected.size(), Kind::Float);
    assert_eq!(difference(&joint, expected, 1e-5, 1e-5), None);
    let beside = fs::read_to_string(at("joint.ids.txt")).unwrap();
    assert!(beside.lines().eq(ids.iter().map(String::as_str)));
    let run = embed(&[&features[..], &["--out", "all.parquet"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_parquet_holds(&at("all.parquet"), &ids, &all);
    // A share of the rows, the same ones each time, with the numbers that they have among all.
    let run = embed(&["--limit", "34%", "--out", "some.safetensors"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (some, values) = read(&at("some.safetensors"));
    assert_eq!(some.len(), 3);
    let places: Vec<i64> = some
        .iter()
        .map(|id| ids.iter().position(|other| other == id).unwrap() as i64)
        .collect();
    let among_all = all["multimodal_cls"].index_select(0, &Tensor::from_slice(&places));
    assert_eq!(difference(&values["cls"], &among_all, 1e-5, 1e-5), None);
    for (args, needle) in [
        (&["--out", "all.parquet"][..], "--force"),
        (&["--out", "all.txt"], ".safetensors, .npy or .parquet"),
        (
            &["--out", "x.npy", "--features", "image_cls,text_cls"],
            "one array",
        ),
        (&["--out", "x.npy", "--features", "image_layer99"], "blocks"),
        (
            &["--out", "x.npy", "--limit", "1.5"],
            "neither a number of rows",
        ),
    ] {
        let refused = embed(args);
        assert!(
            refused.code == 2 && refused.stderr.contains(needle),
            "{args:?}: {}",
            refused.stderr
        );
        assert!(!at("x.npy").exists());
    }
    let again = embed(&["--out", "all.parquet", "--force"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let images = ["embed", "--images", "pictures", "--features", "text_cls"];
    let refused = flava_eval(folder.path(), &[&images[..], &["--out", "x.npy"]].concat());
    assert!(refused.stderr.contains("text_cls is read of texts"));
}

fn assert_parquet_holds(path: &Path, ids: &[String], all: &HashMap<String, Tensor>) {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    let column = |name: &str| Arc::clone(batches[0].column_by_name(name).unwrap());
    let names = column("id");
    let names = names.as_any().downcast_ref::<StringArray>().unwrap();
    assert!(names.iter().flatten().eq(ids.iter().map(String::as_str)));
    for (name, values) in all {
        let lists = column(name);
        let lists = lists.as_any().downcast_ref::<FixedSizeListArray>().unwrap();
        let numbers = lists.values().as_any().downcast_ref::<Float32Array>();
        let read = Tensor::from_slice(numbers.unwrap().values()).view_as(values);
        assert_eq!(difference(&read, values, 0.0, 0.0), None, "{name}");
    }
}
