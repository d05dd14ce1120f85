//! Texts to tokens, with the `tokenizers` crate: from `tokenizer.json`, or from `vocab.txt` as
//! BERT's tokenizer.

use std::{collections::BTreeMap, path::Path};

use flava_base::hex;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokenizers::{
    AddedToken, EncodeInput, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential,
    OffsetType, PreTokenizedString, PreTokenizer, Tokenizer, TruncationParams, TruncationStrategy,
    models::{TrainerWrapper, wordpiece::WordPieceTrainerBuilder},
};

use super::{
    special::{SPECIAL, SPECIAL_KEYS},
    tokenizer_files,
};
use crate::{Error, Result};

/// Tokens that a text may be cut to at least: the special ones around a pair, and one.
const SHORTEST: usize = 4;

/// One text or a pair of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// `[CLS] a [SEP]`.
    Single(&'a str),
    /// `[CLS] a [SEP] b [SEP]`, the second part of token type 1.
    Pair(&'a str, &'a str),
}

impl<'a> Text<'a> {
    fn input(self) -> EncodeInput<'a> {
        match self {
            Self::Single(a) => EncodeInput::Single(a.into()),
            Self::Pair(a, b) => EncodeInput::Dual(a.into(), b.into()),
        }
    }
}

/// Tokens of one text, special tokens included, without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Ids of the tokens.
    pub input_ids: Vec<i64>,
    /// 0 for the first text and 1 for the second.
    pub token_type_ids: Vec<i64>,
}

/// The characters that words go on with, in order: the most frequent ones, as many as the trainer's
/// alphabet has.
fn inner_characters(
    tokenizer: &Tokenizer,
    texts: impl Iterator<Item = String>,
    min_frequency: u64,
) -> Result<Vec<char>> {
    const MOST: usize = 1000;
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for text in texts {
        let words = words_of(tokenizer, text).map_err(broken)?;
        for (word, ..) in words.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            for c in word.chars().skip(1) {
                *counts.entry(c).or_default() += 1;
            }
        }
    }
    let frequent = |(_, count): &(char, u64)| *count >= min_frequency;
    let mut known: Vec<(char, u64)> = counts.into_iter().filter(frequent).collect();
    known.sort_by_key(|(c, count)| (std::cmp::Reverse(*count), *c));
    known.truncate(MOST);
    let mut characters: Vec<char> = known.into_iter().map(|(c, _)| c).collect();
    characters.sort_unstable();
    Ok(characters)
}

/// A text, normalised and split into words.
fn words_of(tokenizer: &Tokenizer, text: String) -> tokenizers::Result<PreTokenizedString> {
    let mut text = NormalizedString::from(text);
    if let Some(normalizer) = tokenizer.get_normalizer() {
        normalizer.normalize(&mut text)?;
    }
    let mut words = PreTokenizedString::from(text);
    if let Some(splitter) = tokenizer.get_pre_tokenizer() {
        splitter.pre_tokenize(&mut words)?;
    }
    Ok(words)
}

fn broken(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

/// A `WordPiece` tokenizer.
#[derive(Debug)]
pub struct TextProcessor {
    tokenizer: Tokenizer,
    special: [i64; 5],
    /// Of each id, whether it goes on with the word of the one before.
    inner: Vec<bool>,
}

impl TextProcessor {
    /// From the tokenizer's files in `directory`.
    pub fn from_directory(directory: &Path) -> Result<Self> {
        let tokenizer = tokenizer_files::from_directory(directory)?;
        Self::new(tokenizer).map_err(|e| Error::file(directory, e))
    }

    /// BERT's uncased tokenizer over `words`, whose places are their ids.
    pub fn from_words(words: &[String]) -> Result<Self> {
        Self::new(tokenizer_files::bert(words)?)
    }

    fn new(mut tokenizer: Tokenizer) -> Result<Self> {
        let mut special = [0; 5];
        for (id, token) in special.iter_mut().zip(SPECIAL) {
            let found = tokenizer.token_to_id(token);
            *id = found
                .ok_or_else(|| Error::Tokenizer(format!("the vocabulary has no {token}")))?
                .into();
        }
        // Files may ask for padding or truncation; both are decided by the caller here.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(broken)?;
        let mut inner = vec![false; tokenizer.get_vocab_size(true)];
        for (word, id) in tokenizer.get_vocab(true) {
            if let Some(inner) = inner.get_mut(id as usize) {
                *inner = word.starts_with("##");
            }
        }
        Ok(Self {
            tokenizer,
            special,
            inner,
        })
    }

    /// The id that fills a batch's shorter texts.
    pub fn pad_id(&self) -> i64 {
        self.special[0]
    }

    /// The id that hides a word.
    pub fn mask_id(&self) -> i64 {
        self.special[4]
    }

    /// Whether `id` is `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]` or `[MASK]`.
    pub fn is_special(&self, id: i64) -> bool {
        self.special.contains(&id)
    }

    /// Whether `id` goes on with the word of the piece before it.
    pub fn continues_word(&self, id: i64) -> bool {
        self.inner.get(id as usize).copied().unwrap_or(false)
    }

    /// Number of tokens; their ids are the numbers below it.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Tokens of each text, cut to `max_length` tokens with the special ones; of a pair the
    /// longer one is cut.
    pub fn encode(&self, texts: &[Text], max_length: usize) -> Result<Vec<Encoding>> {
        if max_length < SHORTEST {
            return Err(Error::Tokenizer(format!(
                "texts cannot be cut to {max_length} tokens: {SHORTEST} is the least"
            )));
        }
        let mut tokenizer = self.tokenizer.clone();
        let truncation = TruncationParams {
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        };
        tokenizer
            .with_truncation(Some(truncation))
            .map_err(broken)?;
        let inputs = texts.iter().map(|text| text.input()).collect();
        let encodings = tokenizer.encode_batch(inputs, true);
        let wide = |ids: &[u32]| ids.iter().map(|&id| id.into()).collect();
        let encoding = |e: &tokenizers::Encoding| Encoding {
            input_ids: wide(e.get_ids()),
            token_type_ids: wide(e.get_type_ids()),
        };
        Ok(encodings.map_err(broken)?.iter().map(encoding).collect())
    }

    /// BERT's uncased tokenizer with at most `vocab_size` pieces, learned from `texts` (`WordPiece`
    /// by the frequency of pairs), which are gone through twice. The same texts give the same
    /// pieces in the same order.
    pub fn train<T: Iterator<Item = String> + Send>(
        texts: impl Fn() -> T,
        vocab_size: usize,
        min_frequency: u64,
    ) -> Result<Self> {
        let blank: Vec<String> = SPECIAL.map(str::to_owned).into();
        let mut tokenizer = Self::from_words(&blank)?.tokenizer;
        // The trainer numbers inner characters as a hash map gives them, and ties between pairs go
        // by number: so they are given first.
        let inner = inner_characters(&tokenizer, texts(), min_frequency)?;
        let first = SPECIAL
            .iter()
            .map(|token| (*token).to_owned())
            .chain(inner.into_iter().map(|c| format!("##{c}")));
        let mut trainer: TrainerWrapper = WordPieceTrainerBuilder::default()
            .vocab_size(vocab_size)
            .min_frequency(min_frequency)
            .special_tokens(first.map(|token| AddedToken::from(token, true)).collect())
            .continuing_subword_prefix("##".into())
            .show_progress(false)
            .build()
            .into();
        tokenizer.train(&mut trainer, texts()).map_err(broken)?;
        Self::from_words(&words_in_order(&tokenizer))
    }

    /// A digest of everything that decides the tokens.
    pub fn digest(&self) -> String {
        let text = self
            .tokenizer
            .to_string(false)
            .expect("a tokenizer is plain data");
        hex(&Sha256::digest(text)[..16])
    }

    /// The files that transformers loads this tokenizer from: name and contents.
    pub fn files(&self) -> Result<Vec<(&'static str, String)>> {
        let json = self.tokenizer.to_string(true).map_err(broken)?;
        let words = words_in_order(&self.tokenizer);
        let vocab: String = words.iter().map(|word| format!("{word}\n")).collect();
        let special: Map<String, Value> = SPECIAL_KEYS
            .iter()
            .zip(SPECIAL)
            .map(|(name, token)| ((*name).to_owned(), token.into()))
            .collect();
        let config = self.config(special.clone());
        let text = |object| format!("{:#}\n", Value::Object(object));
        Ok(vec![
            ("tokenizer.json", json),
            ("vocab.txt", vocab),
            ("tokenizer_config.json", text(config)),
            ("special_tokens_map.json", text(special)),
        ])
    }

    /// `tokenizer_config.json`, begun with the special tokens.
    fn config(&self, special: Map<String, Value>) -> Map<String, Value> {
        let mut config = special;
        let mut set = |key: &str, value: Value| _ = config.insert(key.into(), value);
        set("processor_class", "FlavaProcessor".into());
        match self.tokenizer.get_normalizer() {
            Some(NormalizerWrapper::BertNormalizer(bert)) => {
                set("tokenizer_class", "BertTokenizer".into());
                set("do_lower_case", bert.lowercase.into());
                set("strip_accents", bert.strip_accents.into());
                set("tokenize_chinese_chars", bert.handle_chinese_chars.into());
            }
            // BERT's class would put its own way of preparing texts in its place.
            _ => set("tokenizer_class", "PreTrainedTokenizerFast".into()),
        }
        set("model_max_length", 512.into());
        config
    }
}

/// The vocabulary, by ids.
fn words_in_order(tokenizer: &Tokenizer) -> Vec<String> {
    let mut words: Vec<(String, u32)> = tokenizer.get_vocab(true).into_iter().collect();
    words.sort_by_key(|(_, id)| *id);
    words.into_iter().map(|(word, _)| word).collect()
}
