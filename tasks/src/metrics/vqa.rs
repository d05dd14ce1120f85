//! VQA's accuracy as its official program computes it, slips included, since the numbers of its
//! test server come from that logic; and a lenient one.

use std::{collections::HashMap, sync::LazyLock};

/// How the official program spells contractions: a word and what it becomes. Words are lower case
/// by then, so that keys with capitals never match.
const CONTRACTIONS: &str = include_str!("../../assets/vqa_contractions.txt");
/// Marks that are deleted or become spaces; a period has a rule of its own.
const MARKS: [char; 21] = [
    ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',',
    '?', '!',
];
const ARTICLES: [&str; 3] = ["a", "an", "the"];
const NUMBERS: [(&str, &str); 12] = [
    ("none", "0"),
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
];
/// A flag stands where the program's call takes the number of replacements.
const MOST_PERIODS: usize = 32;

static WORDS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    CONTRACTIONS
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect()
});

/// The official accuracy of an answer: both sides are brought into one form only where the ten
/// given answers differ.
pub fn official_accuracy<T: AsRef<str>>(given: &[T], answer: &str) -> f64 {
    let given: Vec<String> = given.iter().map(|other| cleaned(other.as_ref())).collect();
    let answer = cleaned(answer);
    if given.windows(2).all(|pair| pair[0] == pair[1]) {
        soft_score(&given, &answer)
    } else {
        lenient_accuracy(&given, &answer)
    }
}

/// The accuracy with both sides brought into one form whether or not the given answers agree, as
/// later programs have it.
pub fn lenient_accuracy<T: AsRef<str>>(given: &[T], answer: &str) -> f64 {
    let given: Vec<String> = given
        .iter()
        .map(|other| process_answer(&cleaned(other.as_ref())))
        .collect();
    soft_score(&given, &process_answer(&cleaned(answer)))
}

/// VQA's score of an answer: the mean, over leaving out each of the given ones in turn, of a third
/// of the agreeing others, 1 at most. Given answers are told apart by their places, as records with
/// ids are.
pub fn soft_score<T: AsRef<str>>(given: &[T], answer: &str) -> f64 {
    let agreeing = given
        .iter()
        .filter(|other| other.as_ref() == answer)
        .count() as f64;
    let total = given.len() as f64;
    if given.is_empty() {
        return 0.0;
    }
    let left = |agreeing: f64| (agreeing / 3.0).min(1.0);
    (agreeing * left(agreeing - 1.0) + (total - agreeing) * left(agreeing)) / total
}

/// An answer in the form in which answers are compared: punctuation, case, articles, numbers and
/// contractions.
pub fn process_answer(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in without_marks(text)
        .to_lowercase()
        .split(space)
        .filter(|word| !word.is_empty())
    {
        let word = NUMBERS
            .iter()
            .find(|(name, _)| *name == word)
            .map_or(word, |(_, digits)| digits);
        if !ARTICLES.contains(&word) {
            words.push(WORDS.get(word).copied().unwrap_or(word).to_owned());
        }
    }
    words.join(" ")
}

fn cleaned(text: &str) -> String {
    text.replace(['\n', '\t'], " ")
        .trim_matches(space)
        .to_owned()
}

/// What Python's `split` takes for a space: Unicode's white space and four separators more.
fn space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Each mark is looked for in the text as it was, and taken out of what is left of it.
fn without_marks(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let comma_in_number = chars
        .windows(3)
        .any(|c| c[0].is_ascii_digit() && c[1] == ',' && c[2].is_ascii_digit());
    let at_space = |mark: char| {
        chars
            .windows(2)
            .any(|pair| pair == [mark, ' '] || pair == [' ', mark])
    };
    let deleted = MARKS.map(|mark| comma_in_number || at_space(mark));
    let kept = |c: &char| match MARKS.iter().position(|mark| mark == c) {
        Some(mark) if deleted[mark] => None,
        Some(_) => Some(' '),
        None => Some(*c),
    };
    without_periods(&chars.iter().filter_map(kept).collect::<Vec<char>>())
}

/// Without the periods that stand before no digit.
fn without_periods(text: &[char]) -> String {
    let digit = |c: Option<&char>| c.is_some_and(char::is_ascii_digit);
    let mut periods = 0;
    let mut out = String::with_capacity(text.len());
    for (at, &c) in text.iter().enumerate() {
        if c == '.' && periods < MOST_PERIODS && !digit(text.get(at + 1)) {
            periods += 1;
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values for ten answers of which m agree: 0, 0.3, 0.6, 0.9, then 1.
    #[test]
    fn soft_scores_are_the_official_ones() {
        for (agreeing, expected) in [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)] {
            let given: Vec<&str> = (0..10)
                .map(|i| if i < agreeing { "yes" } else { "no" })
                .collect();
            assert!(
                (soft_score(&given, "yes") - expected).abs() < 1e-12,
                "{agreeing}"
            );
        }
        assert_eq!(soft_score::<&str>(&[], "yes"), 0.0);
    }

    #[test]
    fn the_table_has_its_120_entries() {
        assert_eq!((CONTRACTIONS.lines().count(), WORDS.len()), (120, 120));
        assert_eq!(
            WORDS
                .keys()
                .filter(|word| word.chars().any(char::is_uppercase))
                .count(),
            4
        );
    }

    #[test]
    fn answers_that_all_agree_must_be_met_to_the_letter() {
        let same = ["Coca-Cola"; 10];
        assert_eq!(
            (
                official_accuracy(&same, "coca cola"),
                official_accuracy(&same, "Coca-Cola\n")
            ),
            (0.0, 1.0)
        );
        assert_eq!(lenient_accuracy(&same, "coca cola"), 1.0);
        let mut mixed = same;
        mixed[0] = "pepsi";
        assert_eq!(official_accuracy(&mixed, "coca cola"), 1.0);
    }
}
