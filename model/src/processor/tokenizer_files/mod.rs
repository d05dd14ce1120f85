//! A BERT tokenizer from the files of a folder, as `BertTokenizerFast` of transformers 4.57 reads
//! them: `tokenizer.json` or `vocab.txt`, with what `tokenizer_config.json`,
//! `special_tokens_map.json` and `added_tokens.json` say besides.
//!
//! Nothing foreign is given to the `tokenizers` crate: the files are read here, and the tokenizer
//! is built anew from parts that are known to need time and memory in proportion to a text. Any
//! other part is refused by name.

mod config;
mod extra;
mod limits;
mod parts;
mod tokens;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use ahash::AHashMap;
use flava_base::is_there;
use serde::Deserialize;
use serde_json::Value;
use tokenizers::{
    AddedToken, Tokenizer, models::wordpiece::WordPiece, pre_tokenizers::bert::BertPreTokenizer,
};

use super::special::SPECIAL;
use crate::{Error, Result};
use config::TokenizerConfig;
use extra::Extra;
use limits::{MAX_BYTES, Outcome};
use parts::{Around, check_template, id_of, normalizer_of, set_template, splitter_of};
use tokens::{Token, WholeToken};

/// Longer words become `[UNK]`.
const LONGEST_WORD: usize = 100;
/// Classes of transformers that take `tokenizer.json` as it is.
const AS_IT_IS: [&str; 2] = ["PreTrainedTokenizerFast", "TokenizersBackend"];

/// The parts of `tokenizer.json` that are read.
#[derive(Deserialize)]
struct TokenizerJson {
    model: ModelJson,
    #[serde(default)]
    added_tokens: Vec<AddedJson>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
}

#[derive(Deserialize)]
struct ModelJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: BTreeMap<String, u32>,
    #[serde(default = "unk")]
    unk_token: String,
    #[serde(default = "prefix")]
    continuing_subword_prefix: String,
    #[serde(default = "longest")]
    max_input_chars_per_word: usize,
}

#[derive(Deserialize)]
struct AddedJson {
    id: u32,
    #[serde(flatten)]
    token: WholeToken,
}

fn unk() -> String {
    SPECIAL[1].to_owned()
}

fn prefix() -> String {
    "##".to_owned()
}

fn longest() -> usize {
    LONGEST_WORD
}

/// The tokenizer of a folder.
pub(super) fn from_directory(directory: &Path) -> Result<Tokenizer> {
    let [json, vocab, config] =
        ["tokenizer.json", "vocab.txt", "tokenizer_config.json"].map(|name| directory.join(name));
    let settings: TokenizerConfig = if is_there(&config) {
        flava_base::read_json(&config, MAX_BYTES)?
    } else {
        TokenizerConfig::default()
    };
    let checked = settings.check();
    checked.map_err(|reason| Error::file(&config, reason))?;
    let extra = Extra::read(directory, &settings)?;
    if is_there(&json) {
        let file = flava_base::read_json(&json, MAX_BYTES).map_err(|e| shape_of(&json, e))?;
        return of_json(file, &settings, &extra).map_err(|reason| Error::file(&json, reason));
    }
    if !is_there(&vocab) {
        return Err(Error::file(
            directory,
            "holds neither tokenizer.json nor vocab.txt",
        ));
    }
    let text = flava_base::read_text(&vocab, MAX_BYTES)?;
    let words: Vec<String> = text.lines().map(str::to_owned).collect();
    of_words(&words, &settings, &extra).map_err(|reason| Error::file(&vocab, reason))
}

/// A file of another model than `WordPiece` has another shape.
fn shape_of(path: &Path, error: flava_base::Error) -> Error {
    let kind = flava_base::read_json::<Value>(path, MAX_BYTES)
        .ok()
        .and_then(|file| Some(file.pointer("/model/type")?.as_str()?.to_owned()));
    match kind {
        Some(kind) if kind != "WordPiece" => Error::file(path, not_wordpiece(&kind)),
        _ => error.into(),
    }
}

fn not_wordpiece(kind: &str) -> String {
    format!(
        "is a tokenizer of type {kind}; FLAVA's is a WordPiece tokenizer, and its embeddings belong to such words"
    )
}

fn of_json(file: TokenizerJson, config: &TokenizerConfig, extra: &Extra) -> Outcome<Tokenizer> {
    let mut tokenizer = file.model.tokenizer()?;
    if let Some(normalizer) = file.normalizer {
        let class = config.tokenizer_class.as_deref();
        let as_it_is = class.is_some_and(|class| AS_IT_IS.contains(&class));
        let normalizer = normalizer_of(&normalizer, (!as_it_is).then_some(config))?;
        let prepared = tokenizer.with_normalizer(Some(normalizer));
        prepared.map_err(|e| e.to_string())?;
    }
    let splitter = file.pre_tokenizer.ok_or("has no pre_tokenizer")?;
    tokenizer.with_pre_tokenizer(Some(splitter_of(&splitter)?));
    let around = Around::of(&tokenizer)?;
    let template = file
        .post_processor
        .ok_or("has no post_processor: nothing would stand around a text")?;
    check_template(&template, around)?;
    finish(&mut tokenizer, file.added_tokens, extra)?;
    Ok(tokenizer)
}

impl ModelJson {
    /// A tokenizer of this vocabulary alone, if the model is BERT's.
    fn tokenizer(self) -> Outcome<Tokenizer> {
        let Self {
            kind,
            vocab,
            unk_token,
            continuing_subword_prefix: prefix,
            max_input_chars_per_word: longest,
        } = self;
        if let Some(kind) = kind.filter(|kind| kind != "WordPiece") {
            return Err(not_wordpiece(&kind));
        }
        if unk_token != SPECIAL[1] || prefix != "##" || !(1..=1000).contains(&longest) {
            return Err(format!(
                "its unknown token {unk_token:?}, prefix {prefix:?} or longest word is not BERT's"
            ));
        }
        wordpiece(vocab, longest)
    }
}

/// BERT's tokenizer over `words`, whose places are their ids.
fn of_words(words: &[String], config: &TokenizerConfig, extra: &Extra) -> Outcome<Tokenizer> {
    let mut vocab = BTreeMap::new();
    for (id, word) in words.iter().enumerate() {
        if let Some(other) = vocab.insert(word.clone(), id as u32) {
            return Err(format!(
                "lines {} and {} are both {word:?}",
                other + 1,
                id + 1
            ));
        }
    }
    let mut tokenizer = wordpiece(vocab, LONGEST_WORD)?;
    let normalizer = Some(config.normalizer(true));
    let prepared = tokenizer.with_normalizer(normalizer);
    prepared.map_err(|e| e.to_string())?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    finish(&mut tokenizer, Vec::new(), extra)?;
    Ok(tokenizer)
}

/// The same without any file beside it.
pub(super) fn bert(words: &[String]) -> Result<Tokenizer> {
    let none = Extra {
        numbered: BTreeMap::new(),
        special: Vec::new(),
    };
    of_words(words, &TokenizerConfig::default(), &none).map_err(Error::Tokenizer)
}

fn wordpiece(vocab: BTreeMap<String, u32>, longest_word: usize) -> Outcome<Tokenizer> {
    if let Some(missing) = SPECIAL.iter().find(|token| !vocab.contains_key(**token)) {
        return Err(format!("the vocabulary has no {missing}"));
    }
    let ids: HashSet<u32> = vocab.values().copied().collect();
    if let Some(id) = (0..vocab.len() as u32).find(|id| !ids.contains(id)) {
        return Err(format!(
            "the vocabulary has {} words, but none of id {id}",
            vocab.len()
        ));
    }
    let words: AHashMap<String, u32> = vocab.into_iter().collect();
    let model = WordPiece::builder()
        .vocab(words)
        .unk_token(unk())
        .max_input_chars_per_word(longest_word)
        .build();
    Ok(Tokenizer::new(model.map_err(|e| e.to_string())?))
}

/// Adds what is added, in transformers' order, and the template.
fn finish(tokenizer: &mut Tokenizer, of_file: Vec<AddedJson>, extra: &Extra) -> Outcome<()> {
    let of_file = of_file.into_iter();
    let mut numbered: BTreeMap<u32, Token> = of_file
        .map(|added| (added.id, Token::Whole(added.token)))
        .collect();
    numbered.extend(extra.numbered.clone());
    let added = all_added(&numbered, &extra.special);
    if added.iter().any(|token| token.content.is_empty()) {
        return Err("adds a token without a text".to_owned());
    }
    tokenizer.add_tokens(added).map_err(|e| e.to_string())?;
    for (id, token) in &numbered {
        let given = id_of(tokenizer, token.text())?;
        if given != *id {
            return Err(format!(
                "the added token {:?} is of id {id} in its file, and would be of id {given}",
                token.text()
            ));
        }
    }
    set_template(tokenizer)
}

/// The tokens to add: those with ids first, then BERT's and special ones that are not among them.
fn all_added(numbered: &BTreeMap<u32, Token>, special: &[Token]) -> Vec<AddedToken> {
    let special_texts: HashSet<&str> = SPECIAL
        .into_iter()
        .chain(special.iter().map(Token::text))
        .collect();
    let mut added: Vec<AddedToken> = numbered
        .values()
        .map(|token| token.added(special_texts.contains(token.text())))
        .collect();
    // Unknown, separator, padding, class and mask token: the order in which they would get ids.
    let named = [1, 3, 0, 2, 4].map(|position| Token::Text(SPECIAL[position].to_owned()));
    for token in named.iter().chain(special) {
        if !added.iter().any(|known| known.content == token.text()) {
            added.push(token.added(true));
        }
    }
    added
}
