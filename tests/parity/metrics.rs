//! Metrics against values of scikit-learn, scipy and VQA's official program, made by
//! `tests/golden/metrics_golden.py`.

use std::{fs, sync::Arc};

use flava_tasks::{
    Metric, Outputs, Predictions,
    metrics::{Difference, Test, holm, lenient_accuracy, official_accuracy, process_answer, rank},
    predictions::{Logits, Ranked},
};
use serde_json::Value;

use crate::support::place::root;

const TOLERANCE: f64 = 1e-12;

fn golden(section: &str) -> Vec<Value> {
    let path = root().join("tests/golden/metrics.json");
    let all: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    all[section].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn integers(value: &Value) -> Vec<usize> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as usize)
        .collect()
}

fn matrix(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .flat_map(numbers)
        .map(|v| v as f32)
        .collect()
}

fn clusters(value: &Value) -> Option<Vec<usize>> {
    (!value.is_null()).then(|| integers(value))
}

/// Both are null, or both are numbers and close.
fn check(what: &str, case: usize, ours: Option<f64>, theirs: &Value) {
    match (ours, theirs.as_f64()) {
        (None, None) => {}
        (Some(a), Some(b)) if (a - b).abs() <= TOLERANCE * (1.0 + b.abs()) => {}
        (a, b) => panic!("{what}, case {case}: {a:?}, expected {b:?}"),
    }
}

fn of_classes(predicted: Vec<usize>, gold: Vec<usize>, logits: Option<Logits>) -> Predictions {
    let ids = (0..gold.len()).map(|i| i.to_string()).collect();
    Predictions {
        ids,
        clusters: None,
        outputs: Outputs::Classes {
            predicted,
            gold,
            logits,
        },
    }
}

fn value(metric: Metric, predictions: &Predictions) -> Option<f64> {
    metric.score(predictions, "golden").map(|score| score.value)
}

#[test]
fn classes_score_as_in_scikit_learn() {
    for (i, case) in golden("classes").iter().enumerate() {
        let predictions = of_classes(integers(&case["predicted"]), integers(&case["gold"]), None);
        let of = |metric| value(metric, &predictions);
        check("accuracy", i, of(Metric::Accuracy), &case["accuracy"]);
        check(
            "mean per class",
            i,
            of(Metric::MeanPerClass),
            &case["mean_per_class"],
        );
        check("Matthews", i, of(Metric::Matthews), &case["matthews"]);
        if case["classes"] == 2 {
            check("F1", i, of(Metric::F1), &case["f1"]);
            check(
                "mean of both",
                i,
                of(Metric::AccuracyF1Mean),
                &case["accuracy_f1_mean"],
            );
        }
    }
}

#[test]
fn the_five_best_break_ties_by_the_lower_class() {
    for (i, case) in golden("top5").iter().enumerate() {
        let gold = integers(&case["gold"]);
        let values = matrix(&case["logits"]);
        let classes = values.len() / gold.len();
        let ids: Vec<String> = (0..gold.len()).map(|i| i.to_string()).collect();
        let logits = Logits::new(values, classes, &ids).unwrap();
        let predictions = of_classes(logits.best(), gold, Some(logits));
        check("top 5", i, value(Metric::Top5, &predictions), &case["top5"]);
        check(
            "top 1",
            i,
            value(Metric::Accuracy, &predictions),
            &case["top1"],
        );
    }
}

#[test]
fn areas_and_their_errors_are_delongs() {
    for (i, case) in golden("scores").iter().enumerate() {
        let gold = integers(&case["gold"]);
        let ids: Vec<String> = (0..gold.len()).map(|i| i.to_string()).collect();
        let logits = numbers(&case["scores"])
            .into_iter()
            .flat_map(|score| [0.0, score as f32])
            .collect();
        let logits = Logits::new(logits, 2, &ids).unwrap();
        let predictions = of_classes(logits.best(), gold, Some(logits));
        let score = Metric::RocAuc.score(&predictions, "golden");
        check("area", i, score.map(|s| s.value), &case["roc_auc"]);
        if !case["delong_se"].is_null() {
            check(
                "DeLong",
                i,
                score.map(|s| s.standard_error),
                &case["delong_se"],
            );
        }
    }
}

#[test]
fn correlations_are_scipys() {
    for (i, case) in golden("values").iter().enumerate() {
        let (predicted, gold) = (numbers(&case["predicted"]), numbers(&case["gold"]));
        let ids = (0..gold.len()).map(|i| i.to_string()).collect();
        let predictions = Predictions {
            ids,
            clusters: None,
            outputs: Outputs::Values { predicted, gold },
        };
        check(
            "Pearson",
            i,
            value(Metric::Pearson, &predictions),
            &case["pearson"],
        );
        check(
            "Spearman",
            i,
            value(Metric::Spearman, &predictions),
            &case["spearman"],
        );
    }
}

/// Values between 0 and 1 go in as VQA accuracies of as many given answers as are needed, and as
/// recalls of 0 and 1.
#[test]
fn means_and_their_errors_over_rows_and_clusters() {
    for (i, case) in golden("mcnemar").iter().enumerate() {
        let right = |side: &str| of_right(&integers(&case[side]), clusters(&case["clusters"]));
        let (a, b) = (right("a"), right("b"));
        let plain = |p: &Predictions| Predictions {
            clusters: None,
            ..p.clone()
        };
        let Difference {
            value,
            standard_error,
            p,
            test,
            ..
        } = Metric::Accuracy
            .compare(&plain(&b), &plain(&a), "golden")
            .unwrap();
        assert_eq!(test, Test::Mcnemar);
        check("difference", i, Some(value), &case["difference"]);
        check("exact p", i, Some(p), &case["p"]);
        if !case["standard_error"].is_null() {
            check(
                "error of the difference",
                i,
                Some(standard_error),
                &case["standard_error"],
            );
        }
    }
    for (i, case) in golden("means").iter().enumerate() {
        let values = numbers(&case["values"]);
        if values.iter().any(|v| *v != 0.0 && *v != 1.0) {
            continue;
        }
        let right: Vec<usize> = values.iter().map(|v| *v as usize).collect();
        let score =
            Metric::Accuracy.score(&of_right(&right, clusters(&case["clusters"])), "golden");
        check("mean", i, score.map(|s| s.value), &case["mean"]);
        if !case["standard_error"].is_null() {
            check(
                "its error",
                i,
                score.map(|s| s.standard_error),
                &case["standard_error"],
            );
        }
    }
}

fn of_right(right: &[usize], clusters: Option<Vec<usize>>) -> Predictions {
    Predictions {
        clusters,
        ..of_classes(right.to_vec(), vec![1; right.len()], None)
    }
}

#[test]
fn shares_have_scipys_wilson_intervals() {
    for (i, case) in golden("wilson").iter().enumerate() {
        let (k, n) = (
            case["successes"].as_u64().unwrap() as usize,
            case["n"].as_u64().unwrap() as usize,
        );
        let right: Vec<usize> = (0..n).map(|row| usize::from(row < k)).collect();
        let score = Metric::Accuracy
            .score(&of_right(&right, None), "golden")
            .unwrap();
        check("low", i, Some(score.ci_low), &case["low"]);
        check("high", i, Some(score.ci_high), &case["high"]);
    }
}

#[test]
fn retrieval_ranks_count_ties_against_the_model() {
    for (i, case) in golden("retrieval").iter().enumerate() {
        let owners = integers(&case["owners"]);
        let scores = matrix(&case["similarity"]);
        let (captions, images) = (owners.len(), scores.len() / owners.len());
        let row = |image: usize| &scores[image * captions..(image + 1) * captions];
        let owned = |image: usize| {
            (0..captions)
                .filter(|&caption| owners[caption] == image)
                .collect::<Vec<_>>()
        };
        let texts: Vec<usize> = (0..images)
            .map(|image| rank(row(image), &owned(image)))
            .collect();
        let column = |caption: usize| {
            (0..images)
                .map(|image| scores[image * captions + caption])
                .collect::<Vec<f32>>()
        };
        let images: Vec<usize> = (0..captions)
            .map(|caption| rank(&column(caption), &[owners[caption]]))
            .collect();
        assert_eq!(
            (&texts, &images),
            (
                &integers(&case["text_ranks"]),
                &integers(&case["image_ranks"])
            ),
            "case {i}"
        );
        let ranked = |(image, rank)| Ranked { image, rank };
        let outputs = Outputs::Ranks {
            texts: texts.into_iter().enumerate().map(ranked).collect(),
            images: owners.iter().copied().zip(images).map(ranked).collect(),
        };
        let predictions = Predictions {
            ids: Vec::new(),
            clusters: None,
            outputs,
        };
        for (text, image, k) in [
            (Metric::TextRecall1, Metric::ImageRecall1, "1"),
            (Metric::TextRecall5, Metric::ImageRecall5, "5"),
            (Metric::TextRecall10, Metric::ImageRecall10, "10"),
        ] {
            check(
                "text recall",
                i,
                value(text, &predictions),
                &case["text_recall"][k],
            );
            check(
                "image recall",
                i,
                value(image, &predictions),
                &case["image_recall"][k],
            );
        }
    }
}

#[test]
fn many_differences_are_corrected_by_holm() {
    for (i, case) in golden("holm").iter().enumerate() {
        for (ours, theirs) in holm(&numbers(&case["p"]))
            .into_iter()
            .zip(case["adjusted"].as_array().unwrap())
        {
            check("Holm", i, Some(ours), theirs);
        }
    }
}

#[test]
fn answers_score_as_in_the_official_program() {
    let path = root().join("tests/golden/metrics.json");
    let all: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for pair in all["vqa"]["process"].as_array().unwrap() {
        let (text, expected) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        assert_eq!(process_answer(text), expected, "{text:?}");
    }
    let mut differ = 0;
    for (i, case) in all["vqa"]["scores"].as_array().unwrap().iter().enumerate() {
        let given: Arc<[Arc<str>]> = case["answers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a.as_str().unwrap().into())
            .collect();
        let answer = case["prediction"].as_str().unwrap();
        check(
            "official accuracy",
            i,
            Some(official_accuracy(&given, answer)),
            &case["score"],
        );
        differ +=
            usize::from(lenient_accuracy(&given, answer) != official_accuracy(&given, answer));
    }
    assert!(
        differ > 0,
        "no case tells the lenient rule from the official one"
    );
}
