//! Commands that run nothing, and how wrong ones end.

use std::fs;

use flava_results::{Published, published};
use flava_tasks::{Registry, Suite};
use tempfile::tempdir;

use crate::support::{
    fixtures::write_data,
    program::{Run, flava_eval, program},
};

#[test]
fn tasks_are_listed_and_shown() {
    let folder = tempdir().unwrap();
    let list = flava_eval(folder.path(), &["tasks"]);
    assert_eq!(list.code, 0);
    for task in ["mnist", "cifar10", "mini-vqa"] {
        assert!(list.stdout.contains(task), "{}", list.stdout);
    }
    let show = flava_eval(folder.path(), &["tasks", "show", "cifar-10"]);
    assert!(
        show.code == 0
            && show.stdout.contains("name = \"cifar10\"")
            && show.stdout.contains("rows = 50000"),
        "{}",
        show.stdout
    );
    let json = flava_eval(folder.path(), &["tasks", "--json"]);
    assert!(
        serde_json::from_str::<serde_json::Value>(&json.stdout)
            .unwrap()
            .as_array()
            .unwrap()
            .len()
            >= 9
    );
    assert!(
        fs::read_dir(folder.path()).unwrap().next().is_none(),
        "listing writes nothing"
    );
}

/// Every number of the paper belongs to a task of the registry and one of its metrics, and every
/// task has its number.
#[test]
fn published_numbers_are_those_of_the_tasks() {
    let registry = Registry::built_in().unwrap();
    let published = published();
    for row in published
        .iter()
        .filter(|row| !row.task.starts_with("average"))
    {
        let task = registry
            .get(&row.task)
            .unwrap_or_else(|| panic!("{} is no task", row.task));
        assert!(
            task.metrics
                .iter()
                .any(|metric| metric.name() == row.metric),
            "{} has no {}",
            row.task,
            row.metric
        );
    }
    for task in registry
        .tasks()
        .iter()
        .filter(|task| task.suite == Suite::Paper)
    {
        let named = |row: &&Published| row.task == task.name || task.aliases.contains(&row.task);
        let ours = published
            .iter()
            .find(|row| named(row) && row.table == "Table 4" && row.column == "FLAVA");
        assert_eq!(
            ours.map(|row| row.metric.as_str()),
            Some(task.metrics[0].name()),
            "{}",
            task.name
        );
    }
    let folder = tempdir().unwrap();
    let shown = flava_eval(folder.path(), &["tasks", "show", "aircraft"]).stdout;
    for needle in [
        "# published: Table 4 accuracy of FLAVA: 47.31",
        "flava",
        "mean_per_class",
        "rows = 3334",
        "licence",
        "chance",
        "mteb/FGVCAircraft",
    ] {
        assert!(shown.contains(needle), "{needle} is not in {shown}");
    }
    let list = flava_eval(folder.path(), &["tasks", "--suite", "paper"]).stdout;
    assert_eq!(list.lines().count(), 1 + 35); // a head, and the paper's tasks
    assert_eq!(
        flava_eval(
            folder.path(),
            &["tasks", "--suite", "zero-shot", "--family", "vision"]
        )
        .stdout
        .lines()
        .count(),
        1 + 22
    );
}

#[test]
fn help_is_for_people() {
    let folder = tempdir().unwrap();
    for args in [
        &["--help"][..],
        &["tasks", "--help"],
        &["embed", "--help"],
        &["fetch", "--help"],
        &["verify", "--help"],
    ] {
        let run = flava_eval(folder.path(), args);
        assert!(run.code == 0 && run.stdout.contains("Usage:"), "{args:?}");
    }
}

#[test]
fn a_dry_run_says_what_is_there_and_writes_nothing() {
    let folder = tempdir().unwrap();
    write_data(&folder.path().join("data"));
    let args = [
        "--dry-run",
        "--suite",
        "paper",
        "--data",
        "data",
        "--limit",
        "10",
    ];
    let run = flava_eval(folder.path(), &args);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(
        run.stdout
            .contains("mismatched: ylecun/mnist: split train has 120 rows, 60000 are expected"),
        "{}",
        run.stdout
    );
    assert!(!folder.path().join("runs").exists());
    assert_eq!(
        flava_eval(folder.path(), &["--dry-run", "--tasks", "all"]).code,
        0
    );
    let without = flava_eval(folder.path(), &["--dry-run", "--tasks", "mnist"]);
    assert_eq!(without.code, 1);
    assert!(
        without
            .stdout
            .contains("missing: no data for mnist: none of ylecun/mnist"),
        "{}",
        without.stdout
    );
}

#[test]
fn usage_errors_end_with_2_and_name_what_is_wrong() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("bad.toml"), "[[task]]\nname = 3\n").unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for (args, needle) in [
        (&["--tasks", "minst"][..], "did you mean mnist"),
        (&["--tasks", "all", "--model", "nowhere"], "nowhere"),
        (&["--tasks", "all", "--data", "nowhere"], "--data nowhere"),
        (&["--tasks", "all", "--task-file", "bad.toml"], "bad.toml"),
        (&["--tasks", "all", "--out", "file"], "file"),
        (&["--tasks", "all", "--device", "gpu"], "auto, cpu, cuda"),
        (&["--tasks", "all", "--precision", "f8"], "f32, bf16, f16"),
        (&["--tasks", "all", "--batch-size", "0"], "--batch-size"),
        (&["--tasks", "all", "--limit", "0"], "--limit"),
        (&["embed", "--out", "x.npy"], "--images"),
        (
            &["embed", "--images", "nowhere", "--out", "x.npy"],
            "nowhere",
        ),
        (&["--taks", "all"], "--taks"),
        (&["tasks", "--family", "audio"], "vision, text, multimodal"),
        (&["fetch", "--to", "x"], "--tasks"),
        (&["fetch", "--tasks", "minst"], "did you mean mnist"),
        (&["verify", "--data", "nowhere"], "--data nowhere"),
        (&["--tasks", "all", "--protocol", "vtab"], "as-published"),
    ] {
        let run = flava_eval(folder.path(), args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(needle), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    if std::path::Path::new("/dev/nvidiactl").exists() {
        return;
    }
    let folder = tempdir().unwrap();
    let run = flava_eval(
        folder.path(),
        &["--tasks", "mini-sentence", "--device", "cuda"],
    );
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("no NVIDIA driver") || run.stderr.contains("No NVIDIA driver"),
        "{}",
        run.stderr
    );
}

#[test]
fn quiet_runs_say_nothing_but_the_result() {
    let folder = tempdir().unwrap();
    let run = flava_eval(
        folder.path(),
        &["--tasks", "mini-sentence", "--limit", "40", "--quiet"],
    );
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.contains("mini-sentence"));
}

/// What a shell completes by, and a page of the manual for each command.
#[test]
fn completions_and_the_manual_are_written() {
    let folder = tempdir().unwrap();
    for (name, page) in [
        ("flava-eval", "flava-eval-score.1"),
        ("flava-finetune", "flava-finetune-predict.1"),
        ("flava-pretrain", "flava-pretrain-run.1"),
    ] {
        let run = |args: &[&str]| -> Run {
            let output = program(name, folder.path(), &[], args).output();
            output.unwrap().into()
        };
        for shell in ["bash", "zsh", "fish"] {
            let script = run(&["completions", shell]);
            assert!(
                script.code == 0 && script.stdout.contains(name),
                "{}",
                script.stderr
            );
            assert!(script.stdout.contains("offline"), "{name} {shell}");
        }
        assert_eq!(run(&["man", "pages"]).code, 0);
        let text = fs::read_to_string(folder.path().join("pages").join(page)).unwrap();
        assert!(
            text.contains(".SH NAME") && text.contains(".SH OPTIONS"),
            "{page}"
        );
    }
}

/// What needs no tensor does not wait for libtorch, and OpenMP's threads are told how to wait before
/// it begins.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn libraries_begin_only_where_they_are_needed() {
    let folder = tempdir().unwrap();
    let begun = |name: &str, args: &[&str]| {
        let libraries = [("LD_DEBUG", "libs")];
        let run: Run = program(name, folder.path(), &libraries, args)
            .output()
            .unwrap()
            .into();
        let of_torch = |line: &&str| line.contains("calling init") && line.contains("libtorch_cpu");
        (run.code, run.stderr.lines().filter(of_torch).count())
    };
    for (name, args, code) in [
        ("flava-eval", &["tasks", "--json"][..], 0),
        ("flava-eval", &["--help"], 0),
        ("flava-eval", &["taks"], 2),
        ("flava-finetune", &["recipe", "vqa"], 0),
        ("flava-pretrain", &["recipes", "mini"], 0),
    ] {
        assert_eq!(begun(name, args), (code, 0), "{name} {args:?}");
    }
    assert_eq!(begun("flava-eval", &["--version"]), (0, 1));
}
