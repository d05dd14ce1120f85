//! How a task is fine-tuned: a TOML file for each, with the number that it aims at and what of it
//! is a guess.

use std::path::Path;

use flava_base::{LrDecay, did_you_mean, hex, overrides::Override};
use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::{ChosenOn, Error, Family, HeadRecipe, LoraRecipe, Method, Result, Task, Tower};

/// The built-in recipes: a task's own, or those of a kind of encoder.
static BUILT_IN: Dir = include_dir!("$CARGO_MANIFEST_DIR/recipes");
/// Names of those that tasks without a recipe of their own take.
const TEXT: &str = "text";
const MULTIMODAL: &str = "multimodal";
const VISION: &str = "vision";

/// Version of the rules that all recipes share. 2: what does not decay is biases, norms, tables of
/// positions and tokens, as in pretraining; words and the patch projection do.
const VERSION: u32 = 2;

/// Every setting that must be given, and both lengths: with the defaults, a recipe of all settings.
const WHOLE: &str = r#"
aims_at = "none"
head = { kind = "mlp", hidden = 1, dropout = 0.0 }
steps = 1
epochs = 1.0
batch_size = 1
learning_rate = 1.0
warmup = 0.0
weight_decay = 0.0
"#;

/// How a task is fine-tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The published number that it aims at; "none" where there is none.
    pub aims_at: String,
    /// What of it nobody has published.
    #[serde(default)]
    pub guesses: Vec<String>,
    /// What it costs and what to expect.
    #[serde(default)]
    pub note: String,
    /// What stands on the CLS state.
    pub head: HeadRecipe,
    /// Updates of the weights; or else `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Passes over the training rows; or else `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Rows of one update.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// What the head's rate is multiplied by.
    #[serde(default = "one")]
    pub head_rate_factor: f64,
    /// Updates over which the rate rises; a number below 1 is a share of all.
    pub warmup: f64,
    /// What follows.
    #[serde(default)]
    pub decay: LrDecay,
    /// Adam's averages.
    #[serde(default = "betas")]
    pub betas: [f64; 2],
    /// Adam's epsilon.
    #[serde(default = "eps")]
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether biases, norms, positions and tokens decay too.
    #[serde(default)]
    pub decay_all: bool,
    /// Norm that gradients are cut to; 0 cuts none.
    #[serde(default)]
    pub clip_norm: f64,
    /// Dropout of the encoders' states and attention.
    #[serde(default)]
    pub dropout: f64,
    /// Tokens that a text is cut to.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
    /// Side of the images, with resized position embeddings; 0 is the checkpoint's.
    #[serde(default)]
    pub image_size: usize,
    /// Updates between evaluations; 0 evaluates after each pass over the rows.
    #[serde(default)]
    pub evaluate_every: usize,
    /// Evaluations without a better score after which training stops; 0 never stops early.
    #[serde(default)]
    pub patience: usize,
    /// Decay of a moving average of the weights, which is what is evaluated and kept; 0 keeps the
    /// weights themselves.
    #[serde(default)]
    pub ema: f64,
    /// VQA: of how many training questions an answer must be the most frequent one to be one that
    /// is chosen from.
    #[serde(default = "answer_min_count")]
    pub answer_min_count: usize,
    /// What the checkpoint is chosen on where the task has no validation split: a tenth of the
    /// training rows, unless it says the scored ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_on: Option<ChosenOn>,
    /// Parts of the encoders that are not trained, such as `text.embeddings` or `image.layers.0-5`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// What the rate of each block is multiplied by, once for each block above it and once for the
    /// head; embeddings lie below all. 1 for one rate.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub layer_rate_decay: f64,
    /// What is taken of the right class's target and given to all alike.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub label_smoothing: f64,
    /// Low-rank additions that are trained in place of the encoders' weights, with the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraRecipe>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_one(value: &f64) -> bool {
    *value == 1.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn one() -> f64 {
    1.0
}

fn betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn eps() -> f64 {
    1e-8
}

fn max_tokens() -> usize {
    77
}

fn answer_min_count() -> usize {
    9
}

impl Recipe {
    /// The recipe of a task: the file, or the task's own, or its family's; with settings
    /// `key=value` over it. Also its name.
    pub fn of(task: &Task, file: Option<&Path>, settings: &[String]) -> Result<(Self, String)> {
        let (name, text) = text_of(task, file)?;
        let broken = |reason: String| Error::TaskFile {
            file: format!("recipe {name}"),
            reason,
        };
        let mut table: Table = toml::from_str(&text).map_err(|e| broken(e.to_string()))?;
        let whole = |table: &Table| table.clone().try_into::<Self>();
        let length = |table: &Table| whole(table).ok().and_then(|recipe| recipe.steps);
        let before = length(&table);
        for setting in settings {
            let of_setting = |reason: String| Error::TaskFile {
                file: format!("--set {setting}"),
                reason,
            };
            let was_read = whole(&table).is_ok();
            set(&mut table, setting).map_err(of_setting)?;
            match whole(&table) {
                Err(error) if was_read => return Err(of_setting(error.message().to_owned())),
                _ => {}
            }
        }
        if let (Some(before), Some(after)) = (before, length(&table))
            && !settings
                .iter()
                .any(|setting| setting.starts_with("warmup="))
        {
            scale_warmup(&mut table, after as f64 / before as f64);
        }
        let recipe: Self = table
            .try_into()
            .map_err(|e: toml::de::Error| broken(e.to_string().trim().to_owned()))?;
        match recipe.problem() {
            Some(problem) => Err(broken(problem)),
            None => Ok((recipe, name)),
        }
    }

    /// Digest of its settings and of the rules that all recipes share.
    pub fn digest(&self) -> String {
        // Which rows choose is told by the rows.
        let plain = Self {
            chosen_on: None,
            ..self.clone()
        };
        let settings = serde_json::to_string(&plain).unwrap_or_default();
        hex(&Sha256::digest(format!("{VERSION} {settings}"))[..8])
    }

    /// What contradicts itself in it, if anything.
    fn problem(&self) -> Option<String> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value >= 0.0;
        let dropout = match self.head {
            HeadRecipe::Pooled { dropout } | HeadRecipe::Mlp { dropout, .. } => dropout,
        };
        match self {
            _ if self.steps.is_some() == self.epochs.is_some() => Some("either steps or epochs must be given".into()),
            _ if self.steps == Some(0) || self.epochs.is_some_and(|epochs| epochs <= 0.0) => Some("there is nothing to train".into()),
            _ if self.batch_size == 0 => Some("batch_size is 0".into()),
            _ if !self.learning_rate.is_finite() || self.learning_rate <= 0.0 => Some(format!("learning_rate {}", self.learning_rate)),
            _ if ![dropout, self.dropout, self.ema, self.betas[0], self.betas[1], self.label_smoothing].into_iter().all(share) => {
                Some("dropout, ema, betas and label_smoothing are at least 0 and below 1".into())
            }
            _ if !(self.layer_rate_decay > 0.0 && self.layer_rate_decay <= 1.0) => {
                Some(format!("layer_rate_decay {} is not above 0 and at most 1", self.layer_rate_decay))
            }
            _ if self.epochs.is_some_and(|epochs| !epochs.is_finite() || epochs > 1e6) => {
                Some(format!("epochs {}", self.epochs.unwrap_or(0.0)))
            }
            _ if ![self.eps, self.weight_decay, self.clip_norm, self.head_rate_factor, self.warmup].into_iter().all(positive) => {
                Some("eps, weight_decay, clip_norm, head_rate_factor and warmup are finite and not negative".into())
            }
            _ if matches!(self.head, HeadRecipe::Mlp { hidden, .. } if hidden < 1) => Some("head.hidden is at least 1".into()),
            _ if self.lora.as_ref().is_some_and(|lora| !lora.is_possible()) => {
                Some("lora has a rank of 1 to 1024, a finite alpha above 0, and projections that it is on, each once".into())
            }
            _ if self.lora.is_some() && self.ema > 0.0 => Some("lora goes without ema".into()),
            _ if self.max_tokens < 3 => Some(format!("max_tokens {} leaves no room for a word", self.max_tokens)),
            _ => None,
        }
    }
}

/// Brings a warmup of so many updates into the proportion that it had, where there are fewer, and
/// notes it.
fn scale_warmup(table: &mut Table, factor: f64) {
    let warmup = table.get("warmup");
    let warmup = warmup.and_then(|value| value.as_float().or(value.as_integer().map(|n| n as f64)));
    let Some(warmup) = warmup.filter(|warmup| *warmup >= 1.0 && factor < 1.0) else {
        return;
    };
    let scaled = (warmup * factor).round().max(1.0);
    table.insert("warmup".into(), scaled.into());
    let note = format!("warmup is {scaled} updates, not {warmup}, as there are fewer steps");
    let said = table.get("note").and_then(Value::as_str).unwrap_or("");
    let all = if said.is_empty() {
        note
    } else {
        format!("{said}; {note}")
    };
    table.insert("note".into(), all.into());
}

/// Name and text of the recipe of a file, or of the task's built-in one.
fn text_of(task: &Task, file: Option<&Path>) -> Result<(String, String)> {
    if let Some(path) = file {
        let text = flava_base::read_text(path, flava_base::MAX_SETTINGS)?;
        return Ok((path.display().to_string(), text));
    }
    let name = built_in(task);
    let text = embedded(name).unwrap_or_default();
    Ok((name.to_owned(), text.to_owned()))
}

/// Text of a built-in recipe.
fn embedded(name: &str) -> Option<&'static str> {
    BUILT_IN.get_file(format!("{name}.toml"))?.contents_utf8()
}

/// The task's own recipe; that of its benchmark's other splits; that of its encoder.
fn built_in(task: &Task) -> &str {
    let benchmark = "hateful-memes";
    let rest = task.name.strip_prefix(benchmark);
    if embedded(&task.name).is_some() {
        &task.name
    } else if rest.is_some_and(|rest| rest.starts_with('-')) {
        benchmark
    } else {
        of_encoder(task)
    }
}

fn of_encoder(task: &Task) -> &'static str {
    match (&task.method, task.family) {
        (Method::FineTune { feature }, _) => match feature.tower {
            Tower::Text => TEXT,
            Tower::Image => VISION,
            Tower::Multimodal => MULTIMODAL,
        },
        (_, Family::Text) => TEXT,
        (_, Family::Vision) => VISION,
        (_, Family::Multimodal) => MULTIMODAL,
    }
}

/// `key=value` over a recipe's table; `head.dropout=0.2` reaches into a table.
fn set(table: &mut Table, setting: &str) -> std::result::Result<(), String> {
    let mut setting = Override::parse(setting)?;
    if setting.path == ["lr"] {
        setting.path = vec!["learning_rate".into()];
    }
    let key = setting.path.join(".");
    let known = keys()?;
    if !known.contains(&key) {
        let near = did_you_mean(&key, &known, 1);
        return Err(format!("there is no such setting{near}"));
    }
    if key.starts_with("lora.") {
        let lora = table.entry("lora");
        lora.or_insert_with(|| Value::Table(Table::new()));
    }
    // One of the two lengths replaces the other.
    match key.as_str() {
        "steps" => drop(table.remove("epochs")),
        "epochs" => drop(table.remove("steps")),
        _ => {}
    }
    setting.apply(table, usize::MAX)
}

/// The settings that there are.
fn keys() -> std::result::Result<Vec<String>, String> {
    let whole: Recipe = toml::from_str(WHOLE).map_err(|e| e.to_string())?;
    let table = Table::try_from(&whole).map_err(|e| e.to_string())?;
    let inner = [
        "head.kind",
        "head.hidden",
        "head.dropout",
        "chosen_on",
        "freeze",
        "layer_rate_decay",
        "label_smoothing",
        "lora",
        "lora.rank",
        "lora.alpha",
        "lora.on",
    ]
    .map(str::to_owned);
    let outer = table.keys().filter(|key| *key != "head");
    Ok(outer.cloned().chain(inner).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    #[test]
    fn every_task_has_a_recipe_that_reads() {
        for task in Registry::built_in().unwrap().tasks() {
            let (recipe, name) =
                Recipe::of(task, None, &[]).unwrap_or_else(|e| panic!("{}: {e}", task.name));
            if matches!(task.method, Method::FineTune { .. }) {
                assert!(
                    name == task.name || name == "hateful-memes",
                    "{} has {name}",
                    task.name
                );
                assert!(!recipe.aims_at.is_empty());
            }
        }
    }

    #[test]
    fn a_shorter_training_warms_up_in_proportion_and_says_so() {
        let registry = Registry::built_in().unwrap();
        let of = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
            Recipe::of(registry.get("rte").unwrap(), None, &settings)
                .unwrap()
                .0
        };
        assert_eq!(of(&[]).warmup, 122.0);
        let short = of(&["steps=200"]);
        assert_eq!((short.warmup, short.note.contains("not 122")), (12.0, true));
        assert_eq!(of(&["steps=200", "warmup=50"]).warmup, 50.0);
    }

    #[test]
    fn settings_replace_values_and_unknown_ones_are_named() {
        let registry = Registry::built_in().unwrap();
        let of = |settings: &[&str]| {
            Recipe::of(
                registry.get("rte").unwrap(),
                None,
                &settings.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(),
            )
        };
        let (recipe, _) = of(&["lr=3e-5", "epochs=2", "head.dropout=0.3", "decay=cosine"]).unwrap();
        assert_eq!(
            (
                recipe.learning_rate,
                recipe.epochs,
                recipe.steps,
                recipe.decay
            ),
            (3e-5, Some(2.0), None, LrDecay::Cosine)
        );
        assert_eq!(recipe.head, HeadRecipe::Pooled { dropout: 0.3 });
        for (setting, needle) in [
            ("learning_rat=1", "did you mean learning_rate?"),
            ("steps", "no key=value"),
            ("steps=0", "nothing to train"),
            ("batch_size=-1", "batch_size"),
            ("dropout=1.5", "below 1"),
            ("batch_size=many", "--set batch_size=many"),
            ("layer_rate_decay=2", "at most 1"),
            ("decay=square", "square"),
        ] {
            let error = of(&[setting]).unwrap_err().to_string();
            assert!(error.contains(needle), "{setting}: {error}");
        }
    }
}
