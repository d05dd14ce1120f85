//! How a model is pretrained: a TOML file with the model's sizes, the corpora, and the stages in
//! their order.

mod check;
mod check_stages;
mod stages;

use std::{collections::BTreeMap, path::Path};

use flava_base::{
    did_you_mean,
    overrides::{Override, finite, merge, read},
};
use flava_model::{FlavaConfig, processor::ImageProcessorConfig};
use flava_tasks::sources::Corpus;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use stages::{
    CodebookStage, DinoStage, Evaluate, Init, Part, RowKind, Share, Stage, TokenizerStage,
    TrainStage, TrainingSchedule,
};

use crate::{Error, Result};

/// Sizes, and what a model of that size is trained on.
const SIZES: [(&str, &str); 2] = [
    ("base", include_str!("../../recipes/base.toml")),
    ("mini", include_str!("../../recipes/mini.toml")),
];
/// The paper's columns: what differs from the whole of it.
const COLUMNS: [(&str, &str); 8] = [
    ("mim", include_str!("../../recipes/mim.toml")),
    ("mlm", include_str!("../../recipes/mlm.toml")),
    (
        "flava-c-local",
        include_str!("../../recipes/flava-c-local.toml"),
    ),
    ("flava-c", include_str!("../../recipes/flava-c.toml")),
    ("flava-mm", include_str!("../../recipes/flava-mm.toml")),
    (
        "flava-without-init",
        include_str!("../../recipes/flava-without-init.toml"),
    ),
    (
        "flava-beit-init",
        include_str!("../../recipes/flava-beit-init.toml"),
    ),
    ("flava", include_str!("../../recipes/flava.toml")),
];

/// A recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What it makes.
    pub summary: String,
    /// What it costs.
    pub cost: String,
    /// What to expect of the result.
    pub expect: String,
    /// Where its settings come from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What of it nobody has published.
    #[serde(default)]
    pub guesses: Vec<String>,
    /// The stages, in order.
    pub run: Vec<String>,
    /// Rows of a corpus that are mixed with each other.
    #[serde(default = "buffer")]
    pub shuffle_buffer: usize,
    /// Kind of the weights in the final folder: `f32` or `f16`.
    #[serde(default)]
    pub final_weights: FinalWeights,
    /// Keys of config.json that differ from flava-full's.
    pub model: Table,
    /// How patches are hidden.
    #[serde(default)]
    pub image_masks: ImageMasks,
    /// Corpora by name.
    pub corpora: BTreeMap<String, Corpus>,
    /// Stages by name.
    pub stage: BTreeMap<String, Stage>,
}

fn buffer() -> usize {
    16_384
}

/// Kind of the weights in the final folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinalWeights {
    /// As they are trained.
    #[default]
    F32,
    /// Half the size.
    F16,
}

/// How patches are hidden (`BEiT`'s blocks).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageMasks {
    /// Patches to hide, at most.
    pub total: usize,
    /// Smallest block.
    pub min_block: usize,
}

impl Default for ImageMasks {
    fn default() -> Self {
        Self {
            total: 75,
            min_block: 16,
        }
    }
}

/// `key=value` over a recipe's table, where the key's first part may be a stage's name.
fn set_over(table: &mut Table, setting: &str) -> std::result::Result<(), String> {
    let mut setting = Override::parse(setting)?;
    let stages = table.get("stage").and_then(Value::as_table).cloned();
    let mut fixed = 1;
    if stages
        .as_ref()
        .is_some_and(|stages| stages.contains_key(&setting.path[0]))
    {
        setting.path.insert(0, "stage".into());
    }
    if setting.path[0] == "stage" {
        fixed = 2;
    }
    let near = stages.map_or_else(String::new, |stages| {
        did_you_mean(&setting.path[0], stages.keys(), 1)
    });
    setting.apply(table, fixed).map_err(|reason| {
        let offered = reason.contains("did you mean");
        if offered { reason } else { reason + &near }
    })
}

impl Recipe {
    /// A built-in recipe (`mini`, `flava-base`, a column such as `flava-c`, at mini size
    /// `mini-flava-c`) or a file, with settings `stage.key=value` over it.
    pub fn open(name: &str, set: &[String]) -> Result<Self> {
        let wrong = |reason: String| Error::Recipe {
            name: name.to_owned(),
            reason,
        };
        let (mut table, mut own) = Self::table(name)?;
        for setting in set {
            set_over(&mut table, setting)
                .map_err(|reason| wrong(format!("--set {setting}: {reason}")))?;
            own.extend(
                setting
                    .strip_prefix("corpora.")
                    .and_then(|key| key.split(['.', '=']).next())
                    .map(str::to_owned),
            );
        }
        finite("", &Value::Table(table.clone())).map_err(wrong)?;
        let recipe: Self = read(table).map_err(wrong)?;
        recipe.check_named(&own).map_err(wrong)?;
        recipe.check().map_err(wrong)?;
        Ok(recipe)
    }

    /// A recipe as TOML, whole, to start one of your own from.
    pub fn text(name: &str) -> Result<String> {
        Self::open(name, &[])?.to_toml()
    }

    /// As TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Input(e.to_string()))
    }

    /// The names of the built-in recipes.
    pub fn names() -> Vec<String> {
        let columns = |prefix: &str| {
            COLUMNS
                .iter()
                .map(|(name, _)| format!("{prefix}{name}"))
                .collect::<Vec<_>>()
        };
        ["mini".to_owned(), "flava-base".to_owned()]
            .into_iter()
            .chain(columns(""))
            .chain(columns("mini-"))
            .collect()
    }

    /// A recipe before it is read, and the corpora that it does not inherit.
    fn table(name: &str) -> Result<(Table, Vec<String>)> {
        let wrong = |reason: String| Error::Recipe {
            name: name.to_owned(),
            reason,
        };
        let parse = |text: &str| toml::from_str::<Table>(text).map_err(|e| wrong(e.to_string()));
        let path = Path::new(name);
        if path.extension().is_some_and(|ending| ending == "toml") {
            let mut table = parse(&flava_base::read_text(path, flava_base::MAX_SETTINGS)?)?;
            let own = table
                .get("corpora")
                .and_then(Value::as_table)
                .map_or(Vec::new(), |corpora| corpora.keys().cloned().collect());
            let Some(base) = table.remove("extends") else {
                return Ok((table, own));
            };
            let base = base
                .as_str()
                .ok_or_else(|| wrong("extends is no name of a recipe".into()))?;
            if Path::new(base).extension().is_some() {
                return Err(wrong(format!(
                    "extends {base}: a file extends a built-in recipe"
                )));
            }
            let (mut whole, _) = Self::table(base)?;
            // What is said of the built-in recipe is not true of this one.
            for (key, said) in [
                ("summary", format!("{base} with the changes of {name}")),
                ("cost", String::new()),
                ("expect", String::new()),
            ] {
                whole.insert(key.into(), Value::String(said));
            }
            merge(&mut whole, table);
            return Ok((whole, own));
        }
        let (size, column) = match name {
            "mini" => ("mini", None),
            "flava-base" => ("base", None),
            _ => name
                .strip_prefix("mini-")
                .map_or(("base", Some(name)), |column| ("mini", Some(column))),
        };
        let of = |all: &[(&str, &'static str)], name: &str| {
            all.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, text)| *text)
        };
        let mut table = parse(of(&SIZES, size).unwrap_or_default())?;
        let Some(column) = column else {
            return Ok((table, Vec::new()));
        };
        let Some(text) = of(&COLUMNS, column) else {
            let known = Self::names();
            let near = did_you_mean(name, &known, 1);
            return Err(wrong(format!(
                "there is no such recipe, and no file of that name (.toml){near}"
            )));
        };
        let mut column = parse(text)?;
        let at = column.remove("at");
        merge(&mut table, column);
        // What the column has at this size alone.
        if let Some(Value::Table(only)) = at.as_ref().and_then(|at| at.get(size)) {
            merge(&mut table, only.clone());
        }
        Ok((table, Vec::new()))
    }

    /// The model's configuration; `words` is the size of the tokenizer.
    pub fn config(&self, words: usize) -> Result<FlavaConfig> {
        let json = serde_json::to_string(&self.model).map_err(|e| Error::Input(e.to_string()))?;
        let mut config = FlavaConfig::from_json(&json)?;
        // A table may be larger than the tokenizer where the recipe says so.
        let asked = self
            .model
            .get("text_config")
            .and_then(|text| text.get("vocab_size")?.as_integer())
            .unwrap_or(0);
        config.text_config.vocab_size = asked.max(words as i64);
        Ok(config)
    }

    /// How its pictures are prepared.
    pub fn processor(&self, config: &FlavaConfig) -> ImageProcessorConfig {
        let image = &config.image_config;
        let mut processor =
            ImageProcessorConfig::for_size(image.image_size as usize, image.patch_size as usize);
        processor.total_mask_patches = self.image_masks.total;
        processor.mask_group_min_patches = self.image_masks.min_block;
        processor
    }

    /// The stages, in order.
    pub fn stages(&self) -> impl Iterator<Item = (&str, &Stage)> {
        self.run
            .iter()
            .filter_map(|name| Some((name.as_str(), self.stage.get(name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_recipe_is_sound_and_says_what_it_costs() {
        for name in Recipe::names() {
            let recipe = Recipe::open(&name, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert!(
                !recipe.summary.is_empty() && !recipe.cost.is_empty() && !recipe.expect.is_empty(),
                "{name}"
            );
            assert!(
                recipe.stages().any(|(_, stage)| stage.steps() > 0),
                "{name}"
            );
        }
    }

    /// Pairs are drawn 150,000 times in every column, 70 % of the updates or all of them.
    #[test]
    fn columns_see_pairs_as_often_as_the_paper_has_it() {
        for (name, _) in COLUMNS {
            let recipe = Recipe::open(name, &[]).unwrap();
            let Stage::Train(joint) = &recipe.stage["joint"] else {
                panic!("joint trains")
            };
            let of = |corpus: &str| {
                joint
                    .mixture
                    .iter()
                    .filter(|share| share.corpus == corpus)
                    .map(|share| share.ratio)
                    .sum::<f64>()
            };
            let all: f64 = joint.mixture.iter().map(|share| share.ratio).sum();
            let pairs = joint.schedule.steps as f64 * of("pairs") / all;
            assert!((pairs - 150_000.0).abs() < 1.0, "{name}: {pairs}");
            assert_eq!(
                joint.evaluate.is_none(),
                ["mim", "mlm"].contains(&name),
                "{name}"
            );
        }
    }

    #[test]
    fn settings_go_over_the_recipe_and_mistakes_are_named() {
        let open = |set: &str| Recipe::open("mini", &[set.to_owned()]);
        let Stage::Train(joint) = &open("joint.schedule.steps=700").unwrap().stage["joint"] else {
            panic!("joint trains")
        };
        assert_eq!(joint.schedule.steps, 700);
        for (set, needle) in [
            ("joint.schedule.step=7", "did you mean steps?"),
            ("jiont.schedule.steps=7", "did you mean"),
            ("joint.negatives=2.0", "no share below 1"),
            ("joint.schedule.warmup=1000000", "a warmup of 1000000"),
            ("joint.caption_length=4000", "texts of 4000 tokens"),
            ("image_masks.total=5000", "image_masks"),
            ("model.hidden_size=63", "hidden_size"),
            (
                "run=[\"tokenizer\", \"textt\"]",
                "which is not there; did you mean text?",
            ),
            ("joint.weights={mim=0.0}", "has weight 0"),
            ("joint.weights={itm=0.0}", "would take them for right"),
            (
                r#"run=["tokenizer", "text", "image", "joint"]"#,
                "no stage before makes a codebook",
            ),
            (
                "model.image_config.num_layers=6",
                "did you mean num_hidden_layers?",
            ),
            (
                "model.text_config.hidden_dropout_prob=0.1",
                "the stages' dropout",
            ),
            ("image.outputs=-1", "at least 1"),
            (
                "joint.schedule.weight_decay=nan",
                "stage.joint.schedule.weight_decay = NaN is no number",
            ),
            ("joint.schedule.betas=[0.9, 1.0]", "betas"),
            ("joint.schedule.clip_norm=-1", "clip_norm = -1"),
            ("joint.schedule.max_broken=1.5", "max_broken = 1.5"),
            ("joint.weights={itm=-1.0}", "weights.itm = -1"),
            ("joint.crop={scale=[0.9, 0.1]}", "crop.scale"),
            ("image.global_crop.flip=7.0", "global_crop.flip"),
            ("image.colours.hue=2.0", "colours.hue"),
            ("codebook.usage_weight=-5.0", "usage_weight"),
            (
                "joint.schedule.steps=abc",
                "stage.joint: schedule.steps: invalid type",
            ),
            ("joint.weights.itm=0", "would take them for right"),
            (
                "stage.jiont={schedule={steps=5}}",
                "stage.jiont: has no kind",
            ),
            ("run=[]", "names no stage"),
            (
                r#"run=["codebook", "text"]"#,
                "no stage before makes a tokenizer",
            ),
            (
                r#"corpora.image={format="mini", world="pairs", rows=5}"#,
                "no stage reads the corpus image; did you mean images?",
            ),
            ("image.teacher_temperature=[0.0, 0.0]", "are positive"),
            (
                r#"joint.evaluate={every=5, tasks="mini-vqq", best_by="mini-vqa"}"#,
                "did you mean mini-vqa",
            ),
            (
                r#"joint.evaluate={every=5, tasks="mini-vqa", best_by="mini-retrieval"}"#,
                "which tasks (mini-vqa) do not name",
            ),
            (
                r#"joint.evaluate={every=5, tasks="glue", best_by="glue"}"#,
                "chosen by one",
            ),
        ] {
            let message = open(set).expect_err(set).to_string();
            assert!(message.contains(needle), "{set}: {message}");
        }
        assert!(
            open(r#"joint.mixture=[{corpus="images", ratio=1.0, rows="images"}]"#).is_ok(),
            "inherited corpora may be left unread"
        );
        let twice = open("joint.schedule.stepps=3").unwrap_err().to_string();
        assert_eq!(twice.matches("did you mean").count(), 1, "{twice}");
        assert!(
            Recipe::open("flava-see", &[])
                .unwrap_err()
                .to_string()
                .contains("did you mean")
        );
    }
}
