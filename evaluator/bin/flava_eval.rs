//! `flava-eval`: measures a FLAVA checkpoint.

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use flava_evaluator::{
    Outcome, Plan,
    args::{Command, EvalArgs, RunArgs, TasksArgs, TasksCommand},
    dry_run, embed, run,
};
use flava_tasks::Registry;

/// Every task ran.
const DONE: u8 = 0;
/// Some task failed; the others are written.
const PARTLY: u8 = 1;
/// Nothing could be run.
const NOTHING: u8 = 2;

fn main() -> ExitCode {
    flava_model::runtime::load_cuda(); // before anything else asks libtorch
    flava_model::runtime::keep_freed_memory();
    let args = EvalArgs::parse();
    let result = match &args.command {
        Some(Command::Tasks(args)) => tasks(args),
        Some(Command::Embed(args)) => embed(args).map_err(Into::into).map(|(rows, skipped)| {
            eprintln!(
                "{rows} rows in {}{}",
                args.out.display(),
                if skipped > 0 { format!(", {skipped} broken pictures left out") } else { String::new() }
            );
            if skipped > 0 { PARTLY } else { DONE }
        }),
        None => evaluate(&args.run),
    };
    result.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            NOTHING.into()
        },
        Into::into,
    )
}

fn evaluate(args: &RunArgs) -> Result<u8> {
    let plan = Plan::new(args)?;
    if args.dry_run {
        print(&dry_run(&plan)?)?;
        return Ok(DONE);
    }
    let outcome = run(&plan)?;
    report(&outcome, args, &plan)?;
    Ok(if outcome.failures.is_empty() { DONE } else { PARTLY })
}

fn report(outcome: &Outcome, args: &RunArgs, plan: &Plan) -> Result<()> {
    if args.json {
        print(&serde_json::to_string_pretty(&outcome.records)?)?;
    } else if !outcome.records.is_empty() {
        print(&flava_results::table(&outcome.records))?;
        for note in &outcome.notes {
            print(&format!("note: {note}"))?;
        }
    }
    for (task, error) in &outcome.failures {
        eprintln!("error: task {task}: {error}");
    }
    if !plan.settings.quiet {
        eprintln!("{} of {} tasks done; results in {}", outcome.records.len(), plan.tasks.len(), plan.out.display());
    }
    Ok(())
}

fn tasks(args: &TasksArgs) -> Result<u8> {
    let mut registry = Registry::built_in()?;
    for file in &args.task_file {
        registry.add_file(file)?;
    }
    if let Some(TasksCommand::Show { name }) = &args.command {
        let task = flava_tasks::select(&registry, name, flava_tasks::Suite::Paper)?;
        print(task[0].to_toml().trim_end())?;
        return Ok(DONE);
    }
    if args.json {
        print(&serde_json::to_string_pretty(registry.tasks())?)?;
        return Ok(DONE);
    }
    for task in registry.tasks() {
        let suite = format!("{:?}", task.suite).to_lowercase();
        print(&format!("{:18} {suite:6} {:11} {:13} {}", task.name, task.family.name(), task.protocol.name(), task.summary))?;
    }
    Ok(DONE)
}

/// Writes to stdout; a reader that went away, such as `head`, is no error.
fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(DONE.into()),
        other => Ok(other?),
    }
}
