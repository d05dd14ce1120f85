//! Which patches and words are hidden: `BEiT`'s block-wise masks (FLAVA section 3.2) and BERT's
//! 80-10-10 rule.

use flava_model::processor::{Encoding, ImageProcessorConfig, TextProcessor};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Rectangles tried before a mask is left as it is.
const TRIES: usize = 10;
/// Share of the labelled words that become `[MASK]`; half of the others become random words (BERT).
const HIDDEN: f64 = 0.8;

/// Generates block-wise masks over a square grid of patches.
#[derive(Clone, Debug)]
pub struct BlockMasks {
    side: usize,
    total: usize,
    min_block: usize,
    max_block: usize,
    log_aspect: (f64, f64),
}

impl BlockMasks {
    /// Patches that are hidden, at most.
    pub fn total(&self) -> usize {
        self.total
    }

    /// As `config` describes them; flava-full's masks at most 75 of 196 patches.
    pub fn new(config: &ImageProcessorConfig) -> Self {
        let low = config.mask_group_min_aspect_ratio;
        let high = config.mask_group_max_aspect_ratio.unwrap_or(1.0 / low);
        Self {
            side: config.input_size_patches,
            total: config.total_mask_patches,
            min_block: config.mask_group_min_patches,
            max_block: config
                .mask_group_max_patches
                .unwrap_or(config.total_mask_patches),
            log_aspect: (low.ln(), high.ln()),
        }
    }

    /// A mask, row by row: true where a patch is hidden. Ten misfits in a row end it early.
    pub fn sample(&self, rng: &mut impl Rng) -> Vec<bool> {
        let mut mask = vec![false; self.side * self.side];
        let mut masked = 0;
        while masked < self.total {
            let room = (self.total - masked).min(self.max_block);
            match (0..TRIES).find_map(|_| self.block(&mut mask, room, rng)) {
                Some(added) => masked += added,
                None => break,
            }
        }
        mask
    }

    /// Hides one rectangle if it fits and adds between one and `room` patches; says how many.
    fn block(&self, mask: &mut [bool], room: usize, rng: &mut impl Rng) -> Option<usize> {
        // With less room than the smallest block the ends are swapped, as in BEiT's code.
        let (low, high) = (self.min_block as f64, room as f64);
        let area = low + rng.random::<f64>() * (high - low);
        let aspect = (self.log_aspect.0
            + rng.random::<f64>() * (self.log_aspect.1 - self.log_aspect.0))
            .exp();
        let height = (area * aspect).sqrt().round_ties_even() as usize;
        let width = (area / aspect).sqrt().round_ties_even() as usize;
        if height >= self.side || width >= self.side {
            return None;
        }
        let top = rng.random_range(0..=self.side - height);
        let left = rng.random_range(0..=self.side - width);
        let cells = || {
            (top..top + height).flat_map(|y| (left..left + width).map(move |x| y * self.side + x))
        };
        let added = cells().filter(|&cell| !mask[cell]).count();
        if !(1..=room).contains(&added) {
            return None;
        }
        cells().for_each(|cell| mask[cell] = true);
        Some(added)
    }
}

/// A text with some words hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedText {
    /// The encoding with words replaced.
    pub input_ids: Vec<i64>,
    /// The word at each labelled place, `ignore` elsewhere.
    pub labels: Vec<i64>,
}

/// How words are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordMasks {
    /// Share of the words that are labelled.
    pub rate: f64,
    /// Whether all pieces of a word are labelled together.
    pub whole_words: bool,
}

impl WordMasks {
    /// Labels a share of the pieces that are not special; of these 80 % become `[MASK]`, 10 % a
    /// random piece, 10 % stay.
    pub fn sample(
        &self,
        encoding: &Encoding,
        text: &TextProcessor,
        ignore: i64,
        rng: &mut impl Rng,
    ) -> MaskedText {
        let mut masked = MaskedText {
            input_ids: encoding.input_ids.clone(),
            labels: vec![ignore; encoding.input_ids.len()],
        };
        let mut chosen = false;
        for (id, label) in masked.input_ids.iter_mut().zip(&mut masked.labels) {
            if text.is_special(*id) {
                continue;
            }
            if !self.whole_words || !text.continues_word(*id) {
                chosen = rng.random::<f64>() < self.rate;
            }
            if !chosen {
                continue;
            }
            *label = *id;
            let fate = rng.random::<f64>();
            if fate < HIDDEN {
                *id = text.mask_id();
            } else if fate < HIDDEN + (1.0 - HIDDEN) / 2.0 {
                *id = rng.random_range(0..text.vocab_size() as i64);
            }
        }
        masked
    }
}

#[cfg(test)]
mod tests {
    use flava_base::stream;
    use flava_model::processor::Text;

    use super::*;

    /// 20,000 masks of transformers' generator: mean 74.47, sd 0.99, smallest 64, 66.6 % exactly
    /// 75.
    #[test]
    fn block_masks_have_the_distribution_of_transformers() {
        let masks = BlockMasks::new(&ImageProcessorConfig::default());
        let mut rng = stream(0, "masks");
        let counts: Vec<f64> = (0..20_000)
            .map(|_| masks.sample(&mut rng).iter().filter(|&&m| m).count() as f64)
            .collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let sd =
            (counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / counts.len() as f64).sqrt();
        let full = counts.iter().filter(|&&c| c == 75.0).count() as f64 / counts.len() as f64;
        assert!((mean - 74.47).abs() < 0.04, "mean {mean}");
        assert!((sd - 0.99).abs() < 0.05, "sd {sd}");
        assert!((full - 0.666).abs() < 0.015, "full {full}");
        assert!(counts.iter().all(|&c| (55.0..=75.0).contains(&c)));
    }

    #[test]
    fn masks_repeat_with_their_seed() {
        let masks = BlockMasks::new(&ImageProcessorConfig::default());
        assert_eq!(
            masks.sample(&mut stream(3, "a")),
            masks.sample(&mut stream(3, "a"))
        );
        assert_ne!(
            masks.sample(&mut stream(3, "a")),
            masks.sample(&mut stream(4, "a"))
        );
    }

    #[test]
    fn words_are_masked_by_berts_rule() {
        let words: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
            .iter()
            .map(|s| (*s).to_owned())
            .chain((0..1000).map(|i| format!("w{i}")))
            .collect();
        let text = TextProcessor::from_words(&words).unwrap();
        let sentence = vec!["w7"; 40_000].join(" ");
        let encoding = text
            .encode(&[Text::Single(&sentence)], 1 << 20)
            .unwrap()
            .remove(0);
        let masks = WordMasks {
            rate: 0.15,
            whole_words: false,
        };
        let masked = masks.sample(&encoding, &text, -100, &mut stream(1, "words"));
        let labelled: Vec<i64> = masked
            .labels
            .iter()
            .zip(&masked.input_ids)
            .filter(|(l, _)| **l != -100)
            .map(|(_, id)| *id)
            .collect();
        let share = |f: &dyn Fn(i64) -> bool| {
            labelled.iter().filter(|&&id| f(id)).count() as f64 / labelled.len() as f64
        };
        assert!((labelled.len() as f64 / 40_000.0 - 0.15).abs() < 0.01);
        assert!((share(&|id| id == text.mask_id()) - 0.8).abs() < 0.02);
        assert!((share(&|id| id == encoding.input_ids[1]) - 0.1).abs() < 0.015);
        let ends = (masked.labels[0], masked.labels[masked.labels.len() - 1]);
        assert_eq!(ends, (-100, -100), "special tokens are never labelled");
    }

    #[test]
    fn pieces_of_a_word_are_labelled_together() {
        let words = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "##s", "a",
        ]
        .map(str::to_owned);
        let text = TextProcessor::from_words(&words).unwrap();
        let sentence = vec!["playings a"; 5000].join(" ");
        let encoding = text
            .encode(&[Text::Single(&sentence)], 1 << 20)
            .unwrap()
            .remove(0);
        let masks = WordMasks {
            rate: 0.15,
            whole_words: true,
        };
        let masked = masks.sample(&encoding, &text, -100, &mut stream(2, "words"));
        let labelled = masked.labels.iter().filter(|&&label| label != -100).count() as f64;
        assert!(
            (labelled / 20_000.0 - 0.15).abs() < 0.012,
            "a share of the pieces too: {labelled}"
        );
        for word in masked.labels[1..masked.labels.len() - 1].chunks(4) {
            assert!(
                word[..3].iter().all(|&label| label == -100)
                    || word[..3].iter().all(|&label| label != -100)
            );
        }
    }
}
