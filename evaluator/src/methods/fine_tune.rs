//! Fine-tuning as a method: the task's recipe from the checkpoint's weights, or what a fine-tuned
//! checkpoint answers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_base::hex;
use flava_model::runtime::distributed::Group;
use flava_tasks::{ChosenOn, Recipe, SplitPart, Tower};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::method::{CHECKPOINT, MethodInput, MethodOutput, Splits};
use crate::{
    Error, Result,
    features::Rows,
    finetune::{
        Asked, FineTuning, FinetunedModel, LoraBase, Network, NetworkStart, Output, ceiling,
        has_training, is_tuned, predictions,
    },
};

/// The answers of a fine-tuned model to the test splits; where the checkpoint is not fine-tuned, it
/// is first.
pub(super) fn run(input: &MethodInput) -> Result<MethodOutput> {
    let settings = &input.plan.settings;
    let folder = match tuned_before(input)? {
        Some(folder) => folder,
        None => tune(input)?,
    };
    let saved = FinetunedModel::read_whole(&folder)?;
    check_class_names(&saved, input.splits)?;
    let mut network = saved.network(&folder, settings.load.device)?;
    let max_tokens = saved.recipe.max_tokens;
    let progress = input.progress;
    let mut answers = Vec::new();
    for rows in input.splits.tests() {
        let asked = Asked {
            rows,
            max_tokens,
            settings,
            progress,
            group: &Group::alone(),
        };
        answers.push(predictions(&mut network, &asked)?);
    }
    let mut output = MethodOutput::new(answers);
    output.train_rows = saved.train_rows;
    describe(&mut output, &saved, &folder);
    let test = &input.splits.test;
    if let Some(ceiling) = ceiling(&network, test) {
        let vocabulary = network.output.width();
        output.detail(
            "answers",
            json!({ "vocabulary": vocabulary, "ceiling": ceiling }),
        );
    }
    if saved.feature.tower != Tower::Text {
        output.transform = Some(network.image.transform(settings.order).id());
    }
    let chosen_by = saved.reached.as_ref();
    if chosen_by.is_some_and(|best| best.score.split == test.split.name) {
        let note =
            "the checkpoint was chosen on the rows that are scored, as the task has no others";
        output.notes.push(note.into());
    } else if input.splits.validation.is_none() {
        let note = "the checkpoint was chosen on a tenth of the training rows, by the hash of their ids, as the task has no validation split";
        output.notes.push(note.into());
    }
    output.recipe_digest = saved.recipe.digest();
    output.recipe = saved.recipe_name;
    output.initialisation = saved.initialisation;
    output.departures = saved.departures;
    Ok(output)
}

/// Takes part in the training of a task that process 0 measures.
pub(super) fn train_along(input: &MethodInput) -> Result<()> {
    if tuned_before(input)?.is_none() {
        tune(input)?;
    }
    Ok(())
}

/// What the record tells of the model.
fn describe(output: &mut MethodOutput, saved: &FinetunedModel, folder: &Path) {
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    output.detail(
        "recipe",
        json!({ "name": saved.recipe_name, "settings": saved.recipe }),
    );
    output.detail("base", saved.base.clone());
    output.detail("steps", saved.step);
    output.detail("chosen_by", json!(saved.reached));
    output.detail("tuned_folder", json!(name));
}

/// The checkpoint's folder, if it was fine-tuned on this task and is not to be again.
fn tuned_before(input: &MethodInput) -> Result<Option<PathBuf>> {
    let folder = &input.source.encoders()?.loaded.folder;
    if !is_tuned(folder) || input.plan.tuning.always {
        return Ok(None);
    }
    let saved = FinetunedModel::read(folder)?;
    if saved.task != input.task.name || saved.task_version != input.task.version {
        let (task, version) = (&saved.task, saved.task_version);
        return Err(Error::Mismatch {
            what: "task",
            reason: format!("the checkpoint was fine-tuned on {task} (version {version})"),
        });
    }
    Ok(Some(folder.clone()))
}

/// The head's numbers stand in the order of the classes that it was trained on.
fn check_class_names(saved: &FinetunedModel, splits: &Splits) -> Result<()> {
    match splits.test.dataset().class_names() {
        Some(names) if !saved.class_names.is_empty() && names != saved.class_names => {
            let reason = "the checkpoint was trained on classes in another order or of other names";
            Err(Error::Classes(format!(
                "{reason}: {} and {}",
                saved.class_names.join(", "),
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// What of a training is not as the task's own recipe has it.
fn departures(input: &MethodInput, recipe: &Recipe) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let (own, name) = Recipe::of(input.task, None, &[])?;
    if *recipe != own {
        found.push(format!("other settings than those of recipe {name}"));
    }
    if input.plan.tuning.random_init {
        found.push("random weights".into());
    }
    if input
        .splits
        .all()
        .any(|rows| rows.len() < rows.dataset().len())
    {
        found.push("trained with --limit".into());
    }
    Ok(found)
}

/// Trains into a folder of the run, or goes on there; the folder of the best checkpoint.
fn tune(input: &MethodInput) -> Result<PathBuf> {
    let (plan, settings) = (input.plan, &input.plan.settings);
    let tuning = &plan.tuning;
    let train = input.train()?;
    let (recipe, recipe_name) = Recipe::of(input.task, tuning.recipe.as_deref(), &tuning.set)?;
    let none = Error::Internal("there is nothing to fine-tune");
    let feature = input.assignment.method.feature().ok_or(none)?;
    if settings.skip_broken && feature.tower != Tower::Text {
        let remedy = "mend the images, or take their rows out of the data";
        return Err(Error::Usage {
            argument: "--skip-broken",
            reason: format!("--skip-broken is not for fine-tuning: {remedy}"),
        });
    }
    let held_out = held_out(input, train, &recipe)?;
    let (validation, train) = match (&held_out, &input.splits.validation) {
        (Some((held_out, rest)), _) => (held_out, rest),
        (None, Some(own)) => (own, train),
        // The record says so.
        (None, None) => (&input.splits.test, train),
    };
    let head = Output::of(input.task, train, &recipe)?;
    let folder = prepare_folder(input)?;
    let start = NetworkStart {
        folder: &input.source.encoders()?.loaded.folder,
        random: tuning.random_init,
        recipe: &recipe,
        feature,
        output: head.clone(),
        lora: recipe.lora.as_ref(),
        seed: plan.seed,
    };
    let network = Network::new(start, settings.load.device)?;
    network.freeze(&recipe.freeze)?;
    let mut saved = saved(input, train, &recipe, recipe_name, head)?;
    if held_out.is_some() {
        let digest = Sha256::digest(format!("{} held out", saved.key));
        saved.key = hex(&digest[..16]);
    }
    let tuning = FineTuning {
        train,
        validation,
        metrics: &input.assignment.metrics,
        recipe: &recipe,
        saved,
        folder: &folder,
        settings,
        progress: input.progress,
        micro_batch: tuning.micro_batch,
        recompute: tuning.recompute,
        sharding: tuning.sharding,
        group: input.group,
    };
    tuning.run(network)?;
    Ok(folder.join("best"))
}

/// The training rows that the checkpoint is chosen on, and the others, where the task has no
/// validation split and its recipe does not choose on the scored rows.
fn held_out(input: &MethodInput, train: &Rows, recipe: &Recipe) -> Result<Option<(Rows, Rows)>> {
    if input.splits.validation.is_some() || recipe.chosen_on == Some(ChosenOn::Test) {
        return Ok(None);
    }
    let (held_out, rest) = train.divided(SplitPart::Validation);
    if held_out.len() == 0 || rest.len() == 0 {
        let rows = train.len();
        return Err(Error::UnfitRows(format!(
            "the {rows} training rows are too few to choose a checkpoint on a tenth of them: give a validation split, or set chosen_on=test"
        )));
    }
    Ok(Some((held_out, rest)))
}

/// The folder of a training, as empty as it is to be.
fn prepare_folder(input: &MethodInput) -> Result<PathBuf> {
    let plan = input.plan;
    let folder = if plan.tuning.always {
        input.out.to_owned()
    } else {
        input.out.join("finetuned").join(input.name)
    };
    let io = |path: &Path, e: std::io::Error| flava_base::Error::io(path, e);
    if plan.again && input.group.leads() {
        for part in ["last", "best"].map(|part| folder.join(part)) {
            if part.exists() {
                fs::remove_dir_all(&part).map_err(|e| io(&part, e))?;
            }
        }
    }
    if plan.tuning.resume && !has_training(&folder)? {
        let folder = folder.display();
        return Err(Error::Usage {
            argument: "--resume",
            reason: format!("--resume: there is nothing to go on from in {folder}"),
        });
    }
    fs::create_dir_all(&folder).map_err(|e| io(&folder, e))?;
    input.group.barrier()?; // what process 0 removed no other reads
    Ok(folder)
}

/// The weights that a LoRA is trained on.
fn base_of(input: &MethodInput) -> Result<LoraBase> {
    if input.plan.tuning.random_init {
        return Err(Error::Usage {
            argument: "--random-init",
            reason: "--random-init: a LoRA is of a checkpoint's weights".into(),
        });
    }
    let loaded = input.source.encoders()?.loaded;
    let folder = &loaded.folder;
    Ok(LoraBase {
        model: input.plan.subject.name(),
        folder: folder
            .canonicalize()
            .map_err(|e| flava_base::Error::io(folder, e))?,
        fingerprint: loaded.model.fingerprint.clone(),
    })
}

/// What the saved folders tell of a training.
fn saved(
    input: &MethodInput,
    train: &Rows,
    recipe: &Recipe,
    recipe_name: String,
    output: Output,
) -> Result<FinetunedModel> {
    let (plan, task) = (input.plan, input.task);
    let digest = Sha256::digest(format!("{} {}", input.key, recipe.digest()));
    let (base, initialisation) = if plan.tuning.random_init {
        ("random".to_owned(), "random")
    } else {
        (
            input.source.encoders()?.loaded.model.fingerprint.clone(),
            CHECKPOINT,
        )
    };
    let class_names = train.dataset().class_names().unwrap_or_default();
    Ok(FinetunedModel {
        task: task.name.clone(),
        task_version: task.version,
        feature: input.feature()?,
        output,
        recipe_name,
        base,
        key: hex(&digest[..16]),
        seed: plan.seed,
        step: 0,
        reached: None,
        recipe: recipe.clone(),
        initialisation: initialisation.to_owned(),
        train_rows: train.len(),
        departures: departures(input, recipe)?,
        class_names: class_names.to_vec(),
        lora: recipe.lora.as_ref().map(|_| base_of(input)).transpose()?,
    })
}
