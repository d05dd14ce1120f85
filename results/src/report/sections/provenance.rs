//! The commands that make the numbers again, as far as the records tell, and the records
//! themselves.

use serde_json::{Value, json};

use crate::{
    Record,
    report::{
        commands::commands,
        html::{Element, text_element},
        number::count,
        section::Section,
        sections::head::titled,
        table::{Grid, first},
        view::{Study, View},
    },
};

/// Entries of a list in a record that are copied.
const LISTED: usize = 24;

pub(super) fn provenance_part(study: &Study) -> Option<Section> {
    let mut section = Section::new("provenance", "How to make the numbers again");
    for view in &study.views {
        tell_commands(study, view, &mut section);
    }
    if section.blocks.is_empty() {
        return None;
    }
    section.note(
        "Commands are put together from the records: what is in no record, such as where the data \
         lay, must be added. Rescoring needs no model: flava-eval score --task TASK --predictions \
         RUN/predictions/TASK.parquet.",
    );
    digests(study, &mut section);
    section.note(
        "The records themselves are in this file, as JSON in the script element named \
         \"records\"; lists longer than 24 entries are cut there, and say so.",
    );
    Some(section)
}

fn tell_commands(study: &Study, view: &View, section: &mut Section) {
    let records = view.entries.iter().map(|entry| entry.record);
    let all = commands(records, study.options.most_tasks);
    let (shown, left) = first(all, study.options.most_rows);
    for command in shown {
        let title = titled(view, &count(command.records, "task"));
        section.html(text_element("p", title));
        section.html(Element::new("pre").child(text_element("code", command.line)));
    }
    if left > 0 {
        section.note(format!("and {left} more commands"));
    }
}

/// What tells whether it was the same: versions, keys and digests.
fn digests(study: &Study, section: &mut Section) {
    let mut grid = Grid::new("What the numbers belong to")
        .words("task")
        .numbers(&["version"])
        .words("key")
        .words("data")
        .words("digest of the rows")
        .words("recipe")
        .left(
            study
                .entries()
                .count()
                .saturating_sub(study.options.most_tasks),
        );
    for item in study.entries().take(study.options.most_tasks) {
        let record = item.entry.record;
        let recipe = [record.recipe.as_str(), record.recipe_digest.as_str()].join(" ");
        let revision = [record.data.as_str(), record.data_revision.as_str()].join(" ");
        grid.row(&[
            item.title(),
            record.task_version.to_string(),
            record.key.clone(),
            revision.trim().to_owned(),
            record.data_fingerprint.clone(),
            recipe.trim().to_owned(),
        ]);
    }
    section.table(grid);
}

/// The records as JSON, of so many bytes at most: without their details where those are too many,
/// and the first of them where they are still too many.
pub(in crate::report) fn records_json(study: &Study) -> Value {
    let most = study.options.most_json;
    let all: Vec<Value> = study
        .entries()
        .map(|item| cut_lists(&value(item.entry.record)))
        .collect();
    let size = |value: &Value| value.to_string().len();
    let (records, without_details) = if all.iter().map(size).sum::<usize>() <= most {
        (all, false)
    } else {
        let strip = |mut value: Value| {
            if let Some(fields) = value.as_object_mut() {
                fields.remove("details");
            }
            value
        };
        (all.into_iter().map(strip).collect(), true)
    };
    let mut room = most;
    let total = records.len();
    let fits = |record: &Value| {
        let size = size(record);
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    let kept: Vec<Value> = records.into_iter().take_while(fits).collect();
    json!({
        "left_out": total - kept.len(),
        "without_details": without_details,
        "records": kept,
    })
}

fn value(record: &Record) -> Value {
    serde_json::to_value(record).unwrap_or_default()
}

/// The value with the first entries of long lists, and how many are left out.
fn cut_lists(value: &Value) -> Value {
    match value {
        Value::Array(all) => {
            let mut kept: Vec<Value> = all.iter().take(LISTED).map(cut_lists).collect();
            if all.len() > LISTED {
                kept.push(format!("and {} more", all.len() - LISTED).into());
            }
            kept.into()
        }
        Value::Object(fields) => {
            let cut = fields
                .iter()
                .map(|(name, value)| (name.clone(), cut_lists(value)));
            Value::Object(cut.collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_and_counted() {
        let cut = cut_lists(&json!({ "ids": (0..30).collect::<Vec<u32>>() }));
        assert_eq!(cut["ids"].as_array().unwrap().len(), LISTED + 1);
        assert_eq!(cut["ids"][LISTED], "and 6 more");
    }
}
