//! Data of people's own, each with one command: files as pandas, Excel and `datasets` write them.

use std::{fs, path::Path};

use flava_model::checkpoint::Architecture;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digit, write_model},
    program::{Run, flava_eval, program},
};

const CLASSES: [&str; 3] = ["one", "seven", "four"];

/// A folder with a model and images in a folder for each class, and without any.
fn lab() -> TempDir {
    let lab = tempdir().unwrap();
    write_model(&lab.path().join("model"), Architecture::FlavaForPreTraining);
    for (class, name) in CLASSES.iter().enumerate() {
        for variant in 0..9 {
            write(
                &lab.path().join(format!("digits/{name}/{variant}.png")),
                &digit(class, variant),
            );
            let flat = format!("flat/{class}-{variant}.png");
            write(&lab.path().join(flat), &digit(class, variant));
        }
    }
    lab
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn eval(lab: &TempDir, line: &str) -> Run {
    let mut args: Vec<&str> = line.split(' ').collect();
    args.extend(["--model", "model"]);
    flava_eval(lab.path(), &args)
}

fn finetune(lab: &TempDir, line: &str) -> Run {
    let args: Vec<&str> = line.split(' ').collect();
    let mut command = program("flava-finetune", lab.path(), &[], &args);
    command.output().unwrap().into()
}

/// The one record of a run that went well.
fn record(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.stderr);
    let records: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(records.as_array().unwrap().len(), 1);
    records[0].clone()
}

/// The lines of a file of answers, after its head.
fn answers(lab: &TempDir, name: &str) -> Vec<String> {
    let text = fs::read_to_string(lab.path().join(name)).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

/// Rows of texts and their labels.
fn reviews(rows: usize) -> Vec<(String, &'static str)> {
    let row = |row: usize| {
        let (word, label) = [("fine", "good"), ("dull", "bad")][row % 2];
        (format!("a {word} film, \"{row}\""), label)
    };
    (0..rows).map(row).collect()
}

/// A table as pandas writes it, its index among the columns.
fn pandas(rows: &[(String, &str)]) -> String {
    let line = |(row, (text, label)): (usize, &(String, &str))| {
        format!("{row},\"{}\",{label}\n", text.replace('"', "\"\""))
    };
    let lines: String = rows.iter().enumerate().map(line).collect();
    format!(",text,label\n{lines}")
}

/// The same as Excel does: a byte order mark, semicolons, CR and LF.
fn excel(rows: &[(String, &str)]) -> String {
    let line =
        |(text, label): &(String, &str)| format!("\"{}\";{label}\r\n", text.replace('"', "\"\""));
    let lines: String = rows.iter().map(line).collect();
    format!("\u{feff}text;label\r\n{lines}")
}

/// The same as JSON lines, as `datasets` writes them.
fn json_lines(rows: &[(String, &str)]) -> String {
    let line = |(text, label): &(String, &str)| {
        serde_json::json!({ "text": text, "label": label }).to_string() + "\n"
    };
    rows.iter().map(line).collect()
}

#[test]
fn images_in_folders_are_classified_and_scored_by_one_command() {
    let lab = lab();
    let run = eval(&lab, "zero-shot --images digits --json --out zero");
    let scored = record(&run);
    assert_eq!(scored["method"], "zero_shot");
    assert_eq!(scored["metrics"][0]["n"], 27);
    assert_eq!(scored["chance"], 0.3333);
    assert!(run.stderr.contains("test = \"digits\""), "{}", run.stderr);
    let run = eval(&lab, "probe --train digits --json --out probe");
    let fitted = record(&run);
    assert_eq!(fitted["method"], "linear_probe");
    assert_eq!(fitted["feature"], "image_cls");
    let notes = fitted["notes"].to_string();
    assert!(notes.contains("a fifth of the rows"), "{notes}");
    let (train, test) = (&fitted["train_rows"], &fitted["metrics"][0]["n"]);
    assert_eq!(train.as_u64().unwrap() + test.as_u64().unwrap(), 27);
}

#[test]
fn images_without_labels_are_answered_for() {
    let lab = lab();
    let run = eval(
        &lab,
        "zero-shot --images flat --classes one,seven,four --top 2 --answers a.csv",
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let zero_shot = answers(&lab, "a.csv");
    assert_eq!(zero_shot.len(), 27);
    let fields: Vec<&str> = zero_shot[0].split(',').collect();
    assert_eq!((fields.len(), fields[0]), (5, "0-0.png"));
    let (first, second): (f32, f32) = (fields[2].parse().unwrap(), fields[4].parse().unwrap());
    assert!(first >= second && first + second <= 1.0);
    let kept = "probe --train digits --save-probe kept --out probe --quiet";
    let run = eval(&lab, kept);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for file in ["b.csv", "b.jsonl", "b.parquet"] {
        let run = eval(
            &lab,
            &format!("probe --probe kept --images flat --answers {file}"),
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let probed = answers(&lab, "b.csv");
    let of_class = |class: usize| {
        let begin = format!("{class}-");
        let rows = probed.iter().filter(|row| row.starts_with(&begin));
        rows.filter(|row| row.split(',').nth(1) == Some(CLASSES[class]))
            .count()
    };
    assert!((0..3).map(of_class).sum::<usize>() > 20, "{probed:?}");
    write_model(&lab.path().join("model"), Architecture::FlavaForPreTraining);
    let named = fs::read_to_string(lab.path().join("b.jsonl")).unwrap();
    let first: Value = serde_json::from_str(named.lines().next().unwrap()).unwrap();
    assert_eq!(first["id"], "0-0.png");
    assert_eq!(first["prediction"].as_str(), probed[0].split(',').nth(1));
}

#[test]
fn broken_images_are_named_or_left_out() {
    let lab = lab();
    fs::write(lab.path().join("flat/1-3.png"), "no image").unwrap();
    let line = "zero-shot --images flat --classes one,seven,four --answers a.csv";
    let run = eval(&lab, line);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("1-3.png"), "{}", run.stderr);
    assert!(
        !lab.path().join("a.csv").exists(),
        "half of the answers is none"
    );
    let run = eval(&lab, &format!("{line} --skip-broken"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("left out: 1-3.png"), "{}", run.stderr);
    assert_eq!(answers(&lab, "a.csv").len(), 26);
}

#[test]
fn texts_of_any_table_are_one_task() {
    let lab = lab();
    let rows = reviews(60);
    let folder = lab.path();
    write(&folder.join("pandas.csv"), pandas(&rows).as_bytes());
    write(&folder.join("excel.csv"), excel(&rows).as_bytes());
    write(&folder.join("rows.jsonl"), json_lines(&rows).as_bytes());
    let list = json_lines(&rows).trim().replace('\n', ",");
    write(&folder.join("rows.json"), format!("[{list}]").as_bytes());
    let mut scores = Vec::new();
    for file in ["pandas.csv", "excel.csv", "rows.jsonl", "rows.json"] {
        let line = format!(
            "probe --train {file} --test {file} --name same --json --out {file}.out --quiet"
        );
        let scored = record(&eval(&lab, &line));
        assert_eq!(
            (&scored["feature"], &scored["metrics"][0]["n"]),
            (&"text_cls".into(), &60.into())
        );
        scores.push(scored["metrics"][0]["value"].clone());
    }
    assert!(scores.iter().all(|score| *score == scores[0]), "{scores:?}");
}

#[test]
fn a_table_is_fine_tuned_on_and_the_model_answers_new_rows() {
    let lab = lab();
    let rows = reviews(60);
    write(&lab.path().join("train.csv"), pandas(&rows).as_bytes());
    let new: String = rows.iter().map(|(text, _)| format!("{text}\n")).collect();
    write(&lab.path().join("new.txt"), new.as_bytes());
    let run = finetune(
        &lab,
        "--train train.csv --model model --set epochs=1 --out tuned --json",
    );
    let tuned = record(&run);
    let notes = tuned["notes"].to_string();
    for part in ["a fifth of the rows", "a tenth of the training rows"] {
        assert!(notes.contains(part), "{notes}");
    }
    let train = tuned["train_rows"].as_u64().unwrap();
    assert!(train < 50 && train + tuned["metrics"][0]["n"].as_u64().unwrap() < 60);
    let run = finetune(
        &lab,
        "predict --model tuned --texts new.txt --answers a.csv",
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let texts = answers(&lab, "a.csv");
    assert_eq!(texts.len(), 60);
    assert!(texts.iter().all(|row| {
        let fields: Vec<&str> = row.split(',').collect();
        ["good", "bad"].contains(&fields[1]) && fields[2].parse::<f32>().unwrap() >= 0.5
    }));
    let run = finetune(
        &lab,
        "predict --model tuned --csv train.csv --answers b.csv",
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let of_table = answers(&lab, "b.csv");
    let answer = |row: &String| row.split_once(',').unwrap().1.to_owned();
    assert_eq!(
        texts.iter().map(answer).collect::<Vec<_>>(),
        of_table.iter().map(answer).collect::<Vec<_>>()
    );
    let run = finetune(&lab, "predict --model tuned --images flat --answers c.csv");
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("answers for texts"), "{}", run.stderr);
}

#[test]
fn questions_values_and_captions_are_read_from_tables() {
    let lab = lab();
    let folder = lab.path();
    let question = |place: usize| {
        let (class, variant) = (place % 3, place / 3 % 9);
        let image = format!("digits/{}/{variant}.png", CLASSES[class]);
        (image, CLASSES[class])
    };
    let lines = |ten: bool| -> String {
        let line = |place: usize| {
            let (image, answer) = question(place);
            let answers: Vec<&str> = if ten { vec![answer; 10] } else { vec![answer] };
            serde_json::json!({ "image": image, "question": "which digit is it?", "answers": answers })
                .to_string()
        };
        (0..54).map(line).collect::<Vec<_>>().join("\n")
    };
    write(&folder.join("ten.jsonl"), lines(true).as_bytes());
    write(&folder.join("one.jsonl"), lines(false).as_bytes());
    let mut scores = Vec::new();
    for file in ["ten", "one"] {
        let line = format!(
            "--train {file}.jsonl --name my-vqa --model model --set epochs=1 --out {file} --json"
        );
        let tuned = record(&finetune(&lab, &line));
        assert_eq!(tuned["metrics"][0]["metric"], "vqa_accuracy");
        assert_eq!(tuned["feature"], "multimodal_cls");
        let line = format!("predict --model {file} --csv {file}.jsonl --answers {file}.csv");
        let run = finetune(&lab, &line);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(answers(&lab, &format!("{file}.csv")).len(), 54);
        scores.push((
            tuned["metrics"][0]["value"].clone(),
            tuned["metrics"][0]["n"].clone(),
        ));
    }
    assert_eq!(scores[0].1, scores[1].1);
    let pair = |place: usize| {
        let (image, name) = question(place);
        format!("{image},\"a {name}, drawn\"\n{image},the digit {name} {place}\n")
    };
    let pairs: String = (0..27).map(pair).collect();
    write(
        &folder.join("pairs.csv"),
        format!("image,caption\n{pairs}").as_bytes(),
    );
    let found = record(&eval(&lab, "retrieve --pairs pairs.csv --json --out found"));
    assert_eq!(
        (&found["method"], &found["metrics"][0]["n"]),
        (&"retrieval".into(), &27.into())
    );
    assert_eq!(found["metrics"].as_array().unwrap().len(), 6);
    let value = |place: usize| {
        format!(
            "{}\tanother {place}\t{}.5\n",
            "a cat ".repeat(1 + place % 7),
            place % 5
        )
    };
    let values: String = (0..160).map(value).collect();
    write(
        &folder.join("pairs.tsv"),
        format!("sentence1\tsentence2\tscore\n{values}").as_bytes(),
    );
    let line = "--train pairs.tsv --model model --set epochs=1 --out values --json";
    let run = finetune(&lab, line);
    assert_eq!(record(&run)["metrics"][0]["metric"], "pearson");
}

#[test]
fn four_lines_are_a_task_and_new_ones_are_printed() {
    let lab = lab();
    let rows = reviews(60);
    write(
        &lab.path().join("tasks/train.csv"),
        pandas(&rows).as_bytes(),
    );
    let text = "[[task]]\nname = \"films\"\nmethod = \"linear-probe\"\nsource = { train = \"train.csv\" }\n";
    write(&lab.path().join("tasks/films.toml"), text.as_bytes());
    let run = eval(&lab, "--task-file tasks/films.toml --json --out films");
    let scored = record(&run);
    assert_eq!(
        (&scored["task"], &scored["task_version"]),
        (&"films".into(), &1.into())
    );
    for kind in ["image-folder", "csv", "vqa", "captions"] {
        let run = flava_eval(lab.path(), &["tasks", "new", kind]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let file = format!("{kind}.toml");
        write(&lab.path().join(&file), run.stdout.as_bytes());
        let listed = flava_eval(
            lab.path(),
            &["tasks", "--task-file", &file, "--suite", "own"],
        );
        assert_eq!(listed.code, 0, "{}", listed.stderr);
        assert_eq!(listed.stdout.lines().count(), 2, "{}", listed.stdout);
    }
    write(&lab.path().join("empty.toml"), b"[[task]]\n");
    let run = eval(&lab, "--task-file empty.toml");
    assert_eq!(run.code, 2);
    for key in ["name", "source", "method"] {
        let told = format!("line 1: the task lacks {key}");
        assert!(run.stderr.contains(&told), "{}", run.stderr);
    }
}

#[test]
fn a_model_is_pretrained_on_captioned_images_of_a_table() {
    let lab = lab();
    let line = |place: usize| {
        let (class, variant) = (place % 3, place / 3 % 9);
        let name = CLASSES[class];
        format!("digits/{name}/{variant}.png,the digit {name} of {place}\n")
    };
    let lines: String = (0..200).map(line).collect();
    write(
        &lab.path().join("pairs.csv"),
        format!("image,caption\n{lines}").as_bytes(),
    );
    let short = [
        "text.schedule.steps=2",
        "text.schedule.warmup=1",
        "image.schedule.steps=2",
        "image.schedule.warmup=1",
        "codebook.schedule.steps=2",
        "codebook.schedule.warmup=1",
        "codebook.temperature_steps=2",
        "joint.schedule.steps=3",
        "joint.schedule.warmup=1",
        "joint.evaluate=none",
        "tokenizer.vocab_size=200",
    ];
    let mut args = vec![
        "run",
        "mini",
        "--pairs",
        "pairs.csv",
        "--out",
        "made",
        "--quiet",
    ];
    args.extend(short.iter().flat_map(|set| ["--set", set]));
    let run: Run = program("flava-pretrain", lab.path(), &[], &args)
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let recipe = fs::read_to_string(lab.path().join("made/recipe.toml")).unwrap();
    assert!(
        recipe.contains("text = \"caption\"") && !recipe.contains("\"mini\""),
        "{recipe}"
    );
    let line = "zero-shot --images digits --json --out scored --model made/model";
    let args: Vec<&str> = line.split(' ').collect();
    assert_eq!(
        record(&flava_eval(lab.path(), &args))["metrics"][0]["n"],
        27
    );
}

/// A zip archive of files below a folder.
fn zipped(folder: &Path, names: &[&str], to: &Path) {
    let mut archive = zip::ZipWriter::new(fs::File::create(to).unwrap());
    for name in names {
        for file in flava_base::walk(&folder.join(name)).unwrap_or_default() {
            let path = format!("{name}/{}", file.display());
            let path = path.trim_end_matches('/');
            let bytes = fs::read(folder.join(path)).unwrap();
            let options = zip::write::SimpleFileOptions::default();
            archive.start_file(path, options).unwrap();
            std::io::Write::write_all(&mut archive, &bytes).unwrap();
        }
    }
    archive.finish().unwrap();
}

#[test]
fn archives_are_read_without_being_unpacked() {
    let lab = lab();
    let folder = lab.path();
    zipped(&folder.join("digits"), &CLASSES, &folder.join("digits.zip"));
    let line = "probe --name same --json --quiet --train";
    let unpacked = record(&eval(&lab, &format!("{line} digits --out unpacked")));
    let packed = record(&eval(&lab, &format!("{line} digits.zip --out packed")));
    assert_eq!(unpacked["metrics"], packed["metrics"]);
    let head = "image,label\n".to_owned();
    let rows = (0..27).map(|row| {
        format!(
            "digits/{}/{}.png,{}\n",
            CLASSES[row % 3],
            row / 3,
            CLASSES[row % 3]
        )
    });
    write(
        &folder.join("table/train.csv"),
        (head + &rows.collect::<String>()).as_bytes(),
    );
    write(&folder.join("table/digits/one/0.png"), &digit(0, 0));
    zipped(folder, &["table", "digits"], &folder.join("all.zip"));
    let run = eval(&lab, "probe --train all.zip/table/train.csv --quiet");
    assert!(
        run.stderr.contains("26 of 27 rows lack theirs"),
        "{}",
        run.stderr
    );
    let text = "[[task]]\nname = \"zip\"\nmethod = \"linear_probe\"\nsource = { train = \"all.zip/table/train.csv\", format = \"table\", images = \"all.zip\" }\n";
    write(&folder.join("zip.toml"), text.as_bytes());
    let run = eval(&lab, "--task-file zip.toml --json --quiet --out zip");
    assert_eq!(record(&run)["feature"], "image_cls");
    let whole = fs::read(folder.join("digits.zip")).unwrap();
    write(&folder.join("cut.zip"), &whole[..whole.len() - 40]);
    let run = eval(&lab, "probe --train cut.zip --quiet");
    assert!(
        run.code == 2 && run.stderr.contains("cut.zip"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_sweep_names_the_point_that_does_best_and_a_card_tells_the_model() {
    let lab = lab();
    write(
        &lab.path().join("train.csv"),
        pandas(&reviews(60)).as_bytes(),
    );
    let line = "--train train.csv --model model --set epochs=1 --set freeze=[\"text.embeddings\"] --set label_smoothing=0.1 --set layer_rate_decay=0.8 --sweep lr=1e-5,1e-3 --seeds 2 --out swept";
    let run = finetune(&lab, line);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("best"), "{}", run.stdout);
    let csv = fs::read_to_string(lab.path().join("swept/sweep.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 2 * 2, "{csv}");
    let all: Value =
        serde_json::from_str(&fs::read_to_string(lab.path().join("swept/sweep.json")).unwrap())
            .unwrap();
    let best: Vec<&Value> = all
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["best"] == true)
        .collect();
    assert_eq!(best.len(), 2);
    let card = fs::read_to_string(lab.path().join("swept/lr=1e-5/seed-1/README.md")).unwrap();
    assert!(
        card.contains("| accuracy |") && card.contains("train.csv"),
        "{card}"
    );
    // What is frozen is what it was.
    let read = |folder: &str| {
        let path = lab.path().join(folder).join("model.safetensors");
        let bytes = fs::read(path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let find = |part: &str| {
            let (_, view) = tensors
                .iter()
                .find(|(name, _)| name.contains(part))
                .unwrap();
            view.data().to_vec()
        };
        (
            find("text_model.embeddings.word_embeddings"),
            find("text_model.encoder.layer.0.output.dense.weight"),
        )
    };
    let (before, after) = (read("model"), read("swept/lr=1e-3/seed-0/best"));
    assert!(before.0 == after.0 && before.1 != after.1);
    for (more, needle) in [
        ("--sweep lr", "lr=1e-5,3e-5"),
        ("--set freeze=[\"txt\"]", "txt is no part"),
    ] {
        let run = finetune(
            &lab,
            &format!("--train train.csv --model model --out x {more}"),
        );
        assert!(
            run.code != 0 && run.stderr.contains(needle),
            "{}",
            run.stderr
        );
    }
}

/// The commands that a page of documentation shows, each once.
fn shown(page: &str) -> Vec<String> {
    let path = crate::support::place::root().join("docs").join(page);
    let text = fs::read_to_string(path).unwrap();
    let quoted = text.split(['`', '\n']).map(str::trim);
    let mut commands: Vec<String> = quoted
        .filter(|text| text.starts_with("flava-") && text.contains(' '))
        .map(str::to_owned)
        .collect();
    let mut seen = std::collections::HashSet::new();
    commands.retain(|command| seen.insert(command.clone()));
    commands
}

#[test]
fn what_the_pages_on_own_data_show_works() {
    let lab = tempdir().unwrap();
    let folder = lab.path();
    let classes = ["cat", "dog"];
    for (row, name) in (0..40).zip(classes.iter().cycle()) {
        let split = if row < 30 { "train" } else { "test" };
        let image = digit(row % 2 * 7, row);
        write(
            &folder.join(format!("shapes/{split}/{name}/{row}.png")),
            &image,
        );
        write(&folder.join(format!("photos/{row}.png")), &image);
    }
    let rows = reviews(60);
    for name in ["train.csv", "test.csv", "validation.csv", "new.csv"] {
        write(&folder.join(name), pandas(&rows).as_bytes());
    }
    let texts: String = rows.iter().map(|(text, _)| format!("{text}\n")).collect();
    write(&folder.join("new.txt"), texts.as_bytes());
    let pair = |row: usize| format!("photos/{row}.png,a {} of {row}\n", classes[row % 2]);
    let pairs: String = (0..40).map(pair).collect();
    write(
        &folder.join("pairs.csv"),
        format!("image,caption\n{pairs}").as_bytes(),
    );
    let question = |row: usize| {
        serde_json::json!({ "image": format!("photos/{row}.png"), "question": "which?", "answer": classes[row % 2] })
            .to_string()
    };
    let questions: Vec<String> = (0..40).map(question).collect();
    write(&folder.join("vqa.jsonl"), questions.join("\n").as_bytes());
    let page =
        fs::read_to_string(crate::support::place::root().join("docs/your-own-data.md")).unwrap();
    let toml = page
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    write(&folder.join("reviews.toml"), toml.as_bytes());
    let mut commands = shown("your-own-data.md");
    commands.extend(shown("predict.md"));
    let mut run = 0;
    for line in commands.iter().filter(|line| !line.contains(" DIR")) {
        let mut args: Vec<&str> = line.split(' ').skip(1).collect();
        let name = line.split(' ').next().unwrap();
        if name == "flava-pretrain" {
            args.push("--dry-run");
        }
        if name == "flava-finetune" && !args.contains(&"predict") {
            args.extend(["--set", "epochs=1"]);
        }
        // Each its own results, but for what a later command reads.
        let out = format!("out-{run}");
        if name == "flava-eval" && !args.contains(&"tasks") && !args.contains(&"--out") {
            args.extend(["--out", &out]);
        }
        if name == "flava-finetune" && !args.contains(&"predict") && !args.contains(&"--out") {
            args.extend(["--out", &out]);
        }
        let done: Run = program(name, folder, &[], &args).output().unwrap().into();
        assert_eq!(done.code, 0, "{line}: {}", done.stderr);
        run += 1;
    }
    assert!(run > 12, "{commands:?}");
}
