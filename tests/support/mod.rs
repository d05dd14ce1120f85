//! What the tests share.

pub mod close;
pub mod fixtures;
pub mod given;
pub mod golden;
pub mod hub_server;
pub mod place;
pub mod processes;
pub mod program;
pub mod recipes;
pub mod sources;
pub mod trainings;
