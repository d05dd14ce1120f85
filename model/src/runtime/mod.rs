//! What runs a model but knows nothing of FLAVA: device, precision, seeds, parameters, loader,
//! progress.

mod attention;
mod autocast;
mod device;
pub mod distributed;
mod foreach;
mod forecast;
mod graph;
mod half;
mod half_pass;
mod linear;
mod loader;
mod memory;
mod on_gradient;
mod onednn;
mod precision;
mod progress;
mod recompute;
mod sequences;
mod storage;
mod threads;
pub mod trace;
mod transfer;
mod vars;
mod version;

pub use attention::cpu_attention;
pub use autocast::Autocast;
pub use device::{DeviceChoice, load_cuda};
pub use foreach::{AdamWStep, clear_gradients, fused_adamw, norm, scale, set_gradient};
pub use forecast::{ExpectedWork, Forecast};
pub use graph::on_backward;
pub use half::residual_norm;
pub use linear::{joined_linear, linear};
pub use loader::{Loader, LoaderOptions};
pub use memory::{device_memory, give_memory_back, peak_memory, prepare_memory};
pub use on_gradient::on_gradient;
pub use onednn::{Fused, PackedLinear};
pub use precision::Precision;
pub use progress::{Progress, TaskProgress};
pub use recompute::recomputed;
pub use sequences::{attention_within, place_rows, take_rows};
pub use storage::exchange_memory;
pub use threads::set_threads;
pub use transfer::{copied, stack_rows};
pub use vars::{Fill, Vars};
pub use version::{cuda_version, torch_version};
