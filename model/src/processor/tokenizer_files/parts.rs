//! The parts of a tokenizer around its vocabulary: normalizer, splitter and template.

use serde_json::Value;
use tokenizers::{
    NormalizerWrapper, PreTokenizerWrapper, Tokenizer, processors::template::TemplateProcessing,
};

use super::{config::TokenizerConfig, limits::Outcome};
use crate::processor::special::SPECIAL;

/// Normalizers that make a text longer by a bounded factor, and splitters.
const NORMALIZERS: [&str; 8] = [
    "BertNormalizer",
    "Lowercase",
    "StripAccents",
    "Strip",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
];
const SPLITTERS: [&str; 5] = [
    "BertPreTokenizer",
    "Whitespace",
    "WhitespaceSplit",
    "Punctuation",
    "Digits",
];
/// Parts of a sequence of them, at most.
const MAX_PARTS: usize = 8;
fn kind_of(part: &Value) -> Outcome<&str> {
    part.get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| "has a part without a type".to_owned())
}

/// One of the parts of `known`, or a flat sequence of them under `key`.
fn parts_of<'a>(part: &'a Value, key: &str, known: &[&str]) -> Outcome<Vec<&'a Value>> {
    let parts = match (kind_of(part)?, part.get(key).and_then(Value::as_array)) {
        ("Sequence", Some(parts)) if parts.len() <= MAX_PARTS => parts.iter().collect(),
        ("Sequence", Some(parts)) => {
            return Err(format!(
                "has a sequence of {} parts, more than {MAX_PARTS}",
                parts.len()
            ));
        }
        _ => vec![part],
    };
    for part in &parts {
        let kind = kind_of(part)?;
        if !known.contains(&kind) {
            return Err(format!(
                "has a part of type {kind}; BERT's tokenizers have {}",
                known.join(", ")
            ));
        }
    }
    Ok(parts)
}

/// What `BertTokenizerFast` does: its settings go over those of the file, the defaults too.
pub(super) fn normalizer_of(
    part: &Value,
    config: Option<&TokenizerConfig>,
) -> Outcome<NormalizerWrapper> {
    parts_of(part, "normalizers", &NORMALIZERS)?;
    if let (Some(config), "BertNormalizer") = (config, kind_of(part)?) {
        let clean_text = part.get("clean_text").and_then(Value::as_bool);
        return Ok(config.normalizer(clean_text.unwrap_or(true)).into());
    }
    serde_json::from_value(part.clone()).map_err(|e| format!("its normalizer: {e}"))
}

pub(super) fn splitter_of(part: &Value) -> Outcome<PreTokenizerWrapper> {
    parts_of(part, "pretokenizers", &SPLITTERS)?;
    serde_json::from_value(part.clone()).map_err(|e| format!("its pre_tokenizer: {e}"))
}

/// The vocabulary's ids of the tokens around a text.
#[derive(Clone, Copy)]
pub(super) struct Around {
    pub(super) cls: u32,
    pub(super) sep: u32,
}

impl Around {
    pub(super) fn of(tokenizer: &Tokenizer) -> Outcome<Self> {
        Ok(Self {
            cls: id_of(tokenizer, SPECIAL[2])?,
            sep: id_of(tokenizer, SPECIAL[3])?,
        })
    }
}

pub(super) fn id_of(tokenizer: &Tokenizer, token: &str) -> Outcome<u32> {
    tokenizer
        .token_to_id(token)
        .ok_or_else(|| format!("the vocabulary has no {token}"))
}

/// `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`, the second part of type 1, in either of the ways it
/// is written.
pub(super) fn check_template(part: &Value, around: Around) -> Outcome<()> {
    let Around { cls, sep } = around;
    let special = |token: &str, kind: u32| serde_json::json!({ "SpecialToken": { "id": token, "type_id": kind } });
    let text =
        |id: &str, kind: u32| serde_json::json!({ "Sequence": { "id": id, "type_id": kind } });
    let single = vec![special(SPECIAL[2], 0), text("A", 0), special(SPECIAL[3], 0)];
    let pair = [single.clone(), vec![text("B", 1), special(SPECIAL[3], 1)]].concat();
    let fits = match kind_of(part)? {
        "TemplateProcessing" => {
            let ids = |token: &str| part.pointer(&format!("/special_tokens/{token}/ids"));
            let known = [(SPECIAL[2], cls), (SPECIAL[3], sep)]
                .iter()
                .all(|(token, id)| ids(token) == Some(&serde_json::json!([id])));
            part["single"] == Value::Array(single) && part["pair"] == Value::Array(pair) && known
        }
        "BertProcessing" => {
            part["cls"] == serde_json::json!([SPECIAL[2], cls])
                && part["sep"] == serde_json::json!([SPECIAL[3], sep])
        }
        _ => false,
    };
    let reason = "its post_processor is not BERT's: [CLS] a [SEP], and [CLS] a [SEP] b [SEP], with the vocabulary's ids";
    if fits { Ok(()) } else { Err(reason.to_owned()) }
}

/// Sets BERT's template.
pub(super) fn set_template(tokenizer: &mut Tokenizer) -> Outcome<()> {
    let Around { cls, sep } = Around::of(tokenizer)?;
    let template = TemplateProcessing::builder()
        .try_single("[CLS] $A [SEP]")
        .and_then(|b| b.try_pair("[CLS] $A [SEP] $B:1 [SEP]:1"))?
        .special_tokens(vec![(SPECIAL[2], cls), (SPECIAL[3], sep)])
        .build()
        .map_err(|e| e.to_string())?;
    tokenizer.with_post_processor(Some(template));
    Ok(())
}
