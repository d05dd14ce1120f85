//! Fine-tuning as a method: the task's recipe from the checkpoint's weights, or what a fine-tuned
//! checkpoint answers.

use flava_base::hex;
use flava_tasks::{Recipe, Task, Tower};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};

use super::{Answer, CHECKPOINT, Splits};
use crate::{
    Error, Piece, Plan, Result,
    finetune::{FineTuning, Network, Output, Saved, ceiling, has_training, is_tuned, predictions},
    run::Run,
};

/// The answers of a fine-tuned model to the test splits; where the checkpoint is not fine-tuned, it
/// is first.
pub(crate) fn tuned(run: &Run, piece: &Piece, splits: &Splits, key: &str) -> Result<Answer> {
    let (plan, settings) = (run.plan, &run.plan.settings);
    let folder = match &run.loaded.folder {
        folder if is_tuned(folder) && !plan.tuning.always => {
            let saved = Saved::read(folder)?;
            if saved.task != piece.task.name || saved.task_version != piece.task.version {
                return Err(Error::Other(format!(
                    "the checkpoint was fine-tuned on {} (version {})",
                    saved.task, saved.task_version
                )));
            }
            folder.clone()
        }
        _ => trained(run, piece, splits, key)?,
    };
    let saved = Saved::read_whole(&folder)?;
    check_class_names(&saved, splits)?;
    let mut network = saved.network(&folder, settings.load.device)?;
    let max_tokens = saved.recipe.max_tokens;
    let tests = [&splits.test].into_iter().chain(&splits.second_test);
    let answers = tests
        .map(|rows| {
            predictions(
                &mut network,
                rows,
                max_tokens,
                settings,
                run.extractor.progress,
            )
        })
        .collect::<Result<Vec<_>>>()?;
    let mut details = Map::from_iter([
        (
            "recipe".to_owned(),
            json!({ "name": saved.recipe_name, "settings": saved.recipe }),
        ),
        ("base".to_owned(), json!(saved.base)),
        ("steps".to_owned(), json!(saved.step)),
        ("chosen_by".to_owned(), json!(saved.reached)),
        (
            "tuned_folder".to_owned(),
            json!(
                folder
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
            ),
        ),
    ]);
    if let Some(ceiling) = ceiling(&network, &splits.test) {
        details.insert(
            "answers".into(),
            json!({ "vocabulary": network.output.width(), "ceiling": ceiling }),
        );
    }
    let mut answer = Answer::new(answers, 0, saved.train_rows, details);
    answer.transform =
        (saved.feature.tower != Tower::Text).then(|| network.image.transform(settings.order).id());
    if saved
        .reached
        .as_ref()
        .is_some_and(|best| best.score.split == splits.test.split.name)
    {
        answer.notes.push(
            "the checkpoint was chosen on the rows that are scored, as the task has no others"
                .into(),
        );
    }
    answer.recipe = (saved.recipe_name, saved.recipe.digest());
    answer.initialisation = saved.initialisation;
    answer.departures = saved.departures;
    Ok(answer)
}

/// The head's numbers stand in the order of the classes that it was trained on.
fn check_class_names(saved: &Saved, splits: &Splits) -> Result<()> {
    match splits.test.dataset().class_names() {
        Some(names) if !saved.class_names.is_empty() && names != saved.class_names => {
            let reason = "the checkpoint was trained on classes in another order or of other names";
            Err(Error::Other(format!(
                "{reason}: {} and {}",
                saved.class_names.join(", "),
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// What of a training is not as the task's own recipe has it.
fn departures(plan: &Plan, task: &Task, recipe: &Recipe, splits: &Splits) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let (own, name) = Recipe::of(task, None, &[])?;
    if *recipe != own {
        found.push(format!("other settings than those of recipe {name}"));
    }
    if plan.tuning.random_init {
        found.push("random weights".into());
    }
    if splits.all().any(|rows| rows.len() < rows.dataset().len()) {
        found.push("trained with --limit".into());
    }
    Ok(found)
}

/// Trains into a folder of the run, or goes on there; the folder of the best checkpoint.
fn trained(run: &Run, piece: &Piece, splits: &Splits, key: &str) -> Result<std::path::PathBuf> {
    let (plan, settings) = (run.plan, &run.plan.settings);
    let (task, assignment) = (&piece.task, &piece.assignment);
    let train_rows = splits
        .train
        .as_ref()
        .ok_or_else(|| Error::Other(format!("{} has no training split", task.name)))?;
    let (recipe, recipe_name) = Recipe::of(task, plan.tuning.recipe.as_deref(), &plan.tuning.set)?;
    // Without a validation split the scored rows choose the checkpoint, as fairseq has it for GLUE;
    // the record says so.
    let chosen_on = splits.validation.as_ref().unwrap_or(&splits.test);
    let feature = assignment
        .method
        .feature()
        .ok_or_else(|| Error::Other("there is nothing to fine-tune".into()))?;
    if settings.skip_broken && feature.tower != Tower::Text {
        return Err(Error::Other("--skip-broken is not for fine-tuning: mend the pictures, or take their rows out of the data".into()));
    }
    let output = Output::of(task, train_rows, &recipe)?;
    let folder = if plan.tuning.always {
        plan.out.clone()
    } else {
        plan.out.join("finetuned").join(piece.name())
    };
    if plan.again {
        for part in ["last", "best"]
            .map(|part| folder.join(part))
            .iter()
            .filter(|part| part.exists())
        {
            std::fs::remove_dir_all(part)
                .map_err(|e| Error::Other(format!("{}: {e}", part.display())))?;
        }
    }
    if plan.tuning.resume && !has_training(&folder)? {
        return Err(Error::Other(format!(
            "--resume: there is nothing to go on from in {}",
            folder.display()
        )));
    }
    std::fs::create_dir_all(&folder)
        .map_err(|e| Error::Other(format!("{}: {e}", folder.display())))?;
    let network = Network::new(
        &run.loaded.folder,
        plan.tuning.random_init,
        &recipe,
        (feature, output.clone()),
        (plan.seed, settings.load.device),
    )?;
    let digest = Sha256::digest(format!("{key} {}", recipe.digest()));
    let saved = Saved {
        task: task.name.clone(),
        task_version: task.version,
        feature,
        output,
        recipe_name,
        base: if plan.tuning.random_init {
            "random".into()
        } else {
            run.loaded.model.fingerprint.clone()
        },
        key: hex(&digest[..16]),
        seed: plan.seed,
        step: 0,
        reached: None,
        recipe: recipe.clone(),
        initialisation: if plan.tuning.random_init {
            "random"
        } else {
            CHECKPOINT
        }
        .into(),
        train_rows: train_rows.len(),
        departures: departures(plan, task, &recipe, splits)?,
        class_names: train_rows
            .dataset()
            .class_names()
            .map(<[String]>::to_vec)
            .unwrap_or_default(),
    };
    let tuning = FineTuning {
        train: train_rows,
        chosen_on,
        metrics: &assignment.metrics,
        recipe: &recipe,
        saved,
        folder: &folder,
        settings,
        progress: run.extractor.progress,
        micro_batch: plan.tuning.micro_batch,
        recompute: plan.tuning.recompute,
    };
    tuning.run(network)?;
    Ok(folder.join("best"))
}
