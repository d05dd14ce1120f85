//! `flava-finetune predict`: a fine-tuned model's answers to rows whose truth nobody tells, in the
//! form that a test server takes.

mod text;

use std::{fs, path::PathBuf};

use flava_base::HINT;
use flava_model::runtime::{Progress, distributed::Group};
use flava_tasks::{
    Demands, Protocol, Registry, Source, SourceFormat, Split, Submission, SubmissionFormat, Suite,
    Task, select,
};
use tch::{Kind, Tensor};

use super::{FinetunedModel, Network, is_tuned, predict};
use crate::{
    DataLocator, Error, ModelChoice, Result, Settings,
    args::PredictArgs,
    check_interrupted,
    data::OpenTask,
    features::{Rows, SplitIdentity, SplitRole},
    plan::registry_of,
};

use text::Answered;

/// Answers, writes the files, and gives their paths with the number of rows.
pub fn submit(args: &PredictArgs) -> Result<Vec<(PathBuf, usize)>> {
    let settings = Settings::new(&args.model_args)?;
    let folder = tuned_folder(&args.model)?;
    let saved = FinetunedModel::read_whole(&folder)?;
    let registry = registry_of(&args.data_args.task_file)?;
    let task = task_of(&registry, &saved, args)?;
    let (data, offline) = (args.data_args.data.clone(), args.data_args.network.offline);
    let locator = DataLocator::new(data, offline, settings.quiet)?;
    let mut network = saved.network(&folder, settings.load.device)?;
    let wanted = wanted(task, args.split.as_deref())?;
    fs::create_dir_all(&args.out).map_err(|e| flava_base::Error::io(&args.out, e))?;
    let progress = Progress::new(wanted.len(), "files", settings.quiet);
    let max_tokens = saved.recipe.max_tokens;
    let mut written = Vec::new();
    for submission in wanted {
        check_interrupted()?;
        let rows = open(task, &submission, &locator, args)?;
        let outputs = predict::outputs(
            &mut network,
            &predict::Asked {
                rows: &rows,
                max_tokens,
                settings: &settings,
                progress: &progress,
                group: &Group::alone(),
            },
        )?;
        let answered = answered(&network, &rows, &outputs)?;
        let text = answered.text(&submission, task.classes)?;
        let path = args.out.join(&submission.file);
        flava_base::write_atomic(&path, text.as_bytes())?;
        written.push((path, rows.len()));
        progress.step();
    }
    progress.finish();
    Ok(written)
}

/// The folder of --model.
pub(crate) fn tuned_folder(model: &String) -> Result<PathBuf> {
    let refused = |reason: &str| Error::Argument {
        argument: "--model",
        value: model.clone(),
        reason: reason.to_owned(),
    };
    match ModelChoice::new(Some(model))? {
        ModelChoice::Directory(folder) if is_tuned(&folder) => Ok(folder),
        ModelChoice::Directory(_) => Err(refused("holds no fine-tuned model")),
        _ => Err(refused("is no folder of flava-finetune")),
    }
}

/// The task whose rows are answered: the one that the model was trained on.
fn task_of<'r>(
    registry: &'r Registry,
    saved: &FinetunedModel,
    args: &PredictArgs,
) -> Result<&'r Task> {
    let name = args.task.as_ref().unwrap_or(&saved.task);
    let tasks = select(registry, name, Suite::Paper)?;
    let [task] = tasks[..] else {
        return Err(Error::Usage {
            argument: "--task",
            reason: "predict takes one task".into(),
        });
    };
    if task.name != saved.task {
        let (model, own, other) = (&args.model, &saved.task, &task.name);
        return Err(Error::Mismatch {
            what: "task",
            reason: format!("--model {model}: was fine-tuned on {own}, not on {other}"),
        });
    }
    if task.version != saved.task_version {
        let reason = format!(
            "was fine-tuned on version {} of {}, which is at version {} now",
            saved.task_version, task.name, task.version
        );
        return Err(Error::Mismatch {
            what: "task version",
            reason: format!("--model {}: {reason}", args.model),
        });
    }
    Ok(task)
}

/// What the head's numbers answer.
fn answered(network: &Network, rows: &Rows, outputs: &Tensor) -> Result<Answered> {
    let ids = rows.ids();
    predict::finite(outputs, &ids)?;
    let answers = predict::answers(network, outputs)?;
    let probabilities = if outputs.size()[1] == 2 {
        let shares = outputs.f_softmax(1, Kind::Float)?;
        Some(shares.f_select(1, 1)?.try_into()?)
    } else {
        None
    };
    Ok(Answered {
        ids,
        answers,
        probabilities,
    })
}

/// The task's official files; or one of a split of its own.
fn wanted(task: &Task, split: Option<&str>) -> Result<Vec<Submission>> {
    let Some(name) = split else {
        if task.submissions.is_empty() {
            let remedy = "name a split with --split";
            return Err(Error::Usage {
                argument: "--split",
                reason: format!("{} has no official test set: {remedy}", task.name),
            });
        }
        return Ok(task.submissions.clone());
    };
    let split = split_of(task, name).ok_or_else(|| Error::Lacking {
        what: "split",
        reason: format!("{} has no split {name}", task.name),
    })?;
    let official = task.submissions.first();
    let format = official.map_or(SubmissionFormat::Csv, |submission| submission.format);
    let labels = official.map(|submission| submission.labels.clone());
    let ending = match format {
        SubmissionFormat::GlueTsv => "tsv",
        SubmissionFormat::EvalaiJson => "json",
        SubmissionFormat::HatefulMemesCsv | SubmissionFormat::Csv => "csv",
    };
    Ok(vec![Submission {
        file: format!("{}-{name}.{ending}", task.name),
        format,
        split: split.clone(),
        labels: labels.unwrap_or_default(),
    }])
}

/// The first split of that name, of the sources or of the official files.
fn split_of<'t>(task: &'t Task, name: &str) -> Option<&'t Split> {
    let mut of_sources = task.sources.iter().flat_map(Source::splits);
    let mut official = task.submissions.iter().map(|submission| &submission.split);
    of_sources
        .find(|split| split.name == name)
        .or_else(|| official.find(|split| split.name == name))
}

/// The rows of a submission: of the task's sources with that split in place of theirs.
fn open(
    task: &Task,
    submission: &Submission,
    locator: &DataLocator,
    args: &PredictArgs,
) -> Result<Rows> {
    let alone = with_split(task, &submission.split);
    let none = || Error::Lacking {
        what: "protocol",
        reason: "has no protocol".into(),
    };
    let assignment = alone.assign(Protocol::Flava).ok_or_else(none)?;
    let allow_mismatch = args.data_args.allow_mismatch;
    let choice = locator.source(&alone, &assignment, allow_mismatch)?;
    let opened = OpenTask::open(&alone, choice, args.seed)?;
    let (count, expected) = (opened.test.dataset.len(), submission.split.rows);
    if expected > 0 && count != expected && !allow_mismatch {
        let name = &submission.split.name;
        return Err(Error::Mismatch {
            what: "rows",
            reason: format!(
                "split {name} has {count} rows, {expected} are expected: a test server refuses \
                 anything but all{HINT}--allow-mismatch writes them"
            ),
        });
    }
    for note in &opened.notes {
        flava_base::say(&format!("note: {note}"));
    }
    let identity = SplitIdentity {
        role: SplitRole::Test,
        origin: String::new(),
    };
    Rows::new(opened.test, identity, None, args.seed)
}

/// The task with one split, whose truth is not read.
fn with_split(task: &Task, split: &Split) -> Task {
    let mut alone = task.clone();
    alone.protocol = Demands::default();
    for source in &mut alone.sources {
        (source.train, source.validation, source.second_test) = (None, None, None);
        source.test = split.clone();
        // The truth is the server's: what stands in its place (-1, nothing) is not read.
        if let SourceFormat::Parquet { columns } = &mut source.format {
            (columns.label, columns.answers) = (String::new(), String::new());
        }
    }
    alone
}
