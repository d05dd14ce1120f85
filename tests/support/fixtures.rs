//! Models and data in the formats of the Hub, made on the spot.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field};
use flava_model::{
    AttentionKind, FlavaConfig,
    checkpoint::{Architecture, write_directory},
    processor::{ImageProcessorConfig, TextProcessor},
    runtime::Fill,
};
use flava_pretrain::{FlavaForPreTraining, OnEmpty};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use parquet::{
    arrow::ArrowWriter,
    file::{metadata::KeyValue, properties::WriterProperties},
};
use serde_json::json;
use tch::{Tensor, nn::VarStore};

use super::place::device;

const CONFIG: &str = r#"{
    "hidden_size": 32, "projection_dim": 24,
    "image_config": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "image_size": 32, "patch_size": 8, "vocab_size": 64},
    "text_config": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 21, "max_position_embeddings": 40},
    "multimodal_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48},
    "image_codebook_config": {"hidden_size": 8, "vocab_size": 64}
}"#;

pub fn words() -> Vec<String> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let words = [
        "a", "photo", "of", "cat", "dog", "red", "blue", "house", "tree", "##s", "two", "and",
        "the", "##ing", ".", "?",
    ];
    special
        .into_iter()
        .chain(words)
        .map(str::to_owned)
        .collect()
}

/// Until it drops, no other test draws from or seeds libtorch's generator of random numbers, of
/// which a process has one.
pub struct DrawingAlone(
    #[expect(dead_code, reason = "held until dropped")] MutexGuard<'static, ()>,
);

impl DrawingAlone {
    pub fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        Self(ALONE.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A model of random weights, of which none stays zero or one. The same seed gives the same.
pub fn random_model(
    config: FlavaConfig,
    seed: i64,
    _alone: &DrawingAlone,
) -> (FlavaForPreTraining, VarStore) {
    tch::manual_seed(seed);
    let store = VarStore::new(device());
    let model = FlavaForPreTraining::new(
        &store,
        Fill::New(0.1),
        config,
        AttentionKind::Fused,
        OnEmpty::Skip,
    );
    let variables: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
    for mut variable in variables.into_values() {
        // The norm of a token that is all zero has a slope of a million, in which rounding drowns
        // the rest.
        tch::no_grad(|| variable.copy_(&(&variable + variable.randn_like() * 0.1)));
    }
    (model, store)
}

/// Writes a tiny checkpoint as a Hugging Face directory.
pub fn write_model(directory: &Path, architecture: Architecture) -> VarStore {
    let config = FlavaConfig::from_json(CONFIG).unwrap();
    let (_, store) = random_model(config.clone(), 11, &DrawingAlone::new());
    let text = TextProcessor::from_words(&words()).unwrap();
    write_directory(
        directory,
        architecture,
        &config,
        store.variables(),
        &ImageProcessorConfig::for_size(32, 8),
        &text,
    )
    .unwrap();
    store
}

/// A grey PNG of 28x28 pixels with a bar whose place says the class.
pub fn digit(class: usize, variant: usize) -> Vec<u8> {
    let pixel = |i: usize| {
        let (y, x) = (i / 28, i % 28);
        let on_bar = if class < 5 {
            x / 5 == class
        } else {
            y / 5 == class - 5
        };
        let noise = (i * 31 + variant * 17) % 40;
        (if on_bar { 200 } else { 10 } + noise) as u8
    };
    let pixels: Vec<u8> = (0..28 * 28).map(pixel).collect();
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&pixels, 28, 28, ExtendedColorType::L8)
        .unwrap();
    png
}

/// Rows of images and labels, as the tests write them to files.
pub fn digits(count: usize) -> Vec<(Vec<u8>, i64)> {
    (0..count)
        .map(|i| (digit(i % 10, i / 10), (i % 10) as i64))
        .collect()
}

/// A parquet file with an image column (bytes, path) and a label column, in row groups of `group`
/// rows.
pub fn write_parquet(path: &Path, image: &str, rows: &[(Vec<u8>, i64)], group: usize) {
    write_rows(
        path,
        image,
        rows,
        WriterProperties::builder()
            .set_max_row_group_row_count(Some(group))
            .build(),
    );
}

/// The same with the names of the classes in the metadata, as `datasets` writes them.
pub fn write_named_parquet(path: &Path, image: &str, rows: &[(Vec<u8>, i64)], names: &[&str]) {
    let features =
        json!({ image: { "_type": "Image" }, "label": { "names": names, "_type": "ClassLabel" } });
    let info = KeyValue::new(
        "huggingface".into(),
        json!({ "info": { "features": features } }).to_string(),
    );
    write_rows(
        path,
        image,
        rows,
        WriterProperties::builder()
            .set_key_value_metadata(Some(vec![info]))
            .build(),
    );
}

fn write_rows(path: &Path, image: &str, rows: &[(Vec<u8>, i64)], properties: WriterProperties) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = batch_of(image, rows);
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The same as a stream of Arrow, in batches of `group` rows.
pub fn write_arrow(path: &Path, image: &str, rows: &[(Vec<u8>, i64)], group: usize) {
    let file = File::create(path).unwrap();
    let mut writer = StreamWriter::try_new(file, &batch_of(image, rows).schema()).unwrap();
    for some in rows.chunks(group) {
        writer.write(&batch_of(image, some)).unwrap();
    }
    writer.finish().unwrap();
}

/// Rows with a column of images (bytes, path) and one of labels.
fn batch_of(image: &str, rows: &[(Vec<u8>, i64)]) -> RecordBatch {
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(
        rows.iter().map(|(bytes, _)| bytes),
    ));
    let paths: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..rows.len()).map(|i| format!("{i}.png")),
    ));
    let images = StructArray::from(vec![
        (Arc::new(Field::new("bytes", DataType::Binary, true)), bytes),
        (Arc::new(Field::new("path", DataType::Utf8, true)), paths),
    ]);
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values(
        rows.iter().map(|(_, label)| *label),
    ));
    let images: ArrayRef = Arc::new(images);
    RecordBatch::try_from_iter_with_nullable([(image, images, true), ("label", labels, true)])
        .unwrap()
}

/// A tar file with members of these names and contents.
pub fn write_tar(path: &Path, members: &[(&str, &[u8])]) {
    let mut archive = tar::Builder::new(File::create(path).unwrap());
    for (name, data) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *data).unwrap();
    }
    archive.finish().unwrap();
}

/// Shards in the layout of clip-benchmark.
pub fn write_webdataset(folder: &Path, rows: &[(Vec<u8>, i64)], shard_rows: usize) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir_all(folder).unwrap();
    let shards: Vec<&[(Vec<u8>, i64)]> = rows.chunks(shard_rows).collect();
    fs::write(folder.join("nshards.txt"), format!("{}\n", shards.len())).unwrap();
    for (index, rows) in shards.into_iter().enumerate() {
        let labels: Vec<String> = rows.iter().map(|(_, label)| label.to_string()).collect();
        let names: Vec<[String; 2]> = (0..rows.len())
            .map(|row| ["cls", "png"].map(|ending| format!("s{row:07}.{ending}")))
            .collect();
        let members = |row: usize| {
            [
                (names[row][0].as_str(), labels[row].as_bytes()),
                (names[row][1].as_str(), rows[row].0.as_slice()),
            ]
        };
        write_tar(
            &folder.join(format!("{index}.tar")),
            &(0..rows.len()).flat_map(members).collect::<Vec<_>>(),
        );
    }
}

/// `mnist` as parquet and `cifar10` as shards, under `data` as on the Hub.
pub fn write_data(data: &Path) {
    write_parquet(
        &data.join("ylecun/mnist/mnist/train-00000-of-00001.parquet"),
        "image",
        &digits(120),
        50,
    );
    write_parquet(
        &data.join("ylecun/mnist/mnist/test-00000-of-00001.parquet"),
        "image",
        &digits(60),
        50,
    );
    write_webdataset(
        &data.join("clip-benchmark/wds_vtab-cifar10/train"),
        &digits(120),
        50,
    );
    write_webdataset(
        &data.join("clip-benchmark/wds_vtab-cifar10/test"),
        &digits(60),
        60,
    );
}
