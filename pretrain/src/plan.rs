//! From what was typed to a job, and what it would take.

use std::{fmt::Write, path::PathBuf};

use flava_evaluator::Places;
use flava_model::{
    FlavaConfig,
    runtime::{Fill, set_threads},
};

use flava_training::{human_duration, peak_flops};

use crate::{
    Error, Result, RunArgs,
    codebook::{PATCH, flops_of_patch, networks},
    flops,
    order::Rank,
    recipe::{Recipe, RowKind, Share, Stage},
    run::{Job, corpora_of},
};

/// Share of a large product's speed that a training step is taken to reach before anything was
/// measured.
const SHARE_OF_PEAK: f64 = 0.5;

/// Decides a run. `until` names the kind of stage that ends it.
pub fn job_of(args: &RunArgs, until: Option<&str>) -> Result<Job> {
    let recipe = Recipe::open(&args.recipe, &args.set)?;
    let device = args.device.resolve()?;
    let threads = args.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    set_threads(threads);
    let until = until
        .map(|kind| {
            let found = recipe
                .stages()
                .find(|(_, stage)| stage.kind() == kind)
                .map(|(name, _)| name.to_owned());
            found.ok_or_else(|| {
                Error::Input(format!("{} has no stage that makes a {kind}", args.recipe))
            })
        })
        .transpose()?;
    let stem = PathBuf::from(&args.recipe).file_stem().map_or_else(
        || args.recipe.clone(),
        |stem| stem.to_string_lossy().into_owned(),
    );
    Ok(Job {
        name: args.recipe.clone(),
        recipe,
        data: args.data.clone(),
        out: args
            .out
            .clone()
            .unwrap_or_else(|| PathBuf::from("pretrained").join(stem)),
        seed: args.seed,
        device,
        precision: args.precision,
        threads,
        micro_batch: args.micro_batch,
        recompute: args.recompute,
        until,
        rank: Rank::default(),
        places: Places::new(None, args.offline, args.quiet)?,
        offline: args.offline,
        quiet: args.quiet,
    })
}

/// Numbers of a model of `config`, the codebook apart.
fn parameters(config: &FlavaConfig) -> f64 {
    let block = |c: &flava_model::config::BlockConfig| {
        let (d, f) = (c.hidden_size as f64, c.intermediate_size as f64);
        c.num_hidden_layers as f64 * (4.0 * d * d + 2.0 * d * f + 9.0 * d + f)
    };
    let d = config.hidden_size as f64;
    let (image, text) = (&config.image_config, &config.text_config);
    let embeddings = (image.grid().pow(2) + 2) as f64 * d
        + (image.patch_size.pow(2) * image.num_channels) as f64 * d
        + (text.vocab_size + text.max_position_embeddings + text.type_vocab_size) as f64 * d;
    let heads = 2.0 * (image.vocab_size + text.vocab_size) as f64 * (d + 1.0) + 5.0 * (d * d + d);
    let poolers = 3.0 * (d * d + d);
    let projections = 2.0 * d * (d + config.projection_dim as f64);
    block(&image.block())
        + block(&text.block())
        + block(&config.multimodal_config.block())
        + embeddings
        + heads
        + poolers
        + projections
}

/// What is said of a corpus, or of data to measure on, that cannot be opened.
const NOT_THERE: &str = "not there";

/// What a job would do: corpora that are there, sizes, operations and time at this machine's speed.
pub fn dry_run(job: &Job) -> Result<(String, bool)> {
    let recipe = &job.recipe;
    let words = recipe.stages().find_map(|(_, stage)| {
        if let Stage::Tokenizer(stage) = stage {
            Some(stage.vocab_size)
        } else {
            None
        }
    });
    let config = recipe.config(words.filter(|words| *words > 0).unwrap_or(30_522))?;
    let count = parameters(&config);
    let peak = peak_flops(job.device, job.precision)?;
    let mut lines = vec![
        format!("{}: {}", job.name, recipe.summary),
        format!(
            "model: {:.1} M parameters; weights, gradients and moments {:.1} GB, activations on top",
            count / 1e6,
            count * 16.0 / 1e9
        ),
        format!(
            "machine: a large product reaches {:.0} GFLOP/s in {}",
            peak / 1e9,
            job.precision.name()
        ),
    ];
    let said = [("cost", &recipe.cost), ("expect", &recipe.expect)];
    lines.splice(
        1..1,
        said.iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| format!("{name}: {text}")),
    );
    let mut used: Vec<&str> = job
        .stages()
        .flat_map(|(_, stage)| corpora_of(stage))
        .collect();
    used.sort_unstable();
    used.dedup();
    for name in used {
        let state = match recipe.corpora[name].open(&job.data, 0) {
            Ok(dataset) => format!("{} rows", dataset.len()),
            Err(error) => format!("{NOT_THERE}: {error}"),
        };
        lines.push(format!(
            "corpus {name} ({}): {state}",
            recipe.corpora[name].name()
        ));
    }
    let mut total = 0.0;
    for (name, stage) in job.stages() {
        let (steps, flops) = (stage.steps(), flops_of(stage, &config));
        total += flops;
        let mut line = format!("stage {name} ({})", stage.kind());
        if steps > 0 {
            let gigabytes = bytes_of_batch(stage, &config) / 1e9;
            let large = if gigabytes < 0.1 {
                String::new()
            } else {
                format!(", batches of {gigabytes:.1} GB, two at once")
            };
            let _written = write!(line, ": {steps} steps{large}");
        }
        if flops > 0.0 {
            let _written = write!(
                line,
                ", {flops:.1e} FLOP, about {}",
                human_duration(flops / (peak * SHARE_OF_PEAK))
            );
        }
        lines.push(line);
        if let Stage::Train(stage) = stage
            && let Some(evaluate) = &stage.evaluate
        {
            let state = job
                .check_evaluation(evaluate, true)
                .map_or_else(|error| format!("{NOT_THERE}: {error}"), |()| "ready".into());
            lines.push(format!(
                "    measured every {} steps on {}: {state}",
                evaluate.every, evaluate.tasks
            ));
        }
    }
    let time = human_duration(total / (peak * SHARE_OF_PEAK));
    lines.push(format!(
        "all: {total:.1e} FLOP, about {time} at {:.0} % of that speed; results in {}",
        SHARE_OF_PEAK * 100.0,
        job.out.display()
    ));
    let ready = !lines.iter().any(|line| line.contains(NOT_THERE));
    Ok((lines.join("\n"), ready))
}

/// Bytes of the pixels of a stage's largest batch, of which one is trained on and about one made
/// ahead.
fn bytes_of_batch(stage: &Stage, config: &FlavaConfig) -> f64 {
    let side = config.image_config.image_size as f64;
    let picture = |side: f64| 3.0 * side * side * size_of::<f32>() as f64;
    let codebook = picture(config.image_config.grid() as f64 * PATCH as f64);
    match stage {
        Stage::Tokenizer(_) => 0.0,
        Stage::Codebook(stage) => stage.schedule.batch_size as f64 * codebook,
        Stage::Dino(stage) => {
            stage.schedule.batch_size as f64
                * (2.0 * picture(side)
                    + stage.local_crops as f64 * picture(stage.local_size as f64))
        }
        Stage::Train(stage) => {
            let of = |share: &Share| {
                let labels = if stage.crop.is_some() && stage.weights.read_patches(share.rows) {
                    codebook
                } else {
                    0.0
                };
                let row = if share.rows == RowKind::Texts {
                    0.0
                } else {
                    picture(side) + labels
                };
                share.batch_size.unwrap_or(stage.schedule.batch_size) as f64 * row
            };
            stage
                .mixture
                .iter()
                .filter(|share| share.ratio > 0.0)
                .map(of)
                .fold(0.0, f64::max)
        }
    }
}

/// Operations of all steps of a stage.
fn flops_of(stage: &Stage, config: &FlavaConfig) -> f64 {
    match stage {
        Stage::Codebook(stage) if stage.from.is_empty() => {
            let (store, ..) = networks(&config.image_codebook_config, stage, Fill::Unset);
            let patches = config.image_config.grid().pow(2) as f64;
            (stage.schedule.steps * stage.schedule.batch_size) as f64
                * patches
                * flops_of_patch(&store)
        }
        Stage::Tokenizer(_) | Stage::Codebook(_) => 0.0,
        Stage::Dino(stage) => {
            let rows = stage.schedule.batch_size as f64;
            let patches = |side: i64| (side / config.image_config.patch_size).pow(2) as f64;
            let global = flops::image(
                config,
                2.0 * rows,
                patches(config.image_config.image_size),
                1.0,
            );
            let local = flops::image(
                config,
                stage.local_crops as f64 * rows,
                patches(stage.local_size as i64),
                1.0,
            );
            stage.schedule.steps as f64 * (4.0 * global + 3.0 * local)
        }
        Stage::Train(stage) => {
            let all: f64 = stage.mixture.iter().map(|share| share.ratio).sum();
            let share = |share: &Share| {
                let rows = share.batch_size.unwrap_or(stage.schedule.batch_size);
                let tokens = if share.rows == RowKind::Texts {
                    stage.text_length
                } else {
                    stage.caption_length
                };
                share.ratio / all * flops::batch(config, share.rows, (rows, tokens))
            };
            stage.schedule.steps as f64 * stage.mixture.iter().map(share).sum::<f64>()
        }
    }
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
