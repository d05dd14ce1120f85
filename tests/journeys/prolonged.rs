//! A stage of pretraining that is done is given more steps.

use std::{fs, path::Path};

use tempfile::tempdir;

use crate::support::{
    program::{Run, program},
    recipes::write_tiny_recipe,
};

fn run(folder: &Path, out: &str, steps: &str, more: &[&str]) -> Run {
    let steps = format!("joint.schedule.steps={steps}");
    let args = [
        "run",
        "tiny.toml",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--out",
        out,
        "--set",
        &steps,
    ];
    let args = [&args[..], more].concat();
    program("flava-pretrain", folder, &[], &args)
        .output()
        .unwrap()
        .into()
}

const CONSTANT: [&str; 2] = ["--set", "joint.schedule.decay=constant"];

#[test]
fn steps_are_added_as_if_they_had_been_there() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let at = |out: &str, steps: &str| {
        let run = run(folder.path(), out, steps, &CONSTANT);
        assert_eq!(run.code, 0, "{}", run.stderr);
    };
    at("whole", "9");
    at("longer", "4");
    let model =
        |out: &str| fs::read(folder.path().join(out).join("model/model.safetensors")).unwrap();
    let short = model("longer");
    at("longer", "6");
    at("longer", "9");
    assert!(model("longer") != short && model("longer") == model("whole"));
    at("longer", "9"); // done already
    for (steps, needle) in [
        ("4", "it was prolonged to 9 steps"),
        ("7", "it has 9 steps, and 7 are asked for"),
    ] {
        let run = run(folder.path(), "longer", steps, &CONSTANT);
        assert!(
            run.code == 2 && run.stderr.contains(needle),
            "{}",
            run.stderr
        );
    }
    // What was built on a stage is not on the longer one.
    let text = ["--set", "text.schedule.decay=constant"];
    let built = run(folder.path(), "built", "4", &text);
    assert_eq!(built.code, 0, "{}", built.stderr);
    let more = [&text[..], &["--set", "text.schedule.steps=40"]].concat();
    let run = run(folder.path(), "built", "4", &more);
    assert!(
        run.code == 2
            && run
                .stderr
                .contains("joint: was made by other settings (earlier"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_prevents_it_is_said() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let done = run(folder.path(), "out", "4", &[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let refused = run(folder.path(), "out", "8", &[]);
    assert!(
        refused.code == 2 && refused.stderr.contains("joint.schedule.decay is "),
        "{}",
        refused.stderr
    );
    let image = run(
        folder.path(),
        "out",
        "4",
        &["--set", "image.schedule.steps=50"],
    );
    assert!(
        image.code == 2 && image.stderr.contains("the teacher's momentum"),
        "{}",
        image.stderr
    );
    let other = ["--set", "joint.schedule.learning_rate=0.5"];
    let other = run(folder.path(), "out", "8", &[&CONSTANT[..], &other].concat());
    assert!(
        other.code == 2 && other.stderr.contains("learning_rate was"),
        "{}",
        other.stderr
    );
}
