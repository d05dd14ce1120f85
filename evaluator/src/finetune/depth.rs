//! Parts of the encoders by their depth: those that are frozen, and the rate of each block.

use std::collections::BTreeMap;

use flava_model::FlavaConfig;
use flava_training::ParameterSet;
use tch::Tensor;

use crate::{Error, Result};

/// The encoders, as recipes and as files call them.
const ENCODERS: [(&str, &str); 3] = [
    ("image", "flava.image_model."),
    ("text", "flava.text_model."),
    ("multimodal", "flava.multimodal_model."),
];
/// How the names of blocks go on after that of their encoder.
const BLOCKS: &str = "encoder.layer.";

/// Parts of the encoders that are not trained.
pub(super) struct Frozen {
    /// Each as it was named, and how the names of its variables begin.
    parts: Vec<(String, Vec<String>)>,
}

impl Frozen {
    /// `image`, `text.embeddings`, `text.layers.3` or `text.layers.0-5`, or how names of variables
    /// begin.
    ///
    /// # Errors
    /// If a part is none of these.
    pub(super) fn parse(parts: &[String]) -> Result<Self> {
        let parse =
            |part: &String| Ok((part.clone(), prefixes(part).ok_or_else(|| unknown(part))?));
        Ok(Self {
            parts: parts.iter().map(parse).collect::<Result<_>>()?,
        })
    }

    /// Whether it has the variable of a name.
    pub(super) fn has(&self, name: &str) -> bool {
        let mut prefixes = self.parts.iter().flat_map(|(_, prefixes)| prefixes);
        prefixes.any(|prefix| name.starts_with(prefix.as_str()))
    }

    /// Every part is among what would be trained, and something is left.
    pub(super) fn check<'n>(&self, names: impl Iterator<Item = &'n str> + Clone) -> Result<()> {
        for (part, prefixes) in &self.parts {
            let begins = |name: &str| {
                prefixes
                    .iter()
                    .any(|prefix| name.starts_with(prefix.as_str()))
            };
            if !names.clone().any(begins) {
                return Err(Error::Usage {
                    argument: "freeze",
                    reason: format!("freeze: {part} is no part of what this task trains"),
                });
            }
        }
        Ok(())
    }
}

fn unknown(part: &str) -> Error {
    Error::Usage {
        argument: "freeze",
        reason: format!(
            "freeze: {part} is no part: image, text or multimodal, alone or with .embeddings, .layers.N or .layers.A-B, or how the names of variables begin (flava.)"
        ),
    }
}

/// How the names of a part's variables begin.
fn prefixes(part: &str) -> Option<Vec<String>> {
    if part.starts_with("flava.") {
        return Some(vec![part.to_owned()]);
    }
    let (encoder, inside) = part.split_once('.').unwrap_or((part, ""));
    let (_, root) = ENCODERS.iter().find(|(name, _)| *name == encoder)?;
    match inside {
        "" => Some(vec![(*root).to_owned()]),
        "embeddings" => Some(vec![format!("{root}embeddings.")]),
        _ => {
            let blocks = inside.strip_prefix("layers.")?;
            let (first, last) = blocks.split_once('-').unwrap_or((blocks, blocks));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            let block = |number: usize| format!("{root}{BLOCKS}{number}.");
            (first <= last && last < 1000).then(|| (first..=last).map(block).collect())
        }
    }
}

/// The encoders' variables in sets of one rate each: that of the highest block is multiplied by
/// `decay`, of each one below once more, of embeddings once more than of the lowest; what lies
/// above all blocks keeps its rate. `BEiT`'s rule.
pub(super) fn by_depth(
    variables: Vec<(String, Tensor)>,
    config: &FlavaConfig,
    decay: f64,
) -> Vec<ParameterSet> {
    let mut sets: BTreeMap<i64, Vec<(String, Tensor)>> = BTreeMap::new();
    for (name, variable) in variables {
        let steps = if decay < 1.0 {
            steps_below(&name, config)
        } else {
            0
        };
        sets.entry(steps).or_default().push((name, variable));
    }
    let of_steps = |(steps, variables): (i64, Vec<(String, Tensor)>)| {
        let mut set = ParameterSet::new(variables);
        set.lr_scale = decay.powi(steps as i32);
        set
    };
    sets.into_iter().map(of_steps).collect()
}

/// How far below the head a variable lies; 0 above all blocks.
fn steps_below(name: &str, config: &FlavaConfig) -> i64 {
    let blocks = [
        config.image_config.num_hidden_layers,
        config.text_config.num_hidden_layers,
        config.multimodal_config.num_hidden_layers,
    ];
    for ((_, root), blocks) in ENCODERS.iter().zip(blocks) {
        let Some(inside) = name.strip_prefix(root) else {
            continue;
        };
        if let Some(rest) = inside.strip_prefix(BLOCKS) {
            let number = rest
                .split('.')
                .next()
                .and_then(|number| number.parse::<i64>().ok());
            return number.map_or(0, |number| blocks - number);
        }
        let is_below = inside.starts_with("embeddings.") || inside == "cls_token";
        return if is_below { blocks + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_from_the_head_to_the_embeddings_as_beits_do() {
        let config = FlavaConfig::default();
        for (name, steps) in [
            ("flava.text_model.encoder.layer.11.output.dense.weight", 1),
            ("flava.text_model.encoder.layer.0.output.dense.weight", 12),
            ("flava.text_model.embeddings.word_embeddings.weight", 13),
            (
                "flava.multimodal_model.encoder.layer.5.output.dense.weight",
                1,
            ),
            ("flava.multimodal_model.cls_token", 7),
            ("flava.text_model.layernorm.weight", 0),
            ("flava.image_to_mm_projection.weight", 0),
        ] {
            assert_eq!(steps_below(name, &config), steps, "{name}");
        }
    }

    #[test]
    fn parts_are_named_as_people_name_them() {
        let frozen = Frozen::parse(&["text.embeddings".into(), "image.layers.0-2".into()]).unwrap();
        let has = |name: &str| frozen.has(name);
        assert!(has("flava.text_model.embeddings.word_embeddings.weight"));
        assert!(has("flava.image_model.encoder.layer.2.output.dense.bias"));
        assert!(!has("flava.image_model.encoder.layer.20.output.dense.bias"));
        for part in ["txt", "text.layer.1", "text.layers.x", "text.layers.5-1"] {
            assert!(Frozen::parse(&[part.into()]).is_err(), "{part}");
        }
        assert!(
            frozen
                .check(["flava.text_model.embeddings.x"].into_iter())
                .is_err()
        );
    }
}
