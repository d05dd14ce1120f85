//! Features of the rows of a split: of their images, their texts, or both.

use std::{ops::Range, sync::Arc};

use flava_model::runtime::Loader;
use flava_tasks::{Feature, Tower};
use tch::Tensor;

use super::{
    Extractor, Features, Preparation, Prepared, Rows,
    batches::cut,
    pass::{Made, Pass, joined},
    prepare::text_of_row,
    store::{FeatureShard, SHARD},
    taps::{joint_mask, output_rows, read_all},
};
use crate::{Error, Result};

impl Extractor<'_> {
    /// A feature of each row.
    pub(crate) fn features(&self, rows: &Rows, feature: Feature) -> Result<Features> {
        self.check(feature)?;
        let wanted = self.wanted(&rows.origin, feature);
        let made = match feature.tower {
            Tower::Text => self.texts(rows, &wanted)?,
            Tower::Image | Tower::Multimodal => self.images(rows, &wanted, true)?,
        };
        if made.positions.is_empty() {
            return Err(Error::UnfitRows(format!(
                "split {}: every one of its {} rows is broken",
                rows.split.name,
                rows.len()
            )));
        }
        Ok(Features::new(rows, &made.positions, made.values))
    }

    /// The places of the rows that are not broken, and a feature of each: \[places, width\].
    pub(crate) fn places(&self, rows: &Rows, feature: Feature) -> Result<(Vec<usize>, Tensor)> {
        self.check(feature)?;
        let made = match feature.tower {
            Tower::Text => self.texts(rows, &[feature])?,
            Tower::Image | Tower::Multimodal => self.images(rows, &[feature], true)?,
        };
        Ok((made.positions, made.values))
    }

    /// The places of the rows that are not broken, and several features of one encoder of each:
    /// \[places, width\].
    pub(crate) fn several(
        &self,
        rows: &Rows,
        wanted: &[Feature],
    ) -> Result<(Vec<usize>, Vec<Tensor>)> {
        let made = match wanted[0].tower {
            Tower::Text => self.all_texts(rows, wanted)?,
            Tower::Image | Tower::Multimodal => self.all_images(rows, wanted, true)?,
        };
        let places = made.first().map(|shard| shard.positions.clone());
        let values = made.into_iter().map(|shard| shard.values).collect();
        Ok((places.unwrap_or_default(), values))
    }

    /// Makes features of images that no other process of the run makes, and does not wait for the
    /// rest.
    pub(crate) fn help(&self, rows: &Rows, feature: Feature) -> Result<()> {
        if self.peers.is_none() || feature.tower == Tower::Text {
            return Ok(());
        }
        self.check(feature)?;
        self.images(rows, &self.wanted(&rows.origin, feature), false)?;
        Ok(())
    }

    /// The feature that is asked for, and what later tasks will want of the same rows and encoder.
    fn wanted(&self, origin: &str, feature: Feature) -> Vec<Feature> {
        let mut wanted = vec![feature];
        if self.store.is_none() {
            return wanted;
        }
        for other in self.later.get(origin).into_iter().flatten() {
            let fits = other.tower == feature.tower && self.check(*other).is_ok();
            if fits && !wanted.contains(other) {
                wanted.push(*other);
            }
        }
        wanted
    }

    /// The first of some features of the rows' texts.
    fn texts(&self, rows: &Rows, wanted: &[Feature]) -> Result<FeatureShard> {
        Ok(self.all_texts(rows, wanted)?.swap_remove(0))
    }

    /// Features of the rows' texts; from the store no more than the first.
    fn all_texts(&self, rows: &Rows, wanted: &[Feature]) -> Result<Vec<FeatureShard>> {
        let dataset = rows.dataset();
        let read = |&row: &usize| Ok((dataset.id(row), dataset.texts_of(row)?));
        let read: Vec<(String, Vec<String>)> =
            rows.indices().iter().map(read).collect::<Result<_>>()?;
        let texts = read.iter().map(|(id, texts)| text_of_row(id, texts));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let id = |row: usize| rows.id(row);
        self.all_of_texts(&texts, &rows.split.name, &id, wanted)
    }

    /// The first of some features of rows with images; nothing where every row is broken.
    fn images(&self, rows: &Rows, wanted: &[Feature], wants_all: bool) -> Result<FeatureShard> {
        let mut made = self.all_images(rows, wanted, wants_all)?;
        let nothing = FeatureShard {
            positions: Vec::new(),
            values: Tensor::new(),
        };
        Ok(made.drain(..).next().unwrap_or(nothing))
    }

    /// Features of rows with images, and of the texts with them where the multimodal encoder is
    /// asked; from the store no more than the first.
    fn all_images(
        &self,
        rows: &Rows,
        wanted: &[Feature],
        wants_all: bool,
    ) -> Result<Vec<FeatureShard>> {
        let id = |row: usize| rows.id(row);
        let pass = Pass {
            wanted,
            data: &rows.inputs,
            name: &format!("{}: images", rows.split.name),
            rows: rows.len(),
            preparation: self.preparation_of_images(wanted[0].tower),
            shards_of_block: 1,
            blocks: blocks_of(rows.len(), self.fitting.rows()),
            id: &id,
        };
        self.run(&pass, wants_all, |blocks| {
            let mut loader = self.start(rows, &pass, blocks);
            move |_: &[usize]| {
                let prepared = self.unbroken(loader.next().unwrap_or_default())?;
                let values = self.encode_fitting(&prepared, wanted)?;
                let positions = prepared.into_iter().map(|row| row.position).collect();
                Ok(Made { positions, values })
            }
        })
    }

    /// How images become pixels, and their texts tokens, for keys.
    fn preparation_of_images(&self, tower: Tower) -> String {
        let mut preparation = self.transform().id();
        if tower == Tower::Multimodal {
            preparation = format!("{preparation}, {}", self.tokenization());
        }
        if self.settings.skip_broken {
            preparation += ", broken rows skipped";
        }
        preparation
    }

    /// The batches of blocks that are to be made, read ahead.
    fn start(&self, rows: &Rows, pass: &Pass, blocks: &[usize]) -> Loader<Vec<Result<Prepared>>> {
        let joint = pass.wanted[0].tower == Tower::Multimodal;
        let ahead = Preparation {
            transform: self.transform(),
            text: joint.then(|| (Arc::clone(&self.model.text), self.max_tokens())),
            loader: self.settings.loader(),
        };
        let batches = pass.batches_of(blocks);
        let batches = batches.map(|batch| batch[0]..batch[batch.len() - 1] + 1);
        ahead.start(rows, batches.collect())
    }

    /// The rows of a batch; broken ones fail it, unless they are to be left out.
    fn unbroken(&self, batch: Vec<Result<Prepared>>) -> Result<Vec<Prepared>> {
        let mut prepared = Vec::with_capacity(batch.len());
        for row in batch {
            match row {
                Ok(row) => prepared.push(row),
                Err(Error::Row { id, reason }) if self.settings.skip_broken => {
                    self.progress.left_out(&id, &reason);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(prepared)
    }

    /// Encodes rows, fewer at a time where the device's memory is too small for all.
    pub(crate) fn encode_fitting(
        &self,
        rows: &[Prepared],
        wanted: &[Feature],
    ) -> Result<Vec<Tensor>> {
        let encode = |some: Range<usize>| self.encode(&rows[some], wanted);
        joined(&self.fitting.each(rows.len(), self.progress, encode)?)
    }

    /// Each wanted feature of a batch of rows.
    fn encode(&self, rows: &[Prepared], wanted: &[Feature]) -> Result<Vec<Tensor>> {
        let flava = self.model.flava()?;
        let images = self.image_batch(rows.iter().map(|row| &row.pixels))?;
        let asked = output_rows(wanted);
        if wanted[0].tower == Tower::Image {
            let output = flava.encode_image_rows(&images, &asked)?;
            return read_all(flava, wanted, &output, None);
        }
        let inputs = self.text_inputs(rows.iter().filter_map(|row| row.encoding.as_ref()))?;
        let (image, text) = (flava.encode_image(&images)?, flava.encode_text(&inputs)?);
        let mask = inputs.attention_mask.as_ref();
        let output = flava.encode_multimodal_rows(&image, &text, mask, &asked)?;
        let joint_mask = mask.map(|mask| joint_mask(mask, &output)).transpose()?;
        read_all(flava, wanted, &output, joint_mask.as_ref())
    }
}

/// The batches of each block, which is a shard.
fn blocks_of(rows: usize, size: usize) -> Vec<Vec<Vec<usize>>> {
    let block = |shard: Range<usize>| cut(shard, size).map(Iterator::collect).collect();
    cut(0..rows, SHARD).map(block).collect()
}
