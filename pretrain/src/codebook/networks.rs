//! Encoder and decoder together, and what they cost.

use flava_model::{
    ImageCodebook,
    config::CodebookConfig,
    runtime::{Fill, Vars},
};
use tch::{Device, nn::VarStore};

use super::{decoder::Decoder, files::CODEBOOK};
use crate::recipe::CodebookStage;

/// Side of a patch in the codebook's pixels.
pub(crate) const PATCH: usize = 8;

/// Encoder and decoder of a stage's sizes, and their variables.
pub(crate) fn networks(
    config: &CodebookConfig,
    stage: &CodebookStage,
    fill: Fill,
) -> (VarStore, ImageCodebook, Decoder) {
    let store = VarStore::new(Device::Cpu);
    let root = Vars::root(&store, fill);
    let encoder = ImageCodebook::new(&(&root / "image_codebook"), config);
    let hidden = if stage.decoder_hidden > 0 {
        stage.decoder_hidden
    } else {
        config.hidden_size
    };
    let decoder = Decoder::new(&(&root / "decoder"), config, hidden);
    (store, encoder, decoder)
}

/// Floating-point operations of a training step for a patch of an image, by the networks in
/// `store`: products only, the backward pass at twice the forward one.
pub(crate) fn flops_of_patch(store: &VarStore) -> f64 {
    let positions = |name: &str| {
        let encodes = name.starts_with(CODEBOOK);
        // How often the grid of patches is doubled where a convolution's outputs lie.
        let doubled = match (1..=4).find(|group| name.contains(&format!("group_{group}."))) {
            Some(group) if encodes => 4 - group,
            Some(group) => group - 1,
            None if name.contains("blocks.input.") == encodes => 3,
            None => 0,
        };
        f64::from(4_i32.pow(doubled))
    };
    let weights = store
        .variables()
        .into_iter()
        .filter(|(_, variable)| variable.dim() == 4);
    3.0 * weights
        .map(|(name, weight)| 2.0 * weight.numel() as f64 * positions(&name))
        .sum::<f64>()
}
