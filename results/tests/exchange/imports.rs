//! Files of other tools in the shapes that they have.

use flava_results::{ExportFormat, ForeignScore, Imported, import};

use crate::support::{Place, record, score, write, zero_shot};

fn read(name: &str, text: &str) -> Result<Option<Imported>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), name, text);
    let mut imported = import(&path).map_err(|e| e.to_string())?;
    for score in imported
        .iter_mut()
        .flat_map(|imported| &mut imported.scores)
    {
        assert_eq!(score.file, path);
        score.file = "file".into();
    }
    Ok(imported)
}

fn left(imported: &Imported) -> Vec<String> {
    let left = imported.left_out.iter();
    left.map(|left| format!("{}: {}", left.name, left.reason))
        .collect()
}

const HARNESS: &str = r#"{
 "results": {
  "cola": {"alias": "cola", "sample_len": 1043, "mcc,none": -0.0207, "mcc_stderr,none": 0.03},
  "sst2": {"alias": "sst2", "acc,none": 0.91, "acc_stderr,none": "N/A"},
  "mrpc": {"alias": "mrpc", "acc,none": 0.5, "acc_stderr,none": 0.02, "f1,none": NaN, "acc,strict": 0.4},
  "mnli_mismatch": {"alias": "mnli_mismatch", "acc,none": 0.3},
  "vqav2_val": {"alias": "vqav2_val", "exact_match,none": 0.7228, "exact_match_stderr_clt,none": 0.01},
  "hellaswag": {"alias": "hellaswag", "acc_norm,none": 0.5},
  "glue": {"alias": "glue", "acc,none": 0.5},
  "rte": {"alias": "rte", "acc,none": 55.2, "bleu,none": 0.1}
 },
 "groups": {"glue": {"alias": "glue", "acc,none": 0.5}},
 "configs": {}, "versions": {"cola": 1.0}, "n-shot": {"cola": 0},
 "n-samples": {"cola": {"original": 1043, "effective": 100}},
 "config": {"model": "hf", "model_args": "pretrained=EleutherAI/pythia-70m,dtype=float32"},
 "date": 1700000000.5
}"#;

#[test]
fn the_harness_is_read_under_our_names() {
    let imported = read("results_x.json", HARNESS).unwrap().unwrap();
    let score = |task: &str, metric: &str, value, foreign: &str| ForeignScore {
        model: "EleutherAI/pythia-70m".into(),
        task: task.into(),
        metric: metric.into(),
        value,
        standard_error: None,
        n: None,
        tool: "lm-eval".into(),
        file: "file".into(),
        foreign_task: foreign.into(),
    };
    let cola = ForeignScore {
        standard_error: Some(0.03),
        n: Some(100),
        ..score("glue-cola", "matthews", -0.0207, "cola")
    };
    let mrpc = ForeignScore {
        standard_error: Some(0.02),
        ..score("glue-mrpc", "accuracy", 0.5, "mrpc")
    };
    assert_eq!(
        imported.scores,
        [
            cola,
            mrpc,
            score("glue-sst2", "accuracy", 0.91, "sst2"),
            score("vqav2", "vqa_accuracy", 0.7228, "vqav2_val"),
        ]
    );
    assert_eq!(
        left(&imported),
        [
            "glue: a mean over tasks",
            "hellaswag: no task of ours",
            "mnli_mismatch: no task of ours",
            "mrpc acc,strict: of answers filtered by strict",
            "mrpc f1,none: it has no value",
            "rte accuracy: 55.2 is no share",
            "rte bleu,none: no metric of ours",
        ]
    );
}

#[test]
fn a_broken_file_names_itself_and_the_key() {
    for (from, to, needle) in [
        (
            "\"mcc,none\": -0.0207",
            "\"mcc,none\": true",
            "results.cola.mcc,none",
        ),
        (
            "\"effective\": 100",
            "\"effective\": -1",
            "n-samples.cola.effective",
        ),
        (
            "\"glue\": {\"alias\": \"glue\", \"acc,none\": 0.5}\n }",
            "\"x\": 1\n }",
            "",
        ),
        (
            "\"hellaswag\": {\"alias\": \"hellaswag\", \"acc_norm,none\": 0.5}",
            "\"hellaswag\": 3",
            "results.hellaswag",
        ),
        ("\"date\": 1700000000.5", "\"date\": ", "JSON"),
    ] {
        assert!(HARNESS.contains(from) || needle.is_empty(), "{from}");
        let error = read("results_x.json", &HARNESS.replace(from, to)).err();
        let named = error.is_some_and(|e| e.contains(needle) && e.contains("results_x.json"));
        assert!(named || needle.is_empty(), "{needle}");
    }
    let error = read("a.json", "{\"results\": [], \"versions\": {}}").unwrap_err();
    assert!(error.contains("key results: is no object"), "{error}");
}

const PETS: &str = r#"{"dataset": "wds/vtab/pets", "model": "ViT-B-32", "pretrained": "openai", "task": "zeroshot_classification", "metrics": {"acc1": 0.79, "acc5": NaN, "mean_per_class_recall": 0.788, "mean_average_precision": 0.1}, "language": "en"}"#;

#[test]
fn clip_benchmark_is_read_under_our_names() {
    let imported = read("pets.json", PETS).unwrap().unwrap();
    let told = |imported: &Imported| -> Vec<String> {
        let scores = imported.scores.iter();
        scores
            .map(|s| format!("{}, {} {} {}", s.model, s.task, s.metric, s.value))
            .collect()
    };
    assert_eq!(
        told(&imported),
        [
            "ViT-B-32 openai, pets-zero-shot accuracy 0.79",
            "ViT-B-32 openai, pets-zero-shot mean_per_class 0.788",
        ]
    );
    assert_eq!(imported.scores[0].n, Some(3669));
    assert_eq!(
        left(&imported),
        [
            "wds/vtab/pets acc5: it has no value",
            "wds/vtab/pets mean_average_precision: no metric of ours",
        ]
    );
    let probe = PETS
        .replace("zeroshot_classification", "linear_probe")
        .replace(
            "\"acc1\": 0.79, \"acc5\": NaN, \"mean_per_class_recall\"",
            "\"lp_acc1\": 0.8, \"fewshot_k\": -1, \"seed\": 0, \"lp_mean_per_class_recall\"",
        );
    let imported = read("pets.json", &probe).unwrap().unwrap();
    assert_eq!(told(&imported)[0], "ViT-B-32 openai, pets accuracy 0.8");
    let shots = read("pets.json", &probe.replace("-1", "16"))
        .unwrap()
        .unwrap();
    assert!(shots.scores.is_empty() && left(&shots)[0].contains("a few rows"));
    let french = read("pets.json", &PETS.replace("\"en\"", "\"fr\""))
        .unwrap()
        .unwrap();
    assert!(french.scores.is_empty() && left(&french)[0].contains("fr"));
    for (dataset, task) in [
        ("wds/flickr30k", "flickr30k"),
        ("retrieval/mscoco_2014_5k_test_image_text_retrieval", "coco"),
    ] {
        let text = PETS
            .replace("wds/vtab/pets", dataset)
            .replace("zeroshot_classification", "zeroshot_retrieval")
            .replace("\"acc1\"", "\"image_retrieval_recall@5\"");
        let imported = read("r.json", &text).unwrap().unwrap();
        assert!(told(&imported)[0].ends_with(&format!("{task}-retrieval image_recall@5 0.79")));
    }
    for odd in ["ucf101", "wds/vtab/svhn", "food"] {
        let imported = read("o.json", &PETS.replace("wds/vtab/pets", odd))
            .unwrap()
            .unwrap();
        assert!(imported.scores.is_empty(), "{odd}");
    }
    let error = read("p.json", &PETS.replace("0.788", "\"high\"")).unwrap_err();
    assert!(
        error.contains("metrics.mean_per_class_recall") && error.contains("p.json"),
        "{error}"
    );
    let error = read("p.json", &PETS.replace("\"openai\"", "null")).unwrap_err();
    assert!(error.contains("key pretrained: is no text"), "{error}");
}

#[test]
fn the_table_of_clip_benchmark_is_read_in_any_order() {
    let table = "acc1,task,model_fullname,dataset,language,model,pretrained,acc5,image_retrieval_recall@5\n\
        0.79,zeroshot_classification,a b,vtab/pets,en,a,b,nan,\n\
        ,zeroshot_retrieval,a b,mscoco_captions,en,a,b,,0.5\n";
    let imported = read("benchmark.csv", table).unwrap().unwrap();
    let tasks: Vec<&str> = imported
        .scores
        .iter()
        .map(|score| score.task.as_str())
        .collect();
    assert_eq!(tasks, ["pets-zero-shot", "coco-retrieval"]);
    assert_eq!(imported.scores[1].model, "a b");
    assert!(read("benchmark.csv", &table.replace("0.79", "good")).is_err());
    assert!(read("benchmark.csv", &table.replace("0.79,", "0.79,0,")).is_err());
}

#[test]
fn other_files_are_none_of_these() {
    for (name, text) in [
        ("a.json", "{}"),
        ("a.json", "[1]"),
        ("a.json", "{\"results\": {}}"),
        ("a.csv", "id,label\n1,2\n"),
        ("a.csv", ""),
        ("a.txt", "results"),
        ("a.parquet", "PAR1"),
    ] {
        assert_eq!(read(name, text), Ok(None), "{name} {text}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(import(folder.path()).unwrap().is_none());
}

/// What is exported for these tools reads back as the same scores.
#[test]
fn exports_read_back() {
    let records = vec![
        zero_shot("pets-zero-shot", 0.1 + 0.2, 0.788, 3669),
        record(
            "cifar10",
            "linear_probe",
            vec![score("accuracy", 0.9, 10_000)],
        ),
    ];
    let place = Place::new(records.clone());
    for format in [ExportFormat::LmEval, ExportFormat::ClipBenchmark] {
        let exported = place.export(format);
        let files = exported.files.iter();
        let scores: Vec<ForeignScore> = files
            .flat_map(|file| import(file).unwrap().unwrap().scores)
            .collect();
        for record in &records {
            for own in &record.metrics {
                let same =
                    |score: &&ForeignScore| score.task == record.task && score.metric == own.metric;
                let score = scores.iter().find(same).unwrap();
                assert_eq!(score.value.to_bits(), own.value.to_bits());
            }
        }
    }
}
