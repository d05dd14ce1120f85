//! The image codebook: DALL-E's dVAE encoder, which names each patch by one of 8,192 visual tokens
//! (FLAVA section 3.3).
//!
//! A plain convolutional network: 7x7 input convolution, four groups of residual blocks with
//! pooling between them, `ReLU` and a 1x1 output convolution. A factor 8 smaller: 112x112 pixels
//! give 14x14 words.

use flava_base::hex;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result, config::CodebookConfig, runtime::Vars};

/// Groups that are built, whatever the config's `num_groups` says: it only enters the gain.
const GROUPS: i64 = 4;

/// A convolution with stride 1 that keeps the size.
#[derive(Debug)]
pub struct Convolution {
    weight: Tensor,
    bias: Tensor,
    padding: i64,
}

impl Convolution {
    /// From `input` to `output` channels with a square kernel of an odd side.
    pub fn new(vars: &Vars, input: i64, output: i64, kernel: i64) -> Self {
        Self {
            weight: vars.weight("weight", &[output, input, kernel, kernel]),
            bias: vars.zeros("bias", &[output]),
            padding: (kernel - 1) / 2,
        }
    }

    /// \[batch, input, height, width\] to \[batch, output, height, width\].
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        Ok(xs.f_conv2d(
            &self.weight,
            Some(&self.bias),
            [1, 1],
            [self.padding; 2],
            [1, 1],
            1,
        )?)
    }
}

/// Channels that go into a block and come out of it.
#[derive(Clone, Copy, Debug)]
pub struct Channels {
    /// Of what it reads.
    pub input: i64,
    /// Of what it gives.
    pub output: i64,
}

/// Identity path plus gain times residual path.
#[derive(Debug)]
pub struct ResidualBlock {
    id_path: Option<Convolution>,
    convolutions: Vec<Convolution>,
    gain: f64,
}

impl ResidualBlock {
    /// A block whose four convolutions, through a quarter of `output` channels, have these kernels:
    /// 3, 3, 3, 1 in the encoder and the other way round in a decoder.
    pub fn new(vars: &Vars, channels: Channels, kernels: [i64; 4], gain: f64) -> Self {
        let Channels { input, output } = channels;
        let (path, narrow) = (vars / "res_path" / "path", (output / 4).max(1));
        let [a, b, c, d] = kernels;
        let sizes = [
            (input, narrow, a),
            (narrow, narrow, b),
            (narrow, narrow, c),
            (narrow, output, d),
        ];
        let convolution = |(i, (input, output, kernel))| {
            Convolution::new(&(&path / format!("conv_{}", i + 1)), input, output, kernel)
        };
        Self {
            id_path: (input != output)
                .then(|| Convolution::new(&(vars / "id_path"), input, output, 1)),
            convolutions: sizes.into_iter().enumerate().map(convolution).collect(),
            gain,
        }
    }

    /// \[batch, input, height, width\] to \[batch, output, height, width\].
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let mut residual = xs.shallow_clone();
        for convolution in &self.convolutions {
            residual = convolution.forward(&residual.f_relu()?)?;
        }
        let identity = self
            .id_path
            .as_ref()
            .map_or_else(|| Ok(xs.shallow_clone()), |path| path.forward(xs))?;
        Ok(identity.f_add(&residual.f_mul_scalar(self.gain)?)?)
    }
}

/// `image_codebook`. Run without gradient and in f32, but for [`ImageCodebook::forward`], which
/// trains it.
#[derive(Debug)]
pub struct ImageCodebook {
    input: Convolution,
    groups: Vec<Vec<ResidualBlock>>,
    output: Convolution,
}

impl ImageCodebook {
    /// The codebook under `vars` (`image_codebook` in a pretraining checkpoint).
    pub fn new(vars: &Vars, config: &CodebookConfig) -> Self {
        let (blocks, width) = (vars / "blocks", config.hidden_size);
        let gain = 1.0 / ((config.num_groups * config.num_blocks_per_group) as f64).powi(2);
        let mut input = width;
        let mut groups = Vec::new();
        for g in 1..=GROUPS {
            let (group, output) = (&blocks / format!("group_{g}") / "group", width << (g - 1));
            let block = |b| {
                let sizes = Channels {
                    input: if b == 1 { input } else { output },
                    output,
                };
                ResidualBlock::new(&(&group / format!("block_{b}")), sizes, [3, 3, 3, 1], gain)
            };
            groups.push((1..=config.num_blocks_per_group).map(block).collect());
            input = output;
        }
        Self {
            input: Convolution::new(&(&blocks / "input"), config.input_channels, width, 7),
            groups,
            output: Convolution::new(&(&blocks / "output" / "conv"), input, config.vocab_size, 1),
        }
    }

    /// A digest of its weights: what patches are named by.
    pub fn digest(&self) -> Result<String> {
        let blocks = self.groups.iter().flatten();
        let convolutions = blocks.flat_map(|block| block.convolutions.iter().chain(&block.id_path));
        let mut digest = Sha256::new();
        for convolution in [&self.input, &self.output].into_iter().chain(convolutions) {
            for tensor in [&convolution.weight, &convolution.bias] {
                let values = tensor
                    .detach()
                    .f_to_device(Device::Cpu)?
                    .f_to_kind(Kind::Float)?
                    .f_contiguous()?;
                let mut bytes = vec![0; values.numel() * Kind::Float.elt_size_in_bytes()];
                values.f_copy_data_u8(&mut bytes, values.numel())?;
                digest.update(format!("{:?}", values.size()));
                digest.update(bytes);
            }
        }
        Ok(hex(&digest.finalize()[..8]))
    }

    /// What each group puts out, in order: \[batch, width, height, width\], halved in size after
    /// all but the last.
    pub fn groups(&self, pixels: &Tensor) -> Result<Vec<Tensor>> {
        let _guard = tch::no_grad_guard();
        self.states(pixels)
    }

    fn states(&self, pixels: &Tensor) -> Result<Vec<Tensor>> {
        let mut xs = self.input.forward(pixels)?;
        let mut outputs = Vec::new();
        for (g, blocks) in self.groups.iter().enumerate() {
            for block in blocks {
                xs = block.forward(&xs)?;
            }
            if g + 1 < self.groups.len() {
                xs = xs.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
            }
            outputs.push(xs.shallow_clone());
        }
        Ok(outputs)
    }

    /// Codebook pixels \[batch, 3, height, width\] to logits \[batch, vocab, height / 8, width /
    /// 8\].
    pub fn logits(&self, pixels: &Tensor) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        self.forward(pixels)
    }

    /// As [`Self::logits`], with gradients.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let groups = self.states(pixels)?;
        let last = groups.last();
        let last = last.ok_or_else(|| Error::Input("a codebook without groups".into()))?;
        self.output.forward(&last.f_relu()?)
    }

    /// The visual token of each patch, int64 \[batch, height / 8, width / 8\]; the first of equal
    /// maxima.
    pub fn indices(&self, pixels: &Tensor) -> Result<Tensor> {
        Ok(self.logits(pixels)?.f_argmax(1, false)?)
    }

    /// The probability of each visual token, \[batch, vocab, height / 8, width / 8\].
    pub fn probabilities(&self, pixels: &Tensor) -> Result<Tensor> {
        let logits = self.logits(pixels)?;
        Ok(logits.f_softmax(1, logits.kind())?)
    }
}
