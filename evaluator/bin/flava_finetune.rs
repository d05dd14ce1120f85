//! `flava-finetune`: trains a FLAVA checkpoint on a task.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use flava_base::{escaped, listen, say, say_error};
use flava_evaluator::{
    Plan,
    args::{FinetuneArgs, FinetuneCommand, FinetuneRunArgs, PredictArgs},
    console::{DONE, INTERRUPTED, PARTLY, ended, help, parse, print},
    dry_run, recipe_of, report_beside, run, submit,
};
use flava_model::runtime::distributed::{Peers, Place};
use flava_results::Record;

fn main() -> ExitCode {
    let args: FinetuneArgs = parse();
    listen();
    let result = match &args.command {
        Some(FinetuneCommand::Predict(args)) => predict(args),
        Some(FinetuneCommand::Recipe { task, task_file }) => recipe_of(task, task_file, None, &[])
            .map(|text| print(&text))
            .map(|()| DONE)
            .map_err(Into::into),
        Some(FinetuneCommand::Help(asked)) => {
            help(asked, FinetuneArgs::command()).map_err(Into::into)
        }
        None => finetune(&args.run),
    };
    ended(result)
}

fn finetune(args: &FinetuneRunArgs) -> Result<u8> {
    Place::of_environment()?.check_alone("fine-tuning")?;
    if args.dry_run {
        return say_plan(args);
    }
    let mut records = Vec::new();
    let last = args
        .seed
        .checked_add(args.seeds - 1)
        .ok_or_else(|| anyhow::anyhow!("--seed {}: is too large", args.seed))?;
    for seed in args.seed..=last {
        let plan = Plan::of_tuning(args, seed)?;
        let outcome = run(&plan, &Peers::alone())?;
        for (task, error) in &outcome.failures {
            say_error(&format!("{task}, seed {seed}: {error}"));
        }
        if outcome.interrupted {
            say("interrupted: the same command goes on from here");
            return Ok(INTERRUPTED);
        }
        if !outcome.failures.is_empty() {
            return Ok(PARTLY);
        }
        records.extend(outcome.records);
        report_beside(&plan.out);
    }
    report(args, &records)?;
    Ok(DONE)
}

/// The recipe, and what data is there.
fn say_plan(args: &FinetuneRunArgs) -> Result<u8> {
    let task = args.task.as_deref().unwrap_or_default();
    let (files, recipe) = (&args.data_args.task_file, args.recipe.as_deref());
    print(&recipe_of(task, files, recipe, &args.set)?);
    let (lines, ready) = dry_run(&Plan::of_tuning(args, args.seed)?)?;
    for line in &lines {
        print(&escaped(line));
    }
    Ok(if ready { DONE } else { PARTLY })
}

fn report(args: &FinetuneRunArgs, records: &[Record]) -> Result<()> {
    if args.json {
        print(&serde_json::to_string_pretty(records)?);
        return Ok(());
    }
    print(&flava_results::table(records));
    if records.len() > 1 {
        print(&over_seeds(records));
    }
    Ok(())
}

/// Median and range of each metric over the seeds: what training varies by, apart from what the
/// rows vary by.
fn over_seeds(records: &[Record]) -> String {
    let Some(first) = records.first() else {
        return String::new();
    };
    let mut lines = Vec::new();
    for (metric, score) in first.metrics.iter().enumerate() {
        let value = |record: &Record| Some(record.metrics.get(metric)?.value * 100.0);
        let mut values: Vec<f64> = records.iter().filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        let median = flava_results::median(&values);
        let (lowest, highest) = (values[0], values[values.len() - 1]);
        lines.push(format!(
            "{} on {}: median {median:.1} of {} seeds, {lowest:.1} to {highest:.1}",
            score.metric,
            score.split,
            values.len()
        ));
    }
    lines.join("\n")
}

fn predict(args: &PredictArgs) -> Result<u8> {
    for (path, rows) in submit(args)? {
        print(&format!("{}: {rows} answers", path.display()));
    }
    Ok(DONE)
}
