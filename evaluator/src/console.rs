//! How the programs end and what they print.

use std::{fmt::Display, fs};

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};
use flava_base::{Start, escaped, say_error, write_atomic};
use flava_model::runtime::{
    cuda_version,
    distributed::{Company, Peers, Place, is_launched, launch},
    load_cuda, prepare_memory, torch_version,
};
use flava_results::COMMIT;

use crate::{Result, args::HelpCommand};

/// Everything that was asked for was done.
pub const DONE: u8 = 0;
/// Something failed; the rest is written.
pub const PARTLY: u8 = 1;
/// Nothing could be run.
pub const NOTHING: u8 = 2;
/// Ctrl-C was pressed: what shells call it.
pub const INTERRUPTED: u8 = 130;

/// Does what was typed and ends the program, where that needs no tensor; help and what is wrong with
/// what was typed need none either. To be called by [`flava_base::at_start`], so that none of it waits
/// for libtorch.
pub fn at_once<A: CommandFactory + FromArgMatches, E: Display>(
    start: &Start,
    needs_no_tensor: fn(&A) -> bool,
    act: fn(&A) -> std::result::Result<u8, E>,
) {
    let mut command = A::command();
    let matches = command.try_get_matches_from_mut(start.arguments());
    let args =
        matches.and_then(|all| A::from_arg_matches(&all).map_err(|e| e.format(&mut command)));
    start.ignore_broken_pipes();
    let code = match args {
        Ok(args) if needs_no_tensor(&args) => ended(act(&args)),
        Ok(_) => return,
        Err(error) if error.kind() == ErrorKind::DisplayVersion => return, // it tells of libtorch
        Err(error) => {
            let _heard = error.print();
            if error.use_stderr() { NOTHING } else { DONE }
        }
    };
    start.end(code);
}

/// What was typed, after libtorch is made ready: must be the first thing in `main`. Ends the
/// program where it asks for help or the version, or cannot be understood.
pub fn parse<A: CommandFactory + FromArgMatches>() -> A {
    load_cuda(); // before anything else asks libtorch
    prepare_memory();
    let mut command = A::command().long_version(long_version());
    let matches = command.get_matches_mut();
    A::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// The version, its commit, and what computes.
fn long_version() -> String {
    let cuda = match (cuda_version(), tch::Cuda::device_count()) {
        (Some(version), 1) => format!("CUDA {version}, 1 GPU"),
        (Some(version), count) => format!("CUDA {version}, {count} GPUs"),
        (None, _) => "no CUDA in use".to_owned(),
    };
    let (version, torch) = (env!("CARGO_PKG_VERSION"), torch_version());
    format!("{version}\ncommit {COMMIT}\nlibtorch {torch}, {cuda}")
}

/// Does something in so many processes of this machine, or in those that a launcher started; the
/// exit code. Process 0 says how it ended.
pub fn in_processes<E: Display + From<flava_model::Error>>(
    processes: u16,
    company: Company,
    act: impl FnOnce(&Peers) -> std::result::Result<u8, E>,
) -> std::result::Result<u8, E> {
    if processes > 1 && !is_launched() {
        return Ok(launch(usize::from(processes), company)?);
    }
    let peers = Peers::meet(Place::of_environment()?)?;
    let code = act(&peers).inspect_err(|error| peers.fail(NOTHING, &error.to_string()))?;
    let speaks = peers.leads() || company != Company::Sharing;
    if code != DONE {
        let why = if code == INTERRUPTED {
            "interrupted"
        } else {
            "not everything was done"
        };
        peers.fail(code, why);
    }
    peers.part()?;
    Ok(if speaks { code } else { DONE })
}

/// A program's end: what it says of an error, and its exit code.
pub fn ended(result: std::result::Result<u8, impl Display>) -> u8 {
    result.unwrap_or_else(|error| {
        say_error(&error.to_string()); // each message is whole: its causes are inside
        NOTHING
    })
}

/// Writes to stdout, control characters but line ends written out. A reader that went away, such as
/// `head`, ends nothing.
pub fn print(text: &str) {
    let lines: Vec<_> = text.split('\n').map(escaped).collect();
    flava_base::print(&lines.join("\n"));
}

/// Completions or the manual of a program.
pub fn help(asked: &HelpCommand, mut program: clap::Command) -> Result<u8> {
    let name = program.get_name().to_owned();
    match asked {
        HelpCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut program, name, &mut script);
            flava_base::print(String::from_utf8_lossy(&script).trim_end());
        }
        HelpCommand::Man { folder } => {
            fs::create_dir_all(folder).map_err(|e| flava_base::Error::io(folder, e))?;
            program.build();
            let pages = [program.clone()];
            for page in pages.iter().chain(program.get_subcommands()) {
                let name = match page.get_name() {
                    own if own == name => format!("{name}.1"),
                    command => format!("{name}-{command}.1"),
                };
                let path = folder.join(name);
                let mut text = Vec::new();
                clap_mangen::Man::new(page.clone())
                    .render(&mut text)
                    .map_err(|e| flava_base::Error::io(&path, e))?;
                write_atomic(&path, &text)?;
            }
        }
    }
    Ok(DONE)
}
