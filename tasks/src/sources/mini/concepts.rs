//! The things that scenes are made of: emoji that Twemoji draws, under their Unicode names.

use std::sync::LazyLock;

use emojis::Group;
use image::RgbaImage;
use sha2::{Digest, Sha256};
use twemoji_assets::png::PngTwemojiAsset;

/// A group of Unicode and what texts call it.
#[derive(Debug)]
pub(super) struct Kind {
    group: Group,
    /// In a prompt.
    pub(super) phrase: &'static str,
    pub(super) one: &'static str,
    pub(super) many: &'static str,
}

const fn kind(group: Group, phrase: &'static str, one: &'static str, many: &'static str) -> Kind {
    Kind {
        group,
        phrase,
        one,
        many,
    }
}

/// The groups that things come from.
pub(super) const KINDS: [Kind; 6] = [
    kind(
        Group::SmileysAndEmotion,
        "a face or feeling",
        "face",
        "faces",
    ),
    kind(
        Group::AnimalsAndNature,
        "an animal or plant",
        "animal",
        "animals",
    ),
    kind(Group::FoodAndDrink, "food or drink", "food", "foods"),
    kind(
        Group::TravelAndPlaces,
        "a place or vehicle",
        "place",
        "places",
    ),
    kind(Group::Activities, "a sport or game", "game", "games"),
    kind(Group::Objects, "a tool or thing", "tool", "tools"),
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

/// A thing with a name and an image.
#[derive(Debug)]
pub(super) struct Concept {
    pub(super) name: String,
    /// Index into [`KINDS`].
    pub(super) kind: usize,
    pixels: LazyLock<RgbaImage, Box<dyn FnOnce() -> RgbaImage + Send + Sync>>,
    part: Part,
}

static CONCEPTS: LazyLock<Vec<Concept>> =
    LazyLock::new(|| emojis::iter().filter_map(concept).collect());

fn concept(emoji: &emojis::Emoji) -> Option<Concept> {
    let kind = KINDS.iter().position(|kind| kind.group == emoji.group())?;
    let name = emoji.name().to_lowercase().replace('-', " ");
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == ' ');
    if !plain || name.split(' ').count() > MAX_WORDS {
        return None;
    }
    // Names of images leave out the variation selector, except in some sequences.
    let text = emoji.as_str();
    let asset = PngTwemojiAsset::from_emoji(text)
        .or_else(|| PngTwemojiAsset::from_emoji(&text.replace('\u{fe0f}', "")))?;
    let png: &'static [u8] = asset.data.0;
    Some(Concept {
        part: part_of(&name),
        name,
        kind,
        pixels: LazyLock::new(Box::new(move || decode(png))),
    })
}

/// By name, so that a concept stays in its part when others are added.
fn part_of(name: &str) -> Part {
    if Sha256::digest(name)[0] % TEST_SHARE == 0 {
        Part::Test
    } else {
        Part::Train
    }
}

fn decode(png: &[u8]) -> RgbaImage {
    image::load_from_memory_with_format(png, image::ImageFormat::Png)
        .expect("Twemoji's pictures are whole")
        .to_rgba8()
}

impl Concept {
    /// 72x72 pixels with alpha.
    pub(super) fn pixels(&self) -> &RgbaImage {
        &self.pixels
    }

    pub(super) fn kind(&self) -> &'static Kind {
        &KINDS[self.kind]
    }
}

impl PartialEq for Concept {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.kind == other.kind
    }
}

/// All concepts.
pub(super) fn all() -> &'static [Concept] {
    &CONCEPTS
}

/// The concepts of one part.
pub(super) fn of_part(part: Part) -> Vec<&'static Concept> {
    all().iter().filter(|c| c.part == part).collect()
}
