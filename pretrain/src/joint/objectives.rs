//! The pretraining model: encoders, codebook, heads and the six losses over one batch (FLAVA
//! section 3.2).
//!
//! A batch of pictures alone gives MIM, of texts alone MLM; pairs give ITM, MMM on patches and
//! words, and the global contrastive loss. Each encoder runs once on each distinct input, and only
//! on what a loss of the batch reads.

use flava_heads::{ContrastiveLogits, ItmHead, MaskedPredictionHead, contrastive_logits};
use flava_model::{
    AttentionKind, EncoderOutput, Flava, FlavaConfig, ImageCodebook, ImageInputs, Rows, TextInputs,
    checkpoint::{Checkpoint, LoadReport},
    runtime::{Fill, Vars},
};
use tch::{Device, Kind, Reduction, Tensor, nn::VarStore};

use super::scored::{Scored, Sequences, rows_to_compute, states_of};
use crate::{Error, Result, codebook::CODEBOOK};

/// Rows before the patches in the multimodal sequence: its CLS and the image's. transformers counts
/// two without a CLS of its own too, so that such a model predicts patches 1, 2, .. and the text's
/// CLS; its checkpoints were trained so.
const PATCHES_START: i64 = 2;

/// What a loss is when no position of the batch is labelled for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEmpty {
    /// Left out, with no gradient: right for training, where a batch without a masked word happens.
    #[default]
    Skip,
    /// NaN, as in transformers.
    Nan,
}

/// One batch. Labels equal to the config's `ce_ignore_index` are not scored.
#[derive(Debug, Default)]
pub struct PretrainingInputs {
    /// Normalised pixels, \[batch, 3, height, width\].
    pub pixel_values: Option<Tensor>,
    /// 1 where a patch is hidden: \[batch, patches\] or \[batch, rows, columns\]. Without it the
    /// labels alone decide.
    pub bool_masked_pos: Option<Tensor>,
    /// The codebook's pixels, for labels: \[batch, 3, height, width\].
    pub codebook_pixel_values: Option<Tensor>,
    /// Visual words, if they are known already: \[batch, patches\] or \[batch, rows, columns\].
    pub mim_labels: Option<Tensor>,
    /// The texts as they are, for the contrastive loss.
    pub text: Option<TextInputs>,
    /// The texts with words hidden; without them `text` stands for both.
    pub masked_text: Option<TextInputs>,
    /// The hidden words, \[batch, seq\].
    pub mlm_labels: Option<Tensor>,
    /// 1 where picture and text belong together: \[batch\], int64.
    pub itm_labels: Option<Tensor>,
    /// What the rows are a part of, where they are not all of it.
    pub whole: Option<Whole>,
    /// Whether the states of all positions are wanted. Otherwise last blocks compute only those
    /// that a loss reads.
    pub all_states: bool,
}

impl PretrainingInputs {
    /// A batch whose tensors have the names that transformers' model takes them by; texts are of
    /// one kind, at positions 0, 1, ..
    pub fn named(get: impl Fn(&str) -> Option<Tensor>) -> Self {
        let text = |name: &str| {
            get(name).map(|ids| TextInputs {
                attention_mask: get("attention_mask"),
                ..TextInputs::new(ids)
            })
        };
        Self {
            pixel_values: get("pixel_values"),
            bool_masked_pos: get("bool_masked_pos"),
            codebook_pixel_values: get("codebook_pixel_values"),
            mim_labels: get("mim_labels"),
            text: text("input_ids"),
            masked_text: text("input_ids_masked"),
            mlm_labels: get("mlm_labels"),
            itm_labels: get("itm_labels"),
            ..Self::default()
        }
    }
}

/// The batch that a micro-batch is a part of. Each loss is then the sum over the part's rows
/// divided by the number of all, so that gradients of the parts add up to those of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whole {
    /// Labelled patches, of matching pairs.
    pub patches: usize,
    /// Labelled words, of matching pairs.
    pub words: usize,
    /// Pairs.
    pub pairs: usize,
    /// Whether any pair matches.
    pub any_match: bool,
}

/// The weighted losses that a batch gave.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "each is the objective of its name")]
pub struct Losses {
    pub mim: Option<Tensor>,
    pub mlm: Option<Tensor>,
    pub itm: Option<Tensor>,
    pub global_contrastive: Option<Tensor>,
    pub mmm_image: Option<Tensor>,
    pub mmm_text: Option<Tensor>,
}

impl Losses {
    /// Each with its name, in transformers' order of summing.
    pub fn named(&self) -> [(&'static str, Option<&Tensor>); 6] {
        [
            ("mim", self.mim.as_ref()),
            ("mlm", self.mlm.as_ref()),
            ("itm", self.itm.as_ref()),
            ("global_contrastive", self.global_contrastive.as_ref()),
            ("mmm_image", self.mmm_image.as_ref()),
            ("mmm_text", self.mmm_text.as_ref()),
        ]
    }

    /// Their sum; None if there is none.
    pub fn total(&self) -> Option<Tensor> {
        self.named()
            .into_iter()
            .filter_map(|(_, loss)| loss)
            .fold(None, |sum, loss| match sum {
                None => Some(loss.shallow_clone()),
                Some(sum) => Some(sum + loss),
            })
    }
}

/// Everything a batch gave. States are of the rows that losses read, unless `all_states` asks for
/// all. The logits of hidden patches and words are \[rows, classes\] of those that have a label,
/// and \[batch, positions, classes\] of a batch without labels.
#[derive(Debug, Default)]
pub struct PretrainingOutput {
    /// The weighted losses.
    pub losses: Losses,
    /// States of the pictures as they are, of the CLS alone unless all are asked for; computed for
    /// the contrastive loss only.
    pub image: Option<EncoderOutput>,
    /// The same of the texts.
    pub text: Option<EncoderOutput>,
    /// States of the pictures with patches hidden; without texts, of the hidden patches.
    pub masked_image: Option<EncoderOutput>,
    /// States of the texts with words hidden; without pictures, of the hidden words.
    pub masked_text: Option<EncoderOutput>,
    /// Joint states of both: the CLS of all pairs, then the hidden patches and words of those that
    /// match.
    pub masked_multimodal: Option<EncoderOutput>,
    /// Which pairs MMM and the contrastive loss read, \[batch\] bool: the matching ones. None means
    /// all.
    pub matching: Option<Tensor>,
    /// Of visual words.
    pub mim_logits: Option<Tensor>,
    /// Of words.
    pub mlm_logits: Option<Tensor>,
    /// \[batch, 2\].
    pub itm_logits: Option<Tensor>,
    /// Of visual words.
    pub mmm_image_logits: Option<Tensor>,
    /// Of words.
    pub mmm_text_logits: Option<Tensor>,
    /// \[matching, batch\] each.
    pub contrastive: Option<ContrastiveLogits>,
    /// How often the heads are right, of what they are asked.
    pub right: Vec<Right>,
}

/// How many of some questions have the right answer first.
#[derive(Debug)]
pub struct Right {
    /// `mim`, `mlm`, `itm`, `mmm_image`, `mmm_text`, `image_to_text` or `text_to_image`.
    pub name: &'static str,
    /// A scalar.
    pub right: Tensor,
    /// All questions.
    pub of: i64,
}

impl Right {
    /// Of logits \[rows, classes\] for labels \[rows\].
    pub(crate) fn new(name: &'static str, logits: &Tensor, labels: &Tensor) -> Result<Self> {
        let _guard = tch::no_grad_guard();
        let right = logits
            .f_argmax(1, false)?
            .f_eq_tensor(labels)?
            .f_sum(Kind::Int64)?;
        Ok(Self {
            name,
            right,
            of: labels.size()[0],
        })
    }
}

/// `FlavaForPreTraining`.
#[derive(Debug)]
pub struct FlavaForPreTraining {
    /// The encoders and projections.
    pub flava: Flava,
    image_codebook: Option<ImageCodebook>,
    mim_head: MaskedPredictionHead,
    mlm_head: MaskedPredictionHead,
    itm_head: ItmHead,
    mmm_image_head: MaskedPredictionHead,
    mmm_text_head: MaskedPredictionHead,
    /// The configuration, with the weights of the losses.
    pub config: FlavaConfig,
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
        let (image, text) = (&config.image_config, &config.text_config);
        let size = config.hidden_size;
        let patches = |name| {
            MaskedPredictionHead::new(
                &(&root / name),
                size,
                image.vocab_size,
                image.hidden_act,
                image.layer_norm_eps,
            )
        };
        let words = |name| {
            MaskedPredictionHead::new(
                &(&root / name),
                size,
                text.vocab_size,
                text.hidden_act,
                text.layer_norm_eps,
            )
        };
        let codebook = &config.image_codebook_config;
        let codebook_vars = (&root / "image_codebook").with_std(codebook.initializer_range);
        let model = Self {
            flava: Flava::new(&(&root / "flava"), &config, kind),
            image_codebook: config
                .init_codebook
                .then(|| ImageCodebook::new(&codebook_vars, codebook)),
            mim_head: patches("mim_head"),
            mlm_head: words("mlm_head"),
            itm_head: ItmHead::new(&(&root / "itm_head"), size),
            mmm_image_head: patches("mmm_image_head"),
            mmm_text_head: words("mmm_text_head"),
            config,
            on_empty,
        };
        for (name, variable) in store.variables() {
            if name.starts_with(CODEBOOK) {
                let _frozen = variable.set_requires_grad(false);
            }
        }
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
        let missing =
            "visual words are needed, but this checkpoint has no image codebook (image_codebook.*)";
        self.image_codebook
            .as_ref()
            .ok_or_else(|| Error::Input(missing.into()))
    }

    /// Runs the encoders that the batch's losses read, the heads on the rows that are scored, and
    /// the losses.
    pub fn forward(&self, inputs: &PretrainingInputs) -> Result<PretrainingOutput> {
        let joint = reads_masked_pairs(&self.config);
        let masked_text = inputs.masked_text.as_ref().or(inputs.text.as_ref());
        match (&inputs.pixel_values, masked_text) {
            (Some(pixels), Some(_)) if !joint && inputs.text.is_some() => {
                self.pairs_apart(pixels, inputs)
            }
            (Some(pixels), Some(text)) => self.pairs(pixels, text, inputs),
            (Some(pixels), None) => self.pictures(pixels, inputs),
            (None, Some(text)) => self.texts(text, inputs),
            (None, None) => Err(Error::Input(
                "a batch with neither pictures nor texts".into(),
            )),
        }
    }

    /// Pairs of which nothing but the contrastive loss is asked, which reads nothing of what is
    /// masked.
    fn pairs_apart(
        &self,
        pixels: &Tensor,
        inputs: &PretrainingInputs,
    ) -> Result<PretrainingOutput> {
        let text = inputs
            .text
            .as_ref()
            .ok_or_else(|| Error::Input("pairs without texts".into()))?;
        let mut output = PretrainingOutput {
            image: Some(
                self.flava
                    .encode_image_cls(&ImageInputs::new(pixels.shallow_clone()))?,
            ),
            text: Some(self.flava.encode_text_cls(text)?),
            matching: inputs
                .itm_labels
                .as_ref()
                .map(|labels| matching(labels, None))
                .transpose()?,
            ..PretrainingOutput::default()
        };
        self.global_contrastive(&mut output)?;
        Ok(output)
    }

    /// Pictures alone: MIM.
    fn pictures(&self, pixels: &Tensor, inputs: &PretrainingInputs) -> Result<PretrainingOutput> {
        let mut output = PretrainingOutput::default();
        let masked = masked_picture(pixels, inputs);
        if self.config.mim_weight <= 0.0 {
            output.masked_image = Some(self.flava.encode_image(&masked)?);
            return Ok(output);
        }
        let (_, _, height, width) = pixels.size4()?;
        let patch = self.config.image_config.patch_size;
        let sequences = Sequences {
            count: pixels.size()[0],
            length: 1 + (height / patch) * (width / patch),
            device: pixels.device(),
        };
        let scored = sequences.scored(
            0..sequences.length,
            self.patch_labels(inputs)?.as_ref(),
            self.config.ce_ignore_index,
            None,
        )?;
        let rows = rows_to_compute(&[&scored], inputs.all_states)?;
        let encoded = self.flava.encode_image_rows(&masked, &rows)?;
        let scale = (
            self.config.mim_weight,
            inputs.whole.map(|whole| whole.patches),
        );
        let states = states_of(&encoded, &rows, &[&scored])?;
        (output.mim_logits, output.losses.mim) = self.masked_prediction(
            (&self.mim_head, "mim"),
            &states[0],
            &scored,
            scale,
            &mut output.right,
        )?;
        output.masked_image = Some(encoded);
        Ok(output)
    }

    /// Texts alone: MLM.
    fn texts(&self, text: &TextInputs, inputs: &PretrainingInputs) -> Result<PretrainingOutput> {
        let mut output = PretrainingOutput::default();
        if self.config.mlm_weight <= 0.0 {
            output.masked_text = Some(self.flava.encode_text(text)?);
            return Ok(output);
        }
        let (count, length) = text.input_ids.size2()?;
        let sequences = Sequences {
            count,
            length,
            device: text.input_ids.device(),
        };
        let scored = sequences.scored(
            0..length,
            inputs.mlm_labels.as_ref(),
            self.config.ce_ignore_index,
            None,
        )?;
        let rows = rows_to_compute(&[&scored], inputs.all_states)?;
        let encoded = self.flava.encode_text_rows(text, &rows)?;
        let scale = (
            self.config.mlm_weight,
            inputs.whole.map(|whole| whole.words),
        );
        let states = states_of(&encoded, &rows, &[&scored])?;
        (output.mlm_logits, output.losses.mlm) = self.masked_prediction(
            (&self.mlm_head, "mlm"),
            &states[0],
            &scored,
            scale,
            &mut output.right,
        )?;
        output.masked_text = Some(encoded);
        Ok(output)
    }

    /// Pairs: ITM on all, then MMM and the contrastive loss on the matching ones.
    fn pairs(
        &self,
        pixels: &Tensor,
        masked_text: &TextInputs,
        inputs: &PretrainingInputs,
    ) -> Result<PretrainingOutput> {
        let (config, mut output) = (&self.config, PretrainingOutput::default());
        let unmasked = if inputs.all_states {
            Rows::All
        } else {
            Rows::Cls
        };
        let contrastive = config.global_contrastive_weight > 0.0;
        if contrastive && inputs.text.is_some() && inputs.bool_masked_pos.is_some() {
            output.image = Some(
                self.flava
                    .encode_image_rows(&ImageInputs::new(pixels.shallow_clone()), &unmasked)?,
            );
        }
        let image = self.flava.encode_image(&masked_picture(pixels, inputs))?;
        if let (true, Some(text), Some(_)) = (contrastive, &inputs.text, &inputs.masked_text) {
            output.text = Some(self.flava.encode_text_rows(text, &unmasked)?);
        }
        let text = self.flava.encode_text(masked_text)?;
        if config.itm_weight > 0.0 {
            output.matching = inputs
                .itm_labels
                .as_ref()
                .map(|labels| matching(labels, inputs.whole))
                .transpose()?;
        }
        let matching = output.matching.as_ref();
        let (count, image_rows, _) = image.last_hidden_state.size3()?;
        let (_, text_rows, _) = text.last_hidden_state.size3()?;
        let length = i64::from(config.multimodal_config.use_cls_token) + image_rows + text_rows;
        let sequences = Sequences {
            count,
            length,
            device: pixels.device(),
        };
        let cls = sequences.cls()?;
        let mut patches = None;
        if config.mmm_image_weight > 0.0 {
            let labels = self.patch_labels(inputs)?;
            let range = PATCHES_START..PATCHES_START + image_rows - 1;
            patches =
                Some(sequences.scored(range, labels.as_ref(), config.ce_ignore_index, matching)?);
        }
        let mut words = None;
        if config.mmm_text_weight > 0.0 {
            let range = length - text_rows..length;
            words = Some(sequences.scored(
                range,
                inputs.mlm_labels.as_ref(),
                config.ce_ignore_index,
                matching,
            )?);
        }
        let asked: Vec<&Scored> = [Some(&cls), patches.as_ref(), words.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let rows = rows_to_compute(&asked, inputs.all_states)?;
        let encoded = self.flava.encode_multimodal_rows(
            &image,
            &text,
            masked_text.attention_mask.as_ref(),
            &rows,
        )?;
        let mut states = states_of(&encoded, &rows, &asked)?.into_iter();
        let mut next = || states.next().expect("as many as are asked");
        let cls = next();
        if config.itm_weight > 0.0 {
            let logits = self.itm_head.forward(&cls)?;
            if let Some(labels) = &inputs.itm_labels {
                let loss =
                    cross_entropy(&logits, labels, -100, inputs.whole.map(|whole| whole.pairs))?;
                output.losses.itm = Some(loss.f_mul_scalar(config.itm_weight)?);
                output.right.push(Right::new("itm", &logits, labels)?);
            }
            output.itm_logits = Some(logits);
        }
        if let Some(patches) = &patches {
            let scale = (
                config.mmm_image_weight,
                inputs.whole.map(|whole| whole.patches),
            );
            (output.mmm_image_logits, output.losses.mmm_image) = self.masked_prediction(
                (&self.mmm_image_head, "mmm_image"),
                &next(),
                patches,
                scale,
                &mut output.right,
            )?;
        }
        if let Some(words) = &words {
            let scale = (
                config.mmm_text_weight,
                inputs.whole.map(|whole| whole.words),
            );
            (output.mmm_text_logits, output.losses.mmm_text) = self.masked_prediction(
                (&self.mmm_text_head, "mmm_text"),
                &next(),
                words,
                scale,
                &mut output.right,
            )?;
        }
        (
            output.masked_image,
            output.masked_text,
            output.masked_multimodal,
        ) = (Some(image), Some(text), Some(encoded));
        if contrastive && inputs.text.is_some() {
            self.global_contrastive(&mut output)?;
        }
        Ok(output)
    }

    fn global_contrastive(&self, output: &mut PretrainingOutput) -> Result<()> {
        // Where nothing was hidden, the masked states are the unmasked ones.
        let image = output
            .image
            .as_ref()
            .or(output.masked_image.as_ref())
            .expect("encoded");
        let text = output
            .text
            .as_ref()
            .or(output.masked_text.as_ref())
            .expect("encoded");
        let (image, text) = (
            self.flava.project_image(image)?,
            self.flava.project_text(text)?,
        );
        let (logits, loss, right) = self.contrast(
            &image,
            &text,
            output.matching.as_ref(),
            &self.flava.clamped_logit_scale()?,
        )?;
        output.right.extend(right);
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
    ) -> Result<(ContrastiveLogits, Tensor, [Right; 2])> {
        let mut labels = Tensor::f_arange(image.size()[0], (Kind::Int64, image.device()))?;
        let mut logits = contrastive_logits(image, text, logit_scale)?;
        if let Some(matching) = matching {
            logits = logits.keep_rows(matching)?;
            labels = labels.f_index_select(0, &matching.f_nonzero()?.f_squeeze_dim(-1)?)?;
        }
        let loss = logits
            .loss(&labels)?
            .f_mul_scalar(self.config.global_contrastive_weight)?;
        let right = [
            Right::new("image_to_text", &logits.per_image, &labels)?,
            Right::new("text_to_image", &logits.per_text, &labels)?,
        ];
        Ok((logits, loss, right))
    }

    /// The visual word of each hidden patch, `ce_ignore_index` elsewhere, \[batch, patches\]; None
    /// for a batch without labels.
    fn patch_labels(&self, inputs: &PretrainingInputs) -> Result<Option<Tensor>> {
        let labels = match (&inputs.mim_labels, &inputs.codebook_pixel_values) {
            (Some(labels), _) => labels.shallow_clone(),
            (None, Some(pixels)) => self.codebook()?.indices(pixels)?,
            (None, None) if inputs.bool_masked_pos.is_some() => {
                return Err(Error::Input("patches are hidden, but neither mim_labels nor codebook_pixel_values are given".into()));
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

    /// Logits and loss of a masked-prediction head on states \[rows, size\]; how often it is right
    /// goes to `right`. `scale` is the loss's weight, and the number of rows that it is a mean over
    /// where these are but some of them.
    fn masked_prediction(
        &self,
        (head, name): (&MaskedPredictionHead, &'static str),
        states: &Tensor,
        scored: &Scored,
        (weight, of): (f64, Option<usize>),
        right: &mut Vec<Right>,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let logits = head.forward(states)?;
        let Some(labels) = &scored.labels else {
            let shape = [scored.sequences, -1, logits.size()[1]];
            return Ok((Some(logits.f_view(shape)?), None));
        };
        if labels.size()[0] == 0 && self.on_empty == OnEmpty::Skip {
            return Ok((Some(logits), None));
        }
        let loss = cross_entropy(&logits, labels, self.config.ce_ignore_index, of)?
            .f_mul_scalar(weight)?;
        right.push(Right::new(name, &logits, labels)?);
        Ok((Some(logits), Some(loss)))
    }
}

/// Whether a loss reads both of a pair together, with parts hidden.
pub(crate) fn reads_masked_pairs(config: &FlavaConfig) -> bool {
    config.itm_weight > 0.0 || config.mmm_image_weight > 0.0 || config.mmm_text_weight > 0.0
}

fn masked_picture(pixels: &Tensor, inputs: &PretrainingInputs) -> ImageInputs {
    ImageInputs {
        pixel_values: pixels.shallow_clone(),
        bool_masked_pos: inputs.bool_masked_pos.as_ref().map(Tensor::shallow_clone),
        interpolate_pos_encoding: false,
    }
}

/// Which pairs match, \[batch\] bool. Without a single match all are kept, mismatched as they are
/// (transformers).
pub(crate) fn matching(itm_labels: &Tensor, whole: Option<Whole>) -> Result<Tensor> {
    let positive = itm_labels.f_ne(0)?;
    let any = match whole {
        Some(whole) => whole.any_match,
        None => positive.f_any()?.int64_value(&[]) == 1,
    };
    Ok(if any {
        positive
    } else {
        positive.f_ones_like()?
    })
}

/// A mean over the rows, or their sum divided by `of`.
fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    ignore: i64,
    of: Option<usize>,
) -> Result<Tensor> {
    let logits = logits.f_to_kind(Kind::Float)?;
    let reduction = if of.is_some() {
        Reduction::Sum
    } else {
        Reduction::Mean
    };
    let loss = logits.f_cross_entropy_loss(labels, None::<Tensor>, reduction, ignore, 0.0)?;
    Ok(match of {
        Some(of) => loss.f_div_scalar(of.max(1) as f64)?,
        None => loss,
    })
}
