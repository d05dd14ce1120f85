//! Rows that occur twice: exactly, by their pixels and texts, or nearly, by a perceptual hash of
//! the image.

use std::{
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use flava_model::{
    processor::decode,
    runtime::{Loader, LoaderOptions, Progress},
};
use flava_tasks::{
    Dataset,
    sources::{Example, OpenSplit},
};
use serde::Serialize;

use crate::{Limit, features::sample};

/// Side of the grid of brightness that a perceptual hash compares neighbours of.
const GRID: usize = 16;
/// Words of 32 bits of a hash.
const WORDS: usize = GRID * GRID / 32;
/// Bits that two hashes of near duplicates may differ in: less than there are words, so that one
/// word is the same.
const MAX_DISTANCE: u32 = WORDS as u32 - 1;
/// Rows that share a word and are compared, at most.
const MAX_COMPARED: usize = 256;
/// Rows that a thread reads at once.
const ROWS_AT_ONCE: usize = 64;
/// Unreadable rows that are named.
const NAMED: usize = 5;

/// How many rows have a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// The same pixels and texts.
    pub exact: usize,
    /// An image that looks the same.
    pub near: usize,
    /// Rows that were looked at.
    pub of: usize,
}

impl Duplicates {
    /// In words; nothing if there are none.
    pub(super) fn describe(self, what: &str) -> String {
        let Self { exact, near, of } = self;
        if exact + near == 0 {
            String::new()
        } else {
            format!(": {exact} exactly and {near} nearly {what}, of {of}")
        }
    }
}

type Perceptual = [u32; WORDS];

/// A row's fingerprints.
#[derive(Clone, Copy)]
struct Print {
    exact: u64,
    perceptual: Option<Perceptual>,
}

/// The fingerprints of a split's rows.
pub(super) struct Prints {
    pub(super) name: String,
    pub(super) unreadable: Vec<String>,
    prints: Vec<Print>,
}

/// Rows whose fingerprints are taken, on threads.
struct Sample {
    dataset: Arc<dyn Dataset>,
    indices: Vec<usize>,
    /// Whether a row is the first about its image: it stands for it, and the others are compared
    /// with their texts only.
    is_first: Vec<bool>,
}

impl Sample {
    fn new(split: &OpenSplit, limit: Option<Limit>, seed: u64) -> Self {
        let indices = sample(split, limit, seed);
        let mut seen = HashSet::new();
        let is_first = indices
            .iter()
            .map(|&index| seen.insert(split.dataset.cluster(index)))
            .collect();
        Self {
            dataset: Arc::clone(&split.dataset),
            indices,
            is_first,
        }
    }

    /// A row's fingerprints, or what it is called where it cannot be read.
    fn read(&self, position: usize) -> Result<Print, String> {
        let index = self.indices[position];
        let name = || self.dataset.id(index);
        let example = self.dataset.get(index).map_err(|_| name())?;
        let print = print(&example).map_err(|_| name())?;
        let perceptual = print.perceptual.filter(|_| self.is_first[position]);
        Ok(Print {
            perceptual,
            ..print
        })
    }

    /// The fingerprints of all rows, some at a time, in their order.
    fn start(self) -> Loader<Vec<Result<Print, String>>> {
        let rows = self.indices.len();
        Loader::new(
            rows.div_ceil(ROWS_AT_ONCE),
            LoaderOptions::default(),
            move |part| {
                let locator = part * ROWS_AT_ONCE..rows.min((part + 1) * ROWS_AT_ONCE);
                locator.map(|position| self.read(position)).collect()
            },
        )
    }
}

impl Prints {
    /// Reads all rows, or a sample of `limit`.
    pub(super) fn of(
        split: &OpenSplit,
        limit: Option<Limit>,
        seed: u64,
        progress: &Progress,
    ) -> Self {
        let mut found = Self {
            name: split.name.clone(),
            unreadable: Vec::new(),
            prints: Vec::new(),
        };
        if limit == Some(Limit::Rows(0)) {
            return found;
        }
        let sample = Sample::new(split, limit, seed);
        let bar = progress.task(
            &format!("{}: rows", split.name),
            "rows",
            sample.indices.len(),
        );
        for part in sample.start() {
            bar.did(part.len());
            for print in part {
                found.add(print);
            }
        }
        found
    }

    fn add(&mut self, print: Result<Print, String>) {
        match print {
            Ok(print) => self.prints.push(print),
            Err(id) if self.unreadable.len() < NAMED => self.unreadable.push(id),
            Err(_) => {}
        }
    }

    /// Rows that are like an earlier row of the same split.
    pub(super) fn within(&self) -> Duplicates {
        let mut index = Index::default();
        let mut found = Duplicates {
            of: self.prints.len(),
            ..Duplicates::default()
        };
        for print in &self.prints {
            index.count(print, &mut found);
            index.add(print);
        }
        found
    }

    /// Rows that are like one of another split.
    pub(super) fn shared_with(&self, other: &Self) -> Duplicates {
        let mut index = Index::default();
        other.prints.iter().for_each(|print| index.add(print));
        let mut found = Duplicates {
            of: self.prints.len(),
            ..Duplicates::default()
        };
        self.prints
            .iter()
            .for_each(|print| index.count(print, &mut found));
        found
    }
}

/// Prints by their exact hash, and by each word of the perceptual one.
#[derive(Default)]
struct Index {
    exact: HashSet<u64>,
    words: HashMap<(usize, u32), Vec<Perceptual>>,
}

impl Index {
    fn add(&mut self, print: &Print) {
        self.exact.insert(print.exact);
        for (position, word) in informative(print) {
            let known = self.words.entry((position, word)).or_default();
            if let Some(perceptual) = print.perceptual.filter(|_| known.len() < MAX_COMPARED) {
                known.push(perceptual);
            }
        }
    }

    fn count(&self, print: &Print, found: &mut Duplicates) {
        if self.exact.contains(&print.exact) {
            found.exact += 1;
            return;
        }
        let Some(mine) = print.perceptual else { return };
        let near = |other: &Perceptual| {
            mine.iter()
                .zip(other)
                .map(|(a, b)| (a ^ b).count_ones())
                .sum::<u32>()
                <= MAX_DISTANCE
        };
        let alike = informative(print).any(|key| {
            self.words
                .get(&key)
                .is_some_and(|known| known.iter().any(near))
        });
        found.near += usize::from(alike);
    }
}

/// The words of a hash that say something: those of a flat area are the same in all images.
fn informative(print: &Print) -> impl Iterator<Item = (usize, u32)> + use<> {
    let words = print.perceptual.unwrap_or([0; WORDS]);
    words
        .into_iter()
        .enumerate()
        .filter(|(_, word)| (4..=28).contains(&word.count_ones()))
}

fn print(example: &Example) -> Result<Print, String> {
    let mut hasher = DefaultHasher::new();
    example.texts.hash(&mut hasher);
    let Some(bytes) = &example.image else {
        return Ok(Print {
            exact: hasher.finish(),
            perceptual: None,
        });
    };
    let image = decode(bytes).map_err(|e| e.to_string())?;
    let (width, height, pixels) = (image.width, image.height, &image.rgb);
    (width, height, pixels).hash(&mut hasher);
    Ok(Print {
        exact: hasher.finish(),
        perceptual: Some(perceptual(pixels, width, height)),
    })
}

/// Whether each cell of a grid is brighter than the one to its left, row by row.
fn perceptual(pixels: &[u8], width: usize, height: usize) -> Perceptual {
    let mut bits = [0; WORDS];
    for row in 0..GRID {
        let mut last = 0;
        let rows = row * height / GRID..((row + 1) * height).div_ceil(GRID);
        for column in 0..=GRID {
            let start = column * width / (GRID + 1);
            let end = ((column + 1) * width).div_ceil(GRID + 1);
            let of_row = |y: usize| &pixels[(y * width + start) * 3..(y * width + end) * 3];
            let values = rows.clone().flat_map(of_row);
            let sum: u64 = values.map(|&value| u64::from(value)).sum();
            let mean = sum * 256 / ((end - start) * rows.len()) as u64;
            if column > 0 && mean > last {
                let bit = row * GRID + column - 1;
                bits[bit / 32] |= 1 << (bit % 32);
            }
            last = mean;
        }
    }
    bits
}
