//! Whole outputs, as a person sees them: help, lists, tables, a dry run, errors.
//!
//! `INSTA_UPDATE=always cargo test --locked --test flava snapshots` writes them anew; look at the
//! difference before you commit it.

use std::fs;

use insta::{Settings, assert_snapshot};
use tempfile::tempdir;

use crate::support::program::{Run, program};

/// Words of a dialect that this project once spoke, with the field's words for them.
const DIALECT: [(&str, &str); 12] = [
    ("picture", "image"),
    ("word piece", "token"),
    ("visual word", "visual token"),
    ("kind of products", "compute precision"),
    ("everything that is drawn", "random seed"),
    ("nothing is said", "suppress progress output"),
    ("no talk", "suppress progress output"),
    ("gradients are cut", "maximum gradient norm"),
    ("is mirrored", "horizontal-flip probability"),
    ("adam's averages", "AdamW betas"),
    ("places", "positions"),
    ("spared", "no weight decay"),
];

/// The programs' commands that have a help of their own.
const COMMANDS: [(&str, &[&str]); 3] = [
    (
        "flava-eval",
        &[
            "tasks", "fetch", "verify", "embed", "score", "compare", "cache",
        ],
    ),
    ("flava-finetune", &["predict", "recipe"]),
    (
        "flava-pretrain",
        &[
            "run",
            "tokenizer",
            "codebook",
            "init",
            "recipes",
            "ablation",
        ],
    ),
];

fn ran(name: &str, args: &[&str]) -> Run {
    let folder = tempdir().unwrap();
    program(name, folder.path(), &[], args)
        .output()
        .unwrap()
        .into()
}

/// Snapshots beside this file, without what differs from machine to machine.
fn settings() -> Settings {
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(
        r"\d+(\.\d+)? (ms|s|min|minutes|seconds)\b( \d+ s\b)?",
        "[TIME]",
    );
    settings.add_filter(r"\d+ threads", "[N] threads");
    settings.add_filter(r"(cpu|cuda:\d+) in", "[DEVICE] in");
    settings
}

#[test]
fn help_is_short_with_h_and_whole_with_help() {
    settings().bind(|| {
        for (name, _) in COMMANDS {
            assert_snapshot!(format!("{name} -h"), ran(name, &["-h"]).stdout);
            assert_snapshot!(format!("{name} --help"), ran(name, &["--help"]).stdout);
        }
    });
}

#[test]
fn every_help_ends_with_examples_and_speaks_the_fields_words() {
    for (name, commands) in COMMANDS {
        let whole = [vec!["--help"]];
        let each = commands.iter().map(|command| vec![*command, "--help"]);
        for args in whole.into_iter().chain(each) {
            let help = ran(name, &args).stdout;
            let shared = name == "flava-pretrain" && args.len() == 2;
            assert!(
                help.contains("Examples:") || shared,
                "{name} {args:?}: {help}"
            );
            let lower = help.to_lowercase();
            for (word, instead) in DIALECT {
                assert!(
                    !lower.contains(word),
                    "{name} {args:?} says {word}; say {instead}"
                );
            }
        }
    }
}

#[test]
fn lists_and_tables_look_as_they_should() {
    settings().bind(|| {
        let tasks = ran("flava-eval", &["tasks", "--suite", "mini"]);
        assert_snapshot!("tasks of the mini suite", tasks.stdout);
        let glue = ran("flava-eval", &["tasks", "--family", "text"]);
        assert_snapshot!("tasks of the text family", glue.stdout);
        let recipes = ran("flava-pretrain", &["recipes"]);
        assert_snapshot!("pretraining recipes", recipes.stdout);
        let plan = ran("flava-finetune", &["mini-vqa", "--dry-run", "--quiet"]);
        assert_snapshot!("dry run of fine-tuning", plan.stdout);
        let plan = ran(
            "flava-eval",
            &["--tasks", "mini-vqa,mini-groups", "--dry-run", "-q"],
        );
        assert_snapshot!("dry run of evaluation", plan.stdout);
    });
}

#[test]
fn errors_are_said_once_and_hints_on_lines_of_their_own() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("empty.toml"), "").unwrap();
    settings().bind(|| {
        for (title, name, args) in [
            ("an unknown task", "flava-eval", &["--tasks", "minst"][..]),
            (
                "an unknown model",
                "flava-eval",
                &["--model", "no-such-folder"],
            ),
            ("an unknown argument", "flava-eval", &["--taks", "all"]),
            (
                "an unknown setting",
                "flava-finetune",
                &["mini-vqa", "--set", "learning_rat=1"],
            ),
            ("an unknown recipe", "flava-pretrain", &["run", "mimi"]),
            (
                "a setting of no stage",
                "flava-pretrain",
                &["run", "mini", "--set", "jiont.schedule.steps=7"],
            ),
        ] {
            let run: Run = program(name, folder.path(), &[], args)
                .output()
                .unwrap()
                .into();
            assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
            assert_snapshot!(title, run.stderr);
        }
    });
}

#[test]
fn versions_name_commit_and_libtorch() {
    for (name, _) in COMMANDS {
        let long = ran(name, &["--version"]).stdout;
        let lines: Vec<_> = long.lines().collect();
        assert!(
            lines.len() == 3
                && lines[0].starts_with(&format!("{name} "))
                && lines[1].starts_with("commit ")
                && lines[2].starts_with("libtorch 2."),
            "{long}"
        );
        assert_eq!(ran(name, &["-V"]).stdout.lines().count(), 1);
    }
}
