//! Model cards: the block, and nasty cards that it is merged into.

use flava_results::{ExportFormat, Record, merge_model_index, model_index_block};
use serde_json::Value;

use crate::support::{Place, reason, record, score, write};

fn cifar(value: f64) -> Record {
    record(
        "cifar10",
        "linear_probe",
        vec![score("accuracy", value, 10_000)],
    )
}

fn block(value: f64) -> String {
    model_index_block(&[cifar(value)], "flava-full").unwrap()
}

/// What a card's front matter says.
fn said(card: &str) -> Value {
    let opening = card.find("---").unwrap() + 3;
    let closing = card[opening..].find("\n---").unwrap() + opening;
    serde_saphyr::from_str(&card[opening..closing]).unwrap()
}

fn results(card: &str, model: usize) -> Vec<Value> {
    let results = said(card)["model-index"][model]["results"].clone();
    results.as_array().unwrap().clone()
}

/// The card without the lines that are new in the merged one, which must be all that differs.
fn only_adds(card: &str, merged: &str) {
    let mut old = card.split_inclusive('\n').peekable();
    for line in merged.split_inclusive('\n') {
        if old.peek() == Some(&line) {
            old.next();
        }
    }
    assert_eq!(old.next(), None, "a line is lost:\n{merged}");
}

const OTHERS: &str = "  - task:\n      type: image-classification\n    dataset:\n      type: imagefolder\n      name: mine   # by hand\n    metrics:\n    - type: accuracy\n      value: 0.5\n";

#[test]
fn the_block_is_what_the_hub_reads() {
    let block = block(0.9299);
    assert!(block.starts_with("model-index:\n- name: \"flava-full\"\n  results:\n  - task:\n"));
    let index: Value = serde_saphyr::from_str(&block).unwrap();
    let result = &index["model-index"][0]["results"][0];
    assert_eq!(result["task"]["type"], "image-classification");
    assert_eq!(result["task"]["name"], "Linear probe (image_cls)");
    let dataset = &result["dataset"];
    assert_eq!(
        ["type", "name", "config", "split", "revision"].map(|key| dataset[key].clone()),
        [
            "uoft-cs/cifar10",
            "cifar10",
            "cifar10 (flava)",
            "test",
            "0b27"
        ]
        .map(Value::from),
        "a revision that looks like a number is text"
    );
    let metric = &result["metrics"][0];
    assert_eq!(metric["type"], "accuracy");
    assert_eq!(metric["name"], "accuracy (95 % 90.49 to 95.49)");
    assert_eq!(
        (&metric["value"], &metric["args"]["n"]),
        (&92.99.into(), &10_000.into())
    );
    assert_eq!(metric["args"]["program"], "flava-eval 0.1.0");
    assert!(
        result.get("source").is_none(),
        "a source without address is an error"
    );
}

#[test]
fn odd_names_are_quoted() {
    let odd = "a: \"b\" #\u{7f}\u{85}\u{2028}é🙂\n- x";
    let block = model_index_block(&[cifar(0.5)], odd).unwrap();
    let index: Value = serde_saphyr::from_str(&block).unwrap();
    assert_eq!(index["model-index"][0]["name"], odd);
    assert!(block.contains("\\u007f\\u0085\\u2028é🙂\\u000a"), "{block}");
}

#[test]
fn the_block_refuses_what_is_not_to_be_told() {
    let refused = |records: &[Record]| model_index_block(records, "x").unwrap_err().to_string();
    let limited = Record {
        publishable: false,
        ..cifar(0.5)
    };
    assert!(refused(&[limited]).contains("not publishable"));
    assert!(refused(&[cifar(f64::NAN)]).contains("not finite"));
    let old = Record {
        hub_task: String::new(),
        ..cifar(0.5)
    };
    assert!(refused(&[old]).contains("Hub's tasks"));
    assert!(model_index_block(&[], "x").is_err());
}

#[test]
fn a_card_without_front_matter_gets_one() {
    let block = block(0.5);
    assert_eq!(
        merge_model_index("", &block).unwrap(),
        format!("---\n{block}---\n")
    );
    for card in [
        "# Title\n\nText\n",
        "text --- text\n---\n",
        "----\nno\n----\n",
    ] {
        let merged = merge_model_index(card, &block).unwrap();
        assert_eq!(merged, format!("---\n{block}---\n\n{card}"));
        assert_eq!(merge_model_index(&merged, &block).unwrap(), merged);
    }
    let merged = merge_model_index("# T\r\n", &block).unwrap();
    assert_eq!(
        merged,
        format!("---\n{block}---\n\n# T\n").replace('\n', "\r\n")
    );
}

#[test]
fn keys_comments_order_and_line_ends_stay() {
    let head = "license: apache-2.0 # mine\ntags:\n- a\n-   b\n\n# about the data\ndatasets: [x,  y]\nnote: |\n  model-index:\n  - name: no\n\n  ---\nlast:   'it''s'";
    for end in ["\n", "\r\n"] {
        let card = format!("---\n{head}\n---\n# T\n---\nmodel-index:\n").replace('\n', end);
        let merged = merge_model_index(&card, &block(0.5)).unwrap();
        let opening = card.find(&format!("{end}---{end}# T")).unwrap() + end.len();
        assert_eq!(merged[..opening], card[..opening]);
        assert!(merged.ends_with(&card[opening..]));
        assert_eq!(merged.replace("\r\n", "").contains('\n'), end == "\n");
        assert_eq!(results(&merged, 0).len(), 1);
        // The second time one entry is replaced and nothing else.
        let again = merge_model_index(&merged, &block(0.75)).unwrap();
        assert_eq!(
            again,
            merged
                .replace("50.00", "75.00")
                .replace("47.50 to 52.50", "72.50 to 77.50")
        );
        assert_eq!(merge_model_index(&again, &block(0.5)).unwrap(), merged);
    }
}

#[test]
fn blank_lines_before_and_an_empty_front_matter_are_kept() {
    for card in [
        "\n \n---\na: 1\n---\n",
        "---\n---\nText",
        "---\n# only words\n---\n",
        "---\na: 1\n---",
    ] {
        let merged = merge_model_index(card, &block(0.5)).unwrap();
        only_adds(card, &merged);
        assert_eq!(results(&merged, 0).len(), 1, "{merged}");
    }
}

#[test]
fn results_of_others_stay() {
    let compact =
        "- task: {type: x}\n    dataset: {type: d, name: d}\n    metrics: [{type: f1, value: 1}]\n";
    let cards = [
        format!("---\nmodel-index:\n- name: flava-full\n  results:\n{OTHERS}a: 1\n---\n"),
        format!("---\nmodel-index: # ours\n- name: 'flava-full'\n  results:\n\n  # theirs\n{OTHERS}\n# about a\na: 1\n---\n"),
        format!("---\nmodel-index:\n  - name: flava-full\n    results:\n      {}\na: 1\n---\n", compact.replace("\n    ", "\n        ").trim_end()),
        "---\nmodel-index:\n-   results:\n    - task: {type: x}\n      dataset: {type: d, name: d}\n      metrics: [{type: f1, value: 1}]\n    name: flava-full\na: 1\n---\n".to_owned(),
        "---\nmodel-index:\n- results:\n  - task: {type: x}\n    dataset: {type: d, name: d}\n    metrics: [{type: f1, value: 1}]\n  name: flava-full\n---\n".to_owned(),
    ];
    for card in cards {
        let merged = merge_model_index(&card, &block(0.5)).unwrap();
        only_adds(&card, &merged);
        let found = results(&merged, 0);
        assert_eq!(found.len(), 2, "{merged}");
        assert_eq!(found[0], results(&card, 0)[0]);
        let again = merge_model_index(&merged, &block(0.75)).unwrap();
        assert_eq!(results(&again, 0).len(), 2);
        assert_eq!(merge_model_index(&again, &block(0.5)).unwrap(), merged);
    }
}

#[test]
fn another_model_and_another_split_stay() {
    let card = format!("---\nmodel-index:\n- name: other\n  results:\n{OTHERS}---\n");
    let merged = merge_model_index(&card, &block(0.5)).unwrap();
    only_adds(&card, &merged);
    assert_eq!(
        (results(&merged, 0).len(), results(&merged, 1).len()),
        (1, 1)
    );
    let clip = Record {
        protocol: "clip".into(),
        ..cifar(0.5)
    };
    let both = model_index_block(&[cifar(0.25), clip], "flava-full").unwrap();
    let merged = merge_model_index(&merged, &both).unwrap();
    let values: Vec<Value> = results(&merged, 1)
        .iter()
        .map(|result| result["metrics"][0]["value"].clone())
        .collect();
    assert_eq!(values, [25.0, 50.0]);
    // One alone leaves the other.
    let merged = merge_model_index(&merged, &block(0.75)).unwrap();
    assert_eq!(results(&merged, 1).len(), 2);
}

#[test]
fn empty_indices_are_filled() {
    for empty in [
        "model-index:",
        "model-index: []",
        "model-index: null # none",
        "model-index:   ",
        "model-index:\n- name: flava-full\n  results: []",
        "model-index:\n- name: flava-full\n  results:",
        "model-index:\n- name: flava-full",
        "model-index:\n- results:\n  name: flava-full",
    ] {
        let card = format!("---\na: 1\n{empty}\nb: 2\n---\n");
        let merged = merge_model_index(&card, &block(0.5)).unwrap();
        assert_eq!(results(&merged, 0).len(), 1, "{merged}");
        assert!(
            merged.starts_with("---\na: 1\n") && merged.ends_with("b: 2\n---\n"),
            "{merged}"
        );
    }
}

#[test]
fn what_cannot_be_changed_in_place_is_refused() {
    for (card, needle) in [
        ("---\na: [1\n---\n", "front matter"),
        ("---\na: 1\n", "second line of three dashes"),
        ("---\n- a\n---\n", "no keys"),
        ("---\njust text\n---\n", "no keys"),
        ("\u{feff}---\na: 1\n---\n", "byte order mark"),
        (
            "---\nmodel-index: [{name: x, results: []}]\n---\n",
            "beside it",
        ),
        ("---\nmodel-index: {}\n---\n", "no list"),
        ("---\n\"model-index\":\n- name: x\n---\n", "front matter"),
        (
            "---\nmodel-index:\n- name: flava-full\n  results: {a: 1}\n---\n",
            "no list",
        ),
        ("---\na: 1\na: 2\n---\n", "front matter"),
        ("---\na: \"x\nmodel-index:\n- y\"\n---\n", "front matter"),
        (
            "---\na: &x 1\nmodel-index:\n- name: flava-full\n  results: [{task: *x}]\n---\n",
            "front matter",
        ),
        ("---\na: 1\n\tb: 2\n---\n", "front matter"),
    ] {
        let error = merge_model_index(card, &block(0.5)).map_err(|e| e.to_string());
        let error = error.expect_err(card);
        assert!(
            error.contains(needle) && error.contains("README.md"),
            "{card:?}: {error}"
        );
    }
}

/// Cards of lines in any order: what is not refused keeps every line and every other key.
#[test]
fn random_cards_lose_no_line() {
    let lines = [
        "model-index:",
        "- name: flava-full",
        "  - name: flava-full",
        "  results:",
        "    results:",
        "  - task: {type: x}",
        "    dataset: {type: d, name: d}",
        "    metrics: []",
        "a: 1",
        "# word",
        "",
        "b: |",
        "  - name: x",
        "c: \"x",
        "  y\"",
        "- z",
        "-",
        "  results: []",
        "    - task:",
        "        type: y",
        "d: [1,",
        "  2]",
        "model-index: []",
        "---",
        "  ---",
        "e: &x {f: 1}",
        "g: *x",
    ];
    let mut state = 7u64;
    let mut draw = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let mut merged_cards = 0;
    for _ in 0..5_000 {
        let mut card = "---\n".to_owned();
        for _ in 0..draw(9) {
            // Mostly the next lines, so that some cards are whole.
            let at = draw(lines.len());
            for line in &lines[at..(at + 1 + draw(8)).min(lines.len())] {
                card.push_str(line);
                card.push('\n');
            }
        }
        card.push_str("---\nText\n");
        let Ok(merged) = merge_model_index(&card, &block(0.5)) else {
            continue;
        };
        merged_cards += 1;
        if !card.contains("results: []") && !card.contains("model-index: []") {
            only_adds(&card, &merged);
        }
        let again = merge_model_index(&merged, &block(0.5)).unwrap();
        assert_eq!(again, merged);
    }
    assert!(merged_cards > 200, "{merged_cards}");
    assert!(merge_model_index("", "model-index: [{name: x}]").is_err());
}

#[test]
fn a_run_is_merged_into_the_card_that_lies_there() {
    let limited = Record {
        publishable: false,
        ..record("mnist", "knn", vec![score("accuracy", 0.5, 9)])
    };
    let place = Place::new(vec![cifar(0.5), limited]);
    std::fs::create_dir_all(place.out()).unwrap();
    let path = write(
        &place.out(),
        "README.md",
        "---\nlicense: mit\n---\n# Mine\n",
    );
    let exported = place.export(ExportFormat::ModelIndex);
    assert_eq!(exported.files, std::slice::from_ref(&path));
    let card = place.text("README.md");
    assert!(
        card.starts_with("---\nlicense: mit\nmodel-index:\n") && card.ends_with("---\n# Mine\n")
    );
    reason(&exported, "mnist");
    write(&place.out(), "README.md", "---\nlicense: [\n---\n");
    let error = flava_results::export(&place.run, ExportFormat::ModelIndex, &place.out());
    let error = error.unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert_eq!(place.text("README.md"), "---\nlicense: [\n---\n");
}
