//! Settings over settings: tables over tables, `--set key=value` over both, and the nearest name of
//! a key that nobody knows.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::did_you_mean;

/// Puts `over` over `under`, table by table. A table of another `format` or `kind` replaces what
/// was there: its keys mean other things; the text `none` takes a table away.
pub fn merge(under: &mut Table, over: Table) {
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
pub fn finite(path: &str, value: &Value) -> std::result::Result<(), String> {
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

/// A setting as it is typed, `key=value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The key's parts, from the outermost table on.
    pub path: Vec<String>,
    /// As TOML reads it; what TOML does not read is a text.
    pub value: Value,
}

impl Override {
    /// Reads `key=value`.
    ///
    /// # Errors
    /// Where there is no `=` or no key.
    pub fn parse(setting: &str) -> std::result::Result<Self, String> {
        let (key, value) = setting.split_once('=').ok_or("is no key=value")?;
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err("names no key".into());
        }
        let value = toml::from_str::<Table>(&format!("v = {}", value.trim()))
            .ok()
            .and_then(|mut parsed| parsed.remove("v"))
            .unwrap_or_else(|| Value::String(value.trim().to_owned()));
        Ok(Self { path, value })
    }

    /// Puts the value into `table`. Tables below the first `fixed` parts of the key may be ones
    /// that have a default: they are made where they are missing, and `none` takes one away.
    ///
    /// # Errors
    /// Naming a part of the key that is no table, with the nearest of those that there are.
    pub fn apply(self, table: &mut Table, fixed: usize) -> std::result::Result<(), String> {
        let Some((last, parents)) = self.path.split_last() else {
            return Err("names no key".into());
        };
        let mut inner = table;
        for (depth, part) in parents.iter().enumerate() {
            let known: Vec<String> = inner.keys().cloned().collect();
            if depth >= fixed && !inner.contains_key(part) {
                inner.insert(part.clone(), Value::Table(Table::new()));
            }
            inner = match inner.get_mut(part) {
                Some(Value::Table(next)) => next,
                Some(_) => return Err(format!("{part:?} is a value, not a table")),
                None => {
                    let near = did_you_mean(part, &known, 1);
                    return Err(format!("there is no table {part:?}{near}"));
                }
            };
        }
        // A value keeps its form, so that `learning_rate=1` is not refused for being whole.
        let value = match (inner.get(last), self.value) {
            (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
            (_, value) => value,
        };
        put(inner, last, value);
        Ok(())
    }
}

/// Reads a table; what is wrong comes with its key.
pub fn read<T: DeserializeOwned>(table: Table) -> std::result::Result<T, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(table: &str, settings: &[&str], fixed: usize) -> std::result::Result<String, String> {
        let mut table: Table = toml::from_str(table).unwrap();
        for setting in settings {
            Override::parse(setting)?.apply(&mut table, fixed)?;
        }
        Ok(toml::to_string(&table).unwrap())
    }

    #[test]
    fn a_setting_keeps_the_form_of_what_it_replaces() {
        assert_eq!(set("a = 1.0", &["a=2"], 1).unwrap(), "a = 2.0\n");
        assert_eq!(set("a = 1", &["a=word"], 1).unwrap(), "a = \"word\"\n");
        let nested = set("[a]\nb = [1]", &["a.b=[2, 3]"], 1).unwrap();
        assert_eq!(nested, "[a]\nb = [2, 3]\n");
    }

    #[test]
    fn tables_with_a_default_are_made_and_taken_away() {
        let made = set("[a]", &["a.crop.size=3"], 1).unwrap();
        assert_eq!(made, "[a.crop]\nsize = 3\n");
        assert_eq!(set(&made, &["a.crop=none"], 1).unwrap(), "[a]\n");
        let missing = set("[joint]", &["jiont.steps=3"], 1).unwrap_err();
        assert!(missing.contains("did you mean joint?"), "{missing}");
        let value = set("run = 1", &["run.seed=3"], 1).unwrap_err();
        assert!(value.contains("\"run\" is a value, not a table"), "{value}");
        assert!(set("", &["=3"], 1).is_err() && set("", &["a"], 1).is_err());
    }
}
