//! Words for colours, numbers, sizes, places and things.

use super::{
    concepts::Concept,
    scene::{COLOURS, Copies, Relation},
};

/// Counts in words.
pub(super) const NUMBERS: [&str; 6] = ["one", "two", "three", "four", "five", "six"];
pub(super) const SIZES: [&str; 2] = ["small", "large"];

/// Answers to questions, in the order of their labels.
pub(super) fn answers() -> Vec<&'static str> {
    COLOURS
        .iter()
        .map(|(name, _)| *name)
        .chain(NUMBERS)
        .chain(["yes", "no"])
        .collect()
}

pub(super) fn number_label(count: usize) -> usize {
    COLOURS.len() + count - 1
}

pub(super) fn yes_label(yes: bool) -> usize {
    COLOURS.len() + NUMBERS.len() + usize::from(!yes)
}

pub(super) fn position(relation: Relation) -> &'static str {
    match relation {
        Relation::Left => "left of",
        Relation::Right => "right of",
        Relation::Above => "above",
        Relation::Below => "below",
    }
}

/// By what name things are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// Their own.
    Name,
    /// Their kind's.
    Kind,
    /// Just things.
    Thing,
}

impl Naming {
    fn noun(self, concept: &'static Concept, count: usize) -> &'static str {
        match (self, count) {
            (Self::Name, _) => &concept.name,
            (Self::Kind, 1) => concept.kind().one,
            (Self::Kind, _) => concept.kind().many,
            (Self::Thing, 1) => "thing",
            (Self::Thing, _) => "things",
        }
    }
}

pub(super) fn phrase(group: Copies, naming: Naming) -> String {
    let Copies {
        concept,
        count,
        large,
    } = group;
    format!(
        "{} {} {}",
        NUMBERS[count - 1],
        SIZES[usize::from(large)],
        naming.noun(concept, count)
    )
}

pub(super) fn colour(background: usize) -> &'static str {
    COLOURS[background].0
}
