//! Fine-tuning as a method: the task's recipe from the checkpoint's weights, or what a fine-tuned checkpoint answers.

use flava_model::runtime::hex;
use flava_tasks::{Recipe, Tower};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};

use super::{Answer, Splits};
use crate::{
    Error, Piece, Result,
    finetune::{Network, Output, Saved, Training, ceiling, is_tuned, last, predictions, train},
    run::Run,
};

/// The answers of a fine-tuned model to the test splits; where the checkpoint is not fine-tuned, it is first.
pub(crate) fn tuned(run: &Run, piece: &Piece, splits: &Splits, key: &str) -> Result<Answer> {
    let (plan, settings) = (run.plan, &run.plan.settings);
    let folder = match &run.loaded.folder {
        folder if is_tuned(folder) && !plan.tuning.always => {
            let saved = Saved::read(folder)?;
            if saved.task != piece.task.name || saved.task_version != piece.task.version {
                return Err(Error::Other(format!("the checkpoint was fine-tuned on {} (version {})", saved.task, saved.task_version)));
            }
            folder.clone()
        }
        _ => trained(run, piece, splits, key)?,
    };
    let saved = Saved::read(&folder)?;
    let mut network = saved.network(&folder, settings.load.device)?;
    let max_tokens = saved.recipe.max_tokens;
    let tests = [&splits.test].into_iter().chain(&splits.second_test);
    let answers =
        tests.map(|rows| predictions(&mut network, rows, max_tokens, settings, run.extractor.progress)).collect::<Result<Vec<_>>>()?;
    let mut details = Map::from_iter([
        ("recipe".to_owned(), json!({ "name": saved.recipe_name, "settings": saved.recipe })),
        ("base".to_owned(), json!(saved.base)),
        ("steps".to_owned(), json!(saved.step)),
        ("chosen_by".to_owned(), json!(saved.reached)),
        ("chosen_on_test".to_owned(), json!(saved.reached.as_ref().is_some_and(|best| best.score.split == splits.test.split.name))),
        ("tuned_folder".to_owned(), json!(folder.file_name().map(|name| name.to_string_lossy().into_owned()))),
    ]);
    if let Some(ceiling) = ceiling(&network, &splits.test) {
        details.insert("answers".into(), json!({ "vocabulary": network.output.width(), "ceiling": ceiling }));
    }
    let train_rows = splits.train.as_ref().map_or(0, crate::features::Rows::len);
    let transform = (saved.feature.tower != Tower::Text).then(|| network.image.transform(settings.order).id());
    Ok(Answer { predictions: answers, skipped: 0, train_rows, transform, details })
}

/// Trains into a folder of the run, or goes on there; the folder of the best checkpoint.
fn trained(run: &Run, piece: &Piece, splits: &Splits, key: &str) -> Result<std::path::PathBuf> {
    let (plan, settings) = (run.plan, &run.plan.settings);
    let (task, assignment) = (&piece.task, &piece.assignment);
    let train_rows = splits.train.as_ref().ok_or_else(|| Error::Other(format!("{} has no training split", task.name)))?;
    let (recipe, recipe_name) = Recipe::of(task, plan.tuning.recipe.as_deref(), &plan.tuning.set)?;
    // Without a validation split the scored rows choose the checkpoint, as fairseq has it for GLUE; the record says so.
    let chosen_on = splits.validation.as_ref().unwrap_or(&splits.test);
    let feature = assignment.method.feature().ok_or_else(|| Error::Other("there is nothing to fine-tune".into()))?;
    if settings.skip_broken && feature.tower != Tower::Text {
        return Err(Error::Other("--skip-broken is not for fine-tuning: mend the pictures, or take their rows out of the data".into()));
    }
    let output = Output::of(task, train_rows.dataset(), &recipe)?;
    let folder = if plan.tuning.always { plan.out.clone() } else { plan.out.join("finetuned").join(piece.name()) };
    if plan.again {
        for part in ["last", "best"].map(|part| folder.join(part)).iter().filter(|part| part.exists()) {
            std::fs::remove_dir_all(part).map_err(|e| Error::Other(format!("{}: {e}", part.display())))?;
        }
    }
    if plan.tuning.resume && last(&folder).is_none() {
        return Err(Error::Other(format!("--resume: there is nothing to go on from in {}", folder.display())));
    }
    std::fs::create_dir_all(&folder).map_err(|e| Error::Other(format!("{}: {e}", folder.display())))?;
    let network =
        Network::new(&run.loaded.folder, plan.tuning.random_init, &recipe, (feature, output.clone()), (plan.seed, settings.load.device))?;
    let digest = Sha256::digest(format!("{key} {}", serde_json::to_string(&recipe).unwrap_or_default()));
    let saved = Saved {
        task: task.name.clone(),
        task_version: task.version,
        feature,
        output,
        recipe_name,
        base: if plan.tuning.random_init { "random".into() } else { run.loaded.model.fingerprint.clone() },
        key: hex(&digest[..16]),
        seed: plan.seed,
        step: 0,
        reached: None,
        recipe: recipe.clone(),
    };
    let training = Training {
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
    train(&training, network)?;
    Ok(folder.join("best"))
}
