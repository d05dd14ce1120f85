//! Rows to features: one pass of a split through the model reads all that is asked for of it, shard
//! by shard into the store.

mod prepare;
mod store;
mod taps;

use std::{cell::Cell, collections::HashMap, ops::Range, sync::Arc};

use flava_base::hex;
use flava_model::{
    ImageInputs, Pretrained, TextInputs,
    processor::{Encoding, ImageTransform, Pixels, Text, image_batch, text_batch},
    runtime::Progress,
};
use flava_tasks::{Example, Feature, Label, Tap, Tower};
use flava_training::LearnerError;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use crate::{Error, Result, Settings, check_interrupted};

pub(crate) use prepare::{Preparation, Prepared, Rows, sample, text_of};
pub(crate) use store::Store;
use store::{About, Piece, SHARD, Shards};
use taps::{joint_mask, output_rows, read};

/// Longest text in tokens, as in the paper's pretraining and zero-shot evaluation.
pub(crate) const MAX_TOKENS: usize = 77;
/// Tokens of one batch of texts; short texts go in larger batches.
const BATCH_TOKENS: usize = 4096;
/// Shards of texts that are made together, so that texts of like length meet.
const TEXT_SHARDS: usize = 8;
/// Variables of the environment under which products are computed otherwise than in the precision
/// that was asked for.
const NUMERICS: [&str; 6] = [
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
];

/// What the rows gave, without those that were skipped.
pub(crate) struct Features {
    /// \[rows, width\], f32, on the CPU.
    pub(crate) values: Tensor,
    pub(crate) ids: Vec<String>,
    pub(crate) labels: Vec<Label>,
    /// Which rows share a picture.
    pub(crate) clusters: Vec<usize>,
    /// Rows of the split, by place.
    pub(crate) rows: Vec<usize>,
    pub(crate) skipped: usize,
}

impl Features {
    /// The rows at these positions, in this order.
    pub(crate) fn picked(self, order: &[usize]) -> Result<Self> {
        let index: Vec<i64> = order.iter().map(|&row| row as i64).collect();
        Ok(Self {
            values: self.values.f_index_select(0, &Tensor::from_slice(&index))?,
            ids: order.iter().map(|&row| self.ids[row].clone()).collect(),
            labels: order.iter().map(|&row| self.labels[row].clone()).collect(),
            clusters: order.iter().map(|&row| self.clusters[row]).collect(),
            rows: order.iter().map(|&row| self.rows[row]).collect(),
            skipped: self.skipped,
        })
    }

    /// The labels as classes.
    pub(crate) fn classes(&self) -> Result<Vec<usize>> {
        let class = |(label, id): (&Label, &String)| match label {
            Label::Class(class) => Ok(*class),
            _ => Err(Error::Other(format!("{id} has no class"))),
        };
        self.labels.iter().zip(&self.ids).map(class).collect()
    }
}

/// A model and how it is run.
pub(crate) struct Extractor<'a> {
    pub(crate) model: &'a Pretrained,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    /// Where features are kept; without, they are made each time.
    pub(crate) store: Option<Store>,
    /// Features that later tasks will read of rows of these origins: they are read in the same
    /// pass.
    pub(crate) later: HashMap<String, Vec<Feature>>,
    /// Rows that fit into the device's memory at once, as far as was found.
    pub(crate) fits: Cell<usize>,
    /// Whether the store refused to be written to: that is said once, and the run goes on without.
    unwritable: Cell<bool>,
}

/// One pass: what it is over, and how it is cut.
struct Pass<'a> {
    /// Digest of the contents of the rows or texts.
    data: &'a str,
    name: &'a str,
    rows: usize,
    preparation: String,
    /// Shards that are made together: what is in one batch does not depend on what is stored.
    shards_of_block: usize,
    /// Positions of the rows of each batch, of each block.
    blocks: Vec<Vec<Vec<usize>>>,
    /// What a row is called.
    id: &'a dyn Fn(usize) -> String,
}

impl Pass<'_> {
    fn shards(&self) -> usize {
        self.rows.div_ceil(SHARD)
    }

    /// The shards of a block.
    fn shards_of(&self, block: usize) -> Range<usize> {
        let start = block * self.shards_of_block;
        start..(start + self.shards_of_block).min(self.shards())
    }
}

/// What of a pass is in the store.
struct Stored {
    /// The shards of each wanted feature; none without a store.
    shards: Vec<Shards>,
    /// What was read of the first feature.
    pieces: Vec<Option<Piece>>,
    /// Blocks that are to be made.
    missing: Vec<usize>,
}

/// Features of one batch: the positions of the rows that gave any, and of each wanted feature
/// \[positions, width\].
type Made = (Vec<usize>, Vec<Tensor>);

/// What the environment changes about products, for keys and records; empty where nothing does.
pub(crate) fn numerics() -> String {
    let set = |name: &&str| {
        std::env::var(name)
            .ok()
            .map(|value| format!(" {name}={value}"))
    };
    NUMERICS.iter().filter_map(set).collect()
}

impl<'a> Extractor<'a> {
    pub(crate) fn new(
        model: &'a Pretrained,
        settings: &'a Settings,
        progress: &'a Progress,
    ) -> Self {
        Self {
            model,
            settings,
            progress,
            store: None,
            later: HashMap::new(),
            fits: Cell::new(settings.batch_size.rows(model.options.device)),
            unwritable: Cell::new(false),
        }
    }

    pub(crate) fn transform(&self) -> ImageTransform {
        self.model.image.transform(self.settings.order)
    }

    /// Tokens that a text is cut to.
    pub(crate) fn max_tokens(&self) -> usize {
        MAX_TOKENS.min(self.model.config.text_config.max_position_embeddings as usize)
    }

    /// A feature of each row.
    pub(crate) fn features(&self, rows: &Rows, feature: Feature) -> Result<Features> {
        self.check(feature)?;
        let wanted = self.wanted(&rows.origin, feature);
        let piece = match feature.tower {
            Tower::Text => {
                let examples = rows
                    .indices()
                    .iter()
                    .map(|&row| rows.dataset().get(row))
                    .collect::<flava_tasks::Result<Vec<Example>>>()?;
                let texts = examples.iter().map(|e| {
                    text_of(&e.texts).map_err(|reason| Error::Other(format!("{}: {reason}", e.id)))
                });
                let id = |row: usize| rows.id(row);
                self.texts(
                    &texts.collect::<Result<Vec<_>>>()?,
                    &rows.split.name,
                    &id,
                    &wanted,
                )?
            }
            Tower::Image | Tower::Multimodal => self.pictures(rows, &wanted)?,
        };
        if piece.places.is_empty() {
            return Err(Error::Other(format!(
                "split {}: every one of its {} rows is broken",
                rows.split.name,
                rows.len()
            )));
        }
        let kept: Vec<usize> = piece
            .places
            .iter()
            .map(|&place| rows.indices()[place])
            .collect();
        let dataset = rows.dataset();
        Ok(Features {
            values: piece.values,
            ids: kept.iter().map(|&row| dataset.id(row)).collect(),
            labels: kept.iter().map(|&row| dataset.label(row)).collect(),
            clusters: kept.iter().map(|&row| dataset.cluster(row)).collect(),
            skipped: rows.len() - kept.len(),
            rows: kept,
        })
    }

    /// The feature that is asked for, and what later tasks will want of the same rows and encoder.
    fn wanted(&self, origin: &str, feature: Feature) -> Vec<Feature> {
        let mut wanted = vec![feature];
        if self.store.is_some() {
            let later = self.later.get(origin).into_iter().flatten();
            for other in
                later.filter(|other| other.tower == feature.tower && self.check(**other).is_ok())
            {
                if !wanted.contains(other) {
                    wanted.push(*other);
                }
            }
        }
        wanted
    }

    fn check(&self, feature: Feature) -> Result<()> {
        let config = &self.model.config;
        let layers = match feature.tower {
            Tower::Image => config.image_config.num_hidden_layers,
            Tower::Text => config.text_config.num_hidden_layers,
            Tower::Multimodal => config.multimodal_config.num_hidden_layers,
        };
        match feature.tap {
            Tap::Layer(n) if i64::from(n) > layers => Err(Error::Other(format!(
                "{}: that encoder has {layers} blocks",
                feature.name()
            ))),
            _ => Ok(()),
        }
    }

    /// Text embeddings, \[texts, projection\]. The same text is encoded once, so that its copies
    /// tie exactly.
    pub(crate) fn text_embeddings(&self, texts: &[Text], name: &str) -> Result<Tensor> {
        let (mut distinct, mut known, mut places): (Vec<Text>, HashMap<String, i64>, Vec<i64>) =
            Default::default();
        for text in texts {
            let place = *known
                .entry(format!("{text:?}"))
                .or_insert(distinct.len() as i64);
            if place == distinct.len() as i64 {
                distinct.push(*text);
            }
            places.push(place);
        }
        let id = |text: usize| format!("{:?}", distinct[text]);
        let values = self
            .texts(&distinct, name, &id, &[Feature::TEXT_EMBEDDING])?
            .values;
        Ok(values.f_index_select(0, &Tensor::from_slice(&places))?)
    }

    /// Features of texts, in the order given.
    fn texts(
        &self,
        texts: &[Text],
        name: &str,
        id: &dyn Fn(usize) -> String,
        wanted: &[Feature],
    ) -> Result<Piece> {
        Ok(self.all_of_texts(texts, name, id, wanted)?.swap_remove(0))
    }

    /// Several features of texts, in the order given; from the store no more than the first. The
    /// texts are in the key whole. Of some thousand those of like length go together, so that
    /// little is padded.
    pub(crate) fn all_of_texts(
        &self,
        texts: &[Text],
        name: &str,
        id: &dyn Fn(usize) -> String,
        wanted: &[Feature],
    ) -> Result<Vec<Piece>> {
        let encodings = self.model.text.encode(texts, self.max_tokens())?;
        let data = digest_of_texts(texts);
        let preparation = format!(
            "{} tokens, tokenizer {}",
            self.max_tokens(),
            self.model.text.digest()
        );
        let blocks = (0..texts.len()).step_by(SHARD * TEXT_SHARDS).map(|start| {
            let mut order: Vec<usize> =
                (start..(start + SHARD * TEXT_SHARDS).min(texts.len())).collect();
            order.sort_by_key(|&text| encodings[text].input_ids.len());
            let ordered: Vec<&Encoding> = order.iter().map(|&text| &encodings[text]).collect();
            by_tokens(&ordered, 0..order.len())
                .into_iter()
                .map(|batch| order[batch].to_vec())
                .collect()
        });
        let name = format!("{name}: texts");
        let blocks = blocks.collect();
        let pass = Pass {
            data: &data,
            name: &name,
            rows: texts.len(),
            preparation,
            shards_of_block: TEXT_SHARDS,
            blocks,
            id,
        };
        let rows = output_rows(wanted);
        let stored = self.stored(&pass, wanted);
        self.run(&pass, wanted, stored, |batch| {
            let batch_encodings = batch.iter().map(|&text| &encodings[text]);
            let inputs = text_batch(
                batch_encodings,
                self.model.text.pad_id(),
                self.model.options.device,
            )?;
            let output = self.model.flava.encode_text_rows(&inputs, &rows)?;
            let of = |feature: &Feature| {
                read(
                    &self.model.flava,
                    *feature,
                    &output,
                    inputs.attention_mask.as_ref(),
                )
            };
            Ok((
                batch.to_vec(),
                wanted.iter().map(of).collect::<Result<_>>()?,
            ))
        })
    }

    /// Features of rows with pictures, and of the texts with them where the multimodal encoder is
    /// asked.
    fn pictures(&self, rows: &Rows, wanted: &[Feature]) -> Result<Piece> {
        let joint = wanted[0].tower == Tower::Multimodal;
        let text = joint.then(|| (Arc::clone(&self.model.text), self.max_tokens()));
        let mut preparation = self.transform().id();
        if joint {
            preparation = format!(
                "{preparation}, {} tokens, tokenizer {}",
                self.max_tokens(),
                self.model.text.digest()
            );
        }
        if self.settings.skip_broken {
            preparation += ", broken rows skipped";
        }
        let size = self.fits.get();
        let shards = (0..rows.len())
            .step_by(SHARD)
            .map(|start| start..(start + SHARD).min(rows.len()));
        let cut = |shard: Range<usize>| {
            let batch = |start: usize| (start..(start + size).min(shard.end)).collect();
            shard.clone().step_by(size).map(batch).collect()
        };
        let blocks = shards.map(cut).collect();
        let name = format!("{}: pictures", rows.split.name);
        let id = |row: usize| rows.id(row);
        let pass = Pass {
            data: &rows.inputs,
            name: &name,
            rows: rows.len(),
            preparation,
            shards_of_block: 1,
            blocks,
            id: &id,
        };
        let stored = self.stored(&pass, wanted);
        let ahead = Preparation {
            transform: self.transform(),
            text,
            loader: self.settings.loader(),
        };
        let batches = stored.missing.iter().flat_map(|&block| &pass.blocks[block]);
        let mut loader = ahead.start(
            rows,
            batches
                .map(|batch| batch[0]..batch[batch.len() - 1] + 1)
                .collect(),
        );
        let mut pieces = self.run(&pass, wanted, stored, |_| {
            let mut whole: Vec<Prepared> = Vec::with_capacity(size);
            for row in loader.next().unwrap_or_default() {
                match row {
                    Ok(row) => whole.push(row),
                    Err(Error::Row { .. }) if self.settings.skip_broken => {}
                    Err(error) => return Err(error),
                }
            }
            let values = self.encode_fitting(&whole, &|rows| self.encode(rows, wanted))?;
            Ok((whole.into_iter().map(|row| row.position).collect(), values))
        })?;
        Ok(pieces.swap_remove(0))
    }

    /// Encodes rows, fewer at a time where the device's memory is too small for all.
    fn encode_fitting(
        &self,
        rows: &[Prepared],
        encode: &dyn Fn(&[Prepared]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        let mut parts: Vec<Vec<Tensor>> = Vec::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let count = self.fits.get().min(rest.len());
            match encode(&rest[..count]) {
                Ok(values) => {
                    parts.push(values);
                    rest = &rest[count..];
                }
                Err(error)
                    if count > 1
                        && self.settings.batch_size.is_auto()
                        && error.is_out_of_memory() =>
                {
                    self.fits.set(count / 2);
                    self.progress.say(&format!(
                        "{count} rows do not fit into the device's memory: going on with {}",
                        count / 2
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        (0..parts.first().map_or(0, Vec::len))
            .map(|i| joined(&parts, i))
            .collect()
    }

    fn encode(&self, rows: &[Prepared], wanted: &[Feature]) -> Result<Vec<Tensor>> {
        let flava = &self.model.flava;
        let images = self.images(rows.iter().map(|row| &row.pixels))?;
        let asked = output_rows(wanted);
        if wanted[0].tower == Tower::Image {
            let output = flava.encode_image_rows(&images, &asked)?;
            return wanted
                .iter()
                .map(|feature| read(&self.model.flava, *feature, &output, None))
                .collect();
        }
        let inputs = self.text_inputs(rows.iter().filter_map(|row| row.encoding.as_ref()))?;
        let (image, text) = (flava.encode_image(&images)?, flava.encode_text(&inputs)?);
        let mask = inputs.attention_mask.as_ref();
        let output = flava.encode_multimodal_rows(&image, &text, mask, &asked)?;
        let joint_mask = mask.map(|mask| joint_mask(mask, &output)).transpose()?;
        wanted
            .iter()
            .map(|feature| read(&self.model.flava, *feature, &output, joint_mask.as_ref()))
            .collect()
    }

    pub(crate) fn images<'p>(
        &self,
        pixels: impl Iterator<Item = &'p Pixels>,
    ) -> Result<ImageInputs> {
        let options = self.model.options;
        Ok(image_batch(
            pixels,
            options.device,
            options.precision.kind(),
        )?)
    }

    pub(crate) fn text_inputs<'e>(
        &self,
        encodings: impl IntoIterator<Item = &'e Encoding>,
    ) -> Result<TextInputs> {
        Ok(text_batch(
            encodings,
            self.model.text.pad_id(),
            self.model.options.device,
        )?)
    }

    fn about(&self, pass: &Pass, feature: Feature) -> About {
        let device = if self.model.options.device.is_cuda() {
            "cuda"
        } else {
            "cpu"
        };
        About {
            weights: self.model.identity(),
            feature: feature.name(),
            preparation: pass.preparation.clone(),
            precision: format!(
                "{} on {device}{}",
                self.model.options.precision.name(),
                numerics()
            ),
            data: pass.data.to_owned(),
            name: pass.name.to_owned(),
            rows: pass.rows,
            stored: if self.settings.store_f16 {
                "f16"
            } else {
                "f32"
            }
            .to_owned(),
        }
    }

    /// What of a pass is stored; what is damaged there is said, and made again.
    fn stored(&self, pass: &Pass, wanted: &[Feature]) -> Stored {
        let store = self.store.as_ref();
        let shards: Vec<Shards> = wanted
            .iter()
            .filter_map(|feature| Some(store?.shards(&self.about(pass, *feature))))
            .collect();
        let mut pieces: Vec<Option<Piece>> = (0..pass.shards()).map(|_| None).collect();
        let mut whole = vec![!shards.is_empty(); pass.shards()];
        for (i, shards) in shards.iter().enumerate() {
            shards.stamp();
            for shard in 0..pass.shards() {
                let found = shards.read(shard).unwrap_or_else(|reason| {
                    self.progress.say(&format!(
                        "feature store: {reason}: its rows are computed again"
                    ));
                    None
                });
                whole[shard] &= found.is_some();
                if i == 0 {
                    pieces[shard] = found;
                }
            }
        }
        let missing = (0..pass.blocks.len())
            .filter(|&block| !pass.shards_of(block).all(|shard| whole[shard]))
            .collect();
        Stored {
            shards,
            pieces,
            missing,
        }
    }

    /// Runs the blocks that are not in the store through `step`, and gives the features of all rows
    /// in their order; where there is a store, the first feature's alone.
    fn run(
        &self,
        pass: &Pass,
        wanted: &[Feature],
        stored: Stored,
        mut step: impl FnMut(&[usize]) -> Result<Made>,
    ) -> Result<Vec<Piece>> {
        let _guard = tch::no_grad_guard();
        let Stored {
            shards,
            pieces,
            missing,
        } = stored;
        let kept = if shards.is_empty() { wanted.len() } else { 1 };
        let mut all: Vec<Vec<Option<Piece>>> = (0..kept)
            .map(|_| (0..pass.shards()).map(|_| None).collect())
            .collect();
        all[0] = pieces;
        let bar = self.progress.task(pass.name, pass.rows);
        let to_make: usize = missing
            .iter()
            .flat_map(|&block| &pass.blocks[block])
            .map(Vec::len)
            .sum();
        bar.add_to_run(pass.rows - to_make);
        for block in missing {
            let (mut places, mut parts): (Vec<usize>, Vec<Vec<Tensor>>) = (Vec::new(), Vec::new());
            for batch in &pass.blocks[block] {
                check_interrupted()?;
                let (kept, values) = step(batch)?;
                if !values.is_empty() {
                    let values = self.rounded(values)?;
                    values
                        .iter()
                        .zip(wanted)
                        .try_for_each(|(values, feature)| {
                            check_finite(values, &kept, pass.id, *feature)
                        })?;
                    parts.push(values);
                }
                places.extend(kept);
                bar.add_to_run(batch.len());
            }
            for (i, feature) in (0..wanted.len())
                .filter(|_| !parts.is_empty())
                .map(|i| (i, joined(&parts, i)))
            {
                for (shard, piece) in divided(&places, &feature?, pass.shards_of(block))? {
                    if let Some(shards) = shards.get(i) {
                        self.keep(shards, shard, &piece);
                    }
                    if let Some(kept) = all.get_mut(i) {
                        kept[shard] = Some(piece);
                    }
                }
            }
        }
        all.into_iter().map(whole).collect()
    }

    /// As the store will have them.
    fn rounded(&self, values: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let half = |values: Tensor| Ok(values.f_to_kind(Kind::Half)?.f_to_kind(Kind::Float)?);
        if self.settings.store_f16 {
            values.into_iter().map(half).collect()
        } else {
            Ok(values)
        }
    }

    /// Stores a shard; a store that cannot be written to is done without.
    fn keep(&self, shards: &Shards, shard: usize, piece: &Piece) {
        if self.unwritable.get() {
            return;
        }
        if let Err(error) = shards.write(shard, piece) {
            self.unwritable.set(true);
            self.progress
                .say(&format!("note: features are not stored: {error}"));
        }
    }
}

/// A digest of texts, in order.
fn digest_of_texts(texts: &[Text]) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        let parts = match *text {
            Text::Single(a) => vec![a],
            Text::Pair(a, b) => vec![a, b],
        };
        digest.update([parts.len() as u8]);
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    hex(&digest.finalize()[..16])
}

/// Refuses features \[positions, width\] that are not finite.
pub(crate) fn check_finite(
    values: &Tensor,
    places: &[usize],
    id: &dyn Fn(usize) -> String,
    feature: Feature,
) -> Result<()> {
    let bad: Vec<i64> = values
        .f_isfinite()?
        .f_all_dim(1, false)?
        .f_logical_not()?
        .f_nonzero()?
        .f_flatten(0, -1)?
        .try_into()?;
    let Some(first) = bad.first().and_then(|&row| places.get(row as usize)) else {
        return Ok(());
    };
    let reason = "a number of it is not finite: the weights are damaged, or the precision is too low for them";
    Err(Error::Other(format!(
        "{} of {}: {reason}",
        feature.name(),
        id(*first)
    )))
}

/// Features by the positions of their rows, cut into shards, in the order of the positions.
fn divided(places: &[usize], values: &Tensor, shards: Range<usize>) -> Result<Vec<(usize, Piece)>> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|&row| places[row]);
    let mut pieces = Vec::with_capacity(shards.len());
    for shard in shards {
        let rows: Vec<usize> = order
            .iter()
            .copied()
            .filter(|&row| places[row] / SHARD == shard)
            .collect();
        let index: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let values = values.f_index_select(0, &Tensor::from_slice(&index))?;
        pieces.push((
            shard,
            Piece {
                places: rows.into_iter().map(|row| places[row]).collect(),
                values,
            },
        ));
    }
    Ok(pieces)
}

/// Shards, one below the other; those of which every row is broken have none.
fn whole(pieces: Vec<Option<Piece>>) -> Result<Piece> {
    let (mut places, mut parts) = (Vec::new(), Vec::new());
    for piece in pieces
        .into_iter()
        .flatten()
        .filter(|piece| !piece.places.is_empty())
    {
        places.extend(piece.places);
        parts.push(piece.values);
    }
    let values = if parts.is_empty() {
        Tensor::new()
    } else {
        Tensor::f_cat(&parts, 0)?
    };
    Ok(Piece { places, values })
}

/// The feature at `i` of all batches, one below the other.
fn joined(batches: &[Vec<Tensor>], i: usize) -> Result<Tensor> {
    Ok(Tensor::f_cat(
        &batches.iter().map(|batch| &batch[i]).collect::<Vec<_>>(),
        0,
    )?)
}

/// Values whose place `p` belongs to row `order[p]`, in the order of the rows.
pub(crate) fn in_row_order(values: &Tensor, order: &[usize]) -> Result<Tensor> {
    let mut places = vec![0i64; order.len()];
    order
        .iter()
        .enumerate()
        .for_each(|(place, &row)| places[row] = place as i64);
    Ok(values.f_index_select(0, &Tensor::from_slice(&places))?)
}

/// A shard's texts, shortest first, in batches of a bounded number of tokens.
pub(crate) fn by_tokens(ordered: &[&Encoding], shard: Range<usize>) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut start = shard.start;
    while start < shard.end {
        let fits = |end: &usize| {
            *end == start + 1 || (end - start) * ordered[end - 1].input_ids.len() <= BATCH_TOKENS
        };
        let end = (start + 1..=shard.end)
            .take_while(fits)
            .last()
            .unwrap_or(start + 1);
        batches.push(start..end);
        start = end;
    }
    batches
}
