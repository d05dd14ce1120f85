//! What a record's model is called in files that others read.

use crate::Record;

/// The owner of models that are not on the Hub: readers want one.
const LOCAL: &str = "local";
/// Letters of a local model's fingerprint in its name.
const LETTERS: usize = 8;

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
        let known = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
        let clean: String = last.unwrap_or_default().chars().filter(known).collect();
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
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
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
