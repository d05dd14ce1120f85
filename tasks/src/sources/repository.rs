//! Which files of a repository on the Hub are which splits: by its card, or by how the files are
//! named.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{patterns::fits, reading::listed};
use crate::Split;

/// The configuration of data that names none.
const DEFAULT: &str = "default";
/// How the Hub names splits of which it converted the beginning alone.
const PARTIAL: &str = "partial-";

/// The splits of each configuration, and the name of the default one where it is told.
type Configs = (BTreeMap<String, Vec<Split>>, Option<String>);

/// The parquet files of a repository.
pub struct Repository<'a> {
    /// Paths of all its files.
    pub paths: Vec<&'a str>,
    /// Its README.md, if it has one.
    pub card: Option<&'a str>,
}

impl Repository<'_> {
    /// The splits of a configuration: of the one that is named, of the default one, or of the only
    /// one; with its name.
    ///
    /// # Errors
    /// Why there is none: no parquet, several configurations, or only the beginning of a split.
    pub fn splits(&self, config: &str) -> Result<(String, Vec<Split>), String> {
        let (mut configs, default) = self.configs();
        if configs.is_empty() {
            return Err("holds no parquet".into());
        }
        let names: Vec<String> = configs.keys().cloned().collect();
        let one = match (config, default, names.as_slice()) {
            ("", _, [only]) => only.clone(),
            ("", Some(default), _) if configs.contains_key(&default) => default,
            ("", ..) if configs.contains_key(DEFAULT) => DEFAULT.to_owned(),
            ("", ..) => {
                return Err(format!(
                    "has several configurations ({}): say which, with config = \"..\" in the task's source",
                    listed(&names)
                ));
            }
            (named, ..) => named.to_owned(),
        };
        let Some(splits) = configs.remove(&one) else {
            let near = flava_base::did_you_mean(&one, &names, 1);
            return Err(format!(
                "has no configuration {one:?}, only {}{near}",
                listed(&names)
            ));
        };
        if let Some(partial) = splits.iter().find(|split| split.name.starts_with(PARTIAL)) {
            let name = partial.name.trim_start_matches(PARTIAL);
            return Err(format!(
                "holds only the beginning of split {name} ({})",
                partial.files
            ));
        }
        Ok((one, splits))
    }

    /// The splits of each configuration, and the name of the default one, if the card tells it.
    fn configs(&self) -> Configs {
        let of_card = self.card.and_then(|card| self.of_card(card));
        of_card.unwrap_or_else(|| (self.of_names(), None))
    }

    /// As the card's front matter tells them; None where it does not, or not in patterns that are
    /// read.
    fn of_card(&self, card: &str) -> Option<Configs> {
        let matter = card.strip_prefix("---\n")?.split_once("\n---")?.0;
        let card: Value = serde_saphyr::from_str(matter).ok()?;
        let mut configs = BTreeMap::new();
        let mut default = None;
        for config in card.get("configs")?.as_array()? {
            let name = config.get("config_name")?.as_str()?.to_owned();
            let mut splits = Vec::new();
            for files in config.get("data_files")?.as_array()? {
                let split = files.get("split")?.as_str()?;
                let mut pattern = files.get("path")?.as_str()?.to_owned();
                if pattern.ends_with('*') {
                    pattern.push_str(".parquet");
                }
                let found = self.paths.iter().any(|path| fits(&pattern, path));
                if pattern.matches('*').count() > 1 || !pattern.ends_with(".parquet") || !found {
                    return None;
                }
                splits.push(Split::new(split, &pattern));
            }
            if config.get("default").and_then(Value::as_bool) == Some(true) {
                default = Some(name.clone());
            }
            configs.insert(name, splits);
        }
        (!configs.is_empty()).then_some((configs, default))
    }

    /// By how files are named: `CONFIG/SPLIT-00000-of-00001.parquet`, `CONFIG/SPLIT/0000.parquet`,
    /// `SPLIT.parquet`.
    fn of_names(&self) -> BTreeMap<String, Vec<Split>> {
        let mut configs: BTreeMap<String, Vec<Split>> = BTreeMap::new();
        for path in &self.paths {
            let Some(FileRole {
                config,
                split,
                pattern,
            }) = FileRole::of(path)
            else {
                continue;
            };
            let splits = configs.entry(config).or_default();
            if !splits.iter().any(|known| known.files == pattern) {
                splits.push(Split::new(&split, &pattern));
            }
        }
        configs
    }
}

/// What a file's path says of it.
struct FileRole {
    config: String,
    split: String,
    /// Of all files of the split.
    pattern: String,
}

impl FileRole {
    fn of(path: &str) -> Option<Self> {
        let stem = path.strip_suffix(".parquet")?;
        let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let inside = |folder: &str, name: &str| match folder {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        };
        let config = |folder: &str| match folder {
            "" | "data" => DEFAULT.to_owned(),
            folder => folder.to_owned(),
        };
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            let (above, split) = folder.rsplit_once('/').unwrap_or(("", folder));
            return (!split.is_empty()).then(|| Self {
                config: config(above),
                split: split.to_owned(),
                pattern: format!("{folder}/*.parquet"),
            });
        }
        let (split, file) = match name
            .split_once("-of-")
            .and_then(|(first, _)| first.rsplit_once('-'))
        {
            Some((split, _)) => (split, format!("{split}-*.parquet")),
            None => (name, format!("{name}.parquet")),
        };
        Some(Self {
            config: config(folder),
            split: split.to_owned(),
            pattern: inside(folder, &file),
        })
    }
}

/// The configuration and the name of a split of parquet in a registry's row, as the Hub's converted
/// branch has them.
pub fn converted_names(split: &Split) -> (Option<String>, String) {
    let files = split.fill(&split.files);
    let role = FileRole::of(&files.replace('*', "00000-of-00001"));
    role.map_or((None, split.name.clone()), |role| {
        let named = role.config != DEFAULT;
        (named.then_some(role.config), role.split)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(paths: &[&str], card: Option<&str>, config: &str) -> Result<String, String> {
        let repository = Repository {
            paths: paths.to_vec(),
            card,
        };
        let (config, splits) = repository.splits(config)?;
        let told = |split: &Split| format!("{}={}", split.name, split.files);
        let told: Vec<String> = splits.iter().map(told).collect();
        Ok(format!("{config}: {}", told.join(" ")))
    }

    #[test]
    fn splits_are_found_by_the_names_of_files() {
        let paths = [
            "README.md",
            "data/test-00000-of-00001-c5470.parquet",
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
        ];
        assert_eq!(
            splits(&paths, None, "").unwrap(),
            "default: test=data/test-*.parquet train=data/train-*.parquet"
        );
        let paths = [
            "cola/train/0000.parquet",
            "cola/train/0001.parquet",
            "rte/train/0000.parquet",
            "rte/index.duckdb",
        ];
        assert!(splits(&paths, None, "").unwrap_err().contains("cola, rte"));
        assert_eq!(
            splits(&paths, None, "rte").unwrap(),
            "rte: train=rte/train/*.parquet"
        );
        assert!(
            splits(&paths, None, "rti")
                .unwrap_err()
                .contains("did you mean rte?")
        );
        assert!(
            splits(&["default/partial-train/0000.parquet"], None, "")
                .unwrap_err()
                .contains("only the beginning of split train")
        );
        assert!(
            splits(&["a.csv"], None, "")
                .unwrap_err()
                .contains("no parquet")
        );
        assert_eq!(
            splits(&["train.parquet"], None, "").unwrap(),
            "default: train=train.parquet"
        );
    }

    #[test]
    fn a_card_says_which_files_are_which() {
        let card = "---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n    path: x/one-*\n- config_name: b\n  default: true\n  data_files:\n  - split: dev\n    path: y/two.parquet\n---\n";
        let paths = ["x/one-00000-of-00001.parquet", "y/two.parquet"];
        assert_eq!(
            splits(&paths, Some(card), "").unwrap(),
            "b: dev=y/two.parquet"
        );
        assert_eq!(
            splits(&paths, Some(card), "a").unwrap(),
            "a: train=x/one-*.parquet"
        );
        // Files that are not there make the card worthless.
        assert!(splits(&["train.parquet"], Some(card), "").is_ok());
    }

    #[test]
    fn a_row_of_the_registry_has_another_name_in_the_converted_branch() {
        let of = |files: &str| converted_names(&Split::new("x", files));
        assert_eq!(
            of("mnli/train-*.parquet"),
            (Some("mnli".into()), "train".into())
        );
        assert_eq!(of("data/test-*.parquet"), (None, "test".into()));
    }
}
