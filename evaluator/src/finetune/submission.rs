//! `flava-finetune predict`: a fine-tuned model's answers to rows whose truth nobody tells, in the
//! form that a test server takes.

use std::{fs, path::PathBuf};

use flava_model::runtime::Progress;
use flava_tasks::{SourceFormat, Submission, SubmissionFormat, Task, select};
use serde_json::json;

use super::{Saved, predict};
use crate::{
    Error, ModelChoice, Places, Result, Settings, args::PredictArgs, check_interrupted,
    data::OpenTask, features::Rows, plan::registry_of,
};

/// Answers, writes the files, and gives their paths with the number of rows.
pub fn submit(args: &PredictArgs) -> Result<Vec<(PathBuf, usize)>> {
    let settings = Settings::new(&args.model_args)?;
    let ModelChoice::Directory(folder) = ModelChoice::new(Some(&args.model))? else {
        return Err(Error::Other(format!(
            "--model {}: is no folder of flava-finetune",
            args.model
        )));
    };
    if !super::is_tuned(&folder) {
        return Err(Error::Other(format!(
            "--model {}: holds no fine-tuned model",
            args.model
        )));
    }
    let saved = Saved::read_whole(&folder)?;
    let registry = registry_of(&args.data_args.task_file)?;
    let tasks = select(
        &registry,
        args.task.as_ref().unwrap_or(&saved.task),
        flava_tasks::Suite::Paper,
    )?;
    let [task] = tasks[..] else {
        return Err(Error::Other("predict takes one task".into()));
    };
    if task.name != saved.task {
        return Err(Error::Other(format!(
            "--model {}: was fine-tuned on {}, not on {}",
            args.model, saved.task, task.name
        )));
    }
    if task.version != saved.task_version {
        let reason = format!(
            "was fine-tuned on version {} of {}, which is at version {} now",
            saved.task_version, task.name, task.version
        );
        return Err(Error::Other(format!("--model {}: {reason}", args.model)));
    }
    let places = Places::new(
        args.data_args.data.clone(),
        args.data_args.offline,
        settings.quiet,
    )?;
    let mut network = saved.network(&folder, settings.load.device)?;
    let wanted = wanted(task, args.split.as_deref())?;
    fs::create_dir_all(&args.out)
        .map_err(|e| Error::Other(format!("{}: {e}", args.out.display())))?;
    let progress = Progress::new(wanted.len(), "files", settings.quiet);
    let mut written = Vec::new();
    for submission in wanted {
        check_interrupted()?;
        let rows = open(task, &submission, &places, args)?;
        let outputs = predict::outputs(
            &mut network,
            &rows,
            saved.recipe.max_tokens,
            &settings,
            &progress,
        )?;
        let ids: Vec<String> = rows
            .indices()
            .iter()
            .map(|&row| rows.dataset().id(row))
            .collect();
        predict::finite(&outputs, &ids)?;
        let answers = predict::answers(&network, &outputs)?;
        let probabilities: Option<Vec<f32>> = if outputs.size()[1] == 2 {
            Some(
                outputs
                    .f_softmax(1, tch::Kind::Float)?
                    .f_select(1, 1)?
                    .try_into()?,
            )
        } else {
            None
        };
        let text = text(
            &submission,
            &ids,
            &answers,
            probabilities.as_deref(),
            task.classes,
        )?;
        let path = args.out.join(&submission.file);
        flava_base::write_atomic(&path, text.as_bytes())?;
        written.push((path, ids.len()));
        progress.step();
    }
    progress.finish();
    Ok(written)
}

/// The task's official files; or one of a split of its own.
fn wanted(task: &Task, split: Option<&str>) -> Result<Vec<Submission>> {
    let Some(name) = split else {
        if task.submissions.is_empty() {
            return Err(Error::Other(format!(
                "{} has no official test set: name a split with --split",
                task.name
            )));
        }
        return Ok(task.submissions.clone());
    };
    let found = task
        .sources
        .iter()
        .flat_map(flava_tasks::Source::splits)
        .find(|split| split.name == name);
    let found = found.cloned().or_else(|| {
        task.submissions
            .iter()
            .map(|s| s.split.clone())
            .find(|split| split.name == name)
    });
    let split = found.ok_or_else(|| Error::Other(format!("{} has no split {name}", task.name)))?;
    let format = task
        .submissions
        .first()
        .map_or(SubmissionFormat::Csv, |submission| submission.format);
    let labels = task
        .submissions
        .first()
        .map(|submission| submission.labels.clone())
        .unwrap_or_default();
    let ending = match format {
        SubmissionFormat::GlueTsv => "tsv",
        SubmissionFormat::EvalaiJson => "json",
        SubmissionFormat::HatefulMemesCsv | SubmissionFormat::Csv => "csv",
    };
    Ok(vec![Submission {
        file: format!("{}-{name}.{ending}", task.name),
        format,
        split,
        labels,
    }])
}

/// The rows of a submission: of the task's sources with that split in place of theirs.
fn open(task: &Task, submission: &Submission, places: &Places, args: &PredictArgs) -> Result<Rows> {
    let mut alone = task.clone();
    alone.protocol = flava_tasks::Demands::default();
    for source in &mut alone.sources {
        (source.train, source.validation, source.second_test) = (None, None, None);
        source.test = submission.split.clone();
        // The truth is the server's: what stands in its place (-1, nothing) is not read.
        if let SourceFormat::Parquet { columns } = &mut source.format {
            (columns.label, columns.answers) = (String::new(), String::new());
        }
    }
    let assignment = alone
        .assign(flava_tasks::Protocol::Flava)
        .ok_or_else(|| Error::Other("has no protocol".into()))?;
    let choice = places.source(&alone, &assignment, args.data_args.allow_mismatch)?;
    let opened = OpenTask::open(&alone, choice, args.seed)?;
    let count = opened.test.dataset.len();
    if submission.split.rows > 0 && count != submission.split.rows && !args.data_args.allow_mismatch
    {
        let reason = format!(
            "split {} has {count} rows, {} are expected",
            submission.split.name, submission.split.rows
        );
        return Err(Error::Other(format!(
            "{reason}: a test server refuses anything but all (--allow-mismatch writes them)"
        )));
    }
    for note in &opened.notes {
        flava_base::say(&format!("note: {note}"));
    }
    Rows::new(opened.test, "", None, args.seed)
}

/// GLUE's server goes by the rows' own numbers: each with its position, in their order.
fn by_index(ids: &[String]) -> Result<Vec<(u64, usize)>> {
    if ids.iter().all(|id| id.parse::<u64>().is_err()) {
        flava_base::say(
            "note: the task's row names no column of idx (id = \"idx\"): answers are numbered by the positions of their rows",
        );
        return Ok((0..ids.len()).map(|row| (row as u64, row)).collect());
    }
    let number = |(row, id): (usize, &String)| {
        let number = id
            .parse::<u64>()
            .map_err(|_| Error::Other(format!("{id}: is no idx, as others are")))?;
        Ok((number, row))
    };
    let mut numbers = ids
        .iter()
        .enumerate()
        .map(number)
        .collect::<Result<Vec<_>>>()?;
    numbers.sort_unstable();
    match numbers.array_windows::<2>().find(|[a, b]| a.0 == b.0) {
        Some([(twice, _), _]) => Err(Error::Other(format!("the idx {twice} is there twice"))),
        None => Ok(numbers),
    }
}

/// A file's text in the official form; `classes` is 0 where the answers are numbers.
fn text(
    submission: &Submission,
    ids: &[String],
    answers: &[String],
    probabilities: Option<&[f32]>,
    classes: usize,
) -> Result<String> {
    let label = |answer: &String| -> String {
        let named = answer
            .parse::<usize>()
            .ok()
            .and_then(|class| submission.labels.get(class))
            .cloned();
        named.unwrap_or_else(|| answer.clone())
    };
    Ok(match submission.format {
        SubmissionFormat::GlueTsv => {
            let mut text = "index\tprediction\n".to_owned();
            for (index, answer) in by_index(ids)?
                .into_iter()
                .map(|(index, row)| (index, &answers[row]))
            {
                // STS-B's scale is 0 to 5.
                let value = answer
                    .parse::<f64>()
                    .ok()
                    .filter(|_| classes == 0)
                    .map(|v| format!("{:.3}", v.clamp(0.0, 5.0)));
                text.extend([
                    index.to_string(),
                    "\t".into(),
                    value.unwrap_or_else(|| label(answer)),
                    "\n".into(),
                ]);
            }
            text
        }
        SubmissionFormat::EvalaiJson => {
            let entry = |(id, answer): (&String, &String)| {
                let number = id
                    .parse::<u64>()
                    .map_err(|_| Error::Other(format!("{id}: is no question_id")))?;
                Ok(json!({ "question_id": number, "answer": answer }))
            };
            let entries = ids
                .iter()
                .zip(answers)
                .map(entry)
                .collect::<Result<Vec<_>>>()?;
            serde_json::to_string(&entries).map_err(|e| Error::Other(e.to_string()))?
        }
        SubmissionFormat::HatefulMemesCsv => {
            let probabilities =
                probabilities.ok_or_else(|| Error::Other("the head has no two classes".into()))?;
            let line =
                |((id, answer), p): ((&String, &String), &f32)| format!("{id},{p:.6},{answer}\n");
            let lines: String = ids
                .iter()
                .zip(answers)
                .zip(probabilities)
                .map(line)
                .collect();
            format!("id,proba,label\n{lines}")
        }
        SubmissionFormat::Csv => {
            let quoted = |text: &str| {
                if text.contains([',', '"', '\n']) {
                    format!("\"{}\"", text.replace('"', "\"\""))
                } else {
                    text.to_owned()
                }
            };
            let lines: String = ids
                .iter()
                .zip(answers)
                .map(|(id, answer)| format!("{},{}\n", quoted(id), quoted(&label(answer))))
                .collect();
            format!("id,prediction\n{lines}")
        }
    })
}
