//! What a model is called in files that others read, and in the names of files.

use crate::Record;

/// The owner of models that are not on the Hub: readers want one.
const LOCAL: &str = "local";
/// Letters of a local model's fingerprint in its name.
const LETTERS: usize = 8;
/// Letters of a fingerprint in the name of a file or folder.
const LETTERS_OF_FILES: usize = 12;

/// The name of a model's own file or folder: what the model is called, and the beginning of its
/// fingerprint, so that no two models write to one place.
pub fn model_file_name(model: &str, fingerprint: &str) -> String {
    let plain = |c: char| if is_plain(c) { c } else { '-' };
    let name: String = model.replace('/', "__").chars().map(plain).collect();
    let name = name.trim_start_matches(['.', '-']);
    let letters: String = fingerprint.chars().take(LETTERS_OF_FILES).collect();
    let between = if name.is_empty() { "" } else { "-" };
    format!("{name}{between}{letters}")
}

/// Whether a letter may stand in a name on the Hub and in that of a file.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.".contains(letter)
}

/// A model's owner and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ModelName {
    /// Whether it is a repository of the Hub.
    pub(super) on_hub: bool,
    /// Its owner there; "local" of a model that lies elsewhere.
    pub(super) owner: String,
    /// Its name there, or that of its folder with the first letters of its fingerprint.
    pub(super) name: String,
}

impl ModelName {
    /// The Hub's name where the record has a revision of it. Of a folder only the last part is
    /// told, since the rest says where somebody keeps things.
    pub(super) fn of(record: &Record) -> Self {
        let hub = record.model.split_once('/').filter(|(owner, name)| {
            !record.model_revision.is_empty() && is_hub_part(owner) && is_hub_part(name)
        });
        if let Some((owner, name)) = hub {
            return Self {
                on_hub: true,
                owner: owner.to_owned(),
                name: name.to_owned(),
            };
        }
        let last = record.model.split(['/', '\\']).rfind(|p| !p.is_empty());
        let letters = last.unwrap_or_default().chars();
        let clean: String = letters.filter(|letter| is_plain(*letter)).collect();
        let clean = clean.trim_matches(['.', '-']);
        let folder = if clean.is_empty() { "model" } else { clean };
        let fingerprint: String = record.model_fingerprint.chars().take(LETTERS).collect();
        Self {
            on_hub: false,
            owner: LOCAL.to_owned(),
            name: format!("{folder}-{fingerprint}"),
        }
    }

    /// Owner and name with something between.
    pub(super) fn joined(&self, between: &str) -> String {
        format!("{}{between}{}", self.owner, self.name)
    }
}

fn is_hub_part(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && part.chars().all(is_plain)
}

/// The records of one model, told apart by weights and revision.
pub(super) struct OfModel<'a> {
    pub(super) model: ModelName,
    pub(super) records: Vec<&'a Record>,
}

/// Records by their model, in the order in which the models come first.
pub(super) fn by_model<'a>(records: &[&'a Record]) -> Vec<OfModel<'a>> {
    let mut groups: Vec<OfModel> = Vec::new();
    for &record in records {
        let same = |group: &&mut OfModel<'a>| {
            let first = group.records[0];
            first.model_fingerprint == record.model_fingerprint
                && first.model_revision == record.model_revision
                && first.model == record.model
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.records.push(record),
            None => groups.push(OfModel {
                model: ModelName::of(record),
                records: vec![record],
            }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record;

    #[test]
    fn files_of_two_models_are_two() {
        let digest = "0123456789abcdef";
        let name = |model| model_file_name(model, digest);
        assert_eq!(
            name("facebook/flava-full"),
            "facebook__flava-full-0123456789ab"
        );
        assert_eq!(name("../my model"), "__my-model-0123456789ab");
        assert_eq!(name(".."), "0123456789ab");
    }

    #[test]
    fn a_folders_place_is_not_told() {
        let of = |model: &str, revision: &str| {
            let model = Record {
                model: model.into(),
                model_revision: revision.into(),
                model_fingerprint: "0123456789".into(),
                ..record("a")
            };
            ModelName::of(&model).joined("/")
        };
        assert_eq!(of("facebook/flava-full", "abc"), "facebook/flava-full");
        assert_eq!(of("runs/checkpoint", ""), "local/checkpoint-01234567");
        assert_eq!(of("/home/me/my model/", ""), "local/mymodel-01234567");
        assert_eq!(of("..", ""), "local/model-01234567");
        assert_eq!(of("../x", "abc"), "local/x-01234567");
        assert_eq!(of("embedded", ""), "local/embedded-01234567");
    }
}
