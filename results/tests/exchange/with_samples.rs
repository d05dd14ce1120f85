//! Formats with a state, errors and samples: lm-eval's, Every Eval Ever's, `TensorBoard`'s.

use flava_results::{ExportFormat, MetricValue, Record};
use serde_json::{Value, json};

use crate::support::{Place, classes, ranks, reason, record, retrieval, score, zero_shot};

const FOLDER: &str = "facebook__flava-full";
const DATE: &str = "2026-01-31T12-00-00.000000";

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn lm_eval_has_results_and_samples() {
    let cifar = record("cifar10", "linear_probe", vec![score("accuracy", 0.5, 2)]);
    let cifar = Record {
        publishable: false,
        departures: vec!["--limit".into()],
        rows_of: 10_000,
        ..cifar
    };
    let place = Place::new(vec![cifar.clone(), retrieval("flickr30k-retrieval", 2, 2)]);
    place.write_predictions(&cifar, classes());
    let exported = place.export(ExportFormat::LmEval);
    assert_eq!(
        place.files(&exported),
        [
            format!("{FOLDER}/samples_cifar10_{DATE}.jsonl"),
            format!("{FOLDER}/results_{DATE}.json"),
        ]
    );
    let file = place.json(&format!("{FOLDER}/results_{DATE}.json"));
    assert_eq!(
        file["results"]["cifar10"],
        json!({
            "name": "cifar10", "alias": "cifar10", "sample_len": 2,
            "accuracy,none": 0.5, "accuracy_stderr,none": 0.0125,
        })
    );
    assert_eq!(
        file["versions"],
        json!({"cifar10": 1, "flickr30k-retrieval": 1})
    );
    assert_eq!(file["n-shot"]["cifar10"], 0);
    assert_eq!(
        file["n-samples"]["cifar10"],
        json!({"original": 10_000, "effective": 2})
    );
    assert_eq!(
        file["higher_is_better"]["cifar10"],
        json!({"accuracy": true})
    );
    assert_eq!(file["date"], 1_769_860_798.5);
    assert_eq!(file["model_source"], "flava-eval 0.1.0");
    assert_eq!(file["config"]["model_dtype"], "float32");
    assert!(file.get("lm_eval_version").is_none() && file.get("groups").is_none());
    let metadata = &file["configs"]["cifar10"]["metadata"];
    assert_eq!(
        (&metadata["version"], &metadata["publishable"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(metadata["departures"], json!(["--limit"]));
    assert!(file["task_hashes"]["cifar10"].as_str().unwrap().len() == 64);
    let samples = lines(&place.text(&format!("{FOLDER}/samples_cifar10_{DATE}.jsonl")));
    assert_eq!(samples.len(), 2);
    let sample = &samples[1];
    assert_eq!(
        (
            &sample["doc_id"],
            &sample["doc"],
            &sample["target"],
            &sample["resps"]
        ),
        (
            &json!(1),
            &json!({"id": "test/1"}),
            &json!("5"),
            &json!([["0"]])
        )
    );
    assert_eq!(
        (&sample["accuracy"], &sample["metrics"]),
        (&json!(0.0), &json!(["accuracy"]))
    );
    assert!(reason(&exported, "flickr30k-retrieval").contains("no samples"));
}

/// MNLI's two development sets have one metric's name: a task each, as in the harness.
#[test]
fn a_second_split_is_a_task_of_its_own() {
    let second = MetricValue {
        split: "validation_mismatched".into(),
        ..score("accuracy", 0.7, 9832)
    };
    let mnli = record(
        "glue-mnli",
        "fine_tune",
        vec![score("accuracy", 0.8, 9815), second],
    );
    let place = Place::new(vec![mnli]);
    place.export(ExportFormat::LmEval);
    let file = place.json(&format!("{FOLDER}/results_{DATE}.json"));
    assert_eq!(file["results"]["glue-mnli"]["accuracy,none"], 0.8);
    let second = "glue-mnli.validation_mismatched";
    assert_eq!(file["results"][second]["accuracy,none"], 0.7);
    assert_eq!(
        file["n-samples"][second],
        json!({"original": 9832, "effective": 9832})
    );
    assert_eq!(place.export(ExportFormat::Eee).files.len(), 2);
}

/// Averages stand there only when they are whole, and with the error of an unweighted mean.
#[test]
fn groups_are_whole_averages() {
    let mut records: Vec<Record> = Vec::new();
    let cells = flava_results::published();
    let language = cells.iter().filter(|cell| {
        cell.table == "Table 4" && cell.column == "FLAVA" && cell.task.starts_with("glue-")
    });
    for cell in language {
        records.push(record(
            &cell.task,
            "fine_tune",
            vec![score(&cell.metric, 0.5, 100)],
        ));
    }
    let place = Place::new(records.clone());
    place.export(ExportFormat::LmEval);
    let file = place.json(&format!("{FOLDER}/results_{DATE}.json"));
    let group = &file["groups"]["average-language"];
    assert_eq!(group["mean,none"], 0.5);
    let error = group["mean_stderr,none"].as_f64().unwrap();
    assert!((error - 0.0125 / 8f64.sqrt()).abs() < 1e-12, "{error}");
    assert_eq!(&file["results"]["average-language"], group);
    let tasks = file["group_subtasks"]["average-language"]
        .as_array()
        .unwrap();
    assert_eq!(tasks.len(), 8);
    records.pop();
    let place = Place::new(records);
    place.export(ExportFormat::LmEval);
    let file = place.json(&format!("{FOLDER}/results_{DATE}.json"));
    assert!(file.get("groups").is_none());
}

#[test]
fn eee_has_intervals_and_linked_samples() {
    let flickr = retrieval("flickr30k-retrieval", 2, 2);
    let place = Place::new(vec![flickr.clone()]);
    place.write_predictions(&flickr, ranks());
    let exported = place.export(ExportFormat::Eee);
    let files = place.files(&exported);
    let uuid = files[1]
        .strip_prefix("data/flava-eval/facebook/flava-full/")
        .and_then(|file| file.strip_suffix(".json"))
        .unwrap();
    let digit = |at: usize| uuid.chars().nth(at).unwrap();
    assert!(
        uuid.len() == 36 && digit(14) == '4' && "89ab".contains(digit(19)),
        "{uuid}"
    );
    let file = place.json(&files[1]);
    assert_eq!(
        file["detailed_evaluation_results"]["file_path"],
        files[0].as_str()
    );
    assert_eq!(file["detailed_evaluation_results"]["total_rows"], 4);
    let result = &file["evaluation_results"][0];
    assert_eq!(result["source_data"]["source_type"], "hf_dataset");
    assert_eq!(
        result["metric_config"],
        json!({
            "metric_id": "text_recall@1", "metric_name": "text_recall@1",
            "metric_unit": "proportion", "lower_is_better": false, "score_type": "continuous",
            "min_score": 0, "max_score": 1,
        })
    );
    let uncertainty = &result["score_details"]["uncertainty"];
    assert_eq!(
        uncertainty["standard_error"],
        json!({"value": 0.0125, "method": "analytic"})
    );
    assert_eq!(uncertainty["confidence_interval"]["confidence_level"], 0.95);
    assert_eq!(result["score_details"]["details"]["publishable"], "true");
    let samples = lines(&place.text(&files[0]));
    assert_eq!(samples[1]["sample_id"], "image/1");
    assert_eq!(samples[1]["output"], json!({"raw": ["7"]}));
    assert_eq!(
        samples[1]["evaluation"],
        json!({"score": 0.0, "is_correct": false})
    );
    assert_eq!(
        samples[3]["evaluation_result_id"],
        "flickr30k-retrieval/image_recall@1"
    );
    for sample in &samples {
        assert_eq!(sample["evaluation_id"], file["evaluation_id"]);
        assert_eq!(sample["model_id"], file["model_info"]["id"]);
    }
}

#[test]
fn eee_bounds_a_correlation_from_minus_one() {
    let pearson = MetricValue {
        unit: "correlation".into(),
        ..score("pearson", -0.1, 1500)
    };
    let place = Place::new(vec![Record {
        data: "my folder".into(),
        data_revision: String::new(),
        ..record("glue-stsb", "fine_tune", vec![pearson])
    }]);
    let exported = place.export(ExportFormat::Eee);
    let file = place.json(&place.files(&exported)[0]);
    let result = &file["evaluation_results"][0];
    assert_eq!(result["metric_config"]["min_score"], -1);
    assert_eq!(result["source_data"]["source_type"], "other");
    assert!(reason(&exported, "glue-stsb").contains("no samples"));
}

#[test]
fn tensorboard_has_a_folder_a_record() {
    let place = Place::new(vec![zero_shot("mnist-zero-shot", 0.5, 0.25, 10_000)]);
    let exported = place.export(ExportFormat::TensorBoard);
    let file = format!("{FOLDER}/mnist-zero-shot/events.out.tfevents.1769860800.flava-eval");
    assert_eq!(place.files(&exported), [file]);
    let bytes = std::fs::read(&exported.files[0]).unwrap();
    let mut at = 0;
    let mut events = Vec::new();
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        events.push(bytes[at + 12..at + 12 + length].to_vec());
        at += 16 + length;
    }
    let holds = |event: &[u8], text: &str| event.windows(text.len()).any(|w| w == text.as_bytes());
    assert_eq!((at, events.len()), (bytes.len(), 11));
    assert!(holds(&events[0], "brain.Event:2"));
    assert!(holds(&events[1], "_hparams_/session_start_info") && holds(&events[1], "publishable"));
    assert!(holds(&events[2], "accuracy") && events[2].ends_with(&0.5f32.to_le_bytes()));
    assert!(holds(&events[10], "_hparams_/session_end_info"));
}
