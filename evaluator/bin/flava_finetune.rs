//! `flava-finetune`: trains a FLAVA checkpoint on a task.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use flava_base::{Start, at_start, escaped, interrupted, listen, say, say_error};
use flava_evaluator::{
    Outcome, Plan, Trainings, TuningRun,
    args::{FinetuneArgs, FinetuneCommand, FinetuneRunArgs, PredictArgs, width},
    card_beside,
    console::{DONE, INTERRUPTED, PARTLY, at_once, ended, help, in_processes, parse, print},
    dry_run, merge, predict, recipe_of, recipe_text, report_beside, run, run_together, submit,
};
use flava_model::runtime::distributed::{Company, Group, Peers};
use flava_results::{Record, results_text};

at_start!(before_libtorch);

fn before_libtorch(start: &Start) {
    at_once(start, needs_no_tensor, act);
}

fn needs_no_tensor(args: &FinetuneArgs) -> bool {
    use FinetuneCommand::{Help, Recipe};
    matches!(args.command, Some(Recipe { .. } | Help(_)))
}

fn main() -> ExitCode {
    let args = parse();
    listen();
    ended(act(&args)).into()
}

fn act(args: &FinetuneArgs) -> Result<u8> {
    match &args.command {
        Some(FinetuneCommand::Predict(args)) => answer(args),
        Some(FinetuneCommand::Merge(args)) => merge(args)
            .map(|()| say(&format!("a whole model in {}", args.out.display())))
            .map(|()| DONE)
            .map_err(Into::into),
        Some(FinetuneCommand::Recipe { task, task_file }) => recipe_of(task, task_file)
            .map(|text| print(&text))
            .map(|()| DONE)
            .map_err(Into::into),
        Some(FinetuneCommand::Help(asked)) => {
            help(asked, FinetuneArgs::command()).map_err(Into::into)
        }
        None => finetune(&args.run),
    }
}

fn finetune(args: &FinetuneRunArgs) -> Result<u8> {
    let runs = TuningRun::all(args)?;
    if args.dry_run {
        return say_plan(args, &runs[0]);
    }
    if let [run] = runs.as_slice() {
        let restarts = usize::from(args.together.max_restarts);
        return in_processes(args.processes, Company::Together { restarts }, |peers| {
            train_together(args, run, peers)
        });
    }
    in_processes(args.processes, Company::Sharing, |peers| {
        train(args, &runs, peers)
    })
}

/// One training, of all processes.
fn train_together(args: &FinetuneRunArgs, run: &TuningRun, peers: &Peers) -> Result<u8> {
    let plan = Plan::of_tuning(args, run)?;
    let outcome = run_together(&plan, &Group::meet(peers)?)?;
    if !peers.leads() {
        return Ok(DONE);
    }
    let (code, records) = ended_with(&plan, outcome);
    if code == DONE {
        report(args, &records);
    }
    Ok(code)
}

/// Makes the trainings that no other process takes; process 0 then gathers all.
fn train(args: &FinetuneRunArgs, runs: &[TuningRun], peers: &Peers) -> Result<u8> {
    let piece = |number: usize| format!("training/{number}");
    if peers.has_others() {
        for (number, run) in runs.iter().enumerate() {
            if !peers.claim(&piece(number))? {
                continue;
            }
            let (code, _) = train_one(args, run)?;
            peers.tell(&piece(number), &code.to_string())?;
            if code == INTERRUPTED {
                return Ok(code);
            }
        }
    }
    let mut records = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        if !peers.leads() {
            break;
        }
        while peers.told(&piece(number))?.is_none() && !peers.claim(&piece(number))? {
            if interrupted() {
                return Ok(INTERRUPTED);
            }
            peers.pause();
        }
        // What is trained already is read, and what failed elsewhere tells here why.
        let (code, of_run) = train_one(args, run)?;
        if code != DONE {
            return Ok(code);
        }
        records.extend(of_run);
    }
    if peers.leads() {
        let trainings = Trainings::new(runs, &records);
        trainings.write(&args.out)?;
        report(args, &records);
        if args.print.is_for_people() {
            print(&trainings.text());
        }
    }
    Ok(DONE)
}

/// One training, and how it ended.
fn train_one(args: &FinetuneRunArgs, tuning: &TuningRun) -> Result<(u8, Vec<Record>)> {
    let plan = Plan::of_tuning(args, tuning)?;
    let outcome = run(&plan, &Peers::alone())?;
    Ok(ended_with(&plan, outcome))
}

fn ended_with(plan: &Plan, outcome: Outcome) -> (u8, Vec<Record>) {
    for (task, error) in &outcome.failures {
        say_error(&format!("{task}, seed {}: {error}", plan.seed));
    }
    if outcome.interrupted {
        say("interrupted: the same command goes on from here");
        return (INTERRUPTED, outcome.records);
    }
    if !outcome.failures.is_empty() {
        return (PARTLY, outcome.records);
    }
    report_beside(&outcome.out);
    if let Some(record) = outcome.records.first() {
        card_beside(&outcome.out, record);
    }
    (DONE, outcome.records)
}

/// The recipe, and what data is there.
fn say_plan(args: &FinetuneRunArgs, run: &TuningRun) -> Result<u8> {
    let plan = Plan::of_tuning(args, run)?;
    let set = &plan.tuning.set;
    print(&recipe_text(&plan.tasks[0], args.recipe.as_deref(), set)?);
    let (lines, ready) = dry_run(&plan)?;
    for line in &lines {
        print(&escaped(line));
    }
    Ok(if ready { DONE } else { PARTLY })
}

fn report(args: &FinetuneRunArgs, records: &[Record]) {
    let asked = args.print;
    print(&results_text(records, &[], asked.format(), width()));
    if !asked.is_for_people() {
        return;
    }
    let notes = records.first().into_iter().flat_map(|record| &record.notes);
    notes.for_each(|note| print(&escaped(&format!("note: {note}"))));
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
