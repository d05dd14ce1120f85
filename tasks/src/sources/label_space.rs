//! One numbering of the classes for a task: what its row, its splits and their shards call the
//! classes is compared, and what stands in another order is put in one.

use std::{collections::HashMap, sync::Arc};

use super::dataset::{Dataset, Example, ImageOrigin, Label};
use crate::Result;

/// Names that a message lists before it says how many more there are.
const LISTED: usize = 12;

/// The classes in the order of the labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSpace {
    /// Who numbers them so.
    pub of: String,
    /// Their names.
    pub names: Vec<String>,
}

impl LabelSpace {
    /// The numbering of `of`.
    ///
    /// # Errors
    /// If a name occurs twice.
    pub fn new(of: &str, names: Vec<String>) -> std::result::Result<Self, String> {
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (class, name) in names.iter().enumerate() {
            if let Some(before) = first.insert(name, class) {
                return Err(format!(
                    "{of} calls both class {before} and class {class} {name:?}"
                ));
            }
        }
        Ok(Self {
            of: of.to_owned(),
            names,
        })
    }

    /// For each class of `of`, its number here; None where all stand in the same order.
    ///
    /// # Errors
    /// If the names are not the same set.
    pub fn map(
        &self,
        of: &str,
        names: &[String],
    ) -> std::result::Result<Option<Vec<usize>>, String> {
        if names == self.names {
            return Ok(None);
        }
        Self::new(of, names.to_vec())?;
        let position = |name: &String| self.names.iter().position(|other| other == name);
        let map: Option<Vec<usize>> = names.iter().map(position).collect();
        if map
            .as_ref()
            .is_some_and(|map| map.len() == self.names.len())
        {
            return Ok(map);
        }
        Err(format!(
            "the classes differ: {} has {}; {of} has {}",
            self.of,
            listed(&self.names),
            listed(names)
        ))
    }
}

fn listed(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(LISTED)
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A split whose labels are renumbered.
pub(super) struct Renumbered {
    dataset: Arc<dyn Dataset>,
    map: Vec<usize>,
    names: Vec<String>,
}

impl Renumbered {
    pub(super) fn new(dataset: Arc<dyn Dataset>, map: Vec<usize>, names: Vec<String>) -> Self {
        Self {
            dataset,
            map,
            names,
        }
    }

    fn renumber(&self, label: Label) -> Label {
        let to = |class: usize| self.map.get(class).copied().unwrap_or(class);
        match label {
            Label::Class(class) => Label::Class(to(class)),
            Label::Classes(classes) => Label::Classes(classes.into_iter().map(to).collect()),
            other => other,
        }
    }
}

impl Dataset for Renumbered {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn id(&self, index: usize) -> String {
        self.dataset.id(index)
    }

    fn label(&self, index: usize) -> Label {
        self.renumber(self.dataset.label(index))
    }

    fn cluster(&self, index: usize) -> usize {
        self.dataset.cluster(index)
    }

    fn texts(&self, index: usize) -> usize {
        self.dataset.texts(index)
    }

    fn slice(&self, index: usize) -> Option<&str> {
        self.dataset.slice(index)
    }

    fn class_names(&self) -> Option<&[String]> {
        Some(&self.names)
    }

    fn notes(&self) -> Vec<String> {
        self.dataset.notes()
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        self.dataset.image_origin(index)
    }

    fn get(&self, index: usize) -> Result<Example> {
        let example = self.dataset.get(index)?;
        Ok(Example {
            label: self.renumber(example.label),
            ..example
        })
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        self.dataset.texts_of(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn equal_sets_are_mapped_and_others_refused() {
        let space = LabelSpace::new("train", names(&["red", "green", "blue"])).unwrap();
        assert_eq!(
            space.map("test", &names(&["red", "green", "blue"])),
            Ok(None)
        );
        assert_eq!(
            space.map("test", &names(&["blue", "red", "green"])),
            Ok(Some(vec![2, 0, 1]))
        );
        for other in [
            &["Red", "green", "blue"][..],
            &["red", "green"],
            &["red", "green", "blue", "black"],
            &["red", "red", "blue"],
        ] {
            let error = space.map("test", &names(other)).unwrap_err();
            assert!(error.contains("test"), "{error}");
        }
        assert!(
            LabelSpace::new("train", names(&["red", "red"]))
                .unwrap_err()
                .contains("class 0 and class 1")
        );
    }
}
