//! The text of recipes: the built-in ones, and files over them.

use std::path::Path;

use flava_base::{did_you_mean, overrides::merge};
use include_dir::{Dir, include_dir};
use toml::{Table, Value};

use crate::{Error, Result};

/// A file for each size, and in `columns` what each of the paper's columns has otherwise than the
/// whole of it.
static RECIPES: Dir = include_dir!("$CARGO_MANIFEST_DIR/recipes");

/// The columns: the paper's in its order, then others by name.
pub(super) fn columns() -> Vec<&'static str> {
    let files = RECIPES.get_dir("columns").into_iter().flat_map(Dir::files);
    let names = files.filter_map(|file| file.path().file_stem()?.to_str());
    let mut names: Vec<&str> = names.collect();
    names.sort_by_key(|name| flava_results::column_order(name));
    names
}

/// A recipe before it is read.
pub(super) struct Draft {
    pub(super) table: Table,
    /// The corpora that it does not inherit.
    pub(super) own: Vec<String>,
}

/// What is wrong with a recipe of this name.
pub(super) fn wrong(name: &str) -> impl Fn(String) -> Error {
    move |reason| Error::Recipe {
        name: name.to_owned(),
        reason,
    }
}

fn parse(name: &str, text: &str) -> Result<Table> {
    toml::from_str(text).map_err(|e| wrong(name)(e.to_string()))
}

/// The names of the built-in recipes.
pub(super) fn names() -> Vec<String> {
    let columns = |prefix: &str| {
        columns()
            .into_iter()
            .map(|name| format!("{prefix}{name}"))
            .collect::<Vec<_>>()
    };
    ["mini".to_owned(), "flava-base".to_owned()]
        .into_iter()
        .chain(columns(""))
        .chain(columns("mini-"))
        .collect()
}

/// A built-in recipe, or a file.
pub(super) fn draft(name: &str) -> Result<Draft> {
    let ending = Path::new(name).extension();
    if ending.is_some_and(|ending| ending == "toml") {
        return from_file(name);
    }
    Ok(Draft {
        table: built_in(name)?,
        own: Vec::new(),
    })
}

/// A file, over the built-in recipe that it extends.
fn from_file(name: &str) -> Result<Draft> {
    let wrong = wrong(name);
    let text = flava_base::read_text(Path::new(name), flava_base::MAX_SETTINGS)?;
    let mut table = parse(name, &text)?;
    let corpora = table.get("corpora").and_then(Value::as_table);
    let own = corpora.map_or(Vec::new(), |corpora| corpora.keys().cloned().collect());
    let Some(base) = table.remove("extends") else {
        return Ok(Draft { table, own });
    };
    let base = base
        .as_str()
        .ok_or_else(|| wrong("extends is no name of a recipe".into()))?;
    if Path::new(base).extension().is_some() {
        let reason = format!("extends {base}: a file extends a built-in recipe");
        return Err(wrong(reason));
    }
    let mut whole = built_in(base)?;
    // What is said of the built-in recipe is not true of this one.
    let summary = format!("{base} with the changes of {name}");
    for (key, said) in [
        ("summary", summary),
        ("cost", String::new()),
        ("expect", String::new()),
    ] {
        whole.insert(key.into(), Value::String(said));
    }
    merge(&mut whole, table);
    Ok(Draft { table: whole, own })
}

/// A built-in recipe: what a size has, and a column's changes over it.
fn built_in(name: &str) -> Result<Table> {
    let (size, column) = match name {
        "mini" => ("mini", None),
        "flava-base" => ("base", None),
        _ => name
            .strip_prefix("mini-")
            .map_or(("base", Some(name)), |column| ("mini", Some(column))),
    };
    let mut table = parse(name, text_of(size).unwrap_or_default())?;
    let Some(column) = column else {
        return Ok(table);
    };
    let Some(text) = text_of(&format!("columns/{column}")) else {
        let near = did_you_mean(name, &names(), 1);
        let reason = format!("there is no such recipe, and no file of that name (.toml){near}");
        return Err(wrong(name)(reason));
    };
    let mut column = parse(name, text)?;
    let at = column.remove("at");
    merge(&mut table, column);
    // What the column has at this size alone.
    if let Some(Value::Table(only)) = at.as_ref().and_then(|at| at.get(size)) {
        merge(&mut table, only.clone());
    }
    Ok(table)
}

fn text_of(name: &str) -> Option<&'static str> {
    RECIPES.get_file(format!("{name}.toml"))?.contents_utf8()
}
