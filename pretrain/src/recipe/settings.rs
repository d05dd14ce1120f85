//! Recipes over each other, settings over recipes, and the nearest name of what nobody knows.

use flava_tasks::did_you_mean;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Puts `over` over `under`, table by table. A table of another `format` or `kind` replaces what
/// was there: its keys mean other things; the text `none` takes a table away.
pub(super) fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => {
                let differs = |tag: &str| {
                    over.get(tag)
                        .is_some_and(|tag_over| under.get(tag) != Some(tag_over))
                };
                if differs("format") || differs("kind") {
                    *under = over;
                } else {
                    merge(under, over);
                }
            }
            (_, value) => put(under, &key, value),
        }
    }
}

/// Whether all numbers below `path` are numbers.
pub(super) fn finite(path: &str, value: &Value) -> std::result::Result<(), String> {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Float(number) if !number.is_finite() => {
            Err(format!("{path} = {number} is no number"))
        }
        Value::Table(table) => table
            .iter()
            .try_for_each(|(name, value)| finite(&below(name), value)),
        Value::Array(all) => all.iter().try_for_each(|value| finite(path, value)),
        _ => Ok(()),
    }
}

fn put(table: &mut Table, key: &str, value: Value) {
    if value.as_str() == Some("none") && table.get(key).is_none_or(Value::is_table) {
        table.remove(key);
    } else {
        table.insert(key.to_owned(), value);
    }
}

/// `key=value`, where the key's first part may be a stage's name.
pub(super) fn apply(table: &mut Table, setting: &str) -> std::result::Result<(), String> {
    let (key, value) = setting.split_once('=').ok_or("is no key=value")?;
    let mut path: Vec<&str> = key.trim().split('.').collect();
    let stages: Vec<String> = table
        .get("stage")
        .and_then(Value::as_table)
        .map(|stages| stages.keys().cloned().collect())
        .unwrap_or_default();
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
    for (depth, part) in parents.iter().enumerate() {
        let known: Vec<String> = place.keys().chain(&stages).cloned().collect();
        // A table may be one of those that have a default; whether it is one is seen when the
        // recipe is read.
        if depth > usize::from(path[0] == "stage") && !place.contains_key(*part) {
            place.insert((*part).to_owned(), Value::Table(Table::new()));
        }
        let next = place.get_mut(*part).and_then(Value::as_table_mut);
        place = next.ok_or_else(|| {
            format!(
                "there is no table {part:?}{}",
                did_you_mean(part, &known, 1)
            )
        })?;
    }
    // A value keeps its form, so that `learning_rate=1` is not refused for being whole.
    let value = match (place.get(*last), value) {
        (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
        (_, value) => value,
    };
    put(place, last, value);
    Ok(())
}

/// Reads a table; what is wrong comes with its key.
pub(super) fn read<T: DeserializeOwned>(table: Table) -> std::result::Result<T, String> {
    serde_path_to_error::deserialize(table).map_err(|e| {
        let (path, message) = (e.path().to_string(), nearest(e.inner().message()));
        if path == "." {
            message
        } else {
            format!("{path}: {message}")
        }
    })
}

/// serde's message about an unknown key, with the nearest known one.
fn nearest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = ["unknown field", "unknown variant"]
        .iter()
        .any(|said| message.contains(said))
        && !message.contains("did you mean");
    match (unknown, quoted.next()) {
        (true, Some(unknown)) => message.to_owned() + &did_you_mean(unknown, quoted, 1),
        _ => message.to_owned(),
    }
}
