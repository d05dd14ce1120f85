//! Writing to the Hub: who one is, repositories, and commits of files.
//!
//! The order of requests is that of Python's `HfApi.create_commit` without Xet: how each file is to
//! be sent, the large ones into large-file storage, then one commit that holds everything. Nothing
//! of it can be seen until that commit; it is sent once, and where its answer is lost the branch
//! tells whether it happened.

mod account;
mod channel;
mod commit;
mod content;
mod error;
mod large;
mod modes;
mod plan;
mod settle;
mod writer;

pub use account::{Access, Created, Head, Visibility, Writable};
pub use content::{Content, Upload};
pub use error::{Refused, WriteError};
pub use plan::{CommitPlan, Committed};
pub use writer::HubWriter;
