//! Tables of models beside each other: `CLIP_benchmark`, `open_clip`, timm, mteb.

use flava_results::{ExportFormat, Record, left_out_text};
use serde_json::json;

use crate::support::{Place, classes, ranks, reason, record, retrieval, score, write, zero_shot};

fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let rows = reader.records().map(Result::unwrap);
    rows.map(|row| row.iter().map(str::to_owned).collect())
        .collect()
}

#[test]
fn clip_benchmark_has_a_file_a_task() {
    let pets = zero_shot("pets-zero-shot", 0.79, 0.788, 3669);
    let limited = Record {
        publishable: false,
        departures: vec!["--limit".into()],
        ..zero_shot("cars-zero-shot", 0.5, 0.5, 100)
    };
    let place = Place::new(vec![
        pets.clone(),
        retrieval("flickr30k-retrieval", 1000, 5000),
        record(
            "cifar10",
            "linear_probe",
            vec![score("accuracy", 0.9, 10_000)],
        ),
        zero_shot("sun397-zero-shot", 0.6, 0.6, 19_850),
        record("mnist", "knn", vec![score("accuracy", 0.9, 10_000)]),
        limited,
    ]);
    place.write_predictions(&pets, classes());
    let exported = place.export(ExportFormat::ClipBenchmark);
    assert_eq!(
        place.files(&exported),
        [
            "vtab_pets_facebook_flava-full_en_zeroshot_classification.json",
            "flickr30k_facebook_flava-full_en_zeroshot_retrieval.json",
            "vtab_cifar10_facebook_flava-full_en_linear_probe.json",
        ]
    );
    assert_eq!(
        place.json("vtab_pets_facebook_flava-full_en_zeroshot_classification.json"),
        json!({
            "dataset": "vtab/pets", "model": "flava-full", "pretrained": "facebook",
            "task": "zeroshot_classification", "language": "en",
            "metrics": {"acc1": 0.79, "acc5": 1.0, "mean_per_class_recall": 0.788},
        })
    );
    assert_eq!(
        place.json("flickr30k_facebook_flava-full_en_zeroshot_retrieval.json")["metrics"],
        json!({
            "image_retrieval_recall@1": 0.5, "image_retrieval_recall@5": 0.7,
            "text_retrieval_recall@1": 0.6, "text_retrieval_recall@5": 0.8,
        })
    );
    // Without predictions there is no fifth place, and no NaN in its stead.
    assert_eq!(
        place.json("vtab_cifar10_facebook_flava-full_en_linear_probe.json")["metrics"],
        json!({ "lp_acc1": 0.9, "seed": 0, "fewshot_k": -1 })
    );
    assert!(reason(&exported, "sun397-zero-shot").contains("108754"));
    assert!(reason(&exported, "mnist").contains("knn"));
    assert!(reason(&exported, "cars-zero-shot").contains("--limit"));
}

#[test]
fn open_clip_fills_the_columns_whose_rows_are_the_same() {
    let coco = retrieval("coco-retrieval", 5000, 25_010);
    let place = Place::new(vec![
        Record {
            parameters: 241_000_000,
            ..zero_shot("imagenet-zero-shot", 0.5712, 0.5, 50_000)
        },
        zero_shot("caltech101-zero-shot", 0.7, 0.8215, 6085),
        coco,
        zero_shot("fer2013-zero-shot", 0.5, 0.5, 7178),
        zero_shot("kitti-zero-shot", 0.5, 0.5, 1496),
        record(
            "mnist",
            "linear_probe",
            vec![score("accuracy", 0.9, 10_000)],
        ),
    ]);
    let exported = place.export(ExportFormat::OpenClip);
    assert_eq!(
        place.files(&exported),
        ["openclip_results.csv", "openclip_retrieval_results.csv"]
    );
    let table = rows(&place.text("openclip_results.csv"));
    assert_eq!((table.len(), table[0].len(), table[1].len()), (2, 43, 43));
    assert_eq!(
        table[0][..7],
        [
            "name",
            "pretrained",
            "params (M)",
            "FLOPs (B)",
            "Average perf. on 38 datasets",
            "ImageNet 1k",
            "Caltech-101"
        ]
    );
    assert_eq!(
        table[1][..7],
        [
            "flava-full",
            "facebook",
            "241.00",
            "35.00",
            "",
            "0.5712",
            "0.8215"
        ],
        "Caltech-101's is the mean over the classes"
    );
    let column = |name: &str| {
        let at = table[0].iter().position(|column| column == name).unwrap();
        table[1][at].as_str()
    };
    assert_eq!(column("MSCOCO"), "0.5500", "the mean of both recalls at 1");
    assert_eq!(
        (column("KITTI Vehicle Distance"), column("MNIST")),
        ("", "")
    );
    let table = rows(&place.text("openclip_retrieval_results.csv"));
    assert_eq!(table[0][11], "MSCOCO image retr. R@1");
    assert_eq!(
        table[1][11..18],
        ["0.5000", "0.7000", "", "0.6000", "0.8000", "", ""]
    );
    assert!(reason(&exported, "kitti-zero-shot").contains("711"));
    assert!(reason(&exported, "fer2013-zero-shot").contains("no column"));
    assert!(reason(&exported, "mnist").contains("zero-shot"));
    assert!(reason(&exported, "Average perf. on 38 datasets").contains("fills 3 of the 38"));
}

#[test]
fn timm_takes_the_imagenet_probe_in_percent() {
    let metrics = || vec![score("accuracy", 0.7554, 50_000)];
    let own = record("imagenet", "linear_probe", metrics());
    let place = Place::new(vec![
        own.clone(),
        record("cifar10", "linear_probe", metrics()),
        zero_shot("imagenet-zero-shot", 0.5, 0.5, 50_000),
    ]);
    let exported = place.export(ExportFormat::Timm);
    assert_eq!(
        place.text("results-imagenet.csv"),
        "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation\n\
         flava_full.linear_probe,224,75.540,24.460,,,85.80,,bicubic\n"
    );
    assert!(reason(&exported, "imagenet top5").contains("logits"));
    reason(&exported, "cifar10");
    assert!(left_out_text(&exported.left_out).contains("left out cifar10, imagenet-zero-shot: "));
    place.write_predictions(&own, classes());
    place.export(ExportFormat::Timm);
    assert!(
        place
            .text("results-imagenet.csv")
            .contains("24.460,100.000,0.000,85.80")
    );
    let none = Place::new(vec![zero_shot("a", 0.1, 0.1, 5)]);
    assert!(none.export(ExportFormat::Timm).files.is_empty());
}

#[test]
fn mteb_takes_zero_shot_and_the_retrieval_of_images() {
    let flickr = retrieval("flickr30k-retrieval", 1000, 5000);
    let coco = retrieval("coco-retrieval", 5000, 25_010);
    let place = Place::new(vec![
        zero_shot("cifar10-zero-shot", 0.911_300_04, 0.9, 10_000),
        flickr.clone(),
        coco,
        record(
            "mnist",
            "linear_probe",
            vec![score("accuracy", 0.9, 10_000)],
        ),
    ]);
    place.write_predictions(&flickr, ranks());
    let exported = place.export(ExportFormat::Mteb);
    let folder = "results/facebook__flava-full/aaaa";
    let names = ["CIFAR10ZeroShot", "Flickr30kT2IRetrieval", "model_meta"];
    assert_eq!(
        place.files(&exported),
        names.map(|name| format!("{folder}/{name}.json"))
    );
    assert_eq!(
        place.json(&format!("{folder}/CIFAR10ZeroShot.json")),
        json!({
            "task_name": "CIFAR10ZeroShot", "dataset_revision": "0b27", "mteb_version": null,
            "evaluation_time": 1.5, "kg_co2_emissions": null, "date": 1_769_860_800.0,
            "scores": {"test": [{
                "hf_subset": "default", "languages": ["eng-Latn"],
                "main_score": 0.9113, "accuracy": 0.9113,
            }]},
        })
    );
    // Ranks 2 and 11: 1 / log2(3), and nothing.
    assert_eq!(
        place.json(&format!("{folder}/Flickr30kT2IRetrieval.json"))["scores"]["test"][0],
        json!({
            "hf_subset": "default", "languages": ["eng-Latn"], "main_score": 0.315_465,
            "ndcg_at_10": 0.315_465, "recall_at_1": 0.5, "recall_at_5": 0.7,
        })
    );
    for name in ["coco-retrieval", "mnist"] {
        assert!(reason(&exported, name).contains("no task"), "{exported:?}");
    }
    reason(&exported, "flickr30k-retrieval text_recall@1");
    reason(&exported, "cifar10-zero-shot mean_per_class");
}

#[test]
fn a_file_is_not_written_over_another_models() {
    let other = Record {
        model_fingerprint: "other".into(),
        model_revision: "bbbb".into(),
        ..zero_shot("mnist-zero-shot", 0.5, 0.5, 10_000)
    };
    let place = Place::new(vec![zero_shot("mnist-zero-shot", 0.5, 0.5, 10_000), other]);
    let error = flava_results::export(&place.run, ExportFormat::ClipBenchmark, &place.out());
    assert!(error.unwrap_err().to_string().contains("written twice"));
    let exported = place.export(ExportFormat::OpenClip);
    assert_eq!(rows(&place.text("openclip_results.csv")).len(), 3);
    assert_eq!(exported.files.len(), 2);
}

#[test]
fn what_is_not_finite_is_left_out_by_all() {
    for (number, format) in [f64::NAN, f64::INFINITY].iter().zip(ExportFormat::ALL) {
        let mut broken = zero_shot("mnist-zero-shot", 0.5, 0.5, 10_000);
        broken.metrics[1].ci_high = *number;
        let undated = Record {
            date: "yesterday".into(),
            ..zero_shot("gtsrb-zero-shot", 0.5, 0.5, 12_630)
        };
        let place = Place::new(vec![broken, undated]);
        let exported = place.export(format);
        assert!(exported.files.is_empty(), "{exported:?}");
        assert!(reason(&exported, "mnist-zero-shot").contains("not finite"));
        assert!(reason(&exported, "gtsrb-zero-shot").contains("yesterday"));
    }
    let folder = tempfile::tempdir().unwrap();
    let blocked = write(folder.path(), "file", "");
    let place = Place::new(vec![zero_shot("mnist-zero-shot", 0.5, 0.5, 10_000)]);
    assert!(flava_results::export(&place.run, ExportFormat::ClipBenchmark, &blocked).is_err());
}
