//! What runs a model but knows nothing of FLAVA: device, precision, seeds, parameters, loader,
//! progress.

mod device;
mod loader;
mod memory;
mod onednn;
mod precision;
mod progress;
mod threads;
pub mod trace;
pub mod training;
mod vars;

pub use device::{DeviceChoice, load_cuda};
pub use loader::{Loader, LoaderOptions};
pub use memory::prepare_memory;
pub use onednn::{Fused, PackedLinear, linear, packed_attention};
pub use precision::Precision;
pub use progress::{Progress, TaskProgress};
pub use threads::set_threads;
pub use vars::{Fill, Vars};
