//! Answers to rows and what is right for them.

use std::{collections::HashSet, sync::Arc};

use flava_base::hex;
use sha2::{Digest, Sha256};

use super::logits::Logits;

/// Answers to the rows of a split, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Of the rows; of a retrieval's captions none.
    pub ids: Vec<String>,
    /// Rows of the same number share an image and are no independent trials.
    pub clusters: Option<Vec<usize>>,
    /// Answers and truth.
    pub outputs: Outputs,
}

/// The images that rows belong to, for [`Predictions::clusters`]; None where no two rows share
/// one.
pub fn shared(images: Vec<usize>) -> Option<Vec<usize>> {
    let distinct: HashSet<&usize> = images.iter().collect();
    (distinct.len() < images.len()).then_some(images)
}

/// Answers and truth, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Outputs {
    /// One class each.
    Classes {
        /// The answers.
        predicted: Vec<usize>,
        /// The truth.
        gold: Vec<usize>,
        /// What the answers were chosen by, where it is known.
        logits: Option<Logits>,
    },
    /// A number each.
    Values {
        /// The answers.
        predicted: Vec<f64>,
        /// The truth.
        gold: Vec<f64>,
    },
    /// A few words each.
    Answers {
        /// The answers.
        predicted: Vec<String>,
        /// What people answered, for each row.
        gold: Vec<Arc<[Arc<str>]>>,
    },
    /// The rank (from 1) of the best right item for each query.
    Ranks {
        /// For each image, among all captions.
        texts: Vec<Ranked>,
        /// For each caption, among all images.
        images: Vec<Ranked>,
    },
}

/// A query's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The image the query belongs to.
    pub image: usize,
    /// Rank of the best right item, ties counted against it.
    pub rank: usize,
}

impl Outputs {
    /// Those of the rows at these places, in this order; of a retrieval all.
    fn pick(&self, positions: &[usize]) -> Self {
        match self {
            Self::Classes {
                predicted,
                gold,
                logits,
            } => Self::Classes {
                predicted: some(positions, predicted),
                gold: some(positions, gold),
                logits: logits.as_ref().map(|logits| logits.pick(positions)),
            },
            Self::Values { predicted, gold } => Self::Values {
                predicted: some(positions, predicted),
                gold: some(positions, gold),
            },
            Self::Answers { predicted, gold } => Self::Answers {
                predicted: some(positions, predicted),
                gold: some(positions, gold),
            },
            Self::Ranks { .. } => self.clone(),
        }
    }
}

fn some<T: Clone>(positions: &[usize], values: &[T]) -> Vec<T> {
    positions
        .iter()
        .map(|&position| values[position].clone())
        .collect()
}

impl Predictions {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.outputs {
            Outputs::Classes { predicted, .. } => predicted.len(),
            Outputs::Values { predicted, .. } => predicted.len(),
            Outputs::Answers { predicted, .. } => predicted.len(),
            Outputs::Ranks { texts, .. } => texts.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows at these places, in this order; of a retrieval all.
    #[must_use]
    pub fn pick(&self, positions: &[usize]) -> Self {
        if matches!(self.outputs, Outputs::Ranks { .. }) {
            return self.clone();
        }
        let clusters = self.clusters.as_ref();
        Self {
            ids: some(positions, &self.ids),
            clusters: clusters.map(|clusters| some(positions, clusters)),
            outputs: self.outputs.pick(positions),
        }
    }

    /// A digest of all of it: what a file of predictions is checked by.
    pub(crate) fn digest(&self, task: &str) -> String {
        let mut digest = Sha256::new();
        add(&mut digest, task);
        for id in &self.ids {
            add(&mut digest, id);
        }
        add(&mut digest, &format!("{:?}", self.clusters));
        match &self.outputs {
            Outputs::Classes { logits, .. } => {
                add(&mut digest, &self.outputs.told());
                if let Some(logits) = logits {
                    add(&mut digest, &logits.classes().to_string());
                    logits.digest(&mut digest);
                }
            }
            other => add(&mut digest, &other.told()),
        }
        hex(&digest.finalize())
    }
}

impl Outputs {
    /// All of it as text, for the digest: files of all versions are checked by it, so that its
    /// words stay as they are, whatever the fields are called.
    fn told(&self) -> String {
        let ranked = |all: &[Ranked]| {
            let told = all.iter().map(|Ranked { image, rank }| {
                format!("Ranked {{ picture: {image}, rank: {rank} }}")
            });
            format!("[{}]", told.collect::<Vec<_>>().join(", "))
        };
        match self {
            Self::Classes {
                predicted, gold, ..
            } => format!("{predicted:?} {gold:?}"),
            Self::Values { predicted, gold } => {
                format!("Values {{ predicted: {predicted:?}, gold: {gold:?} }}")
            }
            Self::Answers { predicted, gold } => {
                format!("Answers {{ predicted: {predicted:?}, gold: {gold:?} }}")
            }
            Self::Ranks { texts, images } => {
                let (texts, images) = (ranked(texts), ranked(images));
                format!("Ranks {{ texts: {texts}, images: {images} }}")
            }
        }
    }
}

/// Adds a text and its length to a digest.
fn add(digest: &mut Sha256, text: &str) {
    digest.update((text.len() as u64).to_le_bytes());
    digest.update(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a file that an earlier version wrote: a field of another name must not make it damaged.
    #[test]
    fn a_retrievals_digest_stays_what_it_was() {
        let ranked = |image, rank| Ranked { image, rank };
        let predictions = Predictions {
            ids: Vec::new(),
            clusters: None,
            outputs: Outputs::Ranks {
                texts: vec![ranked(0, 4), ranked(1, 1)],
                images: vec![ranked(0, 2)],
            },
        };
        let told = "Ranks { texts: [Ranked { picture: 0, rank: 4 }, Ranked { picture: 1, rank: 1 }], \
                    images: [Ranked { picture: 0, rank: 2 }] }";
        assert_eq!(predictions.outputs.told(), told);
    }
}
