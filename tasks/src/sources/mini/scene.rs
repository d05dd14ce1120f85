//! Scenes: a background and groups of things on it, side by side or one above the other, as a
//! image.

use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage, codecs::png::PngEncoder, imageops};
use rand::{Rng, seq::SliceRandom};

use super::concepts::Concept;

/// Side of an image in pixels.
pub(super) const SIDE: u32 = 96;
/// Most things of one group.
pub(super) const MOST: usize = 3;
/// Sides of small and large things in scenes, in pixels.
const SIZES: [u32; 2] = [16, 30];

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

/// Some copies of one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Copies {
    pub(super) concept: &'static Concept,
    /// 1 to [`MOST`].
    pub(super) count: usize,
    pub(super) large: bool,
}

/// Where the first group is, seen from the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Left,
    Right,
    Above,
    Below,
}

impl Relation {
    pub(super) const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Above, Self::Below];

    /// Where the second is, seen from the first.
    pub(super) fn inverse(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
        }
    }
}

/// Two groups of different kinds, where they are, and the background.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) background: usize,
    pub(super) groups: [Copies; 2],
    pub(super) relation: Relation,
    /// Of where exactly things lie.
    layout: u64,
}

/// One of several, at random.
pub(super) fn pick<'a, T>(from: &'a [T], rng: &mut impl Rng) -> &'a T {
    &from[rng.random_range(..from.len())]
}

fn group(concept: &'static Concept, rng: &mut impl Rng) -> Copies {
    Copies {
        concept,
        count: rng.random_range(1..=MOST),
        large: rng.random(),
    }
}

impl Scene {
    pub(super) fn sample(concepts: &[&'static Concept], rng: &mut impl Rng) -> Self {
        let first = *pick(concepts, rng);
        let others: Vec<&&Concept> = concepts.iter().filter(|c| c.kind != first.kind).collect();
        let second = **pick(&others, rng);
        Self {
            background: rng.random_range(0..COLOURS.len()),
            groups: [group(first, rng), group(second, rng)],
            relation: Relation::ALL[rng.random_range(0..Relation::ALL.len())],
            layout: rng.random(),
        }
    }

    /// The same scene with one other background, number, size or place.
    pub(super) fn with_one_change(&self, rng: &mut impl Rng) -> Self {
        let mut changed = self.clone();
        let group = &mut changed.groups[rng.random_range(0..2)];
        match rng.random_range(0..4) {
            0 => changed.background = other(self.background, COLOURS.len(), rng),
            1 => group.count = other(group.count - 1, MOST, rng) + 1,
            2 => group.large = !group.large,
            _ => changed.relation = changed.relation.inverse(),
        }
        changed
    }

    /// The image, as a PNG file.
    pub(super) fn draw(&self) -> Vec<u8> {
        let mut rng = crate::random::stream(&format!("layout {}", self.layout));
        let mut canvas = canvas(self.background);
        let first_leads = matches!(self.relation, Relation::Left | Relation::Above);
        let beside = matches!(self.relation, Relation::Left | Relation::Right);
        for (position, group) in self.groups.iter().enumerate() {
            let leads = (position == 0) == first_leads;
            let half = if leads { 0 } else { SIDE / 2 };
            let mut cells: Vec<u32> = (0..MOST as u32).collect();
            cells.shuffle(&mut rng);
            let (long, short) = (SIDE / MOST as u32, SIDE / 2);
            let size = SIZES[usize::from(group.large)];
            for cell in cells.into_iter().take(group.count) {
                let along = cell * long + rng.random_range(0..=long - size);
                let across = half + rng.random_range(0..=short - size);
                let (left, top) = if beside {
                    (across, along)
                } else {
                    (along, across)
                };
                paste(&mut canvas, group.concept, Square { left, top, size });
            }
        }
        encode(&canvas)
    }
}

/// One group alone on a background.
#[derive(Clone, Debug)]
pub(super) struct Single {
    pub(super) background: usize,
    pub(super) group: Copies,
    layout: u64,
}

impl Single {
    /// Of any of `concepts`; `alone` is one thing as large as the image allows.
    pub(super) fn sample(concepts: &[&'static Concept], alone: bool, rng: &mut impl Rng) -> Self {
        let concept = *pick(concepts, rng);
        let mut group = group(concept, rng);
        if alone {
            (group.count, group.large) = (1, true);
        }
        Self {
            background: rng.random_range(0..COLOURS.len()),
            group,
            layout: rng.random(),
        }
    }

    /// The image, as a PNG file; `alone` as it was sampled.
    pub(super) fn draw(&self, alone: bool) -> Vec<u8> {
        let mut rng = crate::random::stream(&format!("layout {}", self.layout));
        let mut canvas = canvas(self.background);
        if alone {
            let size = rng.random_range(48..=80);
            let mut position = || rng.random_range(0..=SIDE - size);
            let (left, top) = (position(), position());
            paste(&mut canvas, self.group.concept, Square { left, top, size });
            return encode(&canvas);
        }
        // Nine cells of a third of the image's side.
        let cell = SIDE / 3;
        let mut cells: Vec<u32> = (0..9).collect();
        cells.shuffle(&mut rng);
        let size = SIZES[usize::from(self.group.large)];
        for position in cells.into_iter().take(self.group.count) {
            let mut along = |cells: u32| cells * cell + rng.random_range(0..=cell - size);
            let (left, top) = (along(position % 3), along(position / 3));
            paste(&mut canvas, self.group.concept, Square { left, top, size });
        }
        encode(&canvas)
    }
}

/// Another of `count` numbers from 0 than `not`.
pub(super) fn other(not: usize, count: usize, rng: &mut impl Rng) -> usize {
    (not + rng.random_range(1..count)) % count
}

fn canvas(background: usize) -> RgbImage {
    RgbImage::from_pixel(SIDE, SIDE, Rgb(COLOURS[background].1))
}

/// Where a thing lies in an image.
#[derive(Clone, Copy)]
struct Square {
    left: u32,
    top: u32,
    size: u32,
}

fn paste(canvas: &mut RgbImage, concept: &Concept, at: Square) {
    let Square { left, top, size } = at;
    let emoji = imageops::resize(concept.pixels(), size, size, imageops::FilterType::Triangle);
    for (x, y, pixel) in emoji.enumerate_pixels() {
        let alpha = u32::from(pixel[3]);
        let under = canvas.get_pixel_mut(left + x, top + y);
        for channel in 0..3 {
            let blend =
                u32::from(pixel[channel]) * alpha + u32::from(under[channel]) * (255 - alpha);
            under[channel] = ((blend + 127) / 255) as u8;
        }
    }
}

fn encode(canvas: &RgbImage) -> Vec<u8> {
    let mut png = Vec::new();
    let encoder = PngEncoder::new(&mut png);
    encoder
        .write_image(
            canvas,
            canvas.width(),
            canvas.height(),
            ExtendedColorType::Rgb8,
        )
        .expect("writing to memory");
    png
}
