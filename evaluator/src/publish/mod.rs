//! `flava-eval publish`: results into a dataset repository of the Hub, and scores into a model's
//! card.

mod board;
mod card;
mod check;
mod command;
mod files;
mod model_card;
mod on_head;
mod options;
mod outline;

pub use board::publish;
pub use command::publish_runs;
pub use files::table_name;
pub use model_card::publish_model_card;
pub use options::{Ending, LongTable, Publication, PublishOptions, Tables};
