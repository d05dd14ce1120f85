//! FLAVA's pretraining objectives (section 3.2): six losses over one batch, and the masks they need.

mod error;
mod masking;
mod objectives;

pub use error::{Error, Result};
pub use masking::{BlockMasks, MaskedText, mask_text};
pub use objectives::{FlavaForPreTraining, Losses, OnEmpty, PretrainingInputs, PretrainingOutput};
