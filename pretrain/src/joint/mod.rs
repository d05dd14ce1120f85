//! Joint training, and its special cases: MLM or MIM alone. Each step's batch comes from one
//! corpus; pairs larger than memory go through the model in parts whose gradients add up to those
//! of the whole.

mod batches;
mod contrastive;
mod embeddings;
mod inputs;
mod loss_positions;
mod losses;
mod masking;
mod model;
mod pairs;
mod reader;
mod rows;
mod training;
mod visual_tokens;

pub use batches::{Batch, InputOptions};
pub use inputs::{BatchTotals, PretrainingInputs};
pub use losses::{Losses, OnEmpty, PretrainingOutput};
pub use masking::{BlockMasks, MaskedText, WordMasks};
pub use model::FlavaForPreTraining;
pub use reader::{PatchLabels, PretrainingDataset};
pub use rows::ExampleTransform;
pub use training::JointTraining;
pub(crate) use visual_tokens::VISUAL_TOKENS;
pub use visual_tokens::{ImageTokenizer, VisualTokens};
