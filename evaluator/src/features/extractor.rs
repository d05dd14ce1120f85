//! The model that features are read of, and how it is run.

use std::{cell::Cell, collections::HashMap};

use flava_model::{
    ImageInputs, Pretrained, TextInputs,
    processor::{Encoding, ImageTransform, Pixels, image_batch, text_batch},
    runtime::{Progress, distributed::Peers},
};
use flava_tasks::{Feature, Tap, Tower};

use super::{Fitting, Store};
use crate::{Error, Result, Settings};

/// Longest text in tokens, as in the paper's pretraining and zero-shot evaluation.
const MAX_TOKENS: usize = 77;
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

/// What the environment changes about products, for keys and records; empty where nothing does.
pub(crate) fn numerics() -> String {
    let set = |name: &&str| {
        std::env::var(name)
            .ok()
            .map(|value| format!(" {name}={value}"))
    };
    NUMERICS.iter().filter_map(set).collect()
}

/// A model and how it is run.
pub(crate) struct Extractor<'a> {
    pub(crate) model: &'a Pretrained,
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    /// Where features are kept; without, they are made each time.
    pub(crate) store: Option<Store>,
    /// The other processes of the run, which make some of the features.
    pub(crate) peers: Option<&'a Peers>,
    /// Features that later tasks will read of rows of these origins: they are read in the same
    /// pass.
    pub(crate) later: HashMap<String, Vec<Feature>>,
    /// Rows with images that fit into the device's memory at once.
    pub(super) fitting: Fitting,
    /// Texts that do.
    pub(super) fitting_texts: Fitting,
    /// Whether the store refused to be written to: that is said once, and the run goes on without.
    pub(super) unwritable: Cell<bool>,
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
            peers: None,
            later: HashMap::new(),
            fitting: Fitting::new(
                settings.batch_size.rows(model.options.device),
                settings.batch_size,
            ),
            fitting_texts: Fitting::all(settings.batch_size),
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

    /// How texts become tokens, for keys.
    pub(super) fn tokenization(&self) -> String {
        let digest = self.model.text.digest();
        format!("{} tokens, tokenizer {digest}", self.max_tokens())
    }

    /// The encoder has what the feature is read of.
    pub(crate) fn check(&self, feature: Feature) -> Result<()> {
        let config = &self.model.config;
        let layers = match feature.tower {
            Tower::Image => config.image_config.num_hidden_layers,
            Tower::Text => config.text_config.num_hidden_layers,
            Tower::Multimodal => config.multimodal_config.num_hidden_layers,
        };
        match feature.tap {
            Tap::Layer(n) if i64::from(n) > layers => Err(Error::Lacking {
                what: "feature",
                reason: format!("{}: that encoder has {layers} blocks", feature.name()),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn image_batch<'p>(
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
        let (pad, device) = (self.model.text.pad_id(), self.model.options.device);
        Ok(text_batch(encodings, pad, device)?)
    }
}
