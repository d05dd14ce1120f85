//! Parts of a recipe: the head, what is trained in place of weights, and what chooses.

use serde::{Deserialize, Serialize};

/// What stands on the CLS state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum HeadRecipe {
    /// A dense layer of the state's width, tanh, and the output layer, each after dropout:
    /// `RoBERTa`'s.
    Pooled {
        /// Share of states that are dropped.
        dropout: f64,
    },
    /// A hidden layer with GELU and layer norm, and the output layer: the paper's two-layer
    /// classifier.
    Mlp {
        /// Width of the hidden layer.
        hidden: i64,
        /// Share of states that are dropped.
        dropout: f64,
    },
}

/// Low-rank additions to the projections of the attention, which are trained in their place (Hu et
/// al. 2021, LoRA).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraRecipe {
    /// Rank of an addition.
    #[serde(default = "rank")]
    pub rank: i64,
    /// An addition is multiplied by this, through the rank.
    #[serde(default = "alpha")]
    pub alpha: f64,
    /// The projections.
    #[serde(default = "query_and_value")]
    pub on: Vec<LoraProjection>,
}

/// A projection of the attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraProjection {
    /// To queries.
    Query,
    /// To keys.
    Key,
    /// To values.
    Value,
    /// Of what the heads give.
    Output,
}

impl LoraRecipe {
    pub(crate) fn is_possible(&self) -> bool {
        let twice = |(at, one): (usize, &LoraProjection)| self.on[..at].contains(one);
        (1..=1024).contains(&self.rank)
            && self.alpha.is_finite()
            && self.alpha > 0.0
            && !self.on.is_empty()
            && !self.on.iter().enumerate().any(twice)
    }
}

fn rank() -> i64 {
    8
}

fn alpha() -> f64 {
    16.0
}

fn query_and_value() -> Vec<LoraProjection> {
    vec![LoraProjection::Query, LoraProjection::Value]
}

/// What a checkpoint is chosen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChosenOn {
    /// The rows that are scored, as fairseq does for GLUE.
    Test,
    /// A tenth of the training rows.
    Train,
}
