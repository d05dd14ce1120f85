//! What `flava-pretrain` says of recipes and corpora that cannot be used.

use std::{fs, path::Path};

use flava_model::checkpoint::Architecture;
use tempfile::tempdir;

use crate::support::{
    fixtures::{digit, write_model, write_tar},
    place::root,
    program::{Run, program},
    recipes::write_tiny_recipe,
};

fn pretrain(folder: &Path, args: &[&str]) -> Run {
    program(
        "flava-pretrain",
        folder,
        &[],
        &[args, &["--device", "cpu", "--offline"]].concat(),
    )
    .output()
    .unwrap()
    .into()
}

/// The message of a run of the tiny recipe that ends before its first step.
fn refused(folder: &Path, more: &[&str]) -> String {
    write_tiny_recipe(folder, "");
    let run = pretrain(
        folder,
        &[&["run", "tiny.toml", "--out", "out"], more].concat(),
    );
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(!folder.join("out/recipe.toml").exists(), "nothing was made");
    run.stderr
}

#[test]
fn recipes_that_cannot_be_run_are_refused_with_the_nearest_name() {
    let folder = tempdir().unwrap();
    for (args, needle) in [
        (vec!["run", "flava-cc"], "did you mean flava-c"),
        (vec!["run", "none.toml"], "none.toml"),
        (
            vec!["run", "mini", "--set", "joint.schedule.stepps=3"],
            "did you mean steps",
        ),
        (
            vec!["run", "mini", "--set", "joint.mixture=[]"],
            "mixture names no corpus",
        ),
        (vec!["run", "mini", "--set", "joint"], "is no key=value"),
        (
            vec!["codebook", "mini", "--set", r#"run=["tokenizer", "text"]"#],
            "mini has no stage that makes a codebook",
        ),
    ] {
        let run = pretrain(folder.path(), &args);
        assert_eq!(run.code, 2, "{args:?}");
        assert!(run.stderr.contains(needle), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn corpora_that_are_missing_cut_or_empty_are_named_before_the_first_step() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    let image = digit(3, 0);
    fs::write(path.join("empty.txt"), "\n \n").unwrap();
    for number in [0, 2] {
        write_tar(
            &path.join(format!("gap-{number:03}.tar")),
            &[("a.png", &image), ("a.txt", b"a")],
        );
    }
    write_tar(&path.join("cut.tar"), &[("a.png", &image), ("a.txt", b"a")]);
    let whole = fs::read(path.join("cut.tar")).unwrap();
    fs::write(path.join("cut.tar"), &whole[..700]).unwrap();
    write_tar(
        &path.join("twice.tar"),
        &[("a.png", &image), ("b.png", &image), ("a.png", &image)],
    );
    fs::write(
        path.join("packed.tar"),
        [&[0x1f, 0x8b], &whole[2..]].concat(),
    )
    .unwrap();
    fs::write(path.join("words.txt"), "words\n").unwrap();
    for (corpus, needle) in [
        (
            r#"corpora.pairs={format="webdataset", files="twice.tar"}"#,
            "sample a has two members png",
        ),
        (
            r#"corpora.pairs={format="webdataset", files="packed.tar"}"#,
            "is compressed",
        ),
        (
            r#"corpora.pairs={format="text", files="words.txt"}"#,
            "is an image",
        ),
        (
            r#"corpora.texts={format="text", files="empty.txt"}"#,
            "empty",
        ),
        (
            r#"corpora.texts={format="text", files="missing-*.txt"}"#,
            "holds no file missing-*.txt",
        ),
        (
            r#"corpora.pairs={format="webdataset", files="gap-*.tar"}"#,
            "lacks number 1",
        ),
        (
            r#"corpora.pairs={format="webdataset", files="cut.tar"}"#,
            "cut off",
        ),
        (
            r#"corpora.images={format="image_folder", path="nowhere"}"#,
            "nowhere",
        ),
        (
            r#"corpora.images={format="parquet", files="empty.txt", image="image"}"#,
            "parquet",
        ),
        (
            r#"joint.evaluate={every=4, tasks="cifar10", best_by="cifar10", data="."}"#,
            "evaluate: cifar10: ",
        ),
    ] {
        let message = refused(path, &["--set", corpus]);
        assert!(message.contains(needle), "{corpus}: {message}");
    }
}

#[test]
fn parts_of_other_models_are_refused_with_the_shapes() {
    let folder = tempdir().unwrap();
    write_model(
        &folder.path().join("other"),
        Architecture::FlavaForPreTraining,
    );
    let message = refused(
        folder.path(),
        &["--set", r#"codebook={kind="codebook", from="other"}"#],
    );
    assert!(
        message.contains("image_codebook.blocks") && message.contains("does not fit"),
        "{message}"
    );
    let init = r#"joint.init=[{from="other", parts=["text"]}]"#;
    let message = refused(folder.path(), &["--set", init]);
    assert!(
        message.contains("flava.text_model") && message.contains("the recipe's model has"),
        "{message}"
    );
    let widths = ["text", "image", "multimodal"].map(|part| {
        [("hidden_size", 32), ("intermediate_size", 48)]
            .map(|(key, width)| format!("model.{part}_config.{key}={width}"))
    });
    let settings = [init, "model.hidden_size=32"]
        .into_iter()
        .chain(widths.iter().flatten().map(String::as_str));
    let settings: Vec<&str> = settings.flat_map(|setting| ["--set", setting]).collect();
    let message = refused(folder.path(), &settings);
    assert!(
        message.contains("flava.text_model.encoder.layer.1.")
            && message.contains("has fewer layers"),
        "{message}"
    );
}

/// Some broken images are left out and counted, too many end the training.
#[test]
fn broken_images_are_counted_up_to_a_limit() {
    let folder = tempdir().unwrap();
    let images = folder.path().join("pictures/deep");
    fs::create_dir_all(&images).unwrap();
    for number in 0..60 {
        fs::write(
            images.join(format!("{number}.png")),
            digit(number % 10, number),
        )
        .unwrap();
    }
    fs::write(images.join("x.png"), b"no picture").unwrap();
    fs::write(images.join("y.png"), &digit(1, 1)[..40]).unwrap();
    write_tiny_recipe(folder.path(), "");
    let corpus = r#"corpora.images={format="image_folder", path="pictures"}"#;
    let run = |out: &str, most: &str| {
        let most = format!("image.schedule.max_broken={most}");
        let args = [
            "run",
            "tiny.toml",
            "--out",
            out,
            "--set",
            corpus,
            "--set",
            &most,
            "--set",
            "image.schedule.steps=80",
        ];
        pretrain(
            folder.path(),
            &[
                &args[..],
                &[
                    "--set",
                    "codebook.schedule.max_broken=1.0",
                    "--set",
                    "joint.schedule.max_broken=1.0",
                ],
            ]
            .concat(),
        )
    };
    let few = run("few", "0.2");
    assert_eq!(few.code, 0, "{}", few.stderr);
    assert!(few.stderr.contains("left out"), "{}", few.stderr);
    let many = run("many", "0.01");
    assert_eq!(many.code, 2);
    assert!(
        many.stderr
            .contains("rows are broken, more than max_broken = 0.01"),
        "{}",
        many.stderr
    );
}

#[test]
fn a_dry_run_says_what_it_would_take() {
    let folder = tempdir().unwrap();
    let run = pretrain(
        folder.path(),
        &["run", "flava-base", "--dry-run", "--data", "."],
    );
    assert_eq!(run.code, 1, "{}", run.stderr);
    for needle in [
        "M parameters",
        "FLOP",
        "corpus pairs",
        "not there",
        "214286 steps",
        "imagenet-zero-shot: not there",
    ] {
        assert!(run.stdout.contains(needle), "{needle}: {}", run.stdout);
    }
    assert!(
        fs::read_dir(folder.path()).unwrap().next().is_none(),
        "nothing is written"
    );
    let machines = [
        "--processes",
        "64",
        "--gpu",
        "h100-80gb",
        "--network",
        "200gb/node",
    ];
    let args = [&["run", "flava-base", "--dry-run"], &machines[..]].concat();
    let planned = pretrain(folder.path(), &args).stdout;
    for needle in [
        "| 1 | none | 8192 |",
        "| 8 | optimiser | 1024 |",
        "| 64 | full | 128 |",
    ] {
        assert!(planned.contains(needle), "{needle}: {planned}");
    }
    for wrong in [
        &["--gpu", "v100"][..],
        &["--gpu", "h200-141gb", "--network", "fast"],
    ] {
        let args = [&["run", "flava-base", "--dry-run"], wrong].concat();
        let refused = pretrain(folder.path(), &args);
        let told = refused.stderr.contains("it is ");
        assert!(refused.code == 2 && told, "{}", refused.stderr);
    }
}

#[test]
fn the_recipe_that_is_documented_is_one() {
    let folder = tempdir().unwrap();
    let page = root().join("docs/pretrain.md");
    let page = fs::read_to_string(page).unwrap();
    let toml = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0)
        .find(|toml| toml.contains("extends"))
        .unwrap();
    fs::write(folder.path().join("mine.toml"), toml).unwrap();
    let run = pretrain(folder.path(), &["run", "mine.toml", "--dry-run"]);
    assert_eq!(
        run.code, 1,
        "the corpora are not here, and the answer says so: {}",
        run.stderr
    );
    assert!(
        run.stdout.contains("stage joint (train): 20000 steps")
            && !run.stdout.contains("stage text"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_tokenizer_and_a_codebook_can_be_had_alone() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    for command in ["tokenizer", "codebook"] {
        let run = pretrain(folder.path(), &[command, "tiny.toml", "--out", "out"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let words = fs::read_to_string(folder.path().join("out/tokenizer/vocab.txt")).unwrap();
    assert!(
        words.starts_with("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n") && words.lines().count() <= 300,
        "{words}"
    );
    assert!(
        folder
            .path()
            .join("out/codebook/reconstructions.png")
            .exists()
    );
    assert!(!folder.path().join("out/text").exists());
    let again = pretrain(
        folder.path(),
        &[
            "tokenizer",
            "tiny.toml",
            "--out",
            "again",
            "--precision",
            "bf16",
        ],
    );
    assert_eq!(again.code, 0);
    assert_eq!(
        words,
        fs::read_to_string(folder.path().join("again/tokenizer/vocab.txt")).unwrap()
    );
}

#[test]
fn an_untrained_model_has_a_folder_of_its_own() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let run = pretrain(
        folder.path(),
        &["init", "tiny.toml", "--out", "out", "--dry-run"],
    );
    assert!(
        run.code == 0 && !folder.path().join("out").exists(),
        "{}",
        run.stderr
    );
    let run = pretrain(folder.path(), &["init", "tiny.toml", "--out", "out"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stdout.trim(), "out/untrained");
    assert!(
        folder
            .path()
            .join("out/untrained/model.safetensors")
            .exists()
            && !folder.path().join("out/model").exists()
    );
}

#[test]
fn broken_texts_are_left_out_of_a_tokenizer_up_to_a_share() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let mut lines: Vec<u8> = (0..199)
        .flat_map(|n| format!("the line of number {n}\n").into_bytes())
        .collect();
    lines.extend(b"caf\xe9\n");
    fs::write(folder.path().join("lines.txt"), lines).unwrap();
    let corpora = [
        "--set",
        r#"corpora.texts={format="text", files="lines.txt"}"#,
        "--set",
        r#"tokenizer.corpora=["texts"]"#,
    ];
    let run = pretrain(
        folder.path(),
        &[&["tokenizer", "tiny.toml", "--out", "out"], &corpora[..]].concat(),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("1 broken texts are left out")
            && run.stderr.contains("line 200 is no UTF-8"),
        "{}",
        run.stderr
    );
    let none = ["--set", "tokenizer.max_broken=0.001"];
    let run = pretrain(
        folder.path(),
        &[
            &["tokenizer", "tiny.toml", "--out", "none"],
            &corpora[..],
            &none[..],
        ]
        .concat(),
    );
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("more than max_broken"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_folder_that_another_run_uses_is_left_alone() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    let lock = fs::File::create(folder.path().join("out/.lock")).unwrap();
    lock.lock().unwrap();
    assert!(refused(folder.path(), &[]).contains("another run"));
}

/// Weights that overflow at once: the rows of the step at which training gave up are written down.
#[test]
fn training_whose_losses_are_not_finite_stops_and_names_the_rows() {
    let folder = tempdir().unwrap();
    write_tiny_recipe(folder.path(), "");
    let settings = [
        "--set",
        "text.schedule.learning_rate=1e30",
        "--set",
        "text.schedule.steps=60",
    ];
    let run = pretrain(
        folder.path(),
        &[&["run", "tiny.toml", "--out", "out"], &settings[..]].concat(),
    );
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(
        run.stderr.contains("are not finite") && run.stderr.contains("lower learning_rate"),
        "{}",
        run.stderr
    );
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("out/text/not_finite.json")).unwrap())
            .unwrap();
    assert_eq!(report["rows"].as_array().unwrap().len(), 8, "{report}");
    assert!(report["step"].as_u64().unwrap() < 60, "{report}");
}
