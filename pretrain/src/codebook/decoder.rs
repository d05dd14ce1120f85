//! The other half of the discrete VAE (DALL-E, appendix A.1): from visual tokens back to pixels. It
//! is not part of the model.

use flava_model::{
    codebook::{Channels, Convolution, ResidualBlock},
    config::CodebookConfig,
    runtime::Vars,
};
use tch::Tensor;

use crate::Result;

/// Groups of blocks; the size doubles after all but the last.
const GROUPS: i64 = 4;

/// Probabilities of words to the mean and the logarithm of the width of each pixel's distribution.
#[derive(Debug)]
pub struct Decoder {
    input: Convolution,
    groups: Vec<Vec<ResidualBlock>>,
    output: Convolution,
    channels: i64,
}

impl Decoder {
    /// The mirror image of the encoder, `hidden` channels wide where it ends.
    pub fn new(vars: &Vars, config: &CodebookConfig, hidden: i64) -> Self {
        let blocks = vars / "blocks";
        let gain = 1.0 / ((GROUPS * config.num_blocks_per_group) as f64).powi(2);
        let mut input = (hidden / 2).max(8);
        let first = Convolution::new(&(&blocks / "input"), config.vocab_size, input, 1);
        let mut groups = Vec::new();
        for g in 1..=GROUPS {
            let (group, output) = (&blocks / format!("group_{g}"), hidden << (GROUPS - g));
            let block = |b| {
                let channels = Channels {
                    input: if b == 1 { input } else { output },
                    output,
                };
                let vars = &group / format!("block_{b}");
                ResidualBlock::new(&vars, channels, [1, 3, 3, 3], gain)
            };
            groups.push((1..=config.num_blocks_per_group).map(block).collect());
            input = output;
        }
        let channels = config.input_channels;
        Self {
            input: first,
            groups,
            output: Convolution::new(&(&blocks / "output" / "conv"), input, 2 * channels, 1),
            channels,
        }
    }

    /// \[batch, words, height, width\] to two of \[batch, channels, 8 height, 8 width\].
    pub fn forward(&self, words: &Tensor) -> Result<(Tensor, Tensor)> {
        let mut xs = self.input.forward(words)?;
        for (g, blocks) in self.groups.iter().enumerate() {
            for block in blocks {
                xs = block.forward(&xs)?;
            }
            if g + 1 < self.groups.len() {
                let (_, _, height, width) = xs.size4()?;
                xs = xs.f_upsample_nearest2d([height * 2, width * 2], None::<f64>, None::<f64>)?;
            }
        }
        let ys = self.output.forward(&xs.f_relu()?)?; // [batch, 2 * channels, height, width]
        Ok((
            ys.f_narrow(1, 0, self.channels)?,
            ys.f_narrow(1, self.channels, self.channels)?,
        ))
    }
}
