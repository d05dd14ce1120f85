//! What the classes of a data set are called, in the order of its labels: from the data's own
//! files, never from memory.

use std::path::Path;

use serde_json::Value;

use super::reading::read_limited;
use crate::{Error, Result};

/// Largest file of names, templates or front matter.
const MAX_FILE: u64 = 16 << 20;

/// Files of class names and of templates, as clip-benchmark's repositories have them.
pub const PROMPT_FILES: [&str; 2] = ["classnames.txt", "zeroshot_classification_templates.txt"];

/// Names and templates for zero-shot classification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts {
    /// In the order of the labels.
    pub class_names: Vec<String>,
    /// One prompt each, `{c}` standing for the class name.
    pub templates: Vec<String>,
}

/// The `classnames.txt` and `zeroshot_classification_templates.txt` of a folder; None if it has not
/// both.
pub fn read_prompts(folder: &Path) -> Result<Option<Prompts>> {
    let templates = folder.join(PROMPT_FILES[1]);
    let Some(class_names) = read_class_names(folder)?.filter(|_| flava_base::is_there(&templates))
    else {
        return Ok(None);
    };
    let prompts = Prompts {
        class_names,
        templates: lines(&templates)?,
    };
    if let Some(template) = prompts
        .templates
        .iter()
        .find(|template| !template.contains("{c}"))
    {
        return Err(Error::data(
            &templates,
            format!("the template {template:?} has no {{c}}"),
        ));
    }
    Ok(Some(prompts))
}

/// The `classnames.txt` of a folder, if it has one.
pub(super) fn read_class_names(folder: &Path) -> Result<Option<Vec<String>>> {
    let path = folder.join(PROMPT_FILES[0]);
    flava_base::is_there(&path)
        .then(|| lines(&path))
        .transpose()
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = flava_base::read_text(path, MAX_FILE)?;
    let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    let end = lines
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(0, |last| last + 1);
    if lines[..end].is_empty() || lines[..end].iter().any(String::is_empty) {
        return Err(Error::data(path, "is empty or has an empty line"));
    }
    Ok(lines[..end].to_vec())
}

/// The names in the description that `datasets` writes into files of parquet and Arrow.
pub(super) fn of_description_in(
    path: &Path,
    description: Option<&String>,
    column: &str,
) -> Result<Option<Vec<String>>> {
    let Some(text) = description else {
        return Ok(None);
    };
    of_description(text, column).map_err(|reason| {
        let reason = format!("its description by `datasets` is broken: {reason}");
        Error::data(path, reason)
    })
}

fn of_description(text: &str, column: &str) -> std::result::Result<Option<Vec<String>>, String> {
    let info: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let names = info
        .pointer("/info/features")
        .and_then(|features| features.get(column)?.get("names"));
    let Some(names) = names else { return Ok(None) };
    let names = strings(names).ok_or("the names of the classes are no list of texts")?;
    Ok(Some(names))
}

fn strings(values: &Value) -> Option<Vec<String>> {
    values
        .as_array()?
        .iter()
        .map(|value| value.as_str().map(str::to_owned))
        .collect()
}

/// The names in the front matter of the folder's README.md:
/// `dataset_info.features[].dtype.class_label.names`.
pub(super) fn of_readme(folder: &Path, column: &str) -> Option<Vec<String>> {
    let text = String::from_utf8(read_limited(&folder.join("README.md"), MAX_FILE).ok()?).ok()?;
    let matter = text.strip_prefix("---\n")?.split_once("\n---")?.0;
    let card: Value = serde_saphyr::from_str(matter).ok()?;
    // One description, or a list with one for each configuration.
    let info = card.get("dataset_info")?;
    let infos = info
        .as_array()
        .map_or_else(|| std::slice::from_ref(info), Vec::as_slice);
    let features = infos
        .iter()
        .filter_map(|info| info.get("features")?.as_array())
        .flatten();
    let of_column =
        features.filter(|feature| feature.get("name").and_then(Value::as_str) == Some(column));
    let mut names =
        of_column.filter_map(|feature| ordered(feature.pointer("/dtype/class_label/names")?));
    let first = names.next()?;
    // Configurations that differ say nothing about which of them the files at hand are of.
    names.all(|other| other == first).then_some(first)
}

/// Names as a list, or by their numbers.
fn ordered(names: &Value) -> Option<Vec<String>> {
    if let Some(names) = strings(names) {
        return Some(names);
    }
    // `'0': cat`: numbers as keys, in any order.
    let names = names.as_object()?;
    (0..names.len())
        .map(|label| names.get(&label.to_string())?.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_a_card() {
        let folder = tempfile::tempdir().unwrap();
        let card = "---\nlicense: mit\ndataset_info:\n  features:\n  - name: img\n    dtype: image\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': airplane\n          '1': \"no\"\n          '10': ten\n          '2': bird\n          '3': a\n          '4': b\n          '5': c\n          '6': d\n          '7': e\n          '8': f\n          '9': g\n---\n# text\n";
        std::fs::write(folder.path().join("README.md"), card).unwrap();
        let names = of_readme(folder.path(), "label").unwrap();
        assert_eq!(
            (
                names.len(),
                names[1].as_str(),
                names[2].as_str(),
                names[10].as_str()
            ),
            (11, "no", "bird", "ten")
        );
        assert_eq!(of_readme(folder.path(), "other"), None);
    }

    #[test]
    fn templates_without_a_place_for_the_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_prompts(folder.path()).unwrap(), None);
        std::fs::write(folder.path().join("classnames.txt"), "cat\ndog\n").unwrap();
        std::fs::write(
            folder.path().join("zeroshot_classification_templates.txt"),
            "a photo of {c}.\na photo\n",
        )
        .unwrap();
        assert!(
            read_prompts(folder.path())
                .unwrap_err()
                .to_string()
                .contains("has no {c}")
        );
    }
}
