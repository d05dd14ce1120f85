//! Rows to features: one pass of a split through the model reads all that is asked for of it, shard by shard into the store.

mod prepare;
mod store;
mod taps;

use std::{cell::Cell, collections::HashMap, ops::Range, sync::Arc};

use flava_model::{
    ImageInputs, Pretrained, TextInputs,
    processor::{Encoding, ImageTransform, Pixels, Text, image_batch, text_batch},
    runtime::{Progress, hex},
};
use flava_tasks::{Example, Feature, Label, Tap, Tower};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use crate::{Error, Result, Settings, interrupt};

pub(crate) use prepare::{Preparation, Prepared, Rows, sample, text_of};
pub(crate) use store::Store;
use store::{About, Piece, SHARD, Shards};
use taps::{joint_mask, output_rows, read};

/// Longest text in tokens, as in the paper's pretraining and zero-shot evaluation.
pub(crate) const MAX_TOKENS: usize = 77;
/// Tokens of one batch of texts; short texts go in larger batches.
const BATCH_TOKENS: usize = 4096;

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
    /// Features that later tasks will read of rows of these origins: they are read in the same pass.
    pub(crate) later: HashMap<String, Vec<Feature>>,
    /// Rows that fit into the device's memory at once, as far as was found.
    pub(crate) fits: Cell<usize>,
}

/// One pass: what it is over, and how it is cut.
struct Pass<'a> {
    /// Of the rows or texts.
    data: &'a str,
    name: &'a str,
    places: usize,
    preparation: String,
    /// Where a batch may end.
    batches: Vec<Range<usize>>,
}

impl<'a> Extractor<'a> {
    pub(crate) fn new(model: &'a Pretrained, settings: &'a Settings, progress: &'a Progress) -> Self {
        Self {
            model,
            settings,
            progress,
            store: None,
            later: HashMap::new(),
            fits: Cell::new(settings.batch_size.rows(model.options.device)),
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
                let examples = rows.indices().iter().map(|&row| rows.dataset().get(row)).collect::<flava_tasks::Result<Vec<Example>>>()?;
                let texts = examples.iter().map(|e| text_of(&e.texts).map_err(|reason| Error::Other(format!("{}: {reason}", e.id))));
                self.texts(&texts.collect::<Result<Vec<_>>>()?, (&rows.fingerprint, &rows.split.name), &wanted)?
            }
            Tower::Image | Tower::Multimodal => self.pictures(rows, &wanted)?,
        };
        if piece.places.is_empty() {
            return Err(Error::Other(format!("split {}: every one of its {} rows is broken", rows.split.name, rows.len())));
        }
        let kept: Vec<usize> = piece.places.iter().map(|&place| rows.indices()[place]).collect();
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
            for other in later.filter(|other| other.tower == feature.tower && self.check(**other).is_ok()) {
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
            Tap::Layer(n) if i64::from(n) > layers => Err(Error::Other(format!("{}: that encoder has {layers} blocks", feature.name()))),
            _ => Ok(()),
        }
    }

    /// Text embeddings, \[texts, projection\]. The same text is encoded once, so that its copies tie exactly.
    pub(crate) fn text_embeddings(&self, texts: &[Text], name: &str) -> Result<Tensor> {
        let (mut distinct, mut known, mut places): (Vec<Text>, HashMap<String, i64>, Vec<i64>) = Default::default();
        for text in texts {
            let place = *known.entry(format!("{text:?}")).or_insert(distinct.len() as i64);
            if place == distinct.len() as i64 {
                distinct.push(*text);
            }
            places.push(place);
        }
        let digest = Sha256::digest(format!("{distinct:?}"));
        let data = hex(&digest[..8]);
        let values = self.texts(&distinct, (&data, name), &[Feature::TEXT_EMBEDDING])?.values;
        Ok(values.f_index_select(0, &Tensor::from_slice(&places))?)
    }

    /// Features of texts, in the order given. Texts of like length go together, so that little is padded.
    fn texts(&self, texts: &[Text], origin: (&str, &str), wanted: &[Feature]) -> Result<Piece> {
        Ok(self.all_of_texts(texts, origin, wanted)?.swap_remove(0))
    }

    /// Several features of texts, in the order given; from the store no more than the first.
    pub(crate) fn all_of_texts(&self, texts: &[Text], (data, name): (&str, &str), wanted: &[Feature]) -> Result<Vec<Piece>> {
        let encodings = self.model.text.encode(texts, self.max_tokens())?;
        let mut order: Vec<usize> = (0..encodings.len()).collect();
        order.sort_by_key(|&i| encodings[i].input_ids.len());
        let ordered: Vec<&Encoding> = order.iter().map(|&i| &encodings[i]).collect();
        let preparation = format!("{} tokens, tokenizer {}", self.max_tokens(), self.model.text.digest());
        let batches = shards_of(ordered.len()).flat_map(|shard| by_tokens(&ordered, shard)).collect();
        let pass = Pass { data, name: &format!("{name}: texts"), places: ordered.len(), preparation, batches };
        let rows = output_rows(wanted);
        let first = self.first(&pass, wanted)?;
        let pieces = self.run(&pass, wanted, first, |batch| {
            let inputs = text_batch(ordered[batch.clone()].iter().copied(), self.model.text.pad_id(), self.model.options.device)?;
            let output = self.model.flava.encode_text_rows(&inputs, &rows)?;
            let of = |feature: &Feature| read(&self.model.flava, *feature, &output, inputs.attention_mask.as_ref());
            Ok((batch.collect(), wanted.iter().map(of).collect::<Result<_>>()?))
        })?;
        let back = |piece: Piece| Ok(Piece { values: in_row_order(&piece.values, &order)?, places: (0..order.len()).collect() });
        pieces.into_iter().map(back).collect()
    }

    /// Features of rows with pictures, and of the texts with them where the multimodal encoder is asked.
    fn pictures(&self, rows: &Rows, wanted: &[Feature]) -> Result<Piece> {
        let joint = wanted[0].tower == Tower::Multimodal;
        let text = joint.then(|| (Arc::clone(&self.model.text), self.max_tokens()));
        let mut preparation = self.transform().id();
        if joint {
            preparation = format!("{preparation}, {} tokens, tokenizer {}", self.max_tokens(), self.model.text.digest());
        }
        if self.settings.skip_broken {
            preparation += ", broken rows skipped";
        }
        let size = self.fits.get();
        let cut = |shard: Range<usize>| shard.clone().step_by(size).map(move |start| start..(start + size).min(shard.end));
        let batches: Vec<Range<usize>> = shards_of(rows.len()).flat_map(cut).collect();
        let name = format!("{}: pictures", rows.split.name);
        let pass = Pass { data: &rows.fingerprint, name: &name, places: rows.len(), preparation, batches };
        let first = self.first(&pass, wanted)?;
        let ahead = Preparation { transform: self.transform(), text, loader: self.settings.loader() };
        let mut loader = ahead.start(rows, pass.batches.iter().filter(|batch| batch.start >= first * SHARD).cloned().collect());
        let mut pieces = self.run(&pass, wanted, first, |_| {
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
    fn encode_fitting(&self, rows: &[Prepared], encode: &dyn Fn(&[Prepared]) -> Result<Vec<Tensor>>) -> Result<Vec<Tensor>> {
        let mut parts: Vec<Vec<Tensor>> = Vec::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let count = self.fits.get().min(rest.len());
            match encode(&rest[..count]) {
                Ok(values) => {
                    parts.push(values);
                    rest = &rest[count..];
                }
                Err(error) if count > 1 && self.settings.batch_size.is_auto() && error.to_string().contains("out of memory") => {
                    self.fits.set(count / 2);
                    self.progress.say(&format!("{count} rows do not fit into the device's memory: going on with {}", count / 2));
                }
                Err(error) => return Err(error),
            }
        }
        (0..parts.first().map_or(0, Vec::len)).map(|i| joined(&parts, i)).collect()
    }

    fn encode(&self, rows: &[Prepared], wanted: &[Feature]) -> Result<Vec<Tensor>> {
        let flava = &self.model.flava;
        let images = self.images(rows.iter().map(|row| &row.pixels))?;
        let asked = output_rows(wanted);
        if wanted[0].tower == Tower::Image {
            let output = flava.encode_image_rows(&images, &asked)?;
            return wanted.iter().map(|feature| read(&self.model.flava, *feature, &output, None)).collect();
        }
        let inputs = self.text_inputs(rows.iter().filter_map(|row| row.encoding.as_ref()))?;
        let (image, text) = (flava.encode_image(&images)?, flava.encode_text(&inputs)?);
        let mask = inputs.attention_mask.as_ref();
        let output = flava.encode_multimodal_rows(&image, &text, mask, &asked)?;
        let joint_mask = mask.map(|mask| joint_mask(mask, &output)).transpose()?;
        wanted.iter().map(|feature| read(&self.model.flava, *feature, &output, joint_mask.as_ref())).collect()
    }

    pub(crate) fn images<'p>(&self, pixels: impl Iterator<Item = &'p Pixels>) -> Result<ImageInputs> {
        let options = self.model.options;
        Ok(image_batch(pixels, options.device, options.precision.kind())?)
    }

    pub(crate) fn text_inputs<'e>(&self, encodings: impl IntoIterator<Item = &'e Encoding>) -> Result<TextInputs> {
        Ok(text_batch(encodings, self.model.text.pad_id(), self.model.options.device)?)
    }

    fn about(&self, pass: &Pass, feature: Feature) -> About {
        let device = if self.model.options.device.is_cuda() { "cuda" } else { "cpu" };
        About {
            weights: self.model.identity(),
            feature: feature.name(),
            preparation: pass.preparation.clone(),
            precision: format!("{} on {device}", self.model.options.precision.name()),
            data: pass.data.to_owned(),
            name: pass.name.to_owned(),
            rows: pass.places,
            stored: if self.settings.store_f16 { "f16" } else { "f32" }.to_owned(),
        }
    }

    fn shards(&self, pass: &Pass, wanted: &[Feature]) -> Result<Option<Vec<Shards>>> {
        let Some(store) = &self.store else { return Ok(None) };
        wanted.iter().map(|feature| store.shards(&self.about(pass, *feature))).collect::<Result<Vec<_>>>().map(Some)
    }

    /// The first shard that is not there of every feature.
    fn first(&self, pass: &Pass, wanted: &[Feature]) -> Result<usize> {
        Ok(self.shards(pass, wanted)?.iter().flatten().map(Shards::complete).min().unwrap_or(0))
    }

    /// Runs the batches that are not in the store yet through `step`, and gives the features of all; from the store the first.
    fn run(
        &self,
        pass: &Pass,
        wanted: &[Feature],
        first: usize,
        mut step: impl FnMut(Range<usize>) -> Result<(Vec<usize>, Vec<Tensor>)>,
    ) -> Result<Vec<Piece>> {
        let _guard = tch::no_grad_guard();
        let shards = self.shards(pass, wanted)?;
        let first = first * SHARD;
        let bar = self.progress.task(pass.name, pass.places);
        bar.add_to_run(first.min(pass.places));
        let half = |values: Tensor| if self.settings.store_f16 { values.f_to_kind(Kind::Half)?.f_to_kind(Kind::Float) } else { Ok(values) };
        let (mut places, mut parts): (Vec<usize>, Vec<Vec<Tensor>>) = (Vec::new(), Vec::new());
        for batch in pass.batches.iter().filter(|batch| batch.start >= first) {
            interrupt::check()?;
            let (kept, values) = step(batch.clone())?;
            places.extend(kept);
            if !values.is_empty() {
                parts.push(values);
            }
            bar.add_to_run(batch.len());
            if let Some(shards) = shards.as_ref().filter(|_| batch.end % SHARD == 0 || batch.end == pass.places) {
                let shard = (batch.end - 1) / SHARD;
                for (i, shards) in shards.iter().enumerate().filter(|_| !parts.is_empty()) {
                    shards.write(shard, &Piece { places: places.clone(), values: joined(&parts, i)? })?;
                }
                if parts.is_empty() {
                    return Err(Error::Other(format!(
                        "{}: every one of {} rows after another is broken",
                        pass.name,
                        batch.end - shard * SHARD
                    )));
                }
                places.clear();
                parts.clear();
            }
        }
        if let Some(shards) = shards {
            return Ok(vec![shards[0].load()?]);
        }
        if parts.is_empty() {
            return Ok(vec![Piece { places, values: Tensor::new() }]);
        }
        let column = |i: usize| Ok(Piece { places: places.clone(), values: half(joined(&parts, i)?)? });
        (0..wanted.len()).map(column).collect()
    }
}

/// The places of each shard.
fn shards_of(places: usize) -> impl Iterator<Item = Range<usize>> {
    (0..places).step_by(SHARD).map(move |start| start..(start + SHARD).min(places))
}

/// The feature at `i` of all batches, one below the other.
fn joined(batches: &[Vec<Tensor>], i: usize) -> Result<Tensor> {
    Ok(Tensor::f_cat(&batches.iter().map(|batch| &batch[i]).collect::<Vec<_>>(), 0)?)
}

/// Values whose place `p` belongs to row `order[p]`, in the order of the rows.
pub(crate) fn in_row_order(values: &Tensor, order: &[usize]) -> Result<Tensor> {
    let mut places = vec![0i64; order.len()];
    order.iter().enumerate().for_each(|(place, &row)| places[row] = place as i64);
    Ok(values.f_index_select(0, &Tensor::from_slice(&places))?)
}

/// A shard's texts, shortest first, in batches of a bounded number of tokens.
pub(crate) fn by_tokens(ordered: &[&Encoding], shard: Range<usize>) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut start = shard.start;
    while start < shard.end {
        let fits = |end: &usize| *end == start + 1 || (end - start) * ordered[end - 1].input_ids.len() <= BATCH_TOKENS;
        let end = (start + 1..=shard.end).take_while(fits).last().unwrap_or(start + 1);
        batches.push(start..end);
        start = end;
    }
    batches
}
