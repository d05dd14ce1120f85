//! The pretraining model: encoders, codebook and heads, and the losses over one batch.
//!
//! A batch of images alone gives MIM, of texts alone MLM; pairs give ITM, MMM on patches and words,
//! and the global contrastive loss. Each encoder runs once on each distinct input, and only on what
//! a loss of the batch reads.

use flava_heads::{ItmHead, MaskedPredictionHead};
use flava_model::{
    AttentionKind, Flava, FlavaConfig, ImageCodebook, TextInputs,
    checkpoint::{Checkpoint, LoadReport},
    runtime::{Fill, Vars},
};
use tch::{Device, Tensor, nn::VarStore};

use super::{
    inputs::PretrainingInputs,
    loss_positions::{Sequences, rows_to_compute, states_of},
    losses::{MaskedPrediction, OnEmpty, PretrainingOutput},
};
use crate::{Error, LossWeights, Result, codebook::CODEBOOK};

/// `FlavaForPreTraining`.
#[derive(Debug)]
pub struct FlavaForPreTraining {
    /// The encoders and projections.
    pub flava: Flava,
    image_codebook: Option<ImageCodebook>,
    mim_head: MaskedPredictionHead,
    mlm_head: MaskedPredictionHead,
    pub(super) itm_head: ItmHead,
    pub(super) mmm_image_head: MaskedPredictionHead,
    pub(super) mmm_text_head: MaskedPredictionHead,
    /// The configuration.
    pub config: FlavaConfig,
    /// What each loss counts: of the configuration, until it is told otherwise.
    pub weights: LossWeights,
    on_empty: OnEmpty,
}

impl FlavaForPreTraining {
    /// The model with its variables in `store`; the codebook's get no gradient.
    pub fn new(
        store: &VarStore,
        fill: Fill,
        config: FlavaConfig,
        kind: AttentionKind,
        on_empty: OnEmpty,
    ) -> Self {
        let root = Vars::root(store, fill).with_std(config.initializer_range);
        let patch_head = |name| patch_head(&(&root / name), &config);
        let token_head = |name| token_head(&(&root / name), &config);
        let codebook = &config.image_codebook_config;
        let codebook_vars = (&root / "image_codebook").with_std(codebook.initializer_range);
        let model = Self {
            flava: Flava::new(&(&root / "flava"), &config, kind),
            image_codebook: config
                .init_codebook
                .then(|| ImageCodebook::new(&codebook_vars, codebook)),
            mim_head: patch_head("mim_head"),
            mlm_head: token_head("mlm_head"),
            itm_head: ItmHead::new(&(&root / "itm_head"), config.hidden_size),
            mmm_image_head: patch_head("mmm_image_head"),
            mmm_text_head: token_head("mmm_text_head"),
            weights: LossWeights::of(&config),
            config,
            on_empty,
        };
        freeze_codebook(store);
        model
    }

    /// The model with a checkpoint's weights, on `device`. All heads must be there; a missing
    /// codebook is an error when it is needed.
    pub fn load(
        checkpoint: &Checkpoint,
        config: FlavaConfig,
        device: Device,
        kind: AttentionKind,
        on_empty: OnEmpty,
    ) -> Result<(Self, VarStore, LoadReport)> {
        let store = VarStore::new(device);
        let mut model = Self::new(&store, Fill::Unset, config, kind, on_empty);
        let report = checkpoint.load_into(&store)?;
        report.require(&[
            "flava",
            "mim_head",
            "mlm_head",
            "itm_head",
            "mmm_image_head",
            "mmm_text_head",
        ])?;
        if report.require(&["image_codebook"]).is_err() {
            model.image_codebook = None;
        }
        Ok((model, store, report))
    }

    /// The codebook, or an error that says that there is none.
    pub fn codebook(&self) -> Result<&ImageCodebook> {
        let missing = "visual tokens are needed, but this checkpoint has no image codebook (image_codebook.*)";
        self.image_codebook
            .as_ref()
            .ok_or_else(|| Error::Input(missing.into()))
    }

    /// Runs the encoders that the batch's losses read, the heads on the rows that are scored, and
    /// the losses.
    pub fn forward(&self, inputs: &PretrainingInputs) -> Result<PretrainingOutput> {
        let joint = self.weights.read_masked_pairs();
        let masked_text = inputs.masked_text.as_ref().or(inputs.text.as_ref());
        match (&inputs.pixel_values, masked_text) {
            (Some(pixels), Some(_)) if !joint && inputs.text.is_some() => {
                self.contrastive_pairs(pixels, inputs)
            }
            (Some(pixels), Some(text)) => self.pairs(pixels, text, inputs),
            (Some(pixels), None) => self.images(pixels, inputs),
            (None, Some(text)) => self.texts(text, inputs),
            (None, None) => Err(Error::Input("a batch with neither images nor texts".into())),
        }
    }

    /// Images alone: MIM.
    fn images(&self, pixels: &Tensor, inputs: &PretrainingInputs) -> Result<PretrainingOutput> {
        let mut output = PretrainingOutput::default();
        let masked = inputs.masked_images(pixels);
        if self.weights.mim <= 0.0 {
            output.masked_image = Some(self.flava.encode_image(&masked)?);
            return Ok(output);
        }
        let (count, _, height, width) = pixels.size4()?;
        let patch = self.config.image_config.patch_size;
        let sequences = Sequences {
            count,
            length: 1 + (height / patch) * (width / patch),
            device: pixels.device(),
        };
        let labels = self.patch_labels(inputs)?;
        let ignore = self.config.ce_ignore_index;
        let positions = sequences.labelled(0..sequences.length, labels.as_ref(), ignore, None)?;
        let rows = rows_to_compute(&[&positions], inputs.all_states)?;
        let encoded = self.flava.encode_image_rows(&masked, &rows)?;
        let states = states_of(&encoded, &rows, &[&positions])?;
        let total = inputs.totals.map(|totals| totals.patches);
        let scores = self
            .masked_prediction("mim", &self.mim_head, self.weights.mim, total)
            .of(&states[0], &positions, &mut output.accuracies)?;
        (output.mim_logits, output.losses.mim) = (scores.logits, scores.loss);
        output.masked_image = Some(encoded);
        Ok(output)
    }

    /// Texts alone: MLM.
    fn texts(&self, text: &TextInputs, inputs: &PretrainingInputs) -> Result<PretrainingOutput> {
        let mut output = PretrainingOutput::default();
        if self.weights.mlm <= 0.0 {
            output.masked_text = Some(self.flava.encode_text(text)?);
            return Ok(output);
        }
        let (count, length) = text.input_ids.size2()?;
        let sequences = Sequences {
            count,
            length,
            device: text.input_ids.device(),
        };
        let labels = inputs.mlm_labels.as_ref();
        let ignore = self.config.ce_ignore_index;
        let positions = sequences.labelled(0..length, labels, ignore, None)?;
        let rows = rows_to_compute(&[&positions], inputs.all_states)?;
        let encoded = self.flava.encode_text_rows(text, &rows)?;
        let states = states_of(&encoded, &rows, &[&positions])?;
        let total = inputs.totals.map(|totals| totals.words);
        let scores = self
            .masked_prediction("mlm", &self.mlm_head, self.weights.mlm, total)
            .of(&states[0], &positions, &mut output.accuracies)?;
        (output.mlm_logits, output.losses.mlm) = (scores.logits, scores.loss);
        output.masked_text = Some(encoded);
        Ok(output)
    }

    /// A loss of one of the four masked-prediction heads.
    pub(super) fn masked_prediction<'a>(
        &self,
        name: &'static str,
        head: &'a MaskedPredictionHead,
        weight: f64,
        total: Option<usize>,
    ) -> MaskedPrediction<'a> {
        MaskedPrediction {
            name,
            head,
            weight,
            total,
            ignore: self.config.ce_ignore_index,
            on_empty: self.on_empty,
        }
    }

    /// The visual token of each hidden patch, `ce_ignore_index` elsewhere, \[batch, patches\]; None
    /// for a batch without labels.
    pub(super) fn patch_labels(&self, inputs: &PretrainingInputs) -> Result<Option<Tensor>> {
        let labels = match (&inputs.mim_labels, &inputs.codebook_pixel_values) {
            (Some(labels), _) => labels.shallow_clone(),
            (None, Some(pixels)) => self.codebook()?.indices(pixels)?,
            (None, None) if inputs.bool_masked_pos.is_some() => {
                let reason = "patches are hidden, but neither mim_labels nor codebook_pixel_values are \
                              given";
                return Err(Error::Input(reason.into()));
            }
            (None, None) => return Ok(None),
        };
        let labels = labels.f_flatten(1, -1)?; // [batch, patches]
        let Some(mask) = &inputs.bool_masked_pos else {
            return Ok(Some(labels));
        };
        let mask = mask.f_flatten(1, -1)?;
        if mask.size() != labels.size() {
            return Err(Error::Input(format!(
                "bool_masked_pos {:?} for labels {:?}",
                mask.size(),
                labels.size()
            )));
        }
        let ignored = labels.f_full_like(self.config.ce_ignore_index)?;
        Ok(Some(labels.f_where_self(&mask.f_eq(1)?, &ignored)?))
    }
}

/// Of visual tokens.
fn patch_head(vars: &Vars, config: &FlavaConfig) -> MaskedPredictionHead {
    let image = &config.image_config;
    let (words, act, eps) = (image.vocab_size, image.hidden_act, image.layer_norm_eps);
    MaskedPredictionHead::new(vars, config.hidden_size, words, act, eps)
}

/// Of tokens.
fn token_head(vars: &Vars, config: &FlavaConfig) -> MaskedPredictionHead {
    let text = &config.text_config;
    let (words, act, eps) = (text.vocab_size, text.hidden_act, text.layer_norm_eps);
    MaskedPredictionHead::new(vars, config.hidden_size, words, act, eps)
}

fn freeze_codebook(store: &VarStore) {
    for (name, variable) in store.variables() {
        if name.starts_with(CODEBOOK) {
            let _frozen = variable.set_requires_grad(false);
        }
    }
}
