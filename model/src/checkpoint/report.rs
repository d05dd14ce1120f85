//! What of a checkpoint fitted a model and what did not.

use std::{fmt, path::PathBuf};

use crate::{Error, Result};

/// Parts of a full checkpoint that a smaller model does without.
const PARTS: [&str; 7] = [
    "flava.",
    "image_codebook.",
    "mim_head.",
    "mlm_head.",
    "itm_head.",
    "mmm_image_head.",
    "mmm_text_head.",
];

/// Names listed in a message before it says how many more there are.
const LISTED: usize = 5;

/// Tensors that are missing, unexpected or of another shape than the model's.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    path: PathBuf,
    /// The model has them, the checkpoint does not.
    pub missing: Vec<String>,
    /// The checkpoint has them, no FLAVA model does.
    pub unexpected: Vec<String>,
    /// The checkpoint has them for a part that this model was built without.
    pub unused: Vec<String>,
    /// Name, the model's shape, the checkpoint's shape.
    pub mismatched: Vec<(String, Vec<i64>, Vec<i64>)>,
}

impl LoadReport {
    pub(super) fn new(path: &std::path::Path) -> Self {
        Self {
            path: path.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn add_missing(&mut self, names: impl Iterator<Item = String>) {
        self.missing.extend(names);
    }

    pub(super) fn add_unexpected(&mut self, name: &str) {
        let known = PARTS[1..].iter().any(|part| name.starts_with(part));
        if known {
            &mut self.unused
        } else {
            &mut self.unexpected
        }
        .push(name.to_owned());
    }

    pub(super) fn add_mismatched(&mut self, name: &str, model: &[i64], file: &[i64]) {
        self.mismatched
            .push((name.to_owned(), model.to_owned(), file.to_owned()));
    }

    /// An error unless every tensor of the named parts (such as "flava", "`mim_head`") was loaded.
    pub fn require(&self, parts: &[&str]) -> Result<()> {
        let of_part = |name: &str, part: &str| {
            name.strip_prefix(part)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let of_parts = |name: &str| parts.iter().any(|part| of_part(name, part));
        let named = |names: &[String]| -> Vec<String> {
            names.iter().filter(|n| of_parts(n)).cloned().collect()
        };
        let missing = named(&self.missing);
        let shapes = self.mismatched.iter().filter(|(n, ..)| of_parts(n));
        let shapes: Vec<String> = shapes
            .map(|(n, model, file)| format!("{n} is {file:?}, the config says {model:?}"))
            .collect();
        // A tensor that the sizes have no place for, such as a block more: the numbers would be
        // another model's.
        let unexpected = named(&self.unexpected);
        if missing.is_empty() && shapes.is_empty() && unexpected.is_empty() {
            return Ok(());
        }
        Err(self.refusal(&missing, &shapes))
    }

    fn refusal(&self, missing: &[String], shapes: &[String]) -> Error {
        let nowhere = "has tensors that config.json has no place for:";
        let reasons = [
            ("lacks", missing),
            ("has other shapes than config.json:", shapes),
            (nowhere, self.unexpected.as_slice()),
        ];
        let reasons = reasons.iter().filter(|(_, names)| !names.is_empty());
        let reasons: Vec<String> = reasons
            .map(|(what, names)| format!("{what} {}", listed(names)))
            .collect();
        Error::Checkpoint {
            path: self.path.clone(),
            reason: reasons.join("; "),
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let shapes: Vec<String> = self
            .mismatched
            .iter()
            .map(|(n, model, file)| format!("{n} {file:?} for {model:?}"))
            .collect();
        let mut parts = Vec::new();
        for (what, names) in [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape", &shapes),
        ] {
            if !names.is_empty() {
                parts.push(format!("{what}: {}", listed(names)));
            }
        }
        let all = if parts.is_empty() {
            "every tensor fitted".to_owned()
        } else {
            parts.join("; ")
        };
        write!(f, "{}: {all}", self.path.display())
    }
}

fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(LISTED)].join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
