//! The things that scenes are made of: emoji that Twemoji draws, under their Unicode names.

use std::sync::LazyLock;

use emojis::Group;
use sha2::{Digest, Sha256};
use twemoji_assets::png::PngTwemojiAsset;

/// Groups of Unicode, and what they are called in prompts.
pub(super) const GROUPS: [(Group, &str); 6] = [
    (Group::SmileysAndEmotion, "a face or feeling"),
    (Group::AnimalsAndNature, "an animal or plant"),
    (Group::FoodAndDrink, "food or drink"),
    (Group::TravelAndPlaces, "a place or vehicle"),
    (Group::Activities, "a sport or game"),
    (Group::Objects, "a tool or thing"),
];
/// Longer names are left out.
const MAX_WORDS: usize = 3;
/// One concept in so many is kept for testing.
const TEST_SHARE: u8 = 5;

/// Which splits a concept may occur in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Test,
}

/// A thing with a name and a picture.
#[derive(Debug)]
pub(super) struct Concept {
    pub(super) name: String,
    /// Index into [`GROUPS`].
    pub(super) group: usize,
    /// A PNG of 72x72 pixels with alpha.
    pub(super) png: &'static [u8],
    part: Part,
}

static CONCEPTS: LazyLock<Vec<Concept>> = LazyLock::new(|| emojis::iter().filter_map(concept).collect());

fn concept(emoji: &emojis::Emoji) -> Option<Concept> {
    let group = GROUPS.iter().position(|(group, _)| *group == emoji.group())?;
    let name = emoji.name().to_lowercase().replace('-', " ");
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == ' ');
    if !plain || name.split(' ').count() > MAX_WORDS {
        return None;
    }
    // Names of pictures leave out the variation selector, except in some sequences.
    let text = emoji.as_str();
    let asset = PngTwemojiAsset::from_emoji(text).or_else(|| PngTwemojiAsset::from_emoji(&text.replace('\u{fe0f}', "")))?;
    // By name, so that a concept stays in its part when others are added.
    let part = if Sha256::digest(&name)[0] % TEST_SHARE == 0 { Part::Test } else { Part::Train };
    Some(Concept { name, group, png: asset.data.0, part })
}

/// All concepts.
pub(super) fn all() -> &'static [Concept] {
    &CONCEPTS
}

/// The concepts of one part.
pub(super) fn of_part(part: Part) -> Vec<&'static Concept> {
    all().iter().filter(|c| c.part == part).collect()
}
