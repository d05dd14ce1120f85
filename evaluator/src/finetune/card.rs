//! The card of a fine-tuned model: what it is, how it was made, and how good it is.

use std::{fmt::Write, path::Path};

use flava_base::{say, write_atomic};
use flava_results::Record;

use super::is_lora;

/// Writes README.md into the folder of a training; a card that is there and was not written by
/// this stays.
pub fn card_beside(folder: &Path, record: &Record) {
    const MARK: &str = "<!-- written by flava-finetune -->";
    let path = folder.join("README.md");
    let own = std::fs::read_to_string(&path).map_or(true, |text| text.contains(MARK));
    if !own {
        return;
    }
    let text = format!("{}\n{MARK}\n", card(folder, record));
    if let Err(error) = write_atomic(&path, text.as_bytes()) {
        say(&format!("note: README.md is not written: {error}"));
    }
}

fn card(folder: &Path, record: &Record) -> String {
    let mut text = format!(
        "---\nlibrary_name: transformers\ntags: [flava]\n---\n\n# {}, fine-tuned\n\n\
         A FLAVA checkpoint that was fine-tuned on {}: `best` {}, \
         with the head in `head.safetensors`. `flava-finetune predict --model ..` answers with it, \
         `flava-eval --model .. --tasks {}` scores it again.\n\n",
        record.task,
        record.task,
        if is_lora(&folder.join("best")) {
            "holds a LoRA as PEFT does, of the base below"
        } else {
            "is a folder in Hugging Face's layout"
        },
        record.task
    );
    text.push_str("| metric | score | 95 % interval | rows | split |\n|---|---|---|---|---|\n");
    for score in &record.metrics {
        let _written = writeln!(
            text,
            "| {} | {:.2} | {:.2} to {:.2} | {} | {} |",
            score.metric,
            score.value * 100.0,
            score.ci_low * 100.0,
            score.ci_high * 100.0,
            score.n,
            score.split
        );
    }
    text.push_str("\n| | |\n|---|---|\n");
    let detail = |key: &str| record.details.get(key).map(ToString::to_string);
    let rows = [
        ("data", record.data.clone()),
        ("revision of the data", record.data_revision.clone()),
        ("rows trained on", record.train_rows.to_string()),
        ("base", record.model.clone()),
        ("weights before", detail("base").unwrap_or_default()),
        ("recipe", record.recipe.clone()),
        ("settings", detail("recipe").unwrap_or_default()),
        ("chosen by", detail("chosen_by").unwrap_or_default()),
        ("steps", detail("steps").unwrap_or_default()),
        ("seed", record.seed.to_string()),
        ("made", format!("{}, {}", record.date, record.program)),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let value = value.replace('|', "\\|").replace('\n', " ");
        let _written = writeln!(text, "| {name} | {value} |");
    }
    for note in &record.notes {
        let _written = write!(text, "\nNote: {note}.\n");
    }
    text
}
