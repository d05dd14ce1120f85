//! `flava-finetune`: trains a FLAVA checkpoint on a task.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use flava_base::{escaped, interrupted, listen, say, say_error};
use flava_evaluator::{
    Outcome, Plan,
    args::{FinetuneArgs, FinetuneCommand, FinetuneRunArgs, PredictArgs},
    console::{DONE, INTERRUPTED, PARTLY, ended, help, in_processes, parse, print},
    dry_run, predict, recipe_of, recipe_text, report_beside, run, run_together, submit,
};
use flava_model::runtime::distributed::{Company, Group, Peers};
use flava_results::Record;

fn main() -> ExitCode {
    let args: FinetuneArgs = parse();
    listen();
    let result = match &args.command {
        Some(FinetuneCommand::Predict(args)) => answer(args),
        Some(FinetuneCommand::Recipe { task, task_file }) => recipe_of(task, task_file)
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
    if args.dry_run {
        return say_plan(args);
    }
    if args.seeds == 1 {
        let restarts = usize::from(args.max_restarts);
        return in_processes(args.processes, Company::Together { restarts }, |peers| {
            train_together(args, peers)
        });
    }
    in_processes(args.processes, Company::Sharing, |peers| train(args, peers))
}

/// One training, of all processes.
fn train_together(args: &FinetuneRunArgs, peers: &Peers) -> Result<u8> {
    let plan = Plan::of_tuning(args, args.seed)?;
    let outcome = run_together(&plan, &Group::meet(peers)?)?;
    if !peers.leads() {
        return Ok(DONE);
    }
    let (code, records) = ended_with(&plan, args.seed, outcome);
    if code == DONE {
        report(args, &records)?;
    }
    Ok(code)
}

/// Trains the seeds that no other process takes; process 0 then gathers all.
fn train(args: &FinetuneRunArgs, peers: &Peers) -> Result<u8> {
    let last = args
        .seed
        .checked_add(args.seeds - 1)
        .ok_or_else(|| anyhow::anyhow!("--seed {}: is too large", args.seed))?;
    let piece = |seed: u64| format!("seed/{seed}");
    if peers.has_others() {
        for seed in args.seed..=last {
            if !peers.claim(&piece(seed))? {
                continue;
            }
            let (code, _) = train_one(args, seed)?;
            peers.tell(&piece(seed), &code.to_string())?;
            if code == INTERRUPTED {
                return Ok(code);
            }
        }
    }
    let mut records = Vec::new();
    for seed in args.seed..=last {
        if !peers.leads() {
            break;
        }
        while peers.told(&piece(seed))?.is_none() && !peers.claim(&piece(seed))? {
            if interrupted() {
                return Ok(INTERRUPTED);
            }
            peers.pause();
        }
        // What is trained already is read, and what failed elsewhere tells here why.
        let (code, of_seed) = train_one(args, seed)?;
        if code != DONE {
            return Ok(code);
        }
        records.extend(of_seed);
    }
    if peers.leads() {
        report(args, &records)?;
    }
    Ok(DONE)
}

/// One training, and how it ended.
fn train_one(args: &FinetuneRunArgs, seed: u64) -> Result<(u8, Vec<Record>)> {
    let plan = Plan::of_tuning(args, seed)?;
    let outcome = run(&plan, &Peers::alone())?;
    Ok(ended_with(&plan, seed, outcome))
}

fn ended_with(plan: &Plan, seed: u64, outcome: Outcome) -> (u8, Vec<Record>) {
    for (task, error) in &outcome.failures {
        say_error(&format!("{task}, seed {seed}: {error}"));
    }
    if outcome.interrupted {
        say("interrupted: the same command goes on from here");
        return (INTERRUPTED, outcome.records);
    }
    if !outcome.failures.is_empty() {
        return (PARTLY, outcome.records);
    }
    report_beside(&plan.out);
    (DONE, outcome.records)
}

/// The recipe, and what data is there.
fn say_plan(args: &FinetuneRunArgs) -> Result<u8> {
    let plan = Plan::of_tuning(args, args.seed)?;
    print(&recipe_text(
        &plan.tasks[0],
        args.recipe.as_deref(),
        &args.set,
    )?);
    let (lines, ready) = dry_run(&plan)?;
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
    let notes = records.first().into_iter().flat_map(|record| &record.notes);
    notes.for_each(|note| print(&escaped(&format!("note: {note}"))));
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

fn answer(args: &PredictArgs) -> Result<u8> {
    if args.input.any() {
        let answered = predict(args)?;
        print(&answered.told());
        return Ok(DONE);
    }
    for (path, rows) in submit(args)? {
        print(&format!("{}: {rows} answers", path.display()));
    }
    Ok(DONE)
}
