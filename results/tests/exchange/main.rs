//! Result files of other tools: exact content on made-up records, and reading back.

mod cards;
mod imports;
mod leaderboards;
mod support;
mod with_samples;
