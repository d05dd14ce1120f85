//! Pixels to states: a Vision Transformer with a mask token (FLAVA section 3.1).

use std::rc::Rc;

use tch::Tensor;

use crate::{
    Error, Result,
    config::ImageConfig,
    layers::{AttentionKind, Encoder, EncoderOutput, Pooler, Rows, WeightLender},
    runtime::{Autocast, Vars, linear, trace::TracePoint},
};

/// What the image encoder reads.
#[derive(Debug, Default)]
pub struct ImageInputs {
    /// Normalised pixels, \[batch, channels, height, width\].
    pub pixel_values: Tensor,
    /// 1 where a patch is replaced by the mask token: \[batch, patches\] or \[batch, rows,
    /// columns\].
    pub bool_masked_pos: Option<Tensor>,
    /// Whether other sizes than the configured one are taken, with resized position embeddings.
    pub interpolate_pos_encoding: bool,
}

impl ImageInputs {
    /// Unmasked pixels of the configured size.
    pub fn new(pixel_values: Tensor) -> Self {
        Self {
            pixel_values,
            ..Self::default()
        }
    }
}

#[derive(Debug)]
struct PatchEmbeddings {
    weight: Tensor,
    bias: Tensor,
    patch_size: i64,
    site: TracePoint,
}

impl PatchEmbeddings {
    fn new(vars: &Vars, config: &ImageConfig) -> Self {
        let (patch, projection) = (config.patch_size, vars / "projection");
        Self {
            weight: projection.weight(
                "weight",
                &[config.hidden_size, config.num_channels, patch, patch],
            ),
            bias: projection.zeros("bias", &[config.hidden_size]),
            patch_size: patch,
            site: TracePoint::new(vars.name()),
        }
    }

    /// \[batch, channels, height, width\] to \[batch, patches, size\], patches row by row.
    fn forward(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let patches = if pixel_values.device().is_cuda() {
            self.product(pixel_values)?
        } else {
            let (stride, bias) = ([self.patch_size; 2], Some(&self.bias));
            let patches = pixel_values.f_conv2d(&self.weight, bias, stride, [0, 0], [1, 1], 1)?;
            patches.f_flatten(2, 3)?.f_transpose(1, 2)? // from [batch, size, rows, columns]
        }; // [batch, patches, size]
        self.site.record(&patches);
        Ok(patches)
    }

    /// The same as one product: cuDNN's convolutions take several times as long where patches do not
    /// overlap.
    fn product(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = pixel_values.size4()?;
        let patch = self.patch_size;
        let (rows, columns) = (height / patch, width / patch);
        let patches = Autocast::cast(pixel_values)?
            .f_narrow(2, 0, rows * patch)?
            .f_narrow(3, 0, columns * patch)?
            .f_reshape([batch, channels, rows, patch, columns, patch])?
            .f_permute([0, 2, 4, 1, 3, 5])?
            .f_reshape([batch, rows * columns, channels * patch * patch])?;
        linear(&patches, &self.weight.f_flatten(1, -1)?, Some(&self.bias))
    }
}

#[derive(Debug)]
struct ImageEmbeddings {
    cls_token: Tensor,
    mask_token: Option<Tensor>,
    position_embeddings: Tensor,
    patch_embeddings: PatchEmbeddings,
    dropout: f64,
    site: TracePoint,
}

impl ImageEmbeddings {
    fn new(vars: &Vars, config: &ImageConfig) -> Self {
        let size = config.hidden_size;
        Self {
            cls_token: vars.zeros("cls_token", &[1, 1, size]),
            mask_token: config
                .mask_token
                .then(|| vars.zeros("mask_token", &[1, 1, size])),
            position_embeddings: vars
                .zeros("position_embeddings", &[1, config.grid().pow(2) + 1, size]),
            patch_embeddings: PatchEmbeddings::new(&(vars / "patch_embeddings"), config),
            dropout: config.hidden_dropout_prob,
            site: TracePoint::new(vars.name()),
        }
    }

    fn forward(&self, inputs: &ImageInputs, train: bool) -> Result<Tensor> {
        let (batch, _, height, width) = inputs.pixel_values.size4()?;
        let mut patches = self.patch_embeddings.forward(&inputs.pixel_values)?;
        if let Some(mask) = &inputs.bool_masked_pos {
            patches = self.mask(&patches, mask)?;
        }
        let (_, _, size) = patches.size3()?;
        let cls = self.cls_token.f_expand([batch, 1, size], false)?;
        let positions = self.positions(height, width)?;
        let states = Tensor::f_cat(&[cls, patches], 1)?.f_add(&positions)?; // [batch, 1 + patches, size]
        let states = states.f_dropout(self.dropout, train)?;
        self.site.record(&states);
        Ok(states)
    }

    /// A blend, not a choice: a mask between 0 and 1 mixes. Positions are added later, so a masked
    /// patch keeps its own.
    fn mask(&self, patches: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let token = self
            .mask_token
            .as_ref()
            .ok_or_else(|| Error::Input("bool_masked_pos for a model without mask_token".into()))?;
        let (batch, count, _) = patches.size3()?;
        if mask.size().iter().product::<i64>() != batch * count
            || mask.size().first() != Some(&batch)
        {
            return Err(Error::Input(format!(
                "bool_masked_pos is {:?} for {batch} images of {count} patches",
                mask.size()
            )));
        }
        let mask = mask
            .f_reshape([batch, count, 1])?
            .f_to_kind(patches.kind())?;
        Ok(patches
            .f_mul(&mask.f_rsub_scalar(1)?)?
            .f_add(&token.f_mul(&mask)?)?)
    }

    /// Position embeddings for images of `height` by `width`: the table, or its patch rows
    /// resized (bicubic, a = -0.75).
    fn positions(&self, height: i64, width: i64) -> Result<Tensor> {
        let patch = self.patch_embeddings.patch_size;
        let (rows, columns) = (height / patch, width / patch);
        let (_, entries, _) = self.position_embeddings.size3()?;
        if rows * columns == entries - 1 && height == width {
            return Ok(self.position_embeddings.shallow_clone());
        }
        resize_positions(&self.position_embeddings, rows, columns)
    }
}

/// A table of position embeddings \[1, 1 + patches, size\] for another grid of patches: the CLS row
/// as it is, the others resized (bicubic, a = -0.75, as transformers does it).
pub fn resize_positions(table: &Tensor, rows: i64, columns: i64) -> Result<Tensor> {
    let (_, entries, size) = table.size3()?;
    let side = ((entries - 1) as f64).sqrt() as i64;
    let cls = table.f_narrow(1, 0, 1)?;
    let patches = table.f_narrow(1, 1, entries - 1)?;
    let grid = patches
        .f_reshape([1, side, side, size])?
        .f_permute([0, 3, 1, 2])?; // [1, size, side, side]
    let grid = grid.f_upsample_bicubic2d([rows, columns], false, None::<f64>, None::<f64>)?;
    let patches = grid
        .f_permute([0, 2, 3, 1])?
        .f_reshape([1, rows * columns, size])?; // [1, patches, size]
    Ok(Tensor::f_cat(&[cls, patches], 1)?)
}

/// `flava.image_model`.
#[derive(Debug)]
pub struct ImageEncoder {
    embeddings: ImageEmbeddings,
    encoder: Encoder,
    pooler: Pooler,
    image_size: i64,
}

impl ImageEncoder {
    /// The encoder under `vars`.
    pub fn new(vars: &Vars, config: &ImageConfig, kind: AttentionKind) -> Self {
        Self {
            embeddings: ImageEmbeddings::new(&(vars / "embeddings"), config),
            encoder: Encoder::new(vars, &config.block(), kind),
            pooler: Pooler::new(&(vars / "pooler"), config.hidden_size),
            image_size: config.image_size,
        }
    }

    /// Prepares for inference.
    pub fn pack(&mut self) {
        self.encoder.pack();
    }

    /// Does something with each projection of the blocks' attention, which is told by its name.
    pub fn each_projection<E>(
        &mut self,
        act: &mut impl FnMut(&str, &mut crate::layers::Linear) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.encoder.each_projection(act)
    }

    /// Whether activations are computed again in the backward pass.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.encoder.set_recompute(recompute);
    }

    /// Whose the blocks' weights are while they do not compute.
    pub fn set_lender(&mut self, lender: &Rc<dyn WeightLender>) {
        self.encoder.set_lender(lender);
    }

    /// Pixels to \[batch, 1 + patches, size\], row 0 the CLS token.
    pub fn forward(&self, inputs: &ImageInputs, rows: &Rows, train: bool) -> Result<EncoderOutput> {
        let (_, _, height, width) = inputs.pixel_values.size4()?;
        let side = self.image_size;
        if !inputs.interpolate_pos_encoding && (height, width) != (side, side) {
            return Err(Error::Input(format!(
                "images of {height}x{width} pixels for a model of {side}x{side}"
            )));
        }
        let states = self.embeddings.forward(inputs, train)?;
        self.encoder.forward(states, None, rows, train)
    }

    /// Position embeddings for images of `height` by `width` pixels, \[1, 1 + patches, size\].
    pub fn position_embeddings(&self, height: i64, width: i64) -> Result<Tensor> {
        self.embeddings.positions(height, width)
    }

    /// transformers' `pooler_output`, \[batch, size\]; read by no loss and no task of the paper.
    pub fn pool(&self, output: &EncoderOutput) -> Result<Tensor> {
        self.pooler.forward(&output.cls())
    }
}
