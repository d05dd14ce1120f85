//! What stages cost, counted from their sizes.

use std::collections::BTreeSet;

use flava_model::{
    FlavaConfig, ImageCodebook,
    config::BlockConfig,
    runtime::{ExpectedWork, Fill, Vars},
};
use tch::{Device, nn::VarStore};

use super::Job;
use crate::{
    codebook::{PATCH, flops_of_patch, networks},
    flops::{self, HiddenShares},
    joint::VISUAL_TOKENS,
    recipe::{CodebookStage, ImageMasks, RowKind, Share, Stage, TrainStage},
};

/// Numbers of a stack of blocks.
fn parameters_of_blocks(config: &BlockConfig) -> f64 {
    let (d, f) = (config.hidden_size as f64, config.intermediate_size as f64);
    config.num_hidden_layers as f64 * (4.0 * d * d + 2.0 * d * f + 9.0 * d + f)
}

/// Numbers of a model of `config`, the codebook apart.
pub(super) fn parameters(config: &FlavaConfig) -> f64 {
    let d = config.hidden_size as f64;
    let (image, text) = (&config.image_config, &config.text_config);
    let embeddings = (image.grid().pow(2) + 2) as f64 * d
        + (image.patch_size.pow(2) * image.num_channels) as f64 * d
        + (text.vocab_size + text.max_position_embeddings + text.type_vocab_size) as f64 * d;
    let heads = 2.0 * (image.vocab_size + text.vocab_size) as f64 * (d + 1.0) + 5.0 * (d * d + d);
    let poolers = 3.0 * (d * d + d);
    let projections = 2.0 * d * (d + config.projection_dim as f64);
    parameters_of_blocks(&image.block())
        + parameters_of_blocks(&text.block())
        + parameters_of_blocks(&config.multimodal_config.block())
        + embeddings
        + heads
        + poolers
        + projections
}

/// Bytes of the pixels of a square image.
fn bytes_of_image(side: f64) -> f64 {
    3.0 * side * side * size_of::<f32>() as f64
}

/// Bytes of the codebook's pixels of an image.
fn bytes_for_codebook(config: &FlavaConfig) -> f64 {
    bytes_of_image(config.image_config.grid() as f64 * PATCH as f64)
}

/// Bytes of the pixels of a stage's largest batch, of which one is trained on and about one made
/// ahead.
pub(super) fn bytes_of_batch(stage: &Stage, config: &FlavaConfig) -> f64 {
    match stage {
        Stage::Tokenizer(_) => 0.0,
        Stage::Codebook(stage) => stage.schedule.batch_size as f64 * bytes_for_codebook(config),
        Stage::Dino(stage) => {
            let global = bytes_of_image(config.image_config.image_size as f64);
            let local = bytes_of_image(stage.local_size as f64);
            stage.schedule.batch_size as f64 * (2.0 * global + stage.local_crops as f64 * local)
        }
        Stage::Train(stage) => {
            let sampled = stage.mixture.iter().filter(|share| share.ratio > 0.0);
            sampled
                .map(|share| bytes_of_share(share, stage, config))
                .fold(0.0, f64::max)
        }
    }
}

/// Those of a batch of one corpus.
fn bytes_of_share(share: &Share, stage: &TrainStage, config: &FlavaConfig) -> f64 {
    let labels = if stage.crop.is_some() && stage.weights.read_patches(share.rows) {
        bytes_for_codebook(config)
    } else {
        0.0
    };
    let row = if share.rows == RowKind::Texts {
        0.0
    } else {
        bytes_of_image(config.image_config.image_size as f64) + labels
    };
    share.batch_size.unwrap_or(stage.schedule.batch_size) as f64 * row
}

/// What the codebook's convolutions are slower than large products of as many operations.
const CONVOLUTIONS: f64 = 3.0;
/// The share of a training step that its forward pass is.
const FORWARD: f64 = 1.0 / 3.0;
/// Operations a second that costs are counted at before any step was measured.
const SPEED: f64 = 1e11;
/// Operations that drawing and cropping an image anew takes as long as.
const CROP: f64 = 1e8;

/// What the stages of a job cost, each step of a stage alike; `rows` says how many a corpus has.
pub(super) fn works(
    job: &Job,
    config: &FlavaConfig,
    rows: &dyn Fn(&str) -> usize,
) -> Vec<ExpectedWork> {
    let mut works = Vec::new();
    for (name, stage) in job.stages() {
        let mut add = |kind: &str, units: f64, operations: f64| {
            if units > 0.0 {
                works.push(ExpectedWork {
                    piece: name.to_owned(),
                    kind: kind.to_owned(),
                    units,
                    cost: operations / units / SPEED,
                });
            }
        };
        let tokens = operations_of_tokens(stage, config, rows);
        add(VISUAL_TOKENS, images_of_tokens(stage, rows), tokens);
        add(
            name,
            stage.steps() as f64,
            operations_of_steps(stage, config, job.recipe.image_masks),
        );
    }
    works
}

/// Operations of all steps of a stage, and what drawing and cropping their images takes as long as.
pub(super) fn operations_of_steps(stage: &Stage, config: &FlavaConfig, masks: ImageMasks) -> f64 {
    let slower = match stage {
        Stage::Codebook(_) => CONVOLUTIONS,
        _ => 1.0,
    };
    slower * flops_of(stage, config, masks) + crops_of(stage) * CROP
}

/// The same of the visual tokens that a stage has made before its first step.
pub(super) fn operations_of_tokens(
    stage: &Stage,
    config: &FlavaConfig,
    rows: &dyn Fn(&str) -> usize,
) -> f64 {
    let images = images_of_tokens(stage, rows);
    if images == 0.0 {
        return 0.0;
    }
    let store = VarStore::new(Device::Cpu);
    let vars = &Vars::root(&store, Fill::Unset) / "image_codebook";
    ImageCodebook::new(&vars, &config.image_codebook_config);
    let patches = config.image_config.grid().pow(2) as f64;
    images * (CROP + CONVOLUTIONS * FORWARD * patches * flops_of_patch(&store))
}

/// Images of whole corpora whose visual tokens a stage has made: those that it does not crop.
fn images_of_tokens(stage: &Stage, rows: &dyn Fn(&str) -> usize) -> f64 {
    let Stage::Train(stage) = stage else {
        return 0.0;
    };
    let is_read = |share: &&Share| {
        share.ratio > 0.0 && stage.crop.is_none() && stage.weights.read_patches(share.rows)
    };
    let read = stage.mixture.iter().filter(is_read);
    let corpora: BTreeSet<&str> = read.map(|share| share.corpus.as_str()).collect();
    corpora.into_iter().map(|corpus| rows(corpus) as f64).sum()
}

/// Images that all steps of a stage draw, each crop for itself.
fn crops_of(stage: &Stage) -> f64 {
    match stage {
        Stage::Tokenizer(_) => 0.0,
        Stage::Codebook(stage) => (stage.schedule.steps * stage.schedule.batch_size) as f64,
        Stage::Dino(stage) => {
            let rows = stage.schedule.steps * stage.schedule.batch_size;
            (rows * (2 + stage.local_crops)) as f64
        }
        Stage::Train(stage) => {
            let all: f64 = stage.mixture.iter().map(|share| share.ratio).sum();
            let drawn = |share: &Share| {
                let rows = share.batch_size.unwrap_or(stage.schedule.batch_size);
                share.ratio / all * rows as f64
            };
            let with_images = |share: &&Share| share.rows != RowKind::Texts;
            let of_step: f64 = stage.mixture.iter().filter(with_images).map(drawn).sum();
            stage.schedule.steps as f64 * of_step
        }
    }
}

/// Operations of all steps of a stage.
pub(super) fn flops_of(stage: &Stage, config: &FlavaConfig, masks: ImageMasks) -> f64 {
    match stage {
        Stage::Codebook(stage) if stage.from.is_empty() => flops_of_codebook(stage, config),
        Stage::Tokenizer(_) | Stage::Codebook(_) => 0.0,
        Stage::Dino(stage) => {
            let rows = stage.schedule.batch_size as f64;
            let (global, local) = (2.0 * rows, stage.local_crops as f64 * rows);
            stage.schedule.steps as f64 * flops::distillation(config, stage, global, local)
        }
        Stage::Train(stage) => flops_of_train(stage, config, masks),
    }
}

fn flops_of_codebook(stage: &CodebookStage, config: &FlavaConfig) -> f64 {
    let (store, ..) = networks(&config.image_codebook_config, stage, Fill::Unset);
    let patches = config.image_config.grid().pow(2) as f64;
    let images = stage.schedule.steps * stage.schedule.batch_size;
    images as f64 * patches * flops_of_patch(&store)
}

fn flops_of_train(stage: &TrainStage, config: &FlavaConfig, masks: ImageMasks) -> f64 {
    let all: f64 = stage.mixture.iter().map(|share| share.ratio).sum();
    let flops_of_share = |share: &Share| {
        let rows = share.batch_size.unwrap_or(stage.schedule.batch_size);
        let (tokens, words) = match share.rows {
            RowKind::Pairs => (stage.caption_length, stage.caption_masks),
            RowKind::Images | RowKind::Texts => (stage.text_length, stage.text_masks),
        };
        let hidden = HiddenShares::new(config, masks.total, words.rate);
        let tokens = tokens as f64; // at most
        share.ratio / all * flops::batch(config, share.rows, rows, tokens, &hidden)
    };
    let step: f64 = stage.mixture.iter().map(flops_of_share).sum();
    stage.schedule.steps as f64 * step
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 303,859,063 of flava-full are trained.
    #[test]
    fn the_parameters_of_the_paper_are_counted() {
        assert!((parameters(&FlavaConfig::default()) / 303_859_063.0 - 1.0).abs() < 1e-3);
    }
}
