//! The words of the mini suite.

use std::collections::BTreeSet;

use rand::{Rng, seq::IndexedRandom};

use super::{
    concepts::{self, GROUPS},
    scene,
};

/// Counts in words.
pub(super) const NUMBERS: [&str; 3] = ["one", "two", "three"];

/// Sentence parts that name no concept; what is built elsewhere from them is checked against the vocabulary by a test.
const FRAMES: [&str; 9] = [
    "on a background and next to with picture",
    "what color is the background ?",
    "how many are there ?",
    "is there any ?",
    "the picture shows",
    "there are",
    "a picture of .",
    "an emoji of in this image photo drawing",
    "it was bought last week belongs to somebody famous is very old will be gone tomorrow",
];

/// Things said of a concept that no picture shows.
const UNKNOWABLE: [&str; 4] = ["was bought last week", "belongs to somebody famous", "is very old", "will be gone tomorrow"];

/// A statement about `name` that may be so or not.
pub(super) fn unknowable(name: &str, rng: &mut impl Rng) -> String {
    format!("the {name} {}", UNKNOWABLE.choose(rng).expect("there are some"))
}

/// `sentence` with two neighbouring, different words exchanged.
pub(super) fn exchange_words(sentence: &str, rng: &mut impl Rng) -> String {
    let mut words: Vec<&str> = sentence.split(' ').collect();
    let places: Vec<usize> = (0..words.len() - 1).filter(|&i| words[i] != words[i + 1]).collect();
    let place = *places.choose(rng).expect("captions have different words");
    words.swap(place, place + 1);
    words.join(" ")
}

/// The words of a text as BERT's tokenizer splits it: at spaces and around punctuation.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in text.to_lowercase().chars() {
        if c.is_alphanumeric() {
            words.last_mut().expect("never empty").push(c);
        } else {
            if c.is_ascii_punctuation() {
                words.push(c.to_string());
            }
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A `WordPiece` vocabulary for the mini suite: BERT's special tokens, every word of the suite, and single characters so
/// that other words can be spelt.
pub fn vocabulary() -> Vec<String> {
    let names = concepts::all().iter().map(|c| c.name.as_str());
    let groups = GROUPS.iter().map(|(_, name)| *name);
    let texts = names.chain(groups).chain(FRAMES).chain(UNKNOWABLE).chain(scene::answers());
    let known: BTreeSet<String> = texts.flat_map(words).collect();
    let characters: Vec<String> = ('!'..='~').filter(|c| !c.is_ascii_uppercase()).map(String::from).collect();
    let inner = characters.iter().map(|c| format!("##{c}"));
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let mut vocabulary: Vec<String> = special.into_iter().chain(characters.iter().cloned()).chain(inner).collect();
    let single: BTreeSet<String> = vocabulary.iter().cloned().collect();
    vocabulary.extend(known.into_iter().filter(|word| !single.contains(word)));
    vocabulary
}
