//! Recipes over each other, settings over recipes, and the nearest name of what nobody knows.

use toml::{Table, Value};

/// Puts `over` over `under`, table by table. A table of another `format` or `kind` replaces what was there: its keys mean other things.
pub(super) fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => {
                let differs = |tag: &str| over.get(tag).is_some_and(|tag_over| under.get(tag) != Some(tag_over));
                if differs("format") || differs("kind") {
                    *under = over;
                } else {
                    merge(under, over);
                }
            }
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

/// `key=value`, where the key's first part may be a stage's name.
pub(super) fn apply(table: &mut Table, setting: &str) -> std::result::Result<(), String> {
    let (key, value) = setting.split_once('=').ok_or("is no key=value")?;
    let mut path: Vec<&str> = key.trim().split('.').collect();
    let stages: Vec<String> =
        table.get("stage").and_then(Value::as_table).map(|stages| stages.keys().cloned().collect()).unwrap_or_default();
    if stages.iter().any(|stage| stage == path[0]) {
        path.insert(0, "stage");
    }
    // What TOML does not read is a text.
    let value = toml::from_str::<Table>(&format!("v = {}", value.trim()))
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| Value::String(value.trim().to_owned()));
    let (last, parents) = path.split_last().ok_or("names no key")?;
    let mut place = table;
    for part in parents {
        let known: Vec<String> = place.keys().chain(&stages).cloned().collect();
        let next = place.get_mut(*part).and_then(Value::as_table_mut);
        place = next.ok_or_else(|| {
            let near = closest(part, known.iter().map(String::as_str)).map_or(String::new(), |near| format!("; did you mean {near}?"));
            format!("there is no table {part:?}{near}")
        })?;
    }
    // A value keeps its form, so that `learning_rate=1` is not refused for being whole.
    let value = match (place.get(*last), value) {
        (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
        (_, value) => value,
    };
    place.insert((*last).to_owned(), value);
    Ok(())
}

/// serde's message about an unknown key, with the nearest known one.
pub(super) fn nearest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let near = match (message.contains("unknown field") || message.contains("unknown variant"), quoted.next()) {
        (true, Some(unknown)) => closest(unknown, quoted),
        _ => None,
    };
    near.map_or_else(|| message.to_owned(), |near| format!("{message}; did you mean {near}?"))
}

pub(super) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|other| (strsim::jaro_winkler(name, other), other)).filter(|(score, _)| *score > 0.75);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}
