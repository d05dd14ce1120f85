//! Tokens against transformers', from `tests/golden/tokenizer_golden.py`.

use std::fs;

use flava_model::processor::{Text, TextProcessor};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::place::root;

fn check(processor: &TextProcessor, golden: &Value) {
    for case in golden["cases"].as_array().unwrap() {
        let texts: Vec<&str> = case["texts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t.as_str().unwrap())
            .collect();
        let text = match texts[..] {
            [a] => Text::Single(a),
            [a, b] => Text::Pair(a, b),
            _ => panic!("{texts:?}"),
        };
        let encoding = processor
            .encode(&[text], case["max_length"].as_u64().unwrap() as usize)
            .unwrap()
            .remove(0);
        assert_eq!(
            serde_json::json!(encoding.input_ids),
            case["input_ids"],
            "{texts:?}"
        );
        assert_eq!(
            serde_json::json!(encoding.token_type_ids),
            case["token_type_ids"],
            "{texts:?}"
        );
    }
}

#[test]
fn word_pieces_are_those_of_transformers_from_either_file() {
    let path = root().join("tests/golden/tokenizer.json");
    let golden: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let words: Vec<String> = golden["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w.as_str().unwrap().to_owned())
        .collect();
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("vocab.txt"), words.join("\n")).unwrap();
    let from_vocab = TextProcessor::from_directory(folder.path()).unwrap();
    check(&from_vocab, &golden);
    for (name, contents) in from_vocab.files().unwrap() {
        fs::write(folder.path().join(name), contents).unwrap();
    }
    check(
        &TextProcessor::from_directory(folder.path()).unwrap(),
        &golden,
    );
}
