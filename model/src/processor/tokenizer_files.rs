//! A BERT tokenizer from the files of a folder, as `BertTokenizerFast` of transformers 4.57 reads
//! them: `tokenizer.json` or `vocab.txt`, with what `tokenizer_config.json`,
//! `special_tokens_map.json` and `added_tokens.json` say besides.
//!
//! Nothing foreign is given to the `tokenizers` crate: the files are read here, and the tokenizer
//! is built anew from parts that are known to need time and memory in proportion to a text. Any
//! other part is refused by name.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use ahash::AHashMap;
use flava_base::is_there;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::{
    AddedToken, NormalizerWrapper, PreTokenizerWrapper, Tokenizer, models::wordpiece::WordPiece,
    normalizers::BertNormalizer, pre_tokenizers::bert::BertPreTokenizer,
    processors::template::TemplateProcessing,
};

use super::text::SPECIAL;
use crate::{Error, Result};

/// Largest file.
const MAX_BYTES: u64 = 64 << 20;
/// Longer words become `[UNK]`.
const LONGEST_WORD: usize = 100;
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
/// The keys of `tokenizer_config.json` that name BERT's special tokens, in the order of
/// [`SPECIAL`].
pub(super) const SPECIAL_KEYS: [&str; 5] = [
    "pad_token",
    "unk_token",
    "cls_token",
    "sep_token",
    "mask_token",
];
/// Classes of transformers that take `tokenizer.json` as it is.
const AS_IT_IS: [&str; 2] = ["PreTrainedTokenizerFast", "TokenizersBackend"];

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
    additional_special_tokens: Option<Vec<Token>>,
    extra_special_tokens: Option<Tokens>,
    added_tokens_decoder: Option<BTreeMap<u32, Token>>,
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

/// A token as files write it: its text, or all that is known of it.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Whole(WholeToken),
}

/// Tokens by names that nobody reads, or in a list.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Tokens {
    List(Vec<Token>),
    Named(BTreeMap<String, Token>),
}

#[derive(Clone, Deserialize)]
struct WholeToken {
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
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Whole(token) => &token.content,
        }
    }

    /// With its own settings; a special one is looked for before the text is normalised.
    fn added(&self, special: bool) -> AddedToken {
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

/// A reason against a file.
type Outcome<T> = std::result::Result<T, String>;

/// A tokenizer, and how it prepares texts where that is BERT's way.
pub(super) fn from_directory(directory: &Path) -> Result<(Tokenizer, TokenizerConfig)> {
    let [json, vocab, config] =
        ["tokenizer.json", "vocab.txt", "tokenizer_config.json"].map(|name| directory.join(name));
    let config: TokenizerConfig = if is_there(&config) {
        flava_base::read_json(&config, MAX_BYTES)?
    } else {
        TokenizerConfig::default()
    };
    config
        .check()
        .map_err(|reason| Error::file(directory.join("tokenizer_config.json"), reason))?;
    let extra = Extra::read(directory, &config)?;
    if is_there(&json) {
        let file: TokenizerJson =
            flava_base::read_json(&json, MAX_BYTES).map_err(|e| shape_of(&json, e))?;
        let tokenizer =
            of_json(file, &config, &extra).map_err(|reason| Error::file(&json, reason))?;
        return Ok((tokenizer, config));
    }
    if !is_there(&vocab) {
        return Err(Error::file(
            directory,
            "holds neither tokenizer.json nor vocab.txt",
        ));
    }
    let words: Vec<String> = flava_base::read_text(&vocab, MAX_BYTES)?
        .lines()
        .map(str::to_owned)
        .collect();
    let tokenizer =
        of_words(&words, &config, &extra).map_err(|reason| Error::file(&vocab, reason))?;
    Ok((tokenizer, config))
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

impl TokenizerConfig {
    fn check(&self) -> Outcome<()> {
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
}

/// Tokens that are added to a vocabulary: by the ids that files give them, and then special ones
/// that have none.
struct Extra {
    numbered: BTreeMap<u32, Token>,
    special: Vec<Token>,
}

impl Extra {
    /// `added_tokens_decoder` of the configuration, and where it has none, `added_tokens.json` and
    /// `special_tokens_map.json`.
    fn read(directory: &Path, config: &TokenizerConfig) -> Result<Self> {
        let mut special = config.additional_special_tokens.clone().unwrap_or_default();
        match config.extra_special_tokens.clone() {
            Some(Tokens::List(tokens)) => special.extend(tokens),
            Some(Tokens::Named(tokens)) => special.extend(tokens.into_values()),
            None => {}
        }
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
        let mut numbered = BTreeMap::new();
        if is_there(&added) {
            let ids: BTreeMap<String, u32> = flava_base::read_json(&added, MAX_BYTES)?;
            for (text, id) in ids {
                if let Some(other) = numbered.insert(id, Token::Text(text.clone())) {
                    return Err(Error::file(
                        &added,
                        format!("{:?} and {text:?} have the same id {id}", other.text()),
                    ));
                }
            }
        }
        Ok(Self { numbered, special })
    }
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
        } else if let Some(place) = SPECIAL_KEYS.iter().position(|key| key == name) {
            let token = of(value)?;
            if token.text() != SPECIAL[place] {
                return Err(format!(
                    "{name} is {:?}; only {} is implemented",
                    token.text(),
                    SPECIAL[place]
                ));
            }
        }
    }
    Ok(found)
}

fn of_json(file: TokenizerJson, config: &TokenizerConfig, extra: &Extra) -> Outcome<Tokenizer> {
    let ModelJson {
        kind,
        vocab,
        unk_token,
        continuing_subword_prefix,
        max_input_chars_per_word,
    } = file.model;
    if let Some(kind) = kind.filter(|kind| kind != "WordPiece") {
        return Err(not_wordpiece(&kind));
    }
    if unk_token != SPECIAL[1]
        || continuing_subword_prefix != "##"
        || !(1..=1000).contains(&max_input_chars_per_word)
    {
        return Err(format!(
            "its unknown token {unk_token:?}, prefix {continuing_subword_prefix:?} or longest word is not BERT's"
        ));
    }
    let mut tokenizer = wordpiece(vocab, max_input_chars_per_word)?;
    let as_it_is = config
        .tokenizer_class
        .as_ref()
        .is_some_and(|class| AS_IT_IS.contains(&class.as_str()));
    if let Some(normalizer) = file.normalizer {
        let normalizer = normalizer_of(&normalizer, (!as_it_is).then_some(config))?;
        tokenizer
            .with_normalizer(Some(normalizer))
            .map_err(|e| e.to_string())?;
    }
    let splitter = file.pre_tokenizer.ok_or("has no pre_tokenizer")?;
    tokenizer.with_pre_tokenizer(Some(splitter_of(&splitter)?));
    let (cls, sep) = (
        id_of(&tokenizer, SPECIAL[2])?,
        id_of(&tokenizer, SPECIAL[3])?,
    );
    check_template(
        &file
            .post_processor
            .ok_or("has no post_processor: nothing would stand around a text")?,
        (cls, sep),
    )?;
    finish(&mut tokenizer, file.added_tokens, extra)?;
    Ok(tokenizer)
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
    tokenizer
        .with_normalizer(Some(config.normalizer(true)))
        .map_err(|e| e.to_string())?;
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

impl TokenizerConfig {
    fn normalizer(&self, clean_text: bool) -> BertNormalizer {
        BertNormalizer::new(
            clean_text,
            self.tokenize_chinese_chars,
            self.strip_accents,
            self.do_lower_case,
        )
    }
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

fn id_of(tokenizer: &Tokenizer, token: &str) -> Outcome<u32> {
    tokenizer
        .token_to_id(token)
        .ok_or_else(|| format!("the vocabulary has no {token}"))
}

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
fn normalizer_of(part: &Value, config: Option<&TokenizerConfig>) -> Outcome<NormalizerWrapper> {
    parts_of(part, "normalizers", &NORMALIZERS)?;
    if let (Some(config), "BertNormalizer") = (config, kind_of(part)?) {
        return Ok(config
            .normalizer(
                part.get("clean_text")
                    .and_then(Value::as_bool)
                    .unwrap_or(true),
            )
            .into());
    }
    serde_json::from_value(part.clone()).map_err(|e| format!("its normalizer: {e}"))
}

fn splitter_of(part: &Value) -> Outcome<PreTokenizerWrapper> {
    parts_of(part, "pretokenizers", &SPLITTERS)?;
    serde_json::from_value(part.clone()).map_err(|e| format!("its pre_tokenizer: {e}"))
}

/// `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`, the second part of type 1, in either of the ways it
/// is written.
fn check_template(part: &Value, (cls, sep): (u32, u32)) -> Outcome<()> {
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

/// Adds what is added, in transformers' order, and the template.
fn finish(tokenizer: &mut Tokenizer, of_file: Vec<AddedJson>, extra: &Extra) -> Outcome<()> {
    let broken = |e: tokenizers::Error| e.to_string();
    let mut numbered: BTreeMap<u32, Token> = of_file
        .into_iter()
        .map(|added| (added.id, Token::Whole(added.token)))
        .collect();
    numbered.extend(extra.numbered.clone());
    let special_texts: HashSet<&str> = SPECIAL
        .into_iter()
        .chain(extra.special.iter().map(Token::text))
        .collect();
    let mut added: Vec<AddedToken> = numbered
        .values()
        .map(|token| token.added(special_texts.contains(token.text())))
        .collect();
    // Unknown, separator, padding, class and mask token: the order in which they would get ids.
    let named = [1, 3, 0, 2, 4].map(|place| Token::Text(SPECIAL[place].to_owned()));
    for token in named.iter().chain(&extra.special) {
        if !added.iter().any(|known| known.content == token.text()) {
            added.push(token.added(true));
        }
    }
    if added.iter().any(|token| token.content.is_empty()) {
        return Err("adds a token without a text".to_owned());
    }
    tokenizer.add_tokens(added).map_err(broken)?;
    for (id, token) in &numbered {
        let given = id_of(tokenizer, token.text())?;
        if given != *id {
            return Err(format!(
                "the added token {:?} is of id {id} in its file, and would be of id {given}",
                token.text()
            ));
        }
    }
    let (cls, sep) = (id_of(tokenizer, SPECIAL[2])?, id_of(tokenizer, SPECIAL[3])?);
    let template = TemplateProcessing::builder()
        .try_single("[CLS] $A [SEP]")
        .and_then(|b| b.try_pair("[CLS] $A [SEP] $B:1 [SEP]:1"))?
        .special_tokens(vec![(SPECIAL[2], cls), (SPECIAL[3], sep)])
        .build()
        .map_err(|e| e.to_string())?;
    tokenizer.with_post_processor(Some(template));
    Ok(())
}
