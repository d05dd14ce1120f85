//! Rows of a split, decoded and tokenised ahead on threads.

use std::{ops::Range, sync::Arc};

use flava_base::id_rank;
use flava_model::{
    processor::{Encoding, ImageTransform, Pixels, Text, TextProcessor, decode},
    runtime::{Loader, LoaderOptions},
};
use flava_tasks::{
    Dataset, SplitPart,
    sources::{OpenSplit, part_ids},
};

use crate::{Error, Limit, Result, data};

/// What a split is for in its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitRole {
    Train,
    Validation,
    Test,
    SecondTest,
}

impl SplitRole {
    /// All, in the order they are used.
    pub(crate) const ALL: [Self; 4] = [Self::Train, Self::Validation, Self::Test, Self::SecondTest];

    /// Its key in the task's row.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::SecondTest => "second_test",
        }
    }
}

/// A split as its task's row has it.
#[derive(Clone, Debug)]
pub(crate) struct SplitIdentity {
    pub(crate) role: SplitRole,
    /// What it is called before anybody has opened it; empty where nobody asks.
    pub(crate) origin: String,
}

/// The rows of a split that are used.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) split: OpenSplit,
    pub(crate) role: SplitRole,
    /// Digest of ids, labels and contents of the rows that are used.
    pub(crate) fingerprint: String,
    /// Digest of what a model reads of them.
    pub(crate) inputs: String,
    /// What the split is called before anybody has opened it.
    pub(crate) origin: String,
    indices: Arc<Vec<usize>>,
}

impl Rows {
    /// All rows, or a sample of them.
    pub(crate) fn new(
        split: OpenSplit,
        identity: SplitIdentity,
        limit: Option<Limit>,
        seed: u64,
    ) -> Result<Self> {
        let indices = sample(&split, limit, seed);
        let digests = data::fingerprint(&split)?;
        let (fingerprint, inputs) = (
            digests.of_rows(&*split.dataset, &indices),
            digests.of_inputs(&indices),
        );
        Ok(Self {
            split,
            fingerprint,
            inputs,
            role: identity.role,
            origin: identity.origin,
            indices: Arc::new(indices),
        })
    }

    /// Some rows of a split, in their order, which nobody compares with others.
    pub(crate) fn some(split: OpenSplit, rows: Vec<usize>) -> Self {
        Self {
            split,
            fingerprint: String::new(),
            inputs: String::new(),
            role: SplitRole::Test,
            origin: String::new(),
            indices: Arc::new(rows),
        }
    }

    /// Those of the rows that a part of training rows has, and those that it has not; rows that
    /// share an image are in one together.
    pub(crate) fn divided(&self, part: SplitPart) -> (Self, Self) {
        let ids = part_ids(self.dataset(), self.indices());
        let rows = self.indices().iter().zip(ids);
        let (inside, outside): (Vec<_>, Vec<_>) = rows.partition(|(_, id)| part.has(id));
        let plain = |rows: Vec<(&usize, String)>| rows.into_iter().map(|(row, _)| *row).collect();
        let with = |indices: Vec<usize>| Self {
            indices: Arc::new(indices),
            ..self.clone()
        };
        (with(plain(inside)), with(plain(outside)))
    }

    /// What the row at a position is called.
    pub(crate) fn id(&self, position: usize) -> String {
        self.split.dataset.id(self.indices[position])
    }

    /// What the rows are called.
    pub(crate) fn ids(&self) -> Vec<String> {
        (0..self.len()).map(|position| self.id(position)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.indices.len()
    }

    pub(crate) fn indices(&self) -> &[usize] {
        &self.indices
    }

    pub(crate) fn dataset(&self) -> &dyn Dataset {
        &*self.split.dataset
    }
}

/// All rows of a split, or as many of them as the limit says that depend on the seed and the ids alone, in order.
pub(crate) fn sample(split: &OpenSplit, limit: Option<Limit>, seed: u64) -> Vec<usize> {
    let count = split.dataset.len();
    let limit = limit.map(|limit| limit.of(count));
    match limit.filter(|&limit| limit < count) {
        None => (0..count).collect(),
        Some(limit) => {
            let purpose = format!("limit {}", split.name);
            let mut sample: Vec<usize> = (0..count).collect();
            sample
                .sort_by_cached_key(|&row| (id_rank(seed, &purpose, &split.dataset.id(row)), row));
            sample.truncate(limit);
            sample.sort_unstable();
            sample
        }
    }
}

/// One row after its preparation.
pub(crate) struct Prepared {
    /// Its place among the rows used.
    pub(crate) position: usize,
    pub(crate) pixels: Pixels,
    pub(crate) encoding: Option<Encoding>,
}

/// How rows are prepared.
#[derive(Clone)]
pub(crate) struct Preparation {
    pub(crate) transform: ImageTransform,
    /// Tokenizer and tokens at most, where texts are read too.
    pub(crate) text: Option<(Arc<TextProcessor>, usize)>,
    pub(crate) loader: LoaderOptions,
}

impl Preparation {
    /// Batches of the rows at these positions, made ahead.
    pub(crate) fn start(
        self,
        rows: &Rows,
        batches: Vec<Range<usize>>,
    ) -> Loader<Vec<Result<Prepared>>> {
        let rows = rows.clone();
        let loader = self.loader;
        Loader::new(batches.len(), loader, move |batch| {
            batches[batch]
                .clone()
                .map(|position| self.at(&rows, position))
                .collect()
        })
    }

    /// The row at a place.
    pub(crate) fn at(&self, rows: &Rows, position: usize) -> Result<Prepared> {
        self.row(rows.dataset(), rows.indices[position], position)
    }

    fn row(&self, dataset: &dyn Dataset, row: usize, position: usize) -> Result<Prepared> {
        let example = dataset.get(row).map_err(|e| Error::Row {
            id: dataset.id(row),
            reason: e.to_string(),
        })?;
        let broken = |reason: String| Error::Row {
            id: example.id.clone(),
            reason,
        };
        let missing = || broken("there is no image".into());
        let bytes = example.image.as_ref().ok_or_else(missing)?;
        let image = decode(bytes).map_err(|e| broken(e.to_string()))?;
        let pixels = self.transform.apply(&image);
        let mut encoding = None;
        if let Some((text, max_tokens)) = &self.text {
            let parts = text_of_row(&example.id, &example.texts)?;
            encoding = text.encode(&[parts], *max_tokens)?.pop();
        }
        Ok(Prepared {
            position,
            pixels,
            encoding,
        })
    }
}

/// One text or a pair of a row as the tokenizer takes them.
pub(crate) fn text_of_row<'t>(id: &str, texts: &'t [String]) -> Result<Text<'t>> {
    match texts {
        [a] => Ok(Text::Single(a)),
        [a, b] => Ok(Text::Pair(a, b)),
        _ => Err(Error::UnfitRows(format!(
            "{id}: {} texts where one or a pair is read",
            texts.len()
        ))),
    }
}
