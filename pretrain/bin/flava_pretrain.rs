//! `flava-pretrain`: makes FLAVA checkpoints.

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use clap::CommandFactory;
use flava_base::{Start, at_start, listen, say};
use flava_evaluator::console::{
    DONE, INTERRUPTED, PARTLY, at_once, ended, help, in_processes, parse, print,
};
use flava_model::runtime::distributed::{Company, Group};
use flava_pretrain::{Command, Job, PretrainArgs, Recipe, RunArgs, dry_run, init, job_of, run};
use flava_results::{ablation, ablation_csv, ablation_markdown};

at_start!(before_libtorch);

fn before_libtorch(start: &Start) {
    at_once(start, needs_no_tensor, act);
}

fn needs_no_tensor(args: &PretrainArgs) -> bool {
    matches!(args.command, Command::Recipes { .. } | Command::Help(_))
}

fn main() -> ExitCode {
    let args = parse();
    listen();
    ended(act(&args)).into()
}

fn act(args: &PretrainArgs) -> Result<u8> {
    match &args.command {
        Command::Run(args) => pretrain(args, None),
        Command::Tokenizer(args) => pretrain(args, Some("tokenizer")),
        Command::Codebook(args) => pretrain(args, Some("codebook")),
        Command::Init(args) => untrained(args),
        Command::Recipes { name } => recipes(name.as_deref()),
        Command::Ablation { runs, out } => ablation_table(runs, out),
        Command::Help(asked) => help(asked, PretrainArgs::command()).map_err(Into::into),
    }
}

fn pretrain(args: &RunArgs, until: Option<&str>) -> Result<u8> {
    let job = job_of(args, until)?;
    if args.dry_run {
        return planned(&job);
    }
    let restarts = usize::from(args.together.max_restarts);
    in_processes(
        args.processes,
        Company::Together { restarts },
        |peers| match run(&job, &Group::meet(peers)?) {
            Ok(model) if peers.leads() => {
                flava_evaluator::report_beside(&job.out);
                print(&model.unwrap_or(job.out).display().to_string());
                Ok(DONE)
            }
            Ok(_) => Ok(DONE),
            Err(error) if error.is_interruption() => {
                if peers.leads() {
                    say(&error.to_string());
                }
                Ok(INTERRUPTED)
            }
            Err(error) => Err(error.into()),
        },
    )
}

fn untrained(args: &RunArgs) -> Result<u8> {
    let job = job_of(args, Some("tokenizer"))?;
    if args.dry_run {
        return planned(&job);
    }
    print(&init(&job)?.display().to_string());
    Ok(DONE)
}

/// Prints what would be done, and says whether all that it needs is there.
fn planned(job: &Job) -> Result<u8> {
    let (text, ready) = dry_run(job)?;
    print(&text);
    Ok(if ready { DONE } else { PARTLY })
}

fn ablation_table(runs: &Path, out: &Path) -> Result<u8> {
    let cells = ablation(runs)?;
    let markdown = ablation_markdown(&cells);
    for (path, text) in [
        (out.with_extension("csv"), ablation_csv(&cells)),
        (out.with_extension("md"), markdown.clone()),
    ] {
        flava_base::write_atomic(&path, text.as_bytes())?;
    }
    print(markdown.trim_end());
    Ok(DONE)
}

fn recipes(name: Option<&str>) -> Result<u8> {
    match name {
        Some(name) => print(&Recipe::text(name)?),
        None => {
            for name in Recipe::names() {
                let recipe = Recipe::open(&name, &[])?;
                print(&format!("{name:24} {}", recipe.summary));
            }
        }
    }
    Ok(DONE)
}
