//! Texts to word pieces, with the `tokenizers` crate: from `tokenizer.json`, or from `vocab.txt` as BERT's tokenizer.

use std::{collections::BTreeMap, fs, path::Path};

use ahash::AHashMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokenizers::{
    AddedToken, EncodeInput, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
    TruncationParams, TruncationStrategy,
    models::{
        TrainerWrapper,
        wordpiece::{WordPiece, WordPieceTrainerBuilder},
    },
    normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer,
    processors::template::TemplateProcessing,
};

use crate::{Error, Result, runtime::hex};

/// BERT's special tokens.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// Longer words become `[UNK]`.
const LONGEST_WORD: usize = 100;

/// One text or a pair of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// `[CLS] a [SEP]`.
    Single(&'a str),
    /// `[CLS] a [SEP] b [SEP]`, the second part of token type 1.
    Pair(&'a str, &'a str),
}

/// Word pieces of one text, special tokens included, without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Ids of the word pieces.
    pub input_ids: Vec<i64>,
    /// 0 for the first text and 1 for the second.
    pub token_type_ids: Vec<i64>,
}

/// The parts of `tokenizer_config.json` that decide how `vocab.txt` is used.
#[derive(Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    do_lower_case: bool,
    tokenize_chinese_chars: bool,
    strip_accents: Option<bool>,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { do_lower_case: true, tokenize_chinese_chars: true, strip_accents: None }
    }
}

/// The characters that words go on with, in order: the most frequent ones, as many as the trainer's alphabet has.
fn inner_characters(tokenizer: &Tokenizer, texts: impl Iterator<Item = String>, min_frequency: u64) -> Result<Vec<char>> {
    const MOST: usize = 1000;
    let broken = |e: tokenizers::Error| Error::Tokenizer(e.to_string());
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for text in texts {
        let mut text = NormalizedString::from(text);
        if let Some(normalizer) = tokenizer.get_normalizer() {
            normalizer.normalize(&mut text).map_err(broken)?;
        }
        let mut words = PreTokenizedString::from(text);
        if let Some(splitter) = tokenizer.get_pre_tokenizer() {
            splitter.pre_tokenize(&mut words).map_err(broken)?;
        }
        for (word, ..) in words.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            word.chars().skip(1).for_each(|c| *counts.entry(c).or_default() += 1);
        }
    }
    let mut known: Vec<(char, u64)> = counts.into_iter().filter(|(_, count)| *count >= min_frequency).collect();
    known.sort_by_key(|(c, count)| (std::cmp::Reverse(*count), *c));
    known.truncate(MOST);
    let mut characters: Vec<char> = known.into_iter().map(|(c, _)| c).collect();
    characters.sort_unstable();
    Ok(characters)
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
    /// From `tokenizer.json` in `directory`, or else from `vocab.txt` and `tokenizer_config.json`.
    pub fn from_directory(directory: &Path) -> Result<Self> {
        let [json, vocab, config] = ["tokenizer.json", "vocab.txt", "tokenizer_config.json"].map(|name| directory.join(name));
        if json.exists() {
            let tokenizer = Tokenizer::from_file(&json).map_err(|e| Error::file(&json, e))?;
            return Self::new(tokenizer).map_err(|e| Error::file(&json, e));
        }
        if !vocab.exists() {
            return Err(Error::file(directory, "holds neither tokenizer.json nor vocab.txt"));
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(|e| Error::io(path, e));
        let words: Vec<String> = read(&vocab)?.lines().map(str::to_owned).collect();
        let settings = if config.exists() {
            serde_json::from_str(&read(&config)?).map_err(|e| Error::file(&config, e))?
        } else {
            TokenizerConfig::default()
        };
        Self::bert(&words, &settings).map_err(|e| Error::file(&vocab, e))
    }

    /// BERT's uncased tokenizer over `words`, whose places are their ids.
    pub fn from_words(words: &[String]) -> Result<Self> {
        Self::bert(words, &TokenizerConfig::default())
    }

    fn bert(words: &[String], config: &TokenizerConfig) -> Result<Self> {
        let broken = |e: tokenizers::Error| Error::Tokenizer(e.to_string());
        let ids: AHashMap<String, u32> = words.iter().enumerate().map(|(id, word)| (word.clone(), id as u32)).collect();
        if let Some(missing) = SPECIAL.iter().find(|s| !ids.contains_key(**s)) {
            return Err(Error::Tokenizer(format!("the vocabulary has no {missing}")));
        }
        let (cls, sep) = (ids["[CLS]"], ids["[SEP]"]);
        let model =
            WordPiece::builder().vocab(ids).unk_token("[UNK]".into()).max_input_chars_per_word(LONGEST_WORD).build().map_err(broken)?;
        let template = TemplateProcessing::builder()
            .try_single("[CLS] $A [SEP]")
            .and_then(|b| b.try_pair("[CLS] $A [SEP] $B:1 [SEP]:1"))
            .map_err(Error::Tokenizer)?
            .special_tokens(vec![("[CLS]", cls), ("[SEP]", sep)])
            .build()
            .map_err(|e| Error::Tokenizer(e.to_string()))?;
        let mut tokenizer = Tokenizer::new(model);
        let normalizer = BertNormalizer::new(true, config.tokenize_chinese_chars, config.strip_accents, config.do_lower_case);
        tokenizer.with_normalizer(Some(normalizer)).map_err(broken)?;
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        tokenizer.with_post_processor(Some(template));
        let special = SPECIAL.map(|token| AddedToken::from(token, true));
        tokenizer.add_special_tokens(special).map_err(broken)?;
        Self::new(tokenizer)
    }

    fn new(mut tokenizer: Tokenizer) -> Result<Self> {
        let mut special = [0; 5];
        for (id, token) in special.iter_mut().zip(SPECIAL) {
            let found = tokenizer.token_to_id(token);
            *id = found.ok_or_else(|| Error::Tokenizer(format!("the vocabulary has no {token}")))?.into();
        }
        // Files may ask for padding or truncation; both are decided by the caller here.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| Error::Tokenizer(e.to_string()))?;
        let mut inner = vec![false; tokenizer.get_vocab_size(true)];
        for (word, id) in tokenizer.get_vocab(true) {
            if let Some(inner) = inner.get_mut(id as usize) {
                *inner = word.starts_with("##");
            }
        }
        Ok(Self { tokenizer, special, inner })
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

    /// Number of word pieces.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Word pieces of each text, cut to `max_length` tokens with the special ones; of a pair the longer one is cut.
    pub fn encode(&self, texts: &[Text], max_length: usize) -> Result<Vec<Encoding>> {
        let broken = |e: tokenizers::Error| Error::Tokenizer(e.to_string());
        let mut tokenizer = self.tokenizer.clone();
        let truncation = TruncationParams { max_length, strategy: TruncationStrategy::LongestFirst, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(broken)?;
        let inputs: Vec<EncodeInput> = texts
            .iter()
            .map(|text| match *text {
                Text::Single(a) => EncodeInput::Single(a.into()),
                Text::Pair(a, b) => EncodeInput::Dual(a.into(), b.into()),
            })
            .collect();
        let encodings = tokenizer.encode_batch(inputs, true).map_err(broken)?;
        let wide = |ids: &[u32]| ids.iter().map(|&id| id.into()).collect();
        Ok(encodings.iter().map(|e| Encoding { input_ids: wide(e.get_ids()), token_type_ids: wide(e.get_type_ids()) }).collect())
    }

    /// BERT's uncased tokenizer with at most `vocab_size` pieces, learned from `texts` (`WordPiece` by the frequency of pairs), which
    /// are gone through twice. The same texts give the same pieces in the same order.
    pub fn train<T: Iterator<Item = String> + Send>(texts: impl Fn() -> T, vocab_size: usize, min_frequency: u64) -> Result<Self> {
        let broken = |e: tokenizers::Error| Error::Tokenizer(e.to_string());
        let blank: Vec<String> = SPECIAL.map(str::to_owned).into();
        let mut tokenizer = Self::bert(&blank, &TokenizerConfig::default())?.tokenizer;
        // The trainer numbers inner characters as a hash map gives them, and ties between pairs go by number: so they are given first.
        let inner = inner_characters(&tokenizer, texts(), min_frequency)?;
        let first = SPECIAL.iter().map(|token| (*token).to_owned()).chain(inner.into_iter().map(|c| format!("##{c}")));
        let mut trainer: TrainerWrapper = WordPieceTrainerBuilder::default()
            .vocab_size(vocab_size)
            .min_frequency(min_frequency)
            .special_tokens(first.map(|token| AddedToken::from(token, true)).collect())
            .continuing_subword_prefix("##".into())
            .show_progress(false)
            .build()
            .into();
        tokenizer.train(&mut trainer, texts()).map_err(broken)?;
        let mut words: Vec<(String, u32)> = tokenizer.get_vocab(true).into_iter().collect();
        words.sort_by_key(|(_, id)| *id);
        Self::from_words(&words.into_iter().map(|(word, _)| word).collect::<Vec<_>>())
    }

    /// A digest of everything that decides the word pieces.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(self.tokenizer.to_string(false).unwrap_or_default());
        hex(&digest[..8])
    }

    /// The files that transformers loads this tokenizer from: name and contents.
    pub fn files(&self) -> Result<Vec<(&'static str, String)>> {
        let json = self.tokenizer.to_string(true).map_err(|e| Error::Tokenizer(e.to_string()))?;
        let mut words: Vec<(String, u32)> = self.tokenizer.get_vocab(true).into_iter().collect();
        words.sort_by_key(|(_, id)| *id);
        let vocab: String = words.iter().map(|(word, _)| format!("{word}\n")).collect();
        let names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"];
        let special: serde_json::Map<_, _> = names.iter().zip(SPECIAL).map(|(name, token)| ((*name).to_owned(), token.into())).collect();
        let mut config = special.clone();
        config.insert("tokenizer_class".into(), "BertTokenizer".into());
        config.insert("processor_class".into(), "FlavaProcessor".into());
        config.insert("do_lower_case".into(), true.into());
        config.insert("model_max_length".into(), 512.into());
        Ok(vec![
            ("tokenizer.json", json),
            ("vocab.txt", vocab),
            ("tokenizer_config.json", format!("{:#}\n", serde_json::Value::Object(config))),
            ("special_tokens_map.json", format!("{:#}\n", serde_json::Value::Object(special))),
        ])
    }
}
