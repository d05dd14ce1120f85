//! Tokenizers and image processors of folders as transformers saves them, from
//! `tests/golden/processor_golden.py`.

use std::{fs, path::PathBuf};

use flava_model::{
    LoadOptions, Pretrained,
    checkpoint::Architecture,
    processor::{DecodedImage, ImageProcessorConfig, PassOrder, Text, TextProcessor},
};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{
    fixtures::{words, write_model},
    place::root,
};

fn folder(name: &str) -> PathBuf {
    root().join("tests/golden/processor").join(name)
}

fn expected() -> Value {
    serde_json::from_str(&fs::read_to_string(folder("expected.json")).unwrap()).unwrap()
}

/// The largest difference of two lists of the same length.
fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

fn ids(processor: &TextProcessor, text: &str) -> Vec<i64> {
    processor
        .encode(&[Text::Single(text)], 64)
        .unwrap()
        .remove(0)
        .input_ids
}

fn assert_ids(processor: &TextProcessor, name: &str, expected: &Value) {
    let texts = expected["texts"].as_array().unwrap();
    for (text, wanted) in texts.iter().zip(
        expected["tokenizers"][name]["input_ids"]
            .as_array()
            .unwrap(),
    ) {
        let wanted: Vec<i64> = wanted
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_i64().unwrap())
            .collect();
        assert_eq!(
            ids(processor, text.as_str().unwrap()),
            wanted,
            "{name}: {text}"
        );
    }
    assert_eq!(
        processor.vocab_size() as u64,
        expected["tokenizers"][name]["words"].as_u64().unwrap()
    );
}

#[test]
fn tokens_are_those_of_transformers() {
    let expected = expected();
    for name in ["v5", "added_decoder", "special_map", "cased", "json_added"] {
        let processor =
            TextProcessor::from_directory(&folder(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_ids(&processor, name, &expected);
        // What we write reads back as the same tokenizer.
        let written = tempdir().unwrap();
        for (file, contents) in processor.files().unwrap() {
            fs::write(written.path().join(file), contents).unwrap();
        }
        let again = TextProcessor::from_directory(written.path()).unwrap();
        assert_eq!(again.digest(), processor.digest(), "{name}");
    }
}

/// transformers' fast tokenizer gives added tokens other ids than their file says where those are
/// taken, and the slow one does not: such files are refused, and the same tokens with the ids that
/// they get are read.
#[test]
fn added_tokens_have_the_ids_that_their_file_says() {
    let error = TextProcessor::from_directory(&folder("added_tokens"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is of id") && error.contains("would be of id"),
        "{error}"
    );
    let fixed = tempdir().unwrap();
    fs::copy(
        folder("added_tokens/vocab.txt"),
        fixed.path().join("vocab.txt"),
    )
    .unwrap();
    let words = fs::read_to_string(folder("added_tokens/vocab.txt"))
        .unwrap()
        .lines()
        .count();
    let added: Value = serde_json::from_str(
        &fs::read_to_string(folder("added_tokens/added_tokens.json")).unwrap(),
    )
    .unwrap();
    let vocab: Vec<String> = fs::read_to_string(folder("added_tokens/vocab.txt"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let mut tokens: Vec<(i64, String)> = added
        .as_object()
        .unwrap()
        .iter()
        .map(|(token, id)| (id.as_i64().unwrap(), token.clone()))
        .collect();
    tokens.sort();
    let mut next = words;
    let mut corrected = serde_json::Map::new();
    for (_, token) in tokens {
        let id = vocab
            .iter()
            .position(|word| *word == token)
            .unwrap_or_else(|| {
                next += 1;
                next - 1
            });
        corrected.insert(token, id.into());
    }
    fs::write(
        fixed.path().join("added_tokens.json"),
        Value::Object(corrected).to_string(),
    )
    .unwrap();
    assert_ids(
        &TextProcessor::from_directory(fixed.path()).unwrap(),
        "added_tokens",
        &expected(),
    );
}

/// A model whose embedding was made longer for a token that was added to vocab.txt.
#[test]
fn an_embedding_with_a_row_for_an_added_token_is_loaded() {
    let folder = tempdir().unwrap();
    write_model(folder.path(), Architecture::FlavaModel);
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let words = words();
    let added = words.len() - 1;
    fs::write(
        folder.path().join("vocab.txt"),
        words[..added].join("\n") + "\n",
    )
    .unwrap();
    fs::write(
        folder.path().join("added_tokens.json"),
        format!("{{\"[ENT]\": {added}}}"),
    )
    .unwrap();
    let model = Pretrained::open(folder.path(), LoadOptions::default()).unwrap();
    let id = |word: &str| words.iter().position(|other| other == word).unwrap() as i64;
    assert_eq!(
        ids(&model.text, "a [ENT] cat"),
        [id("[CLS]"), id("a"), added as i64, id("cat"), id("[SEP]")]
    );
}

#[test]
fn pixels_of_a_folder_of_transformers_5_are_its_own() {
    let image = expected()["image"].clone();
    let floats = |name: &str| {
        image[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap() as f32)
            .collect::<Vec<f32>>()
    };
    let image = DecodedImage {
        height: image["height"].as_u64().unwrap() as usize,
        width: image["width"].as_u64().unwrap() as usize,
        rgb: image["rgb"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap() as u8)
            .collect(),
    };
    let config = ImageProcessorConfig::from_directory(&folder("v5"))
        .unwrap()
        .unwrap();
    let pixels = config.transform(PassOrder::default()).apply(&image).0;
    let codebook = config
        .codebook_transform(PassOrder::default())
        .apply(&image)
        .0;
    assert!(max_difference(&pixels, &floats("pixel_values")) < 1e-5);
    assert!(max_difference(&codebook, &floats("codebook_pixel_values")) < 1e-5);
}

#[test]
fn two_descriptions_that_differ_are_refused_and_links_that_lead_nowhere_named() {
    let both = tempdir().unwrap();
    fs::copy(
        folder("v5/processor_config.json"),
        both.path().join("processor_config.json"),
    )
    .unwrap();
    let inner: Value =
        serde_json::from_str(&fs::read_to_string(folder("v5/processor_config.json")).unwrap())
            .unwrap();
    let mut old = inner["image_processor"].clone();
    let write = |value: &Value| {
        fs::write(
            both.path().join("preprocessor_config.json"),
            value.to_string(),
        )
        .unwrap();
    };
    write(&old);
    assert!(
        ImageProcessorConfig::from_directory(both.path())
            .unwrap()
            .is_some()
    );
    old["image_std"] = serde_json::json!([0.25, 0.25, 0.25]);
    write(&old);
    assert!(
        ImageProcessorConfig::from_directory(both.path())
            .unwrap_err()
            .to_string()
            .contains("other pixels")
    );
    for (key, value, needle) in [
        ("image_std", "[0.5, 0, 0.5]", "image_std is 0"),
        ("image_mean", "1e40", "image_mean"),
        ("rescale_factor", "0", "rescale_factor is 0"),
    ] {
        let mut wrong = inner["image_processor"].clone();
        wrong[key] = serde_json::from_str(value).unwrap();
        let alone = tempdir().unwrap();
        fs::write(
            alone.path().join("preprocessor_config.json"),
            wrong.to_string(),
        )
        .unwrap();
        let error = ImageProcessorConfig::from_directory(alone.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains(needle), "{key}: {error}");
    }
    for name in ["preprocessor_config.json", "tokenizer.json"] {
        let dangling = tempdir().unwrap();
        fs::copy(
            folder("v5/tokenizer.json"),
            dangling.path().join("vocab.txt"),
        )
        .unwrap();
        std::os::unix::fs::symlink("../../blobs/nothing", dangling.path().join(name)).unwrap();
        let error = match name {
            "tokenizer.json" => TextProcessor::from_directory(dangling.path())
                .unwrap_err()
                .to_string(),
            _ => ImageProcessorConfig::from_directory(dangling.path())
                .unwrap_err()
                .to_string(),
        };
        assert!(
            error.contains(name)
                && error.contains("is a link to ../../blobs/nothing, which is not there"),
            "{error}"
        );
    }
}

#[test]
fn tokenizers_that_are_not_berts_are_refused() {
    let text = fs::read_to_string(folder("v5/tokenizer.json")).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    let refusal = |change: &dyn Fn(&mut Value)| {
        let mut value = whole.clone();
        change(&mut value);
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("tokenizer.json"), value.to_string()).unwrap();
        TextProcessor::from_directory(folder.path())
            .unwrap_err()
            .to_string()
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let bpe =
        refusal(&|v| v["model"] = json(r#"{"type": "BPE", "vocab": {"a": 0}, "merges": []}"#));
    assert!(bpe.contains("of type BPE"), "{bpe}");
    let unigram = refusal(&|v| {
        v["model"] = json(r#"{"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0]]}"#);
    });
    assert!(unigram.contains("of type Unigram"), "{unigram}");
    let doubled = json(r#"{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}"#);
    let doubling = refusal(&|v| {
        v["normalizer"] =
            serde_json::json!({ "type": "Sequence", "normalizers": vec![doubled.clone(); 6] });
    });
    assert!(doubling.contains("part of type Replace"), "{doubling}");
    let template = refusal(&|v| {
        v["post_processor"]["special_tokens"]
            .as_object_mut()
            .unwrap()
            .remove("[SEP]");
    });
    assert!(
        template.contains("post_processor is not BERT's"),
        "{template}"
    );
    let gap = refusal(&|v| v["model"]["vocab"]["a"] = 4_000_000_000u64.into());
    assert!(gap.contains("none of id"), "{gap}");
}
