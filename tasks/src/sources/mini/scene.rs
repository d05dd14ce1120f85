//! Scenes: a background and a few concepts on a grid, as a picture and as words.

use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage, codecs::png::PngEncoder, imageops};
use rand::{
    Rng,
    seq::{IndexedRandom, SliceRandom},
};

use super::{
    concepts::Concept,
    wording::{self, NUMBERS},
};

/// Side of a picture in pixels.
pub(super) const SIDE: u32 = 96;
/// Cells along one side.
const GRID: u32 = 3;
/// Most of one concept.
const MOST: usize = 3;

/// Backgrounds: name and colour.
pub(super) const COLOURS: [(&str, [u8; 3]); 8] = [
    ("red", [214, 69, 65]),
    ("orange", [240, 150, 60]),
    ("yellow", [244, 222, 92]),
    ("green", [96, 178, 98]),
    ("blue", [72, 118, 206]),
    ("purple", [142, 88, 180]),
    ("white", [246, 246, 246]),
    ("grey", [140, 140, 140]),
];

/// Answers to questions, in the order of their labels.
pub(super) fn answers() -> Vec<&'static str> {
    COLOURS.iter().map(|(name, _)| *name).chain(NUMBERS).chain(["yes", "no"]).collect()
}

/// Two concepts, how often each, and the background.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    background: usize,
    items: [(&'static Concept, usize); 2],
    /// Cells, shuffled: the first ones are taken in the order of the items.
    cells: Vec<u32>,
}

impl Scene {
    pub(super) fn sample(concepts: &[&'static Concept], rng: &mut impl Rng) -> Self {
        let background = rng.random_range(0..COLOURS.len());
        let pair: Vec<&&Concept> = concepts.choose_multiple(rng, 2).collect();
        let items = [0, 1].map(|i| (*pair[i], rng.random_range(1..=MOST)));
        let mut cells: Vec<u32> = (0..GRID * GRID).collect();
        cells.shuffle(rng);
        Self { background, items, cells }
    }

    fn colour(&self) -> &'static str {
        COLOURS[self.background].0
    }

    /// The same facts in two wordings.
    pub(super) fn captions(&self) -> [String; 2] {
        let [(a, n), (b, m)] = self.items;
        let (a, b, n, m) = (&a.name, &b.name, NUMBERS[n - 1], NUMBERS[m - 1]);
        let colour = self.colour();
        [format!("{n} {a} and {m} {b} on a {colour} background"), format!("a {colour} picture with {m} {b} next to {n} {a}")]
    }

    /// A question of one of three kinds and its answer's label.
    pub(super) fn question(&self, kind: usize, concepts: &[&'static Concept], rng: &mut impl Rng) -> (String, usize) {
        let (concept, count) = self.items[rng.random_range(0..2)];
        match kind {
            0 => ("what color is the background ?".into(), self.background),
            1 => (format!("how many {} are there ?", concept.name), COLOURS.len() + count - 1),
            _ if rng.random() => (format!("is there any {} ?", concept.name), COLOURS.len() + MOST),
            _ => (format!("is there any {} ?", self.absent(concepts, rng).name), COLOURS.len() + MOST + 1),
        }
    }

    /// A statement that follows (0), may be so (1) or contradicts the scene (2).
    pub(super) fn hypothesis(&self, label: usize, concepts: &[&'static Concept], rng: &mut impl Rng) -> String {
        let (concept, count) = self.items[rng.random_range(0..2)];
        let (name, count) = (&concept.name, NUMBERS[count - 1]);
        match (label, rng.random_range(0..3)) {
            (0, 0) => format!("the background is {}", self.colour()),
            (0, 1) => format!("there are {count} {name}"),
            (0, _) => format!("the picture shows {name}"),
            (1, _) => wording::unknowable(name, rng),
            (_, 0) => format!("the background is {}", other(self.background, COLOURS.len(), rng, |i| COLOURS[i].0)),
            (_, 1) => format!("there are {} {name}", other(self.count_of(concept) - 1, MOST, rng, |i| NUMBERS[i])),
            (_, _) => format!("the picture shows {}", self.absent(concepts, rng).name),
        }
    }

    /// The same scene with another background or number.
    pub(super) fn with_one_change(&self, rng: &mut impl Rng) -> Self {
        let mut changed = self.clone();
        if rng.random() {
            changed.background = other(self.background, COLOURS.len(), rng, |i| i);
        } else {
            let item = rng.random_range(0..2);
            changed.items[item].1 = other(self.items[item].1 - 1, MOST, rng, |i| i) + 1;
        }
        changed
    }

    fn count_of(&self, concept: &Concept) -> usize {
        self.items.iter().find(|(c, _)| c.name == concept.name).map_or(0, |(_, count)| *count)
    }

    fn absent(&self, concepts: &[&'static Concept], rng: &mut impl Rng) -> &'static Concept {
        loop {
            let concept = concepts.choose(rng).expect("there are concepts");
            if self.count_of(concept) == 0 {
                return concept;
            }
        }
    }

    /// The picture, as a PNG file.
    pub(super) fn draw(&self) -> Vec<u8> {
        let mut canvas = RgbImage::from_pixel(SIDE, SIDE, Rgb(COLOURS[self.background].1));
        let cell = SIDE / GRID;
        let drawn = self.items.iter().flat_map(|(concept, count)| std::iter::repeat_n(concept, *count));
        for (concept, place) in drawn.zip(&self.cells) {
            paste(&mut canvas, concept, (place % GRID * cell, place / GRID * cell), cell);
        }
        encode(&canvas)
    }
}

/// One concept, large, somewhere on a random background.
pub(super) fn draw_single(concept: &Concept, rng: &mut impl Rng) -> Vec<u8> {
    let mut canvas = RgbImage::from_pixel(SIDE, SIDE, Rgb(COLOURS[rng.random_range(0..COLOURS.len())].1));
    let size = rng.random_range(48..=80);
    let at = (rng.random_range(0..=SIDE - size), rng.random_range(0..=SIDE - size));
    paste(&mut canvas, concept, at, size);
    encode(&canvas)
}

/// Another of `count` things than `not`.
fn other<T>(not: usize, count: usize, rng: &mut impl Rng, thing: impl Fn(usize) -> T) -> T {
    thing((not + rng.random_range(1..count)) % count)
}

fn paste(canvas: &mut RgbImage, concept: &Concept, (left, top): (u32, u32), size: u32) {
    let emoji = image::load_from_memory_with_format(concept.png, image::ImageFormat::Png).expect("Twemoji's pictures are whole");
    let emoji = imageops::resize(&emoji.to_rgba8(), size, size, imageops::FilterType::Triangle);
    for (x, y, pixel) in emoji.enumerate_pixels() {
        let alpha = u32::from(pixel[3]);
        let under = canvas.get_pixel_mut(left + x, top + y);
        for channel in 0..3 {
            let blend = u32::from(pixel[channel]) * alpha + u32::from(under[channel]) * (255 - alpha);
            under[channel] = ((blend + 127) / 255) as u8;
        }
    }
}

fn encode(canvas: &RgbImage) -> Vec<u8> {
    let mut png = Vec::new();
    let encoder = PngEncoder::new(&mut png);
    encoder.write_image(canvas, canvas.width(), canvas.height(), ExtendedColorType::Rgb8).expect("writing to memory");
    png
}
