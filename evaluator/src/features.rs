//! Rows to features: decoded and tokenised ahead on threads, encoded in batches, kept as f32 on the CPU.

use std::sync::Arc;

use flava_model::{
    EncoderOutput, ImageInputs, Pretrained, TextInputs,
    processor::{Encoding, ImageTransform, Text, TextProcessor, decode, image_batch, text_batch},
    runtime::{Loader, Progress, stream},
};
use flava_tasks::{Dataset, Example, Label, sources::OpenSplit};
use rand::seq::index;
use tch::{Device, Kind, Tensor};

use crate::{Error, Result, Settings};

/// Longest text in tokens, as in the paper's pretraining and zero-shot evaluation.
pub(crate) const MAX_TOKENS: usize = 77;
/// Tokens of one batch of texts; short texts go in larger batches.
const BATCH_TOKENS: usize = 4096;

/// The rows of a split that are used.
pub(crate) struct Rows {
    pub(crate) split: OpenSplit,
    indices: Vec<usize>,
}

impl Rows {
    /// All rows, or a sample of `limit` that depends on the seed and the split alone, in order.
    pub(crate) fn new(split: OpenSplit, limit: Option<usize>, seed: u64) -> Self {
        let count = split.dataset.len();
        let indices = match limit.filter(|&limit| limit < count) {
            None => (0..count).collect(),
            Some(limit) => {
                let mut sample = index::sample(&mut stream(seed, &format!("limit {}", split.name)), count, limit).into_vec();
                sample.sort_unstable();
                sample
            }
        };
        Self { split, indices }
    }

    pub(crate) fn len(&self) -> usize {
        self.indices.len()
    }

    pub(crate) fn indices(&self) -> &[usize] {
        &self.indices
    }
}

/// One row after its preparation.
struct Prepared {
    row: usize,
    id: String,
    label: Label,
    texts: Vec<String>,
    pixels: Option<(Vec<f32>, (usize, usize))>,
    encoding: Option<Encoding>,
}

/// What the rows gave, without those that were skipped.
pub(crate) struct Features {
    /// \[rows, width\], f32, on the CPU.
    pub(crate) values: Tensor,
    pub(crate) ids: Vec<String>,
    pub(crate) labels: Vec<Label>,
    pub(crate) texts: Vec<Vec<String>>,
    /// Which rows share a picture.
    pub(crate) clusters: Vec<usize>,
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

/// Which parts of a row are prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parts {
    Image,
    ImageAndText,
}

/// A model and how it is run.
pub(crate) struct Extractor<'a> {
    pub(crate) model: &'a Pretrained,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
}

impl Extractor<'_> {
    pub(crate) fn transform(&self) -> ImageTransform {
        self.model.image.transform(self.settings.order)
    }

    /// Tokens that a text is cut to.
    fn max_tokens(&self) -> usize {
        MAX_TOKENS.min(self.model.config.text_config.max_position_embeddings as usize)
    }

    /// CLS states of the pictures.
    pub(crate) fn image_cls(&self, rows: &Rows) -> Result<Features> {
        self.pictures(rows, |output| Ok(output.cls()))
    }

    /// Image embeddings of the pictures.
    pub(crate) fn image_embeddings(&self, rows: &Rows) -> Result<Features> {
        self.pictures(rows, |output| Ok(self.model.flava.project_image(output)?))
    }

    fn pictures(&self, rows: &Rows, read: impl Fn(&EncoderOutput) -> Result<Tensor>) -> Result<Features> {
        self.extract(rows, Parts::Image, |batch| {
            let output = self.model.flava.encode_image_cls(&self.images(batch)?)?;
            read(&output)
        })
    }

    /// CLS states of the multimodal encoder over each row's picture and texts.
    pub(crate) fn multimodal_cls(&self, rows: &Rows) -> Result<Features> {
        self.extract(rows, Parts::ImageAndText, |batch| {
            let flava = &self.model.flava;
            let encodings = batch.iter().filter_map(|row| row.encoding.as_ref());
            let inputs = text_batch(encodings, self.model.text.pad_id(), self.model.options.device)?;
            let (image, text) = (flava.encode_image(&self.images(batch)?)?, flava.encode_text(&inputs)?);
            Ok(flava.encode_multimodal_cls(&image, &text, inputs.attention_mask.as_ref())?.cls())
        })
    }

    fn images(&self, batch: &[Prepared]) -> Result<ImageInputs> {
        let pixels: Vec<_> = batch.iter().filter_map(|row| row.pixels.as_ref()).collect();
        let options = self.model.options;
        Ok(image_batch(&pixels, options.device, options.precision.kind())?)
    }

    /// CLS states of each row's texts.
    pub(crate) fn text_cls(&self, rows: &Rows) -> Result<Features> {
        let examples = rows.indices.iter().map(|&row| rows.split.dataset.get(row)).collect::<flava_tasks::Result<Vec<Example>>>()?;
        let texts = examples.iter().map(|e| text_of(&e.texts)).collect::<std::result::Result<Vec<Text>, String>>().map_err(Error::Other)?;
        let values = self.encode_texts(&texts, &rows.split.name, |output| Ok(output.cls()))?;
        Ok(Features {
            values,
            clusters: rows.indices.iter().map(|&row| rows.split.dataset.cluster(row)).collect(),
            ids: examples.iter().map(|e| e.id.clone()).collect(),
            labels: examples.iter().map(|e| e.label.clone()).collect(),
            texts: examples.into_iter().map(|e| e.texts).collect(),
            skipped: 0,
        })
    }

    /// Text embeddings, \[texts, projection\].
    pub(crate) fn text_embeddings(&self, texts: &[Text], name: &str) -> Result<Tensor> {
        self.encode_texts(texts, name, |output| Ok(self.model.flava.project_text(output)?))
    }

    /// Texts of like length go together, so that little is padded; the result is in the order given.
    pub(crate) fn encode_texts(&self, texts: &[Text], name: &str, read: impl Fn(&EncoderOutput) -> Result<Tensor>) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let encodings = self.model.text.encode(texts, self.max_tokens())?;
        let mut order: Vec<usize> = (0..encodings.len()).collect();
        order.sort_by_key(|&i| encodings[i].input_ids.len());
        let bar = self.progress.task(&format!("{name}: texts"), texts.len());
        let mut parts = Vec::new();
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let longest = |count: usize| encodings[rest[count - 1]].input_ids.len();
            let count = (1..=rest.len()).take_while(|&n| n == 1 || n * longest(n) <= BATCH_TOKENS).last().unwrap_or(1);
            let batch = rest[..count].iter().map(|&i| &encodings[i]);
            let inputs: TextInputs = text_batch(batch, self.model.text.pad_id(), self.model.options.device)?;
            parts.push(to_cpu(&read(&self.model.flava.encode_text_cls(&inputs)?)?)?);
            bar.add(count);
            rest = &rest[count..];
        }
        let sorted = Tensor::f_cat(&parts, 0)?; // [texts, width], shortest first
        let mut places = vec![0i64; order.len()];
        for (place, &text) in order.iter().enumerate() {
            places[text] = place as i64;
        }
        Ok(sorted.f_index_select(0, &Tensor::from_slice(&places))?)
    }

    fn extract(&self, rows: &Rows, parts: Parts, encode: impl Fn(&[Prepared]) -> Result<Tensor>) -> Result<Features> {
        let _guard = tch::no_grad_guard();
        let size = self.settings.batch_size;
        let bar = self.progress.task(&format!("{}: pictures", rows.split.name), rows.len());
        let mut features =
            Features { values: Tensor::new(), ids: Vec::new(), labels: Vec::new(), texts: Vec::new(), clusters: Vec::new(), skipped: 0 };
        let mut values = Vec::new();
        for batch in self.prepare(rows, parts) {
            let mut whole = Vec::with_capacity(size);
            for row in batch {
                match row {
                    Ok(row) => whole.push(row),
                    Err(Error::Row { .. }) if self.settings.skip_broken => features.skipped += 1,
                    Err(error) => return Err(error),
                }
                bar.add(1);
            }
            if whole.is_empty() {
                continue;
            }
            values.push(to_cpu(&encode(&whole)?)?);
            for row in whole {
                features.clusters.push(rows.split.dataset.cluster(row.row));
                features.ids.push(row.id);
                features.labels.push(row.label);
                features.texts.push(row.texts);
            }
        }
        if values.is_empty() {
            return Err(Error::Other(format!("split {}: every one of its {} rows is broken", rows.split.name, rows.len())));
        }
        features.values = Tensor::f_cat(&values, 0)?; // [rows, width]
        Ok(features)
    }

    /// Batches of prepared rows, made ahead.
    fn prepare(&self, rows: &Rows, parts: Parts) -> Loader<Vec<Result<Prepared>>> {
        let (transform, text) = (self.transform(), Arc::clone(&self.model.text));
        let (dataset, indices) = (Arc::clone(&rows.split.dataset), rows.indices.clone());
        let size = self.settings.batch_size;
        let max_tokens = self.max_tokens();
        Loader::new(indices.len().div_ceil(size), self.settings.loader(), move |batch| {
            let rows = &indices[batch * size..indices.len().min((batch + 1) * size)];
            rows.iter()
                .map(|&row| prepare_row(&*dataset, row, &transform, (parts == Parts::ImageAndText).then_some((&*text, max_tokens))))
                .collect()
        })
    }
}

fn prepare_row(dataset: &dyn Dataset, row: usize, transform: &ImageTransform, text: Option<(&TextProcessor, usize)>) -> Result<Prepared> {
    let example = dataset.get(row)?;
    let broken = |reason: String| Error::Row { id: example.id.clone(), reason };
    let bytes = example.image.as_ref().ok_or_else(|| broken("there is no picture".into()))?;
    let pixels = transform.apply(&decode(bytes).map_err(|e| broken(e.to_string()))?);
    let encoding = match text {
        Some((text, max_tokens)) => {
            let parts = text_of(&example.texts).map_err(|e| Error::Other(format!("{}: {e}", example.id)))?;
            text.encode(&[parts], max_tokens)?.pop()
        }
        None => None,
    };
    Ok(Prepared { row, id: example.id, label: example.label, texts: example.texts, pixels: Some(pixels), encoding })
}

fn text_of(texts: &[String]) -> std::result::Result<Text<'_>, String> {
    match texts {
        [a] => Ok(Text::Single(a)),
        [a, b] => Ok(Text::Pair(a, b)),
        _ => Err(format!("{} texts where one or a pair is read", texts.len())),
    }
}

fn to_cpu(xs: &Tensor) -> Result<Tensor> {
    Ok(xs.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?)
}
