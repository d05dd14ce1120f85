//! The same weights from every kind of file.

use std::{fs, path::Path};

use flava_model::{
    LoadOptions, Pretrained,
    checkpoint::{Architecture, Checkpoint},
    runtime::Precision,
};
use tch::Kind;
use tempfile::tempdir;

use crate::support::{fixtures::write_model, golden::directories};

fn same(a: &Checkpoint, b: &Checkpoint) {
    let names = |c: &Checkpoint| c.tensors().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(a), names(b));
    for (name, tensor) in a.tensors() {
        assert_eq!(
            tensor.to_tensor().unwrap(),
            b.tensors()[name].to_tensor().unwrap(),
            "{name}"
        );
    }
}

#[test]
fn pickled_and_safetensors_files_hold_the_same() {
    let mut compared = 0;
    for dir in directories() {
        let bin = dir.join("pytorch_model.bin");
        if bin.exists() {
            same(
                &Checkpoint::open(&dir).unwrap(),
                &Checkpoint::open(&bin).unwrap(),
            );
            compared += 1;
        }
    }
    assert!(compared > 0 || std::env::var_os("FLAVA_GOLDEN").is_some());
}

#[test]
fn shards_hold_the_same() {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("whole"),
        Architecture::FlavaForPreTraining,
    );
    let whole = Checkpoint::open(&folder.path().join("whole")).unwrap();
    let sharded = folder.path().join("sharded");
    fs::create_dir(&sharded).unwrap();
    let mut index = serde_json::Map::new();
    for shard in 0..3 {
        let file = format!("model-{shard}.safetensors");
        let part: Vec<_> = whole
            .tensors()
            .iter()
            .skip(shard)
            .step_by(3)
            .map(|(name, t)| (name.clone(), t.to_tensor().unwrap()))
            .collect();
        tch::Tensor::write_safetensors(&part, sharded.join(&file)).unwrap();
        index.extend(
            part.into_iter()
                .map(|(name, _)| (name, file.clone().into())),
        );
    }
    fs::write(
        sharded.join("model.safetensors.index.json"),
        serde_json::json!({ "weight_map": index }).to_string(),
    )
    .unwrap();
    same(&whole, &Checkpoint::open(&sharded).unwrap());
    fs::remove_file(sharded.join("model-1.safetensors")).unwrap();
    assert!(
        Checkpoint::open(&sharded)
            .unwrap_err()
            .to_string()
            .contains("model-1.safetensors")
    );
}

#[test]
fn both_architectures_hold_the_same_encoders() {
    let folder = tempdir().unwrap();
    let (all, encoders) = (folder.path().join("all"), folder.path().join("encoders"));
    write_model(&all, Architecture::FlavaForPreTraining);
    write_model(&encoders, Architecture::FlavaModel);
    let open = |dir: &Path| Pretrained::open(dir, LoadOptions::default()).unwrap();
    let (all, encoders) = (open(&all), open(&encoders));
    assert!(
        all.report.unexpected.is_empty() && !all.report.unused.is_empty(),
        "heads and codebook are known and unused"
    );
    assert!(encoders.report.unused.is_empty() && encoders.report.missing.is_empty());
}

#[test]
fn weights_take_the_precision_that_is_asked_for() {
    let folder = tempdir().unwrap();
    let store = write_model(folder.path(), Architecture::FlavaForPreTraining);
    let half: Vec<_> = store
        .variables()
        .into_iter()
        .map(|(name, t)| (name, t.detach().to_kind(Kind::BFloat16)))
        .collect();
    tch::Tensor::write_safetensors(&half, folder.path().join("model.safetensors")).unwrap();
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let model = Pretrained::open(
            folder.path(),
            LoadOptions {
                precision,
                ..LoadOptions::default()
            },
        )
        .unwrap();
        let pixels = tch::Tensor::zeros([2, 3, 32, 32], (precision.kind(), tch::Device::Cpu));
        let _guard = tch::no_grad_guard();
        let output = model
            .flava()
            .unwrap()
            .encode_image(&flava_model::ImageInputs::new(pixels))
            .unwrap();
        assert_eq!(output.cls().kind(), precision.kind());
        assert_eq!(
            model
                .flava()
                .unwrap()
                .project_image(&output)
                .unwrap()
                .kind(),
            Kind::Float
        );
    }
}
