//! Our numbers against Hugging Face's, Pillow's and the tokenizers', from golden files.

mod attention;
mod checkpoints;
mod coverage;
mod encoders;
mod golden;
mod halves;
mod metrics;
mod pillow;
mod probe;
mod processes;
mod processors;
mod tokenizer;
mod training;
