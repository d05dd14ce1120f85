//! Whole reports: of the paper's tasks, of hostile names, of very many classes and tasks.

mod synthetic;

use std::path::Path;

use flava_results::{
    Record, Run, averages, compare_runs,
    report::{ReportOptions, Sort, figure, figures, report, report_of_paths, report_of_training},
};
use flava_tasks::Metric;

use self::synthetic::{Made, add, fail, paper_run, record};

/// Two megabytes.
const LARGEST: usize = 2 << 20;
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

fn options() -> ReportOptions<'static> {
    ReportOptions::default()
}

fn empty(folder: &Path) -> Run {
    std::fs::create_dir_all(folder.join("predictions")).unwrap();
    Run {
        folder: folder.to_owned(),
        records: Vec::new(),
        status: [].into(),
    }
}

fn zero_shot(classes: usize, rows: usize) -> Made<'static> {
    Made {
        task: "mine",
        metric: Metric::Accuracy,
        method: "zero_shot",
        classes,
        rows,
        right: 0.7,
        seed: 0,
    }
}

/// What stands in `src` or `href`.
fn references(html: &str) -> Vec<&str> {
    let of = |name: &str| {
        let pieces: Vec<&str> = html.split(name).skip(1).collect();
        pieces
    };
    let pieces = [of(" src=\""), of(" href=\"")].concat();
    let value = |piece: &&'_ str| piece.split('"').next().unwrap_or_default().len();
    pieces.iter().map(|piece| &piece[..value(piece)]).collect()
}

#[test]
fn the_papers_tasks_fit_one_file_that_fetches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = paper_run(folder.path(), 300, 0);
    let html = report(std::slice::from_ref(&run), &options()).unwrap();
    assert!(html.len() < LARGEST, "{} bytes", html.len());
    for part in [
        "run",
        "averages",
        "tasks",
        "probes",
        "classes",
        "calibration",
        "retrieval",
        "answers",
        "curves",
        "provenance",
    ] {
        assert!(html.contains(&format!("<section id=\"{part}\"")), "{part}");
    }
    assert!(references(&html).iter().all(|found| found.starts_with('#')));
    assert!(!html.contains("url(") && !html.contains("@import"));
    assert!(html.contains("data &lt;b&gt;missing&lt;/b&gt;") && html.contains("1 failed"));
    let average = averages(&run.records)[0].value.unwrap();
    assert!(html.contains(&format!("<td>{:.2}</td>", average * 100.0)));
}

#[test]
fn the_same_records_give_the_same_bytes_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let run = paper_run(folder.path(), 60, 0);
    let mut other = run.clone();
    other.records.reverse();
    let first = report(std::slice::from_ref(&run), &options()).unwrap();
    assert!(
        first == report(std::slice::from_ref(&run), &options()).unwrap(),
        "twice"
    );
    assert!(
        first == report(&[other.clone()], &options()).unwrap(),
        "reversed"
    );
    let pair = report(&[run.clone(), run.clone()], &options()).unwrap();
    assert!(
        pair == report(&[other.clone(), other], &options()).unwrap(),
        "two"
    );
}

/// Each number of the figure of tasks is that of a record, and so is each of the table.
#[test]
fn figures_show_the_numbers_of_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let run = paper_run(folder.path(), 200, 0);
    let html = report(std::slice::from_ref(&run), &options()).unwrap();
    let values = html
        .split("<caption>Main scores in percent</caption>")
        .nth(1);
    let values = values.unwrap().split("</table>").next().unwrap();
    for record in &run.records {
        let main = record.main();
        let numbers = [main.value, main.ci_low, main.ci_high].map(|n| format!("{:.2}", n * 100.0));
        let [value, low, high] = numbers;
        let row = format!(
            "<th scope=\"row\">{}</th><td>{value}</td><td>{low}</td><td>{high}</td>",
            record.name()
        );
        assert!(values.contains(&row), "{row}");
    }
    let drawn = figure(std::slice::from_ref(&run), "tasks", &options()).unwrap();
    assert_eq!(drawn.matches("<circle").count(), run.records.len());
    for name in figures(std::slice::from_ref(&run), &options()).unwrap() {
        assert!(html.contains(&format!("id=\"f-{name}\"")), "{name}");
    }
    let none = figure(&[run], "nothing", &options())
        .unwrap_err()
        .to_string();
    assert!(none.contains("probe.imagenet"), "{none}");
}

#[test]
fn the_table_of_tasks_is_sorted_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let run = paper_run(folder.path(), 50, 0);
    let table = |sort| {
        let options = ReportOptions { sort, ..options() };
        let html = report(std::slice::from_ref(&run), &options).unwrap();
        let table = html.split("<caption>Every number").nth(1).unwrap();
        table.split("</table>").next().unwrap().to_owned()
    };
    let names = |sort| -> Vec<String> {
        let table = table(sort);
        let heads = table.split("<th scope=\"row\">").skip(1);
        heads
            .map(|head| head.split('<').next().unwrap().to_owned())
            .collect()
    };
    let is_marked = |sort| table(sort).contains("aria-sort=\"ascending\"");
    assert_eq!(names(Sort::Paper)[..2], ["my-task", "imagenet"]);
    assert!(names(Sort::Name)[1..].is_sorted());
    let scores = |a: &&Record, b: &&Record| a.main().value.total_cmp(&b.main().value);
    let lowest = run.records.iter().min_by(scores).unwrap();
    assert_eq!(names(Sort::Score)[1], lowest.name());
    let marked = [Sort::Paper, Sort::Name, Sort::Score, Sort::Difference].map(is_marked);
    assert_eq!(marked, [false, true, true, true]);
}

#[test]
fn nothing_of_the_data_becomes_markup() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = empty(folder.path());
    add(&mut run, &zero_shot(4, 40));
    let change = |record: &mut Record| {
        record.model = HOSTILE.into();
        record.data = "</script><script>alert(1)</script>".into();
        record.notes = vec![HOSTILE.into()];
        record.departures = vec!["\"'><b>".into()];
    };
    run.records.iter_mut().for_each(change);
    fail(&mut run, HOSTILE, HOSTILE);
    let names = |_: &Record| Some(vec![HOSTILE.to_owned(); 4]);
    let options = ReportOptions {
        class_names: Some(&names),
        ..options()
    };
    let html = report(&[run.clone()], &options).unwrap();
    assert!(!html.contains("<img") && !html.contains("<b>"));
    assert_eq!(html.matches("<script").count(), 2);
    assert_eq!(html.matches("</script").count(), 2);
    let clean = "&lt;img src=x onerror=alert(1)&gt;";
    assert!(html.contains(&format!("<th scope=\"row\">{clean}</th>")));
    let svg = figure(&[run], "classes.mine", &options).unwrap();
    assert!(!svg.contains("<img"));
}

#[test]
fn images_are_embedded_once_and_only_where_they_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = empty(folder.path());
    let retrieval = Made {
        method: "retrieval",
        metric: Metric::TextRecall1,
        ..zero_shot(2, 30)
    };
    add(&mut run, &retrieval);
    let images = |_: &Record, row: &str| Some([b"\x89PNG", row.as_bytes()].concat());
    let with = ReportOptions {
        images: Some(&images),
        ..options()
    };
    let html = report(&[run.clone()], &with).unwrap();
    let mut sources = references(&html);
    sources.retain(|source| source.starts_with("data:"));
    let all = sources.len();
    sources.sort_unstable();
    sources.dedup();
    assert!(all > 4 && sources.len() == all && html.contains("image shown before"));
    assert!(!report(&[run], &options()).unwrap().contains("<img"));
}

#[test]
fn two_runs_are_compared_on_their_rows() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let runs = [
        paper_run(first.path(), 80, 0),
        paper_run(second.path(), 80, 1),
    ];
    let html = report(&runs, &options()).unwrap();
    assert!(html.contains("B less A") && html.contains("fixed") && html.contains("McNemar"));
    let compared = compare_runs(&runs[0], &runs[1]);
    let task = compared
        .tasks
        .iter()
        .find(|task| task.name == "mnist")
        .unwrap();
    let flips = task.flips.as_ref().unwrap();
    let net = flips.fixed.len() as f64 - flips.broken.len() as f64;
    assert!((task.difference.value - net / 80.0).abs() < 1e-12);
    assert!(html.len() < LARGEST, "{} bytes", html.len());
    let names = figures(&runs, &options()).unwrap();
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), names.len());
}

#[test]
fn several_runs_are_held_against_the_first_and_long_texts_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [0, 1, 2].map(|seed| {
        let mut run = empty(&folder.path().join(seed.to_string()));
        add(
            &mut run,
            &Made {
                seed,
                ..zero_shot(5, 50)
            },
        );
        run.records[0].data_fingerprint = "the same".into();
        fail(&mut run, "long", &"long reason ".repeat(100_000));
        run
    });
    let html = report(&runs, &options()).unwrap();
    assert!(html.contains("B against A") && html.contains("C against A"));
    assert!(html.len() < LARGEST / 8, "{} bytes", html.len());
    let names = figures(&runs, &options()).unwrap();
    for name in ["paired.A.B", "paired.A.C", "classes.C.mine"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
}

#[test]
fn ten_thousand_classes_stay_small() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = empty(folder.path());
    add(&mut run, &zero_shot(10_000, 300));
    let html = report(&[run], &options()).unwrap();
    assert!(html.len() < LARGEST / 4, "{} bytes", html.len());
    assert!(html.contains("more rows"));
}

#[test]
fn five_thousand_tasks_stay_small() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = empty(folder.path());
    let task = |n: usize| record(&format!("task-{n:04}"));
    run.records = (0..5000).map(task).collect();
    (0..3000).for_each(|n| fail(&mut run, &format!("failed-{n:04}"), "because"));
    let html = report(&[run.clone(), run], &options()).unwrap();
    assert!(html.len() < LARGEST, "{} bytes", html.len());
    assert!(html.contains("5000 of 8000 tasks measured, 3000 failed"));
    assert!(html.contains("<td>failed</td>") && html.contains("because</td>"));
}

#[test]
fn folders_of_training_and_of_ablations_have_reports_too() {
    let folder = tempfile::tempdir().unwrap();
    let error = report_of_training(folder.path(), &options()).unwrap_err();
    assert!(error.to_string().contains("holds no records"), "{error}");
    let line = "{\"kind\":\"train\",\"step\":1,\"loss\":2.5,\"learning_rate\":0.001}\n\
                {\"kind\":\"train\",\"step\":2,\"loss\":1.5,\"learning_rate\":0.002}\n";
    std::fs::write(folder.path().join("log.jsonl"), line).unwrap();
    let paths = [folder.path().to_owned()];
    let html = report_of_paths(&paths, &options()).unwrap();
    assert_eq!(html, report_of_training(folder.path(), &options()).unwrap());
    assert!(html.contains("loss from 2.5 to 1.5 in 2 steps"), "{html}");
    for seed in 0..2u8 {
        let runs = folder.path().join(format!("flava/seed-{seed}/runs"));
        std::fs::create_dir_all(&runs).unwrap();
        let mut record = record("mini-vqa");
        record.model_fingerprint = seed.to_string();
        std::fs::write(runs.join("mini-vqa.json"), record.to_file().unwrap()).unwrap();
    }
    let html = report_of_training(folder.path(), &options()).unwrap();
    assert!(html.contains("mini-vqa: the columns") && html.contains("training: loss"));
    assert!(report(&[], &options()).is_err());
}
