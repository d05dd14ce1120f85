//! The whole model: three encoders, the projections between and after them, one method per
//! question.

use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::{
    Result,
    config::{FlavaConfig, LOGIT_SCALE_RANGE},
    image_encoder::{ImageEncoder, ImageInputs},
    layers::{AttentionKind, EncoderOutput, Linear, Rows, WeightLender},
    multimodal_encoder::MultimodalEncoder,
    runtime::{Vars, trace::TracePoint},
    text_encoder::{TextEncoder, TextInputs},
};

/// Norms below this are taken for it when embeddings are brought to unit length.
const SMALLEST_NORM: f64 = 1e-12;

#[derive(Debug)]
struct Projection {
    linear: Linear,
    site: TracePoint,
}

impl Projection {
    fn new(vars: &Vars, input: i64, output: i64) -> Self {
        Self {
            linear: Linear::new(vars, input, output),
            site: TracePoint::new(vars.name()),
        }
    }

    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let ys = self.linear.forward(xs)?;
        self.site.record(&ys);
        Ok(ys)
    }
}

/// `FlavaModel`: everything but the pretraining heads and the codebook.
#[derive(Debug)]
pub struct Flava {
    text_model: TextEncoder,
    image_model: ImageEncoder,
    multimodal_model: MultimodalEncoder,
    image_projection: Projection,
    text_projection: Projection,
    image_to_mm_projection: Projection,
    text_to_mm_projection: Projection,
    logit_scale: Tensor,
    train: bool,
    lender: Option<Rc<dyn WeightLender>>,
}

impl Flava {
    /// The model under `vars` (`flava` in a pretraining checkpoint), in inference mode.
    pub fn new(vars: &Vars, config: &FlavaConfig, kind: AttentionKind) -> Self {
        let (image, text, multimodal) = (
            &config.image_config,
            &config.text_config,
            &config.multimodal_config,
        );
        let child = |name: &str, std| (vars / name).with_std(std);
        let projection = |name, output| {
            Projection::new(
                &child(name, config.initializer_range),
                config.hidden_size,
                output,
            )
        };
        Self {
            text_model: TextEncoder::new(&child("text_model", text.initializer_range), text, kind),
            image_model: ImageEncoder::new(
                &child("image_model", image.initializer_range),
                image,
                kind,
            ),
            multimodal_model: MultimodalEncoder::new(
                &child("multimodal_model", multimodal.initializer_range),
                multimodal,
                kind,
            ),
            image_projection: projection("image_projection", config.projection_dim),
            text_projection: projection("text_projection", config.projection_dim),
            image_to_mm_projection: projection("image_to_mm_projection", config.hidden_size),
            text_to_mm_projection: projection("text_to_mm_projection", config.hidden_size),
            logit_scale: vars.constant("logit_scale", &[], config.logit_scale_init_value),
            train: false,
            lender: None,
        }
    }

    /// Switches dropout on or off.
    pub fn set_train(&mut self, train: bool) {
        self.train = train;
    }

    /// Whether the encoders' activations are computed again in the backward pass instead of being
    /// kept: less memory, more time.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.image_model.set_recompute(recompute);
        self.text_model.set_recompute(recompute);
        self.multimodal_model.set_recompute(recompute);
    }

    /// Whose the blocks' weights are while they do not compute.
    pub fn set_lender(&mut self, lender: &Rc<dyn WeightLender>) {
        self.image_model.set_lender(lender);
        self.text_model.set_lender(lender);
        self.multimodal_model.set_lender(lender);
        self.lender = Some(Rc::clone(lender));
    }

    /// Whether a variable has its numbers only while its block computes.
    pub fn is_lent(&self, variable: &str) -> bool {
        let lender = self.lender.as_ref();
        lender.is_some_and(|lender| lender.is_lent(variable))
    }

    /// Does something with each projection of the attention of all encoders, which is told by its
    /// name.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn each_projection<E>(
        &mut self,
        act: &mut impl FnMut(&str, &mut crate::layers::Linear) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.image_model.each_projection(act)?;
        self.text_model.each_projection(act)?;
        self.multimodal_model.each_projection(act)
    }

    /// Prepares for inference: from then on the linear layers keep the weights they have now and
    /// give no gradient.
    pub fn pack(&mut self) {
        self.image_model.pack();
        self.text_model.pack();
        self.multimodal_model.pack();
        for projection in [
            &mut self.image_to_mm_projection,
            &mut self.text_to_mm_projection,
        ] {
            projection.linear.pack();
        }
    }

    /// Pixels to states \[batch, 1 + patches, size\].
    pub fn encode_image(&self, inputs: &ImageInputs) -> Result<EncoderOutput> {
        self.encode_image_rows(inputs, &Rows::All)
    }

    /// Pixels to the CLS state alone, \[batch, 1, size\]: some 7 % less work than all rows of 12
    /// blocks.
    pub fn encode_image_cls(&self, inputs: &ImageInputs) -> Result<EncoderOutput> {
        self.encode_image_rows(inputs, &Rows::Cls)
    }

    /// Pixels to some states.
    pub fn encode_image_rows(&self, inputs: &ImageInputs, rows: &Rows) -> Result<EncoderOutput> {
        self.image_model.forward(inputs, rows, self.train)
    }

    /// Tokens to states \[batch, seq, size\].
    pub fn encode_text(&self, inputs: &TextInputs) -> Result<EncoderOutput> {
        self.encode_text_rows(inputs, &Rows::All)
    }

    /// Tokens to the CLS state alone, \[batch, 1, size\].
    pub fn encode_text_cls(&self, inputs: &TextInputs) -> Result<EncoderOutput> {
        self.encode_text_rows(inputs, &Rows::Cls)
    }

    /// Tokens to some states.
    pub fn encode_text_rows(&self, inputs: &TextInputs, rows: &Rows) -> Result<EncoderOutput> {
        self.text_model.forward(inputs, rows, self.train)
    }

    /// What both encoders gave to joint states; `text_mask` \[batch, seq\] is the text's attention
    /// mask.
    pub fn encode_multimodal(
        &self,
        image: &EncoderOutput,
        text: &EncoderOutput,
        text_mask: Option<&Tensor>,
    ) -> Result<EncoderOutput> {
        self.encode_multimodal_rows(image, text, text_mask, &Rows::All)
    }

    /// As [`Self::encode_multimodal`], the CLS state alone: \[batch, 1, size\].
    pub fn encode_multimodal_cls(
        &self,
        image: &EncoderOutput,
        text: &EncoderOutput,
        text_mask: Option<&Tensor>,
    ) -> Result<EncoderOutput> {
        self.encode_multimodal_rows(image, text, text_mask, &Rows::Cls)
    }

    /// As [`Self::encode_multimodal`], some states.
    pub fn encode_multimodal_rows(
        &self,
        image: &EncoderOutput,
        text: &EncoderOutput,
        text_mask: Option<&Tensor>,
        rows: &Rows,
    ) -> Result<EncoderOutput> {
        let (image, text) = (
            self.image_to_multimodal(image)?,
            self.text_to_multimodal(text)?,
        );
        self.multimodal_model
            .forward(&image, &text, text_mask, rows, self.train)
    }

    /// What the multimodal encoder reads of an image: its un-normed states projected, \[batch, 1 +
    /// patches, size\].
    pub fn image_to_multimodal(&self, image: &EncoderOutput) -> Result<Tensor> {
        self.image_to_mm_projection.forward(&image.hidden_states)
    }

    /// What the multimodal encoder reads of a text: its un-normed states projected, \[batch, seq,
    /// size\].
    pub fn text_to_multimodal(&self, text: &EncoderOutput) -> Result<Tensor> {
        self.text_to_mm_projection.forward(&text.hidden_states)
    }

    /// The image embedding: the CLS state projected and of unit length, f32 \[batch, projection\].
    pub fn project_image(&self, output: &EncoderOutput) -> Result<Tensor> {
        unit_length(&self.image_projection.forward(&output.cls())?)
    }

    /// The text embedding: the CLS state projected and of unit length, f32 \[batch, projection\].
    pub fn project_text(&self, output: &EncoderOutput) -> Result<Tensor> {
        unit_length(&self.text_projection.forward(&output.cls())?)
    }

    /// transformers' `get_image_features`: every token projected, not normalised, \[batch, 1 +
    /// patches, projection\].
    pub fn image_token_features(&self, output: &EncoderOutput) -> Result<Tensor> {
        self.image_projection.forward(&output.last_hidden_state)
    }

    /// transformers' `get_text_features`: every token projected, not normalised, \[batch, seq,
    /// projection\].
    pub fn text_token_features(&self, output: &EncoderOutput) -> Result<Tensor> {
        self.text_projection.forward(&output.last_hidden_state)
    }

    /// The image, text and multimodal encoder, for what is asked of one alone, such as
    /// transformers' `pooler_output`.
    pub fn encoders(&self) -> (&ImageEncoder, &TextEncoder, &MultimodalEncoder) {
        (&self.image_model, &self.text_model, &self.multimodal_model)
    }

    /// `logit_scale` within its range, as a scalar. The parameter is left alone; its gradient
    /// passes unchanged, also at the bounds, as it does in transformers, which clamps the parameter
    /// itself.
    pub fn clamped_logit_scale(&self) -> Result<Tensor> {
        let (low, high) = LOGIT_SCALE_RANGE;
        let scale = &self.logit_scale;
        let correction = tch::no_grad(|| scale.f_clamp(low, high)?.f_sub(scale))?;
        Ok(scale.f_add(&correction)?)
    }

    /// Brings the parameter itself into its range; for after an optimiser's step.
    pub fn clamp_logit_scale(&mut self) {
        let (low, high) = LOGIT_SCALE_RANGE;
        let _clamped = tch::no_grad(|| self.logit_scale.clamp_(low, high));
    }
}

fn unit_length(xs: &Tensor) -> Result<Tensor> {
    let xs = xs.f_to_kind(Kind::Float)?;
    let norm = xs
        .f_norm_scalaropt_dim(2.0, [-1], true)?
        .f_clamp_min(SMALLEST_NORM)?;
    Ok(xs.f_div(&norm)?)
}
