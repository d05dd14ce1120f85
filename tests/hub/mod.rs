//! The Hub: its protocol and cache, and runs that fetch what they need.

mod client;
mod hostile;
mod joins;
mod journeys;
mod publish;
mod publishing;
