//! A word that recipes of tasks and of pretraining share.

use serde::{Deserialize, Serialize};

/// What follows the warm-up of a learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrDecay {
    /// Straight down.
    #[default]
    Linear,
    /// Half a cosine down.
    Cosine,
    /// None.
    Constant,
}
