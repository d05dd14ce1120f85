//! Tokens as files write them.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokenizers::AddedToken;

/// A token as files write it: its text, or all that is known of it.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Token {
    Text(String),
    Whole(WholeToken),
}

/// Tokens by names that nobody reads, or in a list.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Tokens {
    List(Vec<Token>),
    Named(BTreeMap<String, Token>),
}

#[derive(Clone, Deserialize)]
pub(super) struct WholeToken {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl Token {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Whole(token) => &token.content,
        }
    }

    /// With its own settings; a special one is looked for before the text is normalised.
    pub(super) fn added(&self, special: bool) -> AddedToken {
        let Self::Whole(token) = self else {
            return AddedToken::from(self.text(), special).normalized(!special);
        };
        let special = special || token.special;
        AddedToken::from(token.content.clone(), special)
            .single_word(token.single_word)
            .lstrip(token.lstrip)
            .rstrip(token.rstrip)
            .normalized(token.normalized.unwrap_or(!token.special))
    }
}
