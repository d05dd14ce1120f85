//! From hidden states to answers: the heads of pretraining and those that evaluation fits on top of frozen features.

mod contrastive;
mod error;
mod itm;
mod lbfgs;
mod linear;
mod masked_prediction;

pub use contrastive::{ContrastiveLogits, contrastive_logits};
pub use error::{Error, Result};
pub use itm::ItmHead;
pub use lbfgs::{Lbfgs, Minimum};
pub use linear::{Fit, FitOptions, LinearHead};
pub use masked_prediction::{MaskedPredictionHead, labelled_rows};
