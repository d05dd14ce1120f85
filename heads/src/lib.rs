//! From hidden states to answers: the heads of pretraining and those that evaluation fits on top of
//! frozen features.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may panic"))]

mod classifier;
mod contrastive;
mod error;
mod itm;
mod lbfgs;
mod linear;
mod masked_prediction;
mod neighbours;
mod probe;
mod ridge;
mod sweep;

pub use classifier::{Classifier, ClassifierConfig, ClassifierKind};
pub use contrastive::{ContrastiveLogits, contrastive_logits, contrastive_logits_of};
pub use error::{Error, Result};
pub use itm::ItmHead;
pub use linear::{Fit, FitOptions, Labelled, LinearHead};
pub use masked_prediction::MaskedPredictionHead;
pub use neighbours::Neighbours;
pub use probe::Probe;
pub use ridge::{Moments, Ridge};
pub use sweep::{Chosen, Sweep, Tried, accuracy};
