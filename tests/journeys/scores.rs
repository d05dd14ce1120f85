//! Predictions that are scored again, or come from elsewhere, and runs that are compared.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use flava_model::checkpoint::Architecture;
use flava_tasks::{Outputs, Predictions};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{fixtures::write_model, place::root, program::flava_eval};

fn value(text: &str) -> f64 {
    serde_json::from_str::<Value>(text).unwrap()[0]["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn a_runs_predictions_score_as_the_run_did() {
    let folder = tempdir().unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "--tasks",
            "mini-groups,mini-retrieval,mini-vqa",
            "--limit",
            "90",
            "--out",
            "runs",
            "--json",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    for record in serde_json::from_str::<Vec<Value>>(&run.stdout).unwrap() {
        let task = record["task"].as_str().unwrap();
        let file = format!("runs/predictions/{task}.parquet");
        let again = flava_eval(
            folder.path(),
            &["score", "--task", task, "--predictions", &file, "--json"],
        );
        assert_eq!(again.code, 0, "{}", again.stderr);
        let again: Vec<Value> = serde_json::from_str(&again.stdout).unwrap();
        for (a, b) in record["metrics"].as_array().unwrap().iter().zip(&again) {
            for field in [
                "metric",
                "value",
                "standard_error",
                "ci_low",
                "ci_high",
                "n",
            ] {
                assert_eq!(a[field], b[field], "{task} {field}");
            }
        }
    }
}

#[test]
fn predictions_of_another_task_are_refused() {
    let folder = tempdir().unwrap();
    assert_eq!(
        flava_eval(
            folder.path(),
            &["--tasks", "mini-sentence", "--limit", "60", "--out", "runs"]
        )
        .code,
        0
    );
    let wrong = flava_eval(
        folder.path(),
        &[
            "score",
            "--task",
            "mini-paraphrase",
            "--predictions",
            "runs/predictions/mini-sentence.parquet",
        ],
    );
    assert!(
        wrong.code == 2 && wrong.stderr.contains("holds predictions of mini-sentence"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn foreign_predictions_are_matched_by_id_whatever_their_form() {
    let folder = tempdir().unwrap();
    let score = |file: &str, text: &str| {
        fs::write(folder.path().join(file), text).unwrap();
        flava_eval(
            folder.path(),
            &[
                "score",
                "--task",
                "mini-sentence",
                "--predictions",
                file,
                "--json",
            ],
        )
    };
    let ids: Vec<String> = (0..1800).rev().map(|i| format!("test-{i}")).collect(); // the mini suite's classes alternate
    let class = |i: usize| (1799 - i) % 2;
    let csv: String = ids
        .iter()
        .enumerate()
        .map(|(i, id)| format!("{id},{}\n", class(i)))
        .collect();
    assert_eq!(
        value(&score("p.csv", &format!("id,prediction\n{csv}")).stdout),
        1.0
    );
    let tsv: String = ids
        .iter()
        .enumerate()
        .map(|(i, id)| format!("{id}\t{}\n", 1 - class(i)))
        .collect();
    assert_eq!(
        value(&score("p.tsv", &format!("index\tlabel\n{tsv}")).stdout),
        0.0
    );
    let lines: String = ids
        .iter()
        .enumerate()
        .map(|(i, id)| json!({ "id": id, "logits": [0.5, class(i) as f64] }).to_string() + "\n")
        .collect();
    assert_eq!(value(&score("p.jsonl", &lines).stdout), 1.0);
    let list: Vec<Value> = ids
        .iter()
        .enumerate()
        .map(|(i, id)| json!({ "question_id": id, "answer": class(i) }))
        .collect();
    assert_eq!(
        value(&score("p.json", &json!(list).to_string()).stdout),
        1.0
    );
    for (file, text, needle) in [
        (
            "few.csv",
            "id,prediction\ntest-0,1\n".to_owned(),
            "no prediction for 1799 of 1800 rows",
        ),
        (
            "twice.csv",
            format!("id,prediction\n{csv}test-0,1\n"),
            "test-0 is there twice",
        ),
        (
            "more.csv",
            format!("id,prediction\n{csv}test-1800,1\n"),
            "such as test-1800",
        ),
        (
            "word.csv",
            format!("id,prediction\n{}", csv.replacen(",1", ",maybe", 1)),
            "\"maybe\" is none of the 2 classes",
        ),
        (
            "names.csv",
            format!("row,prediction\n{csv}"),
            "no column of ids",
        ),
        ("empty.json", "[]".into(), "holds no predictions"),
        ("cut.json", "[{".into(), "cut.json"),
        ("nan.jsonl", lines.replacen("0.5", "1e999", 1), "nan.jsonl"),
        (
            "wide.jsonl",
            lines.replace("[0.5,", "[0.5,0.1,"),
            "3 logits a row for 2 classes",
        ),
    ] {
        let run = score(file, &text);
        assert!(
            run.code == 2 && run.stderr.contains(needle),
            "{file}: {}",
            run.stderr
        );
    }
}

/// A column of the truth beside one of answers that are all wrong: the truth is not scored, in any
/// form of file.
#[test]
fn the_truth_beside_the_answers_is_not_taken_for_them() {
    let folder = tempdir().unwrap();
    let ids: Vec<String> = (0..1800).map(|row| format!("test-{row}")).collect(); // the mini suite's classes alternate
    let right = |row: usize| (row % 2) as i64;
    let score = |file: &str, truth: &str, answer: &str| {
        let path = folder.path().join(file);
        let objects = ids
            .iter()
            .enumerate()
            .map(|(row, id)| json!({ "id": id, truth: right(row), answer: 1 - right(row) }));
        match file.rsplit('.').next() {
            Some("jsonl") => fs::write(
                &path,
                objects
                    .map(|object| format!("{object}\n"))
                    .collect::<String>(),
            )
            .unwrap(),
            Some("parquet") => write_answers(
                &path,
                &ids,
                (truth, &right),
                (answer, &|row| 1 - right(row)),
            ),
            _ => {
                let rows: String = ids
                    .iter()
                    .enumerate()
                    .map(|(row, id)| format!("{id},{},{}\n", right(row), 1 - right(row)))
                    .collect();
                fs::write(&path, format!("id,{truth},{answer}\n{rows}")).unwrap();
            }
        }
        flava_eval(
            folder.path(),
            &[
                "score",
                "--task",
                "mini-sentence",
                "--predictions",
                file,
                "--json",
            ],
        )
    };
    for file in ["p.csv", "p.jsonl", "p.parquet"] {
        for (truth, answer) in [
            ("label", "pred"),
            ("label", "y_pred"),
            ("label", "output"),
            ("label", "predicted_label"),
            ("gold", "prediction"),
        ] {
            let run = score(file, truth, answer);
            if run.code == 0 {
                assert_eq!(value(&run.stdout), 0.0, "{file} {truth} {answer}");
            } else {
                let both = run.stderr.contains(&format!("{truth:?}"))
                    && run.stderr.contains(&format!("{answer:?}"));
                assert!(
                    run.code == 2 && both,
                    "{file} {truth} {answer}: {}",
                    run.stderr
                );
            }
        }
        let run = score(file, "gold", "prediction");
        assert_eq!(
            (run.code, value(&run.stdout)),
            (0, 0.0),
            "{file}: {}",
            run.stderr
        );
    }
}

/// Two columns of numbers beside ids.
fn write_answers(
    path: &Path,
    ids: &[String],
    first: (&str, &dyn Fn(usize) -> i64),
    second: (&str, &dyn Fn(usize) -> i64),
) {
    let column = |of: &dyn Fn(usize) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values((0..ids.len()).map(of)))
    };
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(ids));
    let batch = RecordBatch::try_from_iter([
        ("id", names),
        (first.0, column(first.1)),
        (second.0, column(second.1)),
    ])
    .unwrap();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn two_runs_are_compared_on_the_same_rows() {
    let folder = tempdir().unwrap();
    let run = |out: &str, more: &[&str]| {
        let run = flava_eval(
            folder.path(),
            &[
                &[
                    "--tasks",
                    "mini-groups,mini-vqa,mini-sentence",
                    "--limit",
                    "120",
                    "--out",
                    out,
                ],
                more,
            ]
            .concat(),
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
    };
    run("a", &[]);
    run("b", &["--precision", "bf16"]);
    let same = flava_eval(folder.path(), &["compare", "a", "a", "--json"]);
    let same: Value = serde_json::from_str(&same.stdout).unwrap();
    assert!(
        same["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|task| task["difference"]["value"] == 0.0 && task["p_corrected"] == 1.0),
        "{same}"
    );
    let other = flava_eval(folder.path(), &["compare", "a", "b"]);
    assert!(
        other.code == 0
            && other.stdout.contains("95 % interval")
            && other.stdout.contains("mini-vqa"),
        "{}",
        other.stderr
    );
    // Other rows do not compare.
    run("c", &["--seed", "5"]);
    let wrong = flava_eval(folder.path(), &["compare", "a", "c"]);
    assert!(
        wrong.code == 2 && wrong.stderr.contains("its data differs"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn the_matching_head_reorders_what_cosine_found() {
    let folder = tempdir().unwrap();
    let row = flava_eval(folder.path(), &["tasks", "show", "mini-retrieval-reranked"]).stdout;
    let plain = row
        .replace("\"mini-retrieval-reranked\"", "\"plain\"")
        .replace("rerank = 8\n", "");
    assert_ne!(row, plain);
    fs::write(folder.path().join("plain.toml"), plain).unwrap();
    let run = flava_eval(
        folder.path(),
        &[
            "--task-file",
            "plain.toml",
            "--tasks",
            "plain,mini-retrieval-reranked",
            "--limit",
            "40",
            "--out",
            "runs",
            "--json",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let records: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
    let second = records
        .iter()
        .find(|record| record["task"] == "mini-retrieval-reranked")
        .unwrap();
    assert_eq!(
        (
            second["method"].as_str(),
            second["details"]["reranked"].as_u64()
        ),
        (Some("retrieval_reranked"), Some(8))
    );
    let ranks = |task: &str| {
        let (predictions, _) = Predictions::read(
            &folder
                .path()
                .join(format!("runs/predictions/{task}.parquet")),
        )
        .unwrap()
        .unwrap();
        let Outputs::Ranks { texts, images } = predictions.outputs else {
            panic!("{task} has no ranks")
        };
        [texts, images]
            .concat()
            .iter()
            .map(|ranked| ranked.rank)
            .collect::<Vec<usize>>()
    };
    let pairs: Vec<(usize, usize)> = ranks("plain")
        .into_iter()
        .zip(ranks("mini-retrieval-reranked"))
        .collect();
    assert!(pairs.len() >= 80, "{} queries", pairs.len());
    // Among the eight best the head has its way, for better and for worse; what cosine puts behind
    // them stays behind them.
    for (by_cosine, again) in &pairs {
        assert_eq!(
            *by_cosine > 8,
            *again > 8,
            "{by_cosine} by cosine, {again} by the matching head"
        );
    }
    let moved =
        |which: fn(&(usize, usize)) -> bool| pairs.iter().filter(|pair| which(pair)).count();
    assert!(
        moved(|(by_cosine, again)| again < by_cosine) >= 5
            && moved(|(by_cosine, again)| again > by_cosine) >= 5,
        "{pairs:?}"
    );
}

#[test]
fn a_checkpoint_without_matching_head_cannot_rerank() {
    let folder = tempdir().unwrap();
    write_model(&folder.path().join("bare"), Architecture::FlavaModel);
    let bare = flava_eval(
        folder.path(),
        &[
            "--tasks",
            "mini-retrieval-reranked",
            "--limit",
            "30",
            "--model",
            "bare",
        ],
    );
    assert!(
        bare.code == 1 && bare.stderr.contains("itm_head"),
        "{}",
        bare.stderr
    );
}

/// Other processors round otherwise: a row or two may flip, and a probe may choose its neighbouring
/// penalty.
#[test]
fn the_shipped_model_scores_as_its_table_says() {
    let folder = tempdir().unwrap();
    let tasks = [
        ("mini-groups", 0.02),
        ("mini-things-knn", 0.004),
        ("mini-things-few-shot", 0.02),
        ("mini-zero-shot", 0.004),
        ("mini-retrieval", 0.004),
        ("mini-retrieval-reranked", 0.02),
        ("mini-entailment", 0.02),
        ("mini-sentence", 0.01),
        ("mini-paraphrase", 0.02),
    ];
    let names: Vec<&str> = tasks.iter().map(|(name, _)| *name).collect();
    let run = flava_eval(
        folder.path(),
        &[
            "--tasks",
            &names.join(","),
            "--device",
            "cpu",
            "--out",
            "runs",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let read = |file: &Path| -> BTreeMap<(String, String), f64> {
        let mut table = csv::Reader::from_path(file).unwrap();
        let rows: Vec<BTreeMap<String, String>> = table.deserialize().map(Result::unwrap).collect();
        rows.iter()
            .map(|row| {
                (
                    (row["task"].clone(), row["metric"].clone()),
                    row["value"].parse().unwrap(),
                )
            })
            .collect()
    };
    let ours = read(&folder.path().join("runs/results.csv"));
    let shipped = read(&root().join("evaluator/assets/mini/scores.csv"));
    for (task, tolerance) in tasks {
        let expected: Vec<_> = shipped
            .iter()
            .filter(|((name, _), _)| name == task)
            .collect();
        assert!(!expected.is_empty(), "{task} is not in the table");
        for (key, value) in expected {
            assert!(
                (ours[key] - value).abs() <= tolerance,
                "{key:?}: {} against {value}",
                ours[key]
            );
        }
    }
}
