//! `flava-pretrain`: makes FLAVA checkpoints.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use flava_evaluator::{
    console::{DONE, INTERRUPTED, ended, print},
    listen,
};
use flava_pretrain::{Command, Error, PretrainArgs, Recipe, RunArgs, dry_run, init, job_of, run};

fn main() -> ExitCode {
    flava_model::runtime::load_cuda(); // before anything else asks libtorch
    flava_model::runtime::keep_freed_memory();
    let args = PretrainArgs::parse();
    listen();
    ended(match &args.command {
        Command::Run(args) => pretrain(args, None),
        Command::Tokenizer(args) => pretrain(args, Some("tokenizer")),
        Command::Codebook(args) => pretrain(args, Some("codebook")),
        Command::Init(args) => untrained(args),
        Command::Recipes { name } => recipes(name.as_deref()),
    })
}

fn pretrain(args: &RunArgs, until: Option<&str>) -> Result<u8> {
    let job = job_of(args, until)?;
    if args.dry_run {
        print(&dry_run(&job)?)?;
        return Ok(DONE);
    }
    match run(&job) {
        Ok(model) => {
            print(&model.unwrap_or(job.out).display().to_string())?;
            Ok(DONE)
        }
        Err(error @ (Error::Interrupted | Error::Evaluator(flava_evaluator::Error::Interrupted))) => {
            eprintln!("{error}");
            Ok(INTERRUPTED)
        }
        Err(error) => Err(error.into()),
    }
}

fn untrained(args: &RunArgs) -> Result<u8> {
    print(&init(&job_of(args, None)?)?.display().to_string())?;
    Ok(DONE)
}

fn recipes(name: Option<&str>) -> Result<u8> {
    match name {
        Some(name) => print(&Recipe::text(name)?)?,
        None => {
            for name in Recipe::names() {
                let recipe = Recipe::open(&name, &[])?;
                print(&format!("{name:24} {}", recipe.summary))?;
            }
        }
    }
    Ok(DONE)
}
