//! The encoder and head that are trained, from a checkpoint's weights or from random ones.

use std::path::Path;

use flava_heads::{Classifier, ClassifierConfig, ClassifierKind};
use flava_model::{
    AttentionKind, Description, Flava, FlavaConfig, ImageInputs, TextInputs,
    checkpoint::Checkpoint,
    processor::{ImageProcessorConfig, TextProcessor},
    resize_positions,
    runtime::{Fill, Vars},
};
use flava_tasks::{Feature, HeadRecipe, LoraRecipe, Recipe, Tower};
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{Output, depth::Frozen};
use crate::{Error, Result};

/// How the names of what is added to a layer go on after its own.
const ADDITION: &str = ".lora_";
/// Where the name of the position table is.
const POSITIONS: &str = "flava.image_model.embeddings.position_embeddings";

/// What a network is made from, and for.
pub(crate) struct NetworkStart<'a> {
    /// A folder in Hugging Face's layout.
    pub(crate) folder: &'a Path,
    /// Whether it starts from new weights of the folder's sizes.
    pub(crate) random: bool,
    pub(crate) recipe: &'a Recipe,
    /// What the head reads.
    pub(crate) feature: Feature,
    /// What its numbers mean.
    pub(crate) output: Output,
    /// What is trained in place of the encoders' weights.
    pub(crate) lora: Option<&'a LoraRecipe>,
    pub(crate) seed: u64,
}

impl NetworkStart<'_> {
    /// The images' side where it is not the checkpoint's own.
    fn side(&self) -> Option<usize> {
        let side = self.recipe.image_size;
        (side > 0 && self.feature.tower != Tower::Text).then_some(side)
    }

    /// The encoders with their weights.
    fn encoders(&self, store: &VarStore, config: &FlavaConfig) -> Result<Flava> {
        tch::manual_seed(self.seed as i64);
        let fill = if self.random {
            Fill::New(config.initializer_range)
        } else {
            Fill::Unset
        };
        let vars = Vars::root(store, fill) / "flava";
        let flava = Flava::new(&vars, config, AttentionKind::Fused);
        if !self.random {
            load(self.folder, store, config)?;
        }
        Ok(flava)
    }

    /// A new head.
    fn head(&self, store: &VarStore, config: &FlavaConfig) -> Classifier {
        tch::manual_seed(self.seed as i64);
        let (kind, dropout) = match self.recipe.head {
            HeadRecipe::Pooled { dropout } => (ClassifierKind::Pooled, dropout),
            HeadRecipe::Mlp { hidden, dropout } => (ClassifierKind::Mlp { hidden }, dropout),
        };
        let vars = Vars::root(store, Fill::New(config.initializer_range)) / "classifier";
        let size = match self.feature.tower {
            Tower::Image => config.image_config.hidden_size,
            Tower::Text => config.text_config.hidden_size,
            Tower::Multimodal => config.multimodal_config.hidden_size,
        };
        let head = ClassifierConfig {
            kind,
            size,
            outputs: self.output.width(),
            dropout,
            eps: config.text_config.layer_norm_eps,
        };
        Classifier::new(&vars, &head)
    }
}

/// Texts and images of a batch as the network reads them; none where there are none.
pub(crate) struct Inputs {
    pub(crate) text: Option<TextInputs>,
    pub(crate) images: Option<ImageInputs>,
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
    /// Whether additions are trained in place of the encoders' weights.
    pub(super) has_lora: bool,
}

impl Network {
    /// From a checkpoint's weights or from new ones, with a new head.
    pub(crate) fn new(start: NetworkStart, device: Device) -> Result<Self> {
        let Description {
            mut config,
            mut image,
            text,
            ..
        } = Description::open(start.folder)?;
        if let Some(side) = start.side() {
            let patch = config.image_config.patch_size;
            check_side(side, patch)?;
            config.image_config.image_size = side as i64;
            image = image.with_side(side, patch as usize);
        }
        config.set_dropout(start.recipe.dropout);
        config.check()?;
        let store = VarStore::new(Device::Cpu);
        let flava = start.encoders(&store, &config)?;
        let head = start.head(&store, &config);
        let mut network = Self {
            store,
            flava,
            head,
            config,
            image,
            text: text.into(),
            feature: start.feature,
            output: start.output,
            has_lora: false,
        };
        if let Some(lora) = start.lora {
            network.add_lora(lora, start.seed)?;
        }
        network.move_to(device);
        Ok(network)
    }

    /// Moves the variables to a device; gradients are of what is trained alone.
    fn move_to(&mut self, device: Device) {
        self.store.set_device(device);
        for (name, variable) in self.store.variables() {
            let _set = variable.set_requires_grad(self.trains(&name));
        }
    }

    /// How the names of the variables begin that the feature is made by.
    pub(super) fn trained_parts(&self) -> &'static [&'static str] {
        match self.feature.tower {
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
        }
    }

    /// Whether a variable is trained: part of what the feature is made by, and of a LoRA where there
    /// is one.
    fn trains(&self, name: &str) -> bool {
        let is_part = self
            .trained_parts()
            .iter()
            .any(|part| name.starts_with(part));
        is_part && (!self.has_lora || is_addition(name) || name.starts_with("classifier."))
    }

    /// Leaves parts of the encoders as they are.
    ///
    /// # Errors
    /// If a part is not among what is trained.
    pub(crate) fn freeze(&self, parts: &[String]) -> Result<()> {
        let frozen = Frozen::parse(parts)?;
        let trained = self.trained();
        frozen.check(trained.iter().map(|(name, _)| name.as_str()))?;
        for (name, variable) in trained {
            if frozen.has(&name) {
                let _set = variable.set_requires_grad(false);
            }
        }
        Ok(())
    }

    /// The variables that are trained, by name, in order.
    pub(crate) fn trained(&self) -> Vec<(String, Tensor)> {
        let mut variables: Vec<(String, Tensor)> = self
            .store
            .variables()
            .into_iter()
            .filter(|(name, variable)| self.trains(name) && variable.requires_grad())
            .collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        variables
    }

    /// Outputs \[batch, width\] of a batch.
    pub(crate) fn forward(&mut self, inputs: &Inputs, train: bool) -> Result<Tensor> {
        self.flava.set_train(train);
        let (text, images) = (inputs.text.as_ref(), inputs.images.as_ref());
        let cls = match (self.feature.tower, text, images) {
            (Tower::Text, Some(text), _) => self.flava.encode_text_cls(text)?.cls(),
            (Tower::Image, _, Some(images)) => self.flava.encode_image_cls(images)?.cls(),
            (Tower::Multimodal, Some(text), Some(images)) => self.joint_cls(text, images)?,
            _ => {
                return Err(Error::Lacking {
                    what: "image or text",
                    reason: format!("{} needs an image and a text", self.feature.name()),
                });
            }
        };
        Ok(self.head.forward(&cls, train)?)
    }

    /// The multimodal encoder's CLS state.
    fn joint_cls(&self, text: &TextInputs, images: &ImageInputs) -> Result<Tensor> {
        let image = self.flava.encode_image(images)?;
        let encoded = self.flava.encode_text(text)?;
        let mask = text.attention_mask.as_ref();
        let output = self.flava.encode_multimodal_cls(&image, &encoded, mask)?;
        Ok(output.cls())
    }
}

/// Whether a variable is added to a layer, and no part of the checkpoint.
pub(super) fn is_addition(name: &str) -> bool {
    name.contains(ADDITION)
}

/// Images of another size than the checkpoint's are of whole patches.
fn check_side(side: usize, patch: i64) -> Result<()> {
    if side as i64 % patch == 0 {
        return Ok(());
    }
    Err(Error::Usage {
        argument: "image_size",
        reason: format!("image_size {side} is no multiple of the patches' {patch}"),
    })
}

/// A checkpoint's encoders into the store; a table of positions of another size is resized.
fn load(folder: &Path, store: &VarStore, config: &FlavaConfig) -> Result<()> {
    let checkpoint = Checkpoint::open(folder)?;
    let mut report = checkpoint.load_into(store)?;
    let mut others = report.mismatched.iter();
    if let Some(position) = others.position(|(name, ..)| name == POSITIONS) {
        let table = checkpoint.tensors()[POSITIONS].to_tensor()?;
        let grid = config.image_config.grid();
        let resized = resize_positions(&table.f_to_kind(Kind::Float)?, grid, grid)?;
        let mut variables = store.variables();
        let variable = variables.get_mut(POSITIONS);
        if let Some(variable) = variable.filter(|variable| variable.size() == resized.size()) {
            tch::no_grad(|| variable.set_data(&resized));
            report.mismatched.remove(position);
        }
    }
    Ok(report.require(&["flava"])?)
}
