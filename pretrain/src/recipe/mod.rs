//! How a model is pretrained: a TOML file with the model's sizes, the corpora, and the stages in
//! their order.

mod built_in;
mod check;
mod check_stages;
mod losses;
mod model;
mod schedule;
mod stages;
mod train;

use std::collections::BTreeMap;

use flava_base::{
    did_you_mean,
    overrides::{Override, finite, read},
};
use flava_tasks::sources::Corpus;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub(crate) use check::{MODEL_FOLDER, UNTRAINED_FOLDER};
pub use losses::{LossWeights, RowKind};
pub use model::{FinalWeights, ImageMasks};
pub use schedule::TrainingSchedule;
pub use stages::{CodebookStage, DinoStage, Stage, TokenizerStage};
pub use train::{Evaluate, Init, Part, Share, TrainStage};

use crate::{Error, Result};
use built_in::{Draft, draft, wrong};

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
        let wrong = wrong(name);
        let Draft { mut table, mut own } = draft(name)?;
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
        finite("", &Value::Table(table.clone())).map_err(&wrong)?;
        let recipe: Self = read(table).map_err(&wrong)?;
        recipe.check_named(&own).map_err(&wrong)?;
        recipe.check().map_err(&wrong)?;
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
        built_in::names()
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
    use super::{built_in::columns, *};

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
        for name in columns() {
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
                "which is not there\nhint: did you mean text?",
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
                "no stage reads the corpus image\nhint: did you mean images?",
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
