//! The encoder and head that are trained, from a checkpoint's weights or from random ones.

use std::path::Path;

use flava_heads::{Classifier, ClassifierKind};
use flava_model::{
    AttentionKind, Description, Flava, FlavaConfig, ImageInputs, TextInputs,
    checkpoint::Checkpoint,
    processor::{ImageProcessorConfig, TextProcessor},
    resize_positions,
    runtime::{Fill, Vars},
};
use flava_tasks::{
    Feature, HeadRecipe, Label, Recipe, Task, Tower,
    metrics::{process_answer, soft_score},
    sources::AnswerVocabulary,
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Reduction, Tensor, nn::VarStore};

use crate::{Error, Result, features::Rows};

/// Where the name of the position table is.
const POSITIONS: &str = "flava.image_model.embeddings.position_embeddings";

/// What the head's numbers mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Output {
    /// One class of many.
    Classes {
        /// How many.
        classes: usize,
    },
    /// An answer of a vocabulary, which may be right in part.
    Answers {
        /// The vocabulary, in the form in which answers are compared.
        answers: AnswerVocabulary,
    },
    /// A number.
    Value,
}

impl Output {
    /// What a task's labels ask for.
    pub(crate) fn of(task: &Task, rows: &Rows, recipe: &Recipe) -> Result<Self> {
        let train = rows.dataset();
        let kinds = train.label(0);
        Ok(match kinds {
            Label::Class(_) => Self::Classes {
                classes: task.classes,
            },
            Label::Value(_) => Self::Value,
            Label::Answers(_) => {
                let answers =
                    AnswerVocabulary::count(&[train], recipe.answer_min_count, process_answer);
                if answers.answers.len() < 2 {
                    let reason = "fewer than two answers are that of so many training questions";
                    return Err(Error::Other(format!(
                        "answer_min_count {}: {reason}",
                        recipe.answer_min_count
                    )));
                }
                check_targets(rows, &answers)?;
                Self::Answers { answers }
            }
            Label::Classes(_) | Label::None => {
                return Err(Error::Other(format!(
                    "the rows of {} have no labels that a head could be trained on",
                    task.name
                )));
            }
        })
    }

    /// Numbers of the head.
    pub(crate) fn width(&self) -> i64 {
        match self {
            Self::Classes { classes } => *classes as i64,
            Self::Answers { answers } => answers.answers.len() as i64,
            Self::Value => 1,
        }
    }

    /// What the loss is called in the log.
    pub(crate) fn loss_name(&self) -> &'static str {
        match self {
            Self::Classes { .. } => "cross_entropy",
            Self::Answers { .. } => "binary_cross_entropy",
            Self::Value => "squared_error",
        }
    }

    /// The loss of outputs \[batch, width\] against targets, a mean over the batch.
    pub(crate) fn loss(&self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let outputs = outputs.f_to_kind(Kind::Float)?;
        Ok(match self {
            Self::Classes { .. } => {
                outputs.f_cross_entropy_loss(targets, None::<Tensor>, Reduction::Mean, -100, 0.0)?
            }
            // Summed over the answers, as it is usual for VQA.
            Self::Answers { .. } => outputs
                .f_binary_cross_entropy_with_logits(
                    targets,
                    None::<Tensor>,
                    None::<Tensor>,
                    Reduction::Mean,
                )?
                .f_mul_scalar(self.width() as f64)?,
            Self::Value => outputs
                .f_squeeze_dim(1)?
                .f_mse_loss(targets, Reduction::Mean)?,
        })
    }
}

/// An answer is right in part by how many people gave it: where few were asked, nothing is.
fn check_targets(rows: &Rows, answers: &AnswerVocabulary) -> Result<()> {
    let known = answers.places();
    let mut most = 0;
    for &row in rows.indices() {
        let Label::Answers(given) = rows.dataset().label(row) else {
            continue;
        };
        most = most.max(given.len());
        let given: Vec<String> = given.iter().map(|answer| process_answer(answer)).collect();
        if given
            .iter()
            .any(|answer| known.contains_key(answer.as_str()) && soft_score(&given, answer) > 0.0)
        {
            return Ok(());
        }
    }
    let reason = format!(
        "every target of the {} training rows is 0: they have at most {most} answers each",
        rows.len()
    );
    let remedy = "VQA's accuracy takes the answers of ten people, and one that a single person gave counts for nothing. \
                  Repeat each answer ten times, or give the answers as classes (a label column) with metric accuracy";
    Err(Error::Other(format!("{reason}; {remedy}")))
}

/// Encoders, head and their variables.
pub(crate) struct Network {
    pub(crate) store: VarStore,
    pub(crate) flava: Flava,
    pub(crate) head: Classifier,
    pub(crate) config: FlavaConfig,
    pub(crate) image: ImageProcessorConfig,
    pub(crate) text: std::sync::Arc<TextProcessor>,
    pub(crate) feature: Feature,
    pub(crate) output: Output,
}

impl Network {
    /// From a folder in Hugging Face's layout; `random` starts from new weights of its sizes.
    pub(crate) fn new(
        folder: &Path,
        random: bool,
        recipe: &Recipe,
        (feature, output): (Feature, Output),
        (seed, device): (u64, Device),
    ) -> Result<Self> {
        let Description {
            mut config,
            mut image,
            text,
            ..
        } = Description::open(folder)?;
        let patch = config.image_config.patch_size;
        if recipe.image_size > 0 && feature.tower != Tower::Text {
            if recipe.image_size as i64 % patch != 0 {
                return Err(Error::Other(format!(
                    "image_size {} is no multiple of the patches' {patch}",
                    recipe.image_size
                )));
            }
            config.image_config.image_size = recipe.image_size as i64;
            image = image.with_side(recipe.image_size, patch as usize);
        }
        config.set_dropout(recipe.dropout);
        config.check()?;
        let store = VarStore::new(Device::Cpu);
        tch::manual_seed(seed as i64);
        let fill = if random {
            Fill::New(config.initializer_range)
        } else {
            Fill::Unset
        };
        let flava = Flava::new(
            &(Vars::root(&store, fill) / "flava"),
            &config,
            AttentionKind::Fused,
        );
        if !random {
            load(folder, &store, &config)?;
        }
        tch::manual_seed(seed as i64);
        let (kind, dropout) = match recipe.head {
            HeadRecipe::Pooled { dropout } => (ClassifierKind::Pooled, dropout),
            HeadRecipe::Mlp { hidden, dropout } => (ClassifierKind::Mlp { hidden }, dropout),
        };
        let vars = Vars::root(&store, Fill::New(config.initializer_range)) / "classifier";
        let size = match feature.tower {
            Tower::Image => config.image_config.hidden_size,
            Tower::Text => config.text_config.hidden_size,
            Tower::Multimodal => config.multimodal_config.hidden_size,
        };
        let head = Classifier::new(
            &vars,
            kind,
            (size, output.width()),
            dropout,
            config.text_config.layer_norm_eps,
        );
        let mut network = Self {
            store,
            flava,
            head,
            config,
            image,
            text: text.into(),
            feature,
            output,
        };
        network.store.set_device(device);
        for (name, variable) in network.store.variables() {
            let _set = variable.set_requires_grad(network.trains(&name));
        }
        Ok(network)
    }

    /// Whether a variable is part of what the feature is made by.
    fn trains(&self, name: &str) -> bool {
        let parts: &[&str] = match self.feature.tower {
            Tower::Image => &["flava.image_model.", "classifier."],
            Tower::Text => &["flava.text_model.", "classifier."],
            Tower::Multimodal => &[
                "flava.image_model.",
                "flava.text_model.",
                "flava.multimodal_model.",
                "flava.image_to_mm_",
                "flava.text_to_mm_",
                "classifier.",
            ],
        };
        parts.iter().any(|part| name.starts_with(part))
    }

    /// The variables that are trained, by name, in order.
    pub(crate) fn trained(&self) -> Vec<(String, Tensor)> {
        let mut variables: Vec<(String, Tensor)> = self
            .store
            .variables()
            .into_iter()
            .filter(|(name, _)| self.trains(name))
            .collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        variables
    }

    /// Outputs \[batch, width\] of a batch.
    pub(crate) fn forward(
        &mut self,
        text: Option<&TextInputs>,
        images: Option<&ImageInputs>,
        train: bool,
    ) -> Result<Tensor> {
        self.flava.set_train(train);
        let missing = || {
            Error::Other(format!(
                "{} needs a picture and a text",
                self.feature.name()
            ))
        };
        let cls = match (self.feature.tower, text, images) {
            (Tower::Text, Some(text), _) => self.flava.encode_text_cls(text)?.cls(),
            (Tower::Image, _, Some(images)) => self.flava.encode_image_cls(images)?.cls(),
            (Tower::Multimodal, Some(text), Some(images)) => {
                let (image, encoded) = (
                    self.flava.encode_image(images)?,
                    self.flava.encode_text(text)?,
                );
                self.flava
                    .encode_multimodal_cls(&image, &encoded, text.attention_mask.as_ref())?
                    .cls()
            }
            _ => return Err(missing()),
        };
        Ok(self.head.forward(&cls, train)?)
    }
}

/// A checkpoint's encoders into the store; a table of positions of another size is resized.
fn load(folder: &Path, store: &VarStore, config: &FlavaConfig) -> Result<()> {
    let checkpoint = Checkpoint::open(folder)?;
    let mut report = checkpoint.load_into(store)?;
    if let Some(place) = report
        .mismatched
        .iter()
        .position(|(name, ..)| name == POSITIONS)
    {
        let table = checkpoint.tensors()[POSITIONS]
            .to_tensor()?
            .f_to_kind(Kind::Float)?;
        let resized = resize_positions(
            &table,
            config.image_config.grid(),
            config.image_config.grid(),
        )?;
        let mut variables = store.variables();
        if let Some(variable) = variables
            .get_mut(POSITIONS)
            .filter(|variable| variable.size() == resized.size())
        {
            tch::no_grad(|| variable.set_data(&resized));
            report.mismatched.remove(place);
        }
    }
    Ok(report.require(&["flava"])?)
}
