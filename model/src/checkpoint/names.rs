//! One naming for every checkpoint: that of Hugging Face's `FlavaForPreTraining`.
//!
//! Also understood: `FlavaModel` and the three encoders and the codebook on their own (no prefix),
//! torchmultimodal's `FLAVAForPreTraining`, and `OpenAI`'s codebook.

use std::collections::BTreeMap;

/// What trainers wrap a state dictionary in.
const WRAPPERS: [&str; 3] = ["model_state_dict.", "state_dict.", "model."];
/// Modules that stand around another and have no parameters of their own: `DataParallel`'s and
/// `torch.compile`'s.
const AROUND: [&str; 2] = ["module", "_orig_mod"];

/// Renames the tensors of a checkpoint; buffers that no model needs are dropped.
///
/// # Errors
/// If two tensors come to the same name.
pub fn canonical_names<T>(
    tensors: BTreeMap<String, T>,
) -> std::result::Result<BTreeMap<String, T>, String> {
    let tensors = unwrapped(tensors)?;
    let style = Style::of(|name| tensors.contains_key(name), tensors.keys());
    let (mut renamed, mut tied) = (BTreeMap::new(), Vec::new());
    for (name, tensor) in tensors {
        let new = style.rename(&name);
        if is_buffer(&new) {
            continue;
        }
        // One parameter under two names; transformers lets the shorter one win.
        if let Some(head) = new.strip_suffix(".decoder.bias") {
            tied.push((format!("{head}.bias"), tensor));
        } else if renamed.insert(new.clone(), tensor).is_some() {
            return Err(format!("has two tensors for {new}"));
        }
    }
    for (name, tensor) in tied {
        renamed.entry(name).or_insert(tensor);
    }
    Ok(renamed)
}

/// Names without what trainers put before and around them, however deep.
fn unwrapped<T>(tensors: BTreeMap<String, T>) -> std::result::Result<BTreeMap<String, T>, String> {
    let mut named: Vec<(String, T)> = tensors
        .into_iter()
        .map(|(name, tensor)| (bare(&name), tensor))
        .collect();
    // `model.` is torchmultimodal's own prefix too: there one stays.
    let own =
        |name: &str| name.contains("model.image_encoder.") || name.contains("model.text_encoder.");
    let torchmultimodal = named.iter().any(|(name, _)| own(name));
    for (name, _) in &mut named {
        while let Some(rest) = inside(name, torchmultimodal) {
            *name = rest.to_owned();
        }
    }
    let mut unwrapped = BTreeMap::new();
    for (name, tensor) in named {
        if unwrapped.insert(name.clone(), tensor).is_some() {
            return Err(format!(
                "has two tensors for {name}: one of them in a wrapper"
            ));
        }
    }
    Ok(unwrapped)
}

/// A name without the modules that stand around another.
fn bare(name: &str) -> String {
    let parts = name.split('.').filter(|part| !AROUND.contains(part));
    parts.collect::<Vec<_>>().join(".")
}

/// A name without its outermost wrapper, if that is one.
fn inside(name: &str, torchmultimodal: bool) -> Option<&str> {
    let mut wrappers = WRAPPERS.iter();
    let rest = wrappers.find_map(|wrapper| name.strip_prefix(wrapper))?;
    let stays = ["model.", "loss.", "image_codebook."]
        .iter()
        .any(|part| rest.starts_with(part));
    let own = torchmultimodal && name.starts_with("model.") && !stays;
    (!own).then_some(rest)
}

/// Written by versions of 2022: 0, 1, 2, .. and zeros.
fn is_buffer(name: &str) -> bool {
    name.ends_with("text_model.embeddings.position_ids")
        || name.ends_with("text_model.embeddings.token_type_ids")
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    /// Names that only need this in front.
    Prefixed(&'static str),
    Torchmultimodal,
    /// `OpenAI`'s `encoder.pkl`: `blocks.group_1.block_1.res_path.conv_1.w`.
    DallE,
}

impl Style {
    fn of<'a>(has: impl Fn(&str) -> bool, mut names: impl Iterator<Item = &'a String>) -> Self {
        if names
            .any(|n| n.starts_with("model.image_encoder.") || n.starts_with("model.text_encoder."))
        {
            Self::Torchmultimodal
        } else if has("image_model.embeddings.cls_token")
            || has("text_model.embeddings.word_embeddings.weight")
        {
            Self::Prefixed("flava.")
        } else if has("embeddings.patch_embeddings.projection.weight") {
            Self::Prefixed("flava.image_model.")
        } else if has("embeddings.word_embeddings.weight") {
            Self::Prefixed("flava.text_model.")
        } else if has("cls_token") && has("layernorm.weight") {
            Self::Prefixed("flava.multimodal_model.")
        } else if has("blocks.input.w") {
            Self::DallE
        } else if has("blocks.input.weight") {
            Self::Prefixed("image_codebook.")
        } else {
            Self::Prefixed("")
        }
    }

    fn rename(self, name: &str) -> String {
        match self {
            Self::Prefixed(prefix) => format!("{prefix}{name}"),
            Self::DallE => dall_e(name),
            Self::Torchmultimodal => torchmultimodal(name),
        }
    }
}

fn dall_e(name: &str) -> String {
    let name = name
        .replace(".block_", ".group.block_")
        .replace(".res_path.", ".res_path.path.");
    let name = match name.rsplit_once('.') {
        Some((module, "w")) => format!("{module}.weight"),
        Some((module, "b")) => format!("{module}.bias"),
        _ => name,
    };
    format!("image_codebook.{name}")
}

/// Modules of torchmultimodal and what Hugging Face calls them, longer prefixes first.
const MODULES: [(&str, &str); 10] = [
    ("model.image_encoder.", "flava.image_model."),
    ("model.text_encoder.", "flava.text_model."),
    ("model.mm_encoder.", "flava.multimodal_model."),
    ("loss.mim_loss.cls.", "mim_head."),
    ("loss.mlm_loss.cls.", "mlm_head."),
    ("loss.mmm_loss.mim.cls.", "mmm_image_head."),
    ("loss.mmm_loss.mlm.cls.", "mmm_text_head."),
    ("loss.itm_loss.cls.", "itm_head."),
    ("loss.itm_loss.", "itm_head."),
    ("loss.contrastive_loss.", "flava."), // the temperature, and in early versions the projections
];

fn torchmultimodal(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("image_codebook.encoder.") {
        return dall_e(rest);
    }
    for (theirs, ours) in MODULES {
        if let Some(rest) = name.strip_prefix(theirs) {
            let rest = if ours.starts_with("flava.") {
                block(rest)
            } else {
                head(rest)
            };
            return format!("{ours}{rest}");
        }
    }
    name.strip_prefix("model.")
        .map_or_else(|| name.to_owned(), |rest| format!("flava.{rest}"))
}

fn head(name: &str) -> String {
    let name = name
        .strip_prefix("layer_norm.")
        .map_or_else(|| name.to_owned(), |p| format!("transform.LayerNorm.{p}"));
    name.strip_prefix("dense.")
        .map_or_else(|| name.clone(), |p| format!("transform.dense.{p}"))
}

fn block(name: &str) -> String {
    let Some((layer, rest)) = name
        .strip_prefix("encoder.layer.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return name.replace("embeddings.layer_norm.", "embeddings.LayerNorm.");
    };
    let (module, parameter) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let module = match module {
        "attention.query" | "attention.key" | "attention.value" => {
            module.replace("attention.", "attention.attention.")
        }
        "attention.output" => "attention.output.dense".into(),
        "feedforward.model.0" => "intermediate.dense".into(),
        // The output layer is the third module, the fourth where dropout stands before it.
        "feedforward.model.2" | "feedforward.model.3" => "output.dense".into(),
        "attention_layernorm" => "layernorm_before".into(),
        "feedforward_layernorm" => "layernorm_after".into(),
        other => other.to_owned(),
    };
    format!("encoder.layer.{layer}.{module}.{parameter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        canonical_names(list.iter().map(|n| ((*n).to_owned(), ())).collect())
            .unwrap()
            .into_keys()
            .collect()
    }

    #[test]
    fn wrappers_go_in_any_nesting() {
        for before in [
            "module.",
            "_orig_mod.",
            "model.",
            "_orig_mod.module.",
            "module._orig_mod.model.",
            "state_dict.model.module.",
            "model.model.",
        ] {
            assert_eq!(
                names(&[&format!("{before}flava.logit_scale")]),
                ["flava.logit_scale"],
                "{before}"
            );
            let theirs = [
                format!("{before}model.text_encoder.layernorm.weight"),
                format!("{before}loss.contrastive_loss.logit_scale"),
            ];
            let list: Vec<&str> = theirs.iter().map(String::as_str).collect();
            assert_eq!(
                names(&list),
                ["flava.logit_scale", "flava.text_model.layernorm.weight"],
                "{before}"
            );
        }
        assert_eq!(
            names(&["flava.image_model._orig_mod.layernorm.weight"]),
            ["flava.image_model.layernorm.weight"]
        );
        let twice =
            ["module.flava.logit_scale", "flava.logit_scale"].map(|name| (name.to_owned(), ()));
        assert!(
            canonical_names(twice.into())
                .unwrap_err()
                .contains("two tensors for flava.logit_scale")
        );
    }

    #[test]
    fn prefixes_are_added_where_they_are_missing() {
        assert_eq!(
            names(&["image_model.embeddings.cls_token", "logit_scale"]),
            [
                "flava.image_model.embeddings.cls_token",
                "flava.logit_scale"
            ]
        );
        assert_eq!(
            names(&["embeddings.patch_embeddings.projection.weight"]),
            ["flava.image_model.embeddings.patch_embeddings.projection.weight"]
        );
        assert_eq!(
            names(&["blocks.input.weight"]),
            ["image_codebook.blocks.input.weight"]
        );
    }

    #[test]
    fn buffers_go_and_tied_biases_become_one() {
        let list = [
            "flava.text_model.embeddings.position_ids",
            "mim_head.decoder.bias",
            "mlm_head.bias",
            "mlm_head.decoder.bias",
        ];
        assert_eq!(names(&list), ["mim_head.bias", "mlm_head.bias"]);
    }

    #[test]
    fn torchmultimodal_is_translated() {
        for (theirs, ours) in [
            (
                "model.image_encoder.encoder.layer.3.attention.query.weight",
                "flava.image_model.encoder.layer.3.attention.attention.query.weight",
            ),
            (
                "model.mm_encoder.encoder.layer.0.feedforward.model.2.bias",
                "flava.multimodal_model.encoder.layer.0.output.dense.bias",
            ),
            (
                "model.text_encoder.embeddings.layer_norm.weight",
                "flava.text_model.embeddings.LayerNorm.weight",
            ),
            (
                "model.text_encoder.encoder.layer.1.feedforward_layernorm.bias",
                "flava.text_model.encoder.layer.1.layernorm_after.bias",
            ),
            (
                "model.image_to_mm_projection.weight",
                "flava.image_to_mm_projection.weight",
            ),
            ("loss.contrastive_loss.logit_scale", "flava.logit_scale"),
            (
                "loss.contrastive_loss.text_projection.bias",
                "flava.text_projection.bias",
            ),
            ("model.text_projection.bias", "flava.text_projection.bias"),
            (
                "loss.mmm_loss.mlm.cls.layer_norm.weight",
                "mmm_text_head.transform.LayerNorm.weight",
            ),
            (
                "loss.itm_loss.pooler.dense.weight",
                "itm_head.pooler.dense.weight",
            ),
            (
                "loss.itm_loss.cls.seq_relationship.bias",
                "itm_head.seq_relationship.bias",
            ),
            (
                "image_codebook.encoder.blocks.group_2.block_1.res_path.conv_3.w",
                "image_codebook.blocks.group_2.group.block_1.res_path.path.conv_3.weight",
            ),
        ] {
            assert_eq!(torchmultimodal(theirs), ours);
        }
    }
}
