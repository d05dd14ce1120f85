//! Pairs of images and texts: ITM on all, then MMM and the contrastive loss on the matching ones.

use flava_heads::{ContrastiveLogits, contrastive_logits};
use flava_model::{EncoderOutput, ImageInputs, Rows, TextInputs};
use flava_training::Accuracy;
use tch::{Kind, Tensor};

use super::{
    inputs::PretrainingInputs,
    loss_positions::{LossPositions, Sequences, rows_to_compute, states_of},
    losses::{PretrainingOutput, cross_entropy, matching},
    model::FlavaForPreTraining,
};
use crate::{Error, Result};

/// Rows before the patches in the multimodal sequence: its CLS and the image's. transformers counts
/// two without a CLS of its own too, so that such a model predicts patches 1, 2, .. and the text's
/// CLS; its checkpoints were trained so.
const PATCHES_START: i64 = 2;

/// A pair's encoders, with parts hidden.
struct EncodedPairs {
    image: EncoderOutput,
    text: EncoderOutput,
}

impl EncodedPairs {
    fn image_rows(&self) -> Result<i64> {
        Ok(self.image.last_hidden_state.size3()?.1)
    }

    fn text_rows(&self) -> Result<i64> {
        Ok(self.text.last_hidden_state.size3()?.1)
    }

    /// The multimodal sequences of the pairs.
    fn sequences(&self, own_cls: bool) -> Result<Sequences> {
        let image = &self.image.last_hidden_state;
        Ok(Sequences {
            count: image.size3()?.0,
            length: i64::from(own_cls) + self.image_rows()? + self.text_rows()?,
            device: image.device(),
        })
    }
}

/// Positions of the multimodal sequences that heads read.
struct PairPositions {
    cls: LossPositions,
    patches: Option<LossPositions>,
    words: Option<LossPositions>,
}

impl PairPositions {
    fn all(&self) -> Vec<&LossPositions> {
        [Some(&self.cls), self.patches.as_ref(), self.words.as_ref()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The states of these positions.
    fn states(&self, multimodal: &EncoderOutput, rows: &Rows) -> Result<Vec<Tensor>> {
        states_of(multimodal, rows, &self.all())
    }
}

impl FlavaForPreTraining {
    /// Pairs of which nothing but the contrastive loss is asked, which reads nothing of what is
    /// masked.
    pub(super) fn contrastive_pairs(
        &self,
        pixels: &Tensor,
        inputs: &PretrainingInputs,
    ) -> Result<PretrainingOutput> {
        let text = inputs
            .text
            .as_ref()
            .ok_or_else(|| Error::Input("pairs without texts".into()))?;
        let image = ImageInputs::new(pixels.shallow_clone());
        let mut output = PretrainingOutput {
            image: Some(self.flava.encode_image_cls(&image)?),
            text: Some(self.flava.encode_text_cls(text)?),
            ..PretrainingOutput::default()
        };
        if let Some(labels) = &inputs.itm_labels {
            output.matching = Some(matching(labels, None)?);
        }
        self.global_contrastive(&mut output)?;
        Ok(output)
    }

    /// Pairs of which losses read what is masked.
    pub(super) fn pairs(
        &self,
        pixels: &Tensor,
        masked_text: &TextInputs,
        inputs: &PretrainingInputs,
    ) -> Result<PretrainingOutput> {
        let mut output = PretrainingOutput::default();
        let encoded = self.encode_pairs(pixels, masked_text, inputs, &mut output)?;
        if let (true, Some(labels)) = (self.weights.itm > 0.0, &inputs.itm_labels) {
            output.matching = Some(matching(labels, inputs.totals)?);
        }
        let positions = self.pair_positions(&encoded, inputs, output.matching.as_ref())?;
        let rows = rows_to_compute(&positions.all(), inputs.all_states)?;
        let (image, text) = (&encoded.image, &encoded.text);
        let mask = masked_text.attention_mask.as_ref();
        let multimodal = self
            .flava
            .encode_multimodal_rows(image, text, mask, &rows)?;
        let states = positions.states(&multimodal, &rows)?;
        self.score_pairs(&states, &positions, inputs, &mut output)?;
        output.masked_image = Some(encoded.image);
        output.masked_text = Some(encoded.text);
        output.masked_multimodal = Some(multimodal);
        if self.weights.global_contrastive > 0.0 && inputs.text.is_some() {
            self.global_contrastive(&mut output)?;
        }
        Ok(output)
    }

    /// What the heads make of the states at some positions.
    fn score_pairs(
        &self,
        states: &[Tensor],
        positions: &PairPositions,
        inputs: &PretrainingInputs,
        output: &mut PretrainingOutput,
    ) -> Result<()> {
        let mut states = states.iter();
        if let Some(cls) = states.next() {
            self.itm(cls, inputs, output)?;
        }
        if let Some(positions) = &positions.patches
            && let Some(states) = states.next()
        {
            self.mmm_image(states, positions, inputs, output)?;
        }
        if let Some(positions) = &positions.words
            && let Some(states) = states.next()
        {
            self.mmm_text(states, positions, inputs, output)?;
        }
        Ok(())
    }

    /// Both encoders on what is masked, and, for the contrastive loss, on what is not where that is
    /// something else.
    fn encode_pairs(
        &self,
        pixels: &Tensor,
        masked_text: &TextInputs,
        inputs: &PretrainingInputs,
        output: &mut PretrainingOutput,
    ) -> Result<EncodedPairs> {
        let unmasked = if inputs.all_states {
            Rows::All
        } else {
            Rows::Cls
        };
        let text = inputs
            .text
            .as_ref()
            .filter(|_| self.weights.global_contrastive > 0.0);
        if text.is_some() && inputs.bool_masked_pos.is_some() {
            let image = ImageInputs::new(pixels.shallow_clone());
            output.image = Some(self.flava.encode_image_rows(&image, &unmasked)?);
        }
        let image = self.flava.encode_image(&inputs.masked_images(pixels))?;
        if let (Some(text), Some(_)) = (text, &inputs.masked_text) {
            output.text = Some(self.flava.encode_text_rows(text, &unmasked)?);
        }
        let text = self.flava.encode_text(masked_text)?;
        Ok(EncodedPairs { image, text })
    }

    /// What the heads read of the multimodal sequences: the CLS of all, hidden patches and words of
    /// those that match.
    fn pair_positions(
        &self,
        encoded: &EncodedPairs,
        inputs: &PretrainingInputs,
        matching: Option<&Tensor>,
    ) -> Result<PairPositions> {
        let config = &self.config;
        let sequences = encoded.sequences(config.multimodal_config.use_cls_token)?;
        let ignore = config.ce_ignore_index;
        let mut positions = PairPositions {
            cls: sequences.cls()?,
            patches: None,
            words: None,
        };
        if self.weights.mmm_image > 0.0 {
            let labels = self.patch_labels(inputs)?;
            let range = PATCHES_START..PATCHES_START + encoded.image_rows()? - 1;
            let patches = sequences.labelled(range, labels.as_ref(), ignore, matching)?;
            positions.patches = Some(patches);
        }
        if self.weights.mmm_text > 0.0 {
            let range = sequences.length - encoded.text_rows()?..sequences.length;
            let words = sequences.labelled(range, inputs.mlm_labels.as_ref(), ignore, matching)?;
            positions.words = Some(words);
        }
        Ok(positions)
    }

    /// Whether image and text belong together, by the CLS \[pairs, size\].
    fn itm(
        &self,
        cls: &Tensor,
        inputs: &PretrainingInputs,
        output: &mut PretrainingOutput,
    ) -> Result<()> {
        if self.weights.itm <= 0.0 {
            return Ok(());
        }
        let logits = self.itm_head.forward(cls)?;
        if let Some(labels) = &inputs.itm_labels {
            let total = inputs.totals.map(|totals| totals.pairs);
            let loss = cross_entropy(&logits, labels, -100, total)?;
            output.losses.itm = Some(loss.f_mul_scalar(self.weights.itm)?);
            let accuracy = Accuracy::of("itm", &logits, labels)?;
            output.accuracies.push(accuracy);
        }
        output.itm_logits = Some(logits);
        Ok(())
    }

    fn mmm_image(
        &self,
        states: &Tensor,
        positions: &LossPositions,
        inputs: &PretrainingInputs,
        output: &mut PretrainingOutput,
    ) -> Result<()> {
        let total = inputs.totals.map(|totals| totals.patches);
        let (head, weight) = (&self.mmm_image_head, self.weights.mmm_image);
        let loss = self.masked_prediction("mmm_image", head, weight, total);
        let scores = loss.of(states, positions, &mut output.accuracies)?;
        (output.mmm_image_logits, output.losses.mmm_image) = (scores.logits, scores.loss);
        Ok(())
    }

    fn mmm_text(
        &self,
        states: &Tensor,
        positions: &LossPositions,
        inputs: &PretrainingInputs,
        output: &mut PretrainingOutput,
    ) -> Result<()> {
        let total = inputs.totals.map(|totals| totals.words);
        let (head, weight) = (&self.mmm_text_head, self.weights.mmm_text);
        let loss = self.masked_prediction("mmm_text", head, weight, total);
        let scores = loss.of(states, positions, &mut output.accuracies)?;
        (output.mmm_text_logits, output.losses.mmm_text) = (scores.logits, scores.loss);
        Ok(())
    }

    fn global_contrastive(&self, output: &mut PretrainingOutput) -> Result<()> {
        // Where nothing was hidden, the masked states are the unmasked ones.
        let image = output.image.as_ref().or(output.masked_image.as_ref());
        let text = output.text.as_ref().or(output.masked_text.as_ref());
        let (Some(image), Some(text)) = (image, text) else {
            let reason = "a contrastive loss without images or without texts";
            return Err(Error::Input(reason.into()));
        };
        let image = self.flava.project_image(image)?;
        let text = self.flava.project_text(text)?;
        let (matching, scale) = (output.matching.as_ref(), self.flava.clamped_logit_scale()?);
        let (logits, loss, accuracies) = self.contrast(&image, &text, matching, &scale)?;
        output.accuracies.extend(accuracies);
        (output.contrastive, output.losses.global_contrastive) = (Some(logits), Some(loss));
        Ok(())
    }

    /// The weighted contrastive loss of embeddings \[batch, projection\]. Pairs that do not match
    /// are no queries, but stay among what is searched.
    pub(crate) fn contrast(
        &self,
        image: &Tensor,
        text: &Tensor,
        matching: Option<&Tensor>,
        logit_scale: &Tensor,
    ) -> Result<(ContrastiveLogits, Tensor, [Accuracy; 2])> {
        let mut labels = Tensor::f_arange(image.size()[0], (Kind::Int64, image.device()))?;
        let mut logits = contrastive_logits(image, text, logit_scale)?;
        if let Some(matching) = matching {
            logits = logits.keep_rows(matching)?;
            labels = labels.f_index_select(0, &matching.f_nonzero()?.f_squeeze_dim(-1)?)?;
        }
        let loss = logits
            .loss(&labels)?
            .f_mul_scalar(self.weights.global_contrastive)?;
        let accuracies = [
            Accuracy::of("image_to_text", &logits.per_image, &labels)?,
            Accuracy::of("text_to_image", &logits.per_text, &labels)?,
        ];
        Ok((logits, loss, accuracies))
    }
}
