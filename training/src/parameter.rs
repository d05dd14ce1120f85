//! What is trained, and what of it decays.

use tch::{Kind, Tensor, nn::VarStore};

use crate::{AdamW, AdamWConfig, ParameterGroup, Result};

/// Parts of names of tables and tokens that stand for positions and special inputs.
const NOT_DECAYED: [&str; 2] = ["position_embeddings", "_token"];

/// Whether a parameter decays: not biases and norms (fewer than two dimensions), tables of
/// positions, and tokens such as `cls_token`, as in `BEiT`'s recipe. The patch projection and the
/// table of words do.
pub fn is_decayed(name: &str, dimensions: usize) -> bool {
    dimensions >= 2 && !NOT_DECAYED.iter().any(|part| name.contains(part))
}

/// A variable that is trained.
#[derive(Debug)]
pub struct Parameter {
    /// As it is saved.
    pub name: String,
    /// Itself.
    pub tensor: Tensor,
}

/// Parameters with a learning rate of their own, in the order of their names.
#[derive(Debug)]
pub struct ParameterSet {
    /// What the step's learning rate is multiplied by.
    pub lr_scale: f64,
    /// The parameters.
    pub parameters: Vec<Parameter>,
}

impl ParameterSet {
    /// The variables of a store that are trained.
    pub fn of(store: &VarStore) -> Self {
        let trained = store.variables().into_iter();
        Self::new(trained.filter(|(_, variable)| variable.requires_grad()))
    }

    /// Variables by name, at the step's learning rate.
    pub fn new(variables: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        let mut parameters: Vec<Parameter> = variables
            .into_iter()
            .map(|(name, tensor)| Parameter { name, tensor })
            .collect();
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            lr_scale: 1.0,
            parameters,
        }
    }
}

impl AdamW {
    /// The optimiser of some parameters: of each set those that decay are a group, and the others.
    pub fn of(sets: Vec<ParameterSet>, config: &AdamWConfig) -> Self {
        let group_of = |parameters: Vec<Parameter>, lr_scale, weight_decay| ParameterGroup {
            parameters: parameters.into_iter().map(|p| (p.name, p.tensor)).collect(),
            lr_scale,
            weight_decay,
        };
        let mut groups = Vec::new();
        for set in sets {
            let (decayed, others) = set
                .parameters
                .into_iter()
                .partition(|p| config.decay_all || is_decayed(&p.name, p.tensor.dim()));
            groups.push(group_of(decayed, set.lr_scale, config.weight_decay));
            groups.push(group_of(others, set.lr_scale, 0.0));
        }
        Self::new(groups, config.betas, config.eps)
    }
}

/// The name of the first tensor that holds a number that is none.
pub(crate) fn first_not_finite<'n>(
    tensors: impl Iterator<Item = (&'n str, Tensor)>,
) -> Result<Option<String>> {
    let _guard = tch::no_grad_guard();
    for (name, tensor) in tensors {
        // A sum is finite where all are, but for sums that overflow, which are looked at number by
        // number.
        let sum = tensor.f_sum(Kind::Float)?.double_value(&[]);
        if !sum.is_finite() && tensor.f_isfinite()?.f_all()?.int64_value(&[]) == 0 {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_norms_positions_and_tokens_do_not_decay() {
        for (name, dimensions, decays) in [
            (
                "flava.image_model.embeddings.patch_embeddings.projection.weight",
                4,
                true,
            ),
            (
                "flava.text_model.embeddings.word_embeddings.weight",
                2,
                true,
            ),
            (
                "flava.text_model.embeddings.position_embeddings.weight",
                2,
                false,
            ),
            ("flava.image_model.embeddings.cls_token", 3, false),
            ("classifier.dense.weight", 2, true),
            ("classifier.dense.bias", 1, false),
        ] {
            assert_eq!(is_decayed(name, dimensions), decays, "{name}");
        }
    }
}
