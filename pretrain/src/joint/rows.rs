//! Rows of corpora as the model reads them: pictures decoded, cropped and normalised, texts as word
//! pieces, both with parts hidden, and now and then a caption that belongs elsewhere. Everything
//! random depends on the seed, the corpus and the draw alone.

use std::{ops::Range, sync::Arc};

use flava_base::stream;
use flava_model::{
    TextInputs,
    processor::{
        Encoding, ImageProcessorConfig, ImageTransform, PassOrder, Picture, Pixels, Text,
        TextProcessor, image_batch, text_batch,
    },
};
use flava_training::BrokenRows;
use rand::{Rng, seq::IndexedRandom};
use tch::{Device, Kind, Tensor};

use super::{
    inputs::{BatchTotals, PretrainingInputs},
    masking::{BlockMasks, MaskedText, WordMasks},
    visual_words::VisualWords,
};
use crate::{
    Result,
    augment::Crop,
    draws::{Drawn, Draws, Piece, picture},
    recipe::RowKind,
};

/// Captions that are drawn before a text of the same words is taken for another's.
const TRIES: usize = 10;

/// How rows are made; the same for all corpora of a stage.
#[derive(Clone, Debug)]
pub struct Preparation {
    /// The model's pixels.
    pub transform: ImageTransform,
    /// The codebook's, from the same part of the picture.
    pub codebook: ImageTransform,
    /// Which part; all of it without.
    pub crop: Option<Crop>,
    /// Hidden patches.
    pub masks: BlockMasks,
    /// Word pieces.
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

impl Preparation {
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
}

/// A corpus in a mixture.
pub struct Reader {
    /// Its rows.
    pub draws: Draws,
    /// What they are read as.
    pub kind: RowKind,
    /// Where the visual words of its pictures come from.
    pub labels: PatchLabels,
}

/// Where the visual words of a corpus's pictures come from.
#[derive(Clone, Debug)]
pub enum PatchLabels {
    /// No loss reads any.
    Unread,
    /// The codebook, of each batch.
    Codebook,
    /// They are known ahead.
    Known(Arc<VisualWords>),
}

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    pixels: Option<Pixels>,
    codebook: Option<Pixels>,
    labels: Vec<i64>,
    mask: Vec<bool>,
    text: Option<(Encoding, MaskedText)>,
    matches: bool,
}

/// A batch on its way to the model.
#[derive(Debug)]
pub struct Batch {
    kind: RowKind,
    /// Ids of its rows.
    pub ids: Vec<String>,
    rows: Vec<Row>,
    /// Rows that were left out.
    pub broken: BrokenRows,
}

impl Reader {
    /// The batch that is the `nth` of this corpus.
    pub fn batch(&self, nth: u64, preparation: &Preparation) -> Result<Batch> {
        Ok(self.batch_of(
            self.draws
                .batch(nth, |index, draw| self.row(index, draw, preparation))?,
        ))
    }

    /// A piece of it.
    pub(crate) fn piece(&self, nth: u64, piece: Piece, preparation: &Preparation) -> Drawn<Row> {
        self.draws
            .piece(nth, piece, |index, draw| self.row(index, draw, preparation))
    }

    /// A batch of rows that were drawn.
    pub(crate) fn batch_of(&self, drawn: Drawn<Row>) -> Batch {
        Batch {
            kind: self.kind,
            ids: drawn.ids,
            rows: drawn.rows,
            broken: drawn.broken,
        }
    }

    fn row(
        &self,
        index: usize,
        draw: u64,
        preparation: &Preparation,
    ) -> std::result::Result<Row, String> {
        let (
            Preparation {
                seed,
                masks,
                ignore,
                ..
            },
            dataset,
        ) = (preparation, &self.draws.dataset);
        let mut rng = stream(*seed, &format!("row of {}, draw {draw}", self.draws.name));
        let mut row = Row {
            pixels: None,
            codebook: None,
            labels: Vec::new(),
            mask: Vec::new(),
            text: None,
            matches: true,
        };
        let texts = if self.kind == RowKind::Texts {
            dataset.texts_of(index).map_err(|e| e.to_string())?
        } else {
            let example = dataset.get(index).map_err(|e| e.to_string())?;
            let picture = picture(example.image.as_deref())?;
            self.add_picture(&mut row, picture, index, preparation, &mut rng)?;
            row.mask = masks.sample(&mut rng);
            example.texts
        };
        if self.kind != RowKind::Images {
            let own = texts
                .choose(&mut rng)
                .filter(|text| !text.trim().is_empty())
                .ok_or("has no text")?;
            let other =
                if self.kind == RowKind::Pairs && rng.random::<f64>() < preparation.negatives {
                    self.other_text(&texts, &mut rng)
                        .map_err(|e| e.to_string())?
                } else {
                    None
                };
            row.matches = other.is_none();
            let (words, longest) = preparation.words[usize::from(self.kind == RowKind::Pairs)];
            let text = other.as_ref().unwrap_or(own);
            let encoding = preparation
                .text
                .encode(&[Text::Single(text)], longest)
                .map_err(|e| e.to_string())?
                .remove(0);
            let masked = words.sample(&encoding, &preparation.text, *ignore, &mut rng);
            row.text = Some((encoding, masked));
        }
        Ok(row)
    }

    fn add_picture(
        &self,
        row: &mut Row,
        picture: Picture,
        index: usize,
        preparation: &Preparation,
        rng: &mut impl Rng,
    ) -> std::result::Result<(), String> {
        let picture = match &preparation.crop {
            Some(crop) => crop.apply(&picture, rng),
            None => picture,
        };
        row.pixels = Some(preparation.transform.apply(&picture));
        match &self.labels {
            PatchLabels::Unread => {}
            PatchLabels::Codebook => row.codebook = Some(preparation.codebook.apply(&picture)),
            PatchLabels::Known(words) => {
                row.labels = words
                    .of(index)
                    .ok_or("was broken when visual words were computed")?;
            }
        }
        Ok(())
    }

    /// A text of another row that says something else; none where there seems to be none.
    fn other_text(&self, texts: &[String], rng: &mut impl Rng) -> Result<Option<String>> {
        for _ in 0..TRIES {
            let dataset = &self.draws.dataset;
            let others = dataset.texts_of(rng.random_range(0..dataset.len()))?;
            if let Some(other) = others
                .choose(rng)
                .filter(|other| !texts.contains(other) && !other.trim().is_empty())
            {
                return Ok(Some(other.clone()));
            }
        }
        Ok(None)
    }
}

impl Batch {
    /// Its rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What its rows are.
    pub fn kind(&self) -> RowKind {
        self.kind
    }

    /// Word pieces, padding left out.
    pub fn tokens(&self) -> usize {
        self.rows
            .iter()
            .filter_map(|row| row.text.as_ref())
            .map(|(encoding, _)| encoding.input_ids.len())
            .sum()
    }

    /// Longest text in word pieces.
    pub fn longest(&self) -> usize {
        self.rows
            .iter()
            .filter_map(|row| row.text.as_ref())
            .map(|(encoding, _)| encoding.input_ids.len())
            .max()
            .unwrap_or(0)
    }

    /// What parts of it are parts of.
    pub fn totals(&self, ignore: i64) -> BatchTotals {
        let any_match = self.rows.iter().any(|row| row.matches);
        let mut whole = BatchTotals {
            patches: 0,
            words: 0,
            pairs: self.rows.len(),
            any_match,
        };
        for row in self.rows.iter().filter(|row| row.matches || !any_match) {
            whole.patches += row.mask.iter().filter(|hidden| **hidden).count();
            whole.words += row
                .text
                .iter()
                .flat_map(|(_, masked)| &masked.labels)
                .filter(|label| **label != ignore)
                .count();
        }
        whole
    }

    /// Whether pictures and texts belong together, for some rows: \[rows\], int64.
    pub fn itm_labels(&self, part: Range<usize>, device: Device) -> Result<Tensor> {
        let labels: Vec<i64> = self.rows[part]
            .iter()
            .map(|row| row.matches.into())
            .collect();
        Ok(Tensor::f_from_slice(&labels)?.f_to_device(device)?)
    }

    /// Some rows' pictures, as they are: \[rows, 3, height, width\].
    pub fn pixels(&self, part: Range<usize>, device: Device) -> Result<Tensor> {
        let pixels = self.rows[part].iter().filter_map(|row| row.pixels.as_ref());
        Ok(image_batch(pixels, device, Kind::Float)?.pixel_values)
    }

    /// Some rows' texts, as they are.
    pub fn texts(&self, part: Range<usize>, pad: i64, device: Device) -> Result<TextInputs> {
        let encodings = self.rows[part]
            .iter()
            .filter_map(|row| row.text.as_ref())
            .map(|(encoding, _)| encoding);
        Ok(text_batch(encodings, pad, device)?)
    }

    /// Everything that the losses read of some rows; `unmasked` says whether texts as they are come
    /// with it.
    pub fn inputs(
        &self,
        part: Range<usize>,
        unmasked: bool,
        (pad, ignore): (i64, i64),
        device: Device,
    ) -> Result<PretrainingInputs> {
        let rows = &self.rows[part.clone()];
        let mut inputs = PretrainingInputs::default();
        if self.kind != RowKind::Texts {
            inputs.pixel_values = Some(self.pixels(part.clone(), device)?);
            let mask: Vec<bool> = rows
                .iter()
                .flat_map(|row| row.mask.iter().copied())
                .collect();
            inputs.bool_masked_pos = Some(
                Tensor::f_from_slice(&mask)?
                    .f_view([rows.len() as i64, -1])?
                    .f_to_device(device)?,
            );
            if rows.iter().all(|row| row.codebook.is_some()) {
                let pixels = rows.iter().filter_map(|row| row.codebook.as_ref());
                inputs.codebook_pixel_values =
                    Some(image_batch(pixels, device, Kind::Float)?.pixel_values);
            } else if rows.iter().any(|row| !row.labels.is_empty()) {
                let labels: Vec<i64> = rows
                    .iter()
                    .flat_map(|row| row.labels.iter().copied())
                    .collect();
                inputs.mim_labels = Some(
                    Tensor::f_from_slice(&labels)?
                        .f_view([rows.len() as i64, -1])?
                        .f_to_device(device)?,
                );
            }
        }
        if self.kind != RowKind::Images {
            let texts = self.texts(part.clone(), pad, device)?;
            let (batch, seq) = texts.input_ids.size2()?;
            let mut flat = [
                vec![pad; (batch * seq) as usize],
                vec![ignore; (batch * seq) as usize],
            ];
            for (place, (_, masked)) in rows.iter().filter_map(|row| row.text.as_ref()).enumerate()
            {
                let start = place * seq as usize;
                flat[0][start..start + masked.input_ids.len()].copy_from_slice(&masked.input_ids);
                flat[1][start..start + masked.labels.len()].copy_from_slice(&masked.labels);
            }
            let tensor = |flat: &[i64]| -> Result<Tensor> {
                Ok(Tensor::f_from_slice(flat)?
                    .f_view([batch, seq])?
                    .f_to_device(device)?)
            };
            inputs.masked_text = Some(TextInputs {
                input_ids: tensor(&flat[0])?,
                attention_mask: texts.attention_mask.as_ref().map(Tensor::shallow_clone),
                token_type_ids: texts.token_type_ids.as_ref().map(Tensor::shallow_clone),
                position_ids: None,
            });
            inputs.mlm_labels = Some(tensor(&flat[1])?);
            inputs.text = unmasked.then_some(texts);
        }
        if self.kind == RowKind::Pairs {
            inputs.itm_labels = Some(self.itm_labels(part, device)?);
        }
        Ok(inputs)
    }
}
