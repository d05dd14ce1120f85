//! `tokenizer_config.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::normalizers::BertNormalizer;

use super::{
    limits::Outcome,
    tokens::{Token, Tokens},
};
use crate::processor::special::{SPECIAL, SPECIAL_KEYS};

/// What `tokenizer_config.json` decides.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct TokenizerConfig {
    pub(super) do_lower_case: bool,
    pub(super) tokenize_chinese_chars: bool,
    pub(super) strip_accents: Option<bool>,
    pub(super) tokenizer_class: Option<String>,
    padding_side: String,
    truncation_side: String,
    pub(super) additional_special_tokens: Option<Vec<Token>>,
    pub(super) extra_special_tokens: Option<Tokens>,
    pub(super) added_tokens_decoder: Option<BTreeMap<u32, Token>>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        let right = || "right".to_owned();
        Self {
            do_lower_case: true,
            tokenize_chinese_chars: true,
            strip_accents: None,
            tokenizer_class: None,
            padding_side: right(),
            truncation_side: right(),
            additional_special_tokens: None,
            extra_special_tokens: None,
            added_tokens_decoder: None,
            others: Map::new(),
        }
    }
}

impl TokenizerConfig {
    pub(super) fn check(&self) -> Outcome<()> {
        for (name, side) in [
            ("padding_side", &self.padding_side),
            ("truncation_side", &self.truncation_side),
        ] {
            if side != "right" {
                return Err(format!("{name} is {side:?}; only \"right\" is implemented"));
            }
        }
        for (key, token) in SPECIAL_KEYS.iter().zip(SPECIAL) {
            let told: Option<Token> = self
                .others
                .get(*key)
                .and_then(|value| serde_json::from_value(value.clone()).ok());
            if let Some(other) = told.filter(|told| told.text() != token) {
                return Err(format!(
                    "{key} is {:?}; only {token} is implemented",
                    other.text()
                ));
            }
        }
        Ok(())
    }

    pub(super) fn normalizer(&self, clean_text: bool) -> BertNormalizer {
        BertNormalizer::new(
            clean_text,
            self.tokenize_chinese_chars,
            self.strip_accents,
            self.do_lower_case,
        )
    }
}
