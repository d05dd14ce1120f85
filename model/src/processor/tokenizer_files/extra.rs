//! Tokens that files add to a vocabulary.

use std::{collections::BTreeMap, path::Path};

use flava_base::is_there;
use serde_json::{Map, Value};

use super::{
    config::TokenizerConfig,
    limits::{MAX_BYTES, Outcome},
    tokens::{Token, Tokens},
};
use crate::{
    Error, Result,
    processor::special::{SPECIAL, SPECIAL_KEYS},
};

/// Tokens that are added to a vocabulary: by the ids that files give them, and then special ones
/// that have none.
pub(super) struct Extra {
    pub(super) numbered: BTreeMap<u32, Token>,
    pub(super) special: Vec<Token>,
}

impl Extra {
    /// `added_tokens_decoder` of the configuration, and where it has none, `added_tokens.json` and
    /// `special_tokens_map.json`.
    pub(super) fn read(directory: &Path, config: &TokenizerConfig) -> Result<Self> {
        let mut special = told_special(config);
        if let Some(decoder) = &config.added_tokens_decoder {
            return Ok(Self {
                numbered: decoder.clone(),
                special,
            });
        }
        let [map, added] =
            ["special_tokens_map.json", "added_tokens.json"].map(|name| directory.join(name));
        if is_there(&map) {
            let map_of: Map<String, Value> = flava_base::read_json(&map, MAX_BYTES)?;
            special.extend(named_special(&map_of).map_err(|reason| Error::file(&map, reason))?);
        }
        let numbered = if is_there(&added) {
            numbered_in(&added)?
        } else {
            BTreeMap::new()
        };
        Ok(Self { numbered, special })
    }
}

/// The special tokens of the configuration that it gives no ids.
fn told_special(config: &TokenizerConfig) -> Vec<Token> {
    let mut special = config.additional_special_tokens.clone().unwrap_or_default();
    match config.extra_special_tokens.clone() {
        Some(Tokens::List(tokens)) => special.extend(tokens),
        Some(Tokens::Named(tokens)) => special.extend(tokens.into_values()),
        None => {}
    }
    special
}

/// The tokens of `added_tokens.json` by their ids.
fn numbered_in(path: &Path) -> Result<BTreeMap<u32, Token>> {
    let ids: BTreeMap<String, u32> = flava_base::read_json(path, MAX_BYTES)?;
    let mut numbered = BTreeMap::new();
    for (text, id) in ids {
        if let Some(other) = numbered.insert(id, Token::Text(text.clone())) {
            return Err(Error::file(
                path,
                format!("{:?} and {text:?} have the same id {id}", other.text()),
            ));
        }
    }
    Ok(numbered)
}

/// The additional tokens of `special_tokens_map.json`; the five others are BERT's.
fn named_special(map: &Map<String, Value>) -> Outcome<Vec<Token>> {
    let mut found = Vec::new();
    for (name, value) in map {
        let of = |value: &Value| {
            serde_json::from_value::<Token>(value.clone())
                .map_err(|_| format!("{name} is no token"))
        };
        if name == "additional_special_tokens" {
            let list = value
                .as_array()
                .ok_or("additional_special_tokens is no list")?;
            found.extend(list.iter().map(of).collect::<Outcome<Vec<_>>>()?);
        } else if let Some(position) = SPECIAL_KEYS.iter().position(|key| key == name) {
            let token = of(value)?;
            if token.text() != SPECIAL[position] {
                return Err(format!(
                    "{name} is {:?}; only {} is implemented",
                    token.text(),
                    SPECIAL[position]
                ));
            }
        }
    }
    Ok(found)
}
