//! Rows of corpora as the model reads them: images cropped and normalised, texts as tokens,
//! both with parts hidden.

use std::sync::Arc;

use flava_model::processor::{
    Encoding, ImageProcessorConfig, ImageTransform, PassOrder, Pixels, Text, TextProcessor,
};
use rand::Rng;

use super::masking::{BlockMasks, MaskedText, WordMasks};
use crate::augment::Crop;

/// How rows are made; the same for all corpora of a stage.
#[derive(Clone, Debug)]
pub struct ExampleTransform {
    /// The model's pixels.
    pub transform: ImageTransform,
    /// The codebook's, from the same part of the image.
    pub codebook: ImageTransform,
    /// Which part; all of it without.
    pub crop: Option<Crop>,
    /// Hidden patches.
    pub masks: BlockMasks,
    /// Tokens.
    pub text: Arc<TextProcessor>,
    /// Hidden words, and the longest text in tokens: of texts alone, and of captions.
    pub words: [(WordMasks, usize); 2],
    /// How often a caption is exchanged.
    pub negatives: f64,
    /// The label of what is not hidden.
    pub ignore: i64,
    /// Of everything that is drawn.
    pub seed: u64,
}

impl ExampleTransform {
    /// Whole images as `processor` has them, and captions that are never exchanged.
    pub fn new(
        processor: &ImageProcessorConfig,
        text: Arc<TextProcessor>,
        words: [(WordMasks, usize); 2],
        ignore: i64,
        seed: u64,
    ) -> Self {
        Self {
            transform: processor.transform(PassOrder::default()),
            codebook: processor.codebook_transform(PassOrder::default()),
            crop: None,
            masks: BlockMasks::new(processor),
            text,
            words,
            negatives: 0.0,
            ignore,
            seed,
        }
    }

    /// A text, or a caption, as tokens, and with some of its words hidden.
    pub(super) fn hidden_text(
        &self,
        text: &str,
        is_caption: bool,
        rng: &mut impl Rng,
    ) -> std::result::Result<RowText, String> {
        let (words, longest) = self.words[usize::from(is_caption)];
        let encoding = self
            .text
            .encode(&[Text::Single(text)], longest)
            .map_err(|e| e.to_string())?
            .remove(0);
        let masked = words.sample(&encoding, &self.text, self.ignore, rng);
        Ok(RowText { encoding, masked })
    }
}

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    /// The image as the model reads it.
    pub(super) pixels: Option<Pixels>,
    /// As the codebook reads it, where that names its patches.
    pub(super) codebook: Option<Pixels>,
    /// The visual tokens, where they are known.
    pub(super) labels: Vec<i64>,
    /// True where a patch is hidden.
    pub(super) mask: Vec<bool>,
    pub(super) text: Option<RowText>,
    /// Whether image and text belong together.
    pub(super) matches: bool,
}

impl Row {
    /// Its hidden patches and words.
    pub(super) fn labelled(&self, ignore: i64) -> [usize; 2] {
        let labels = self.text.iter().flat_map(|text| &text.masked.labels);
        [
            self.mask.iter().filter(|hidden| **hidden).count(),
            labels.filter(|label| **label != ignore).count(),
        ]
    }
}

/// A row's text.
#[derive(Debug)]
pub(super) struct RowText {
    pub(super) encoding: Encoding,
    pub(super) masked: MaskedText,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            pixels: None,
            codebook: None,
            labels: Vec::new(),
            mask: Vec::new(),
            text: None,
            matches: true,
        }
    }
}
