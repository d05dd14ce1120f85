//! Which features are written, and how they are read of rows.

use std::collections::BTreeMap;

use flava_base::say;
use flava_model::{FlavaConfig, runtime::ExpectedWork};
use flava_tasks::{
    Feature, Tap, Tower,
    sources::{ImageOrigin, OpenSplit},
};
use tch::Tensor;

use super::format::EmbedFormat;
use crate::{
    Error, Result,
    args::EmbedArgs,
    features::{Extractor, Rows, rows_kind},
    run::row_cost,
};

/// The features of a file, in order.
pub(super) struct EmbeddedFeatures {
    features: Vec<Feature>,
    /// What they are called there.
    pub(super) names: Vec<String>,
}

impl EmbeddedFeatures {
    /// Those that are asked for, by their names; else CLS states and embeddings of images or texts,
    /// and the joint CLS state of pairs.
    ///
    /// # Errors
    /// If one is asked for twice, cannot be read of such rows, or a file holds no more than one.
    pub(super) fn of(args: &EmbedArgs, split: &OpenSplit, format: EmbedFormat) -> Result<Self> {
        let has_image = split.dataset.image_origin(0) != ImageOrigin::None;
        let has_text = split.dataset.texts(0) > 0;
        let mut features = args.features.clone();
        if features.is_empty() {
            features = match (has_image, has_text) {
                (true, true) => vec![Feature::MULTIMODAL_CLS],
                (true, false) => vec![Feature::IMAGE_CLS, Feature::IMAGE_EMBEDDING],
                (false, _) => vec![Feature::TEXT_CLS, Feature::TEXT_EMBEDDING],
            };
            if format == EmbedFormat::Npy && features.len() > 1 {
                features.retain(|feature| feature.tap == Tap::Embedding);
                let name = features[0].name();
                say(&format!(
                    "note: a .npy file holds one array: {name}, of --features"
                ));
            }
            let names = features.iter().map(|feature| feature.tap.name()).collect();
            return Ok(Self { features, names });
        }
        for (at, feature) in features.iter().enumerate() {
            let name = feature.name();
            let lacks = match feature.tower {
                Tower::Image if !has_image => "images",
                Tower::Text if !has_text => "texts",
                Tower::Multimodal if !has_image || !has_text => "images with texts",
                _ if features[..at].contains(feature) => {
                    return Err(wrong(format!("{name} is there twice")));
                }
                _ => continue,
            };
            return Err(wrong(format!(
                "{name} is read of {lacks}, which the rows are not"
            )));
        }
        if format == EmbedFormat::Npy && features.len() > 1 {
            let count = features.len();
            return Err(wrong(format!(
                "a .npy file holds one array, and not {count}: write .safetensors or .parquet"
            )));
        }
        let names = features.iter().map(|feature| feature.name()).collect();
        Ok(Self { features, names })
    }

    /// The model has what they are read of.
    pub(super) fn check(&self, extractor: &Extractor) -> Result<()> {
        self.features.iter().try_for_each(|&f| extractor.check(f))
    }

    /// What it takes to read them of so many rows: a pass for each encoder.
    pub(super) fn works(&self, rows: usize, config: &FlavaConfig) -> Vec<ExpectedWork> {
        let passes = self.by_tower().into_values();
        let towers = passes.filter_map(|pass| Some(self.features[*pass.first()?].tower));
        let work = |tower: Tower| ExpectedWork {
            piece: String::new(),
            kind: rows_kind(tower),
            units: rows as f64,
            cost: row_cost(config, tower),
        };
        towers.map(work).collect()
    }

    /// The places of the rows that are not broken, and each feature of these, [places, width].
    pub(super) fn read(
        &self,
        extractor: &Extractor,
        rows: &Rows,
    ) -> Result<(Vec<usize>, Vec<Tensor>)> {
        let mut read: Vec<Option<Tensor>> = self.features.iter().map(|_| None).collect();
        let mut common: Option<Vec<usize>> = None;
        // Images before texts: where one is broken its text is left out too.
        for wanted in self.by_tower().into_values() {
            let some: Vec<Feature> = wanted.iter().map(|&at| self.features[at]).collect();
            let (places, values) = extractor.several(rows, &some)?;
            let common = common.get_or_insert_with(|| places.clone());
            for (at, values) in wanted.into_iter().zip(values) {
                read[at] = Some(picked(&values, &places, common)?);
            }
        }
        let read: Option<Vec<Tensor>> = read.into_iter().collect();
        let read = read.ok_or(Error::Internal("every feature has an encoder"))?;
        Ok((common.unwrap_or_default(), read))
    }

    /// Positions of the features of each encoder.
    fn by_tower(&self) -> BTreeMap<u8, Vec<usize>> {
        let mut towers: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (at, feature) in self.features.iter().enumerate() {
            let order = match feature.tower {
                Tower::Image => 0,
                Tower::Multimodal => 1,
                Tower::Text => 2,
            };
            towers.entry(order).or_default().push(at);
        }
        towers
    }
}

/// The rows of `values`, which are at `places`, that are at some of these.
fn picked(values: &Tensor, places: &[usize], some: &[usize]) -> Result<Tensor> {
    if places == some {
        return Ok(values.shallow_clone());
    }
    let at = |place: &usize| places.binary_search(place).ok().map(|at| at as i64);
    let rows: Vec<i64> = some.iter().filter_map(at).collect();
    Ok(values.f_index_select(
        0,
        &Tensor::f_from_slice(&rows)?.f_to_device(values.device())?,
    )?)
}

fn wrong(reason: String) -> Error {
    Error::Usage {
        argument: "--features",
        reason,
    }
}
