//! Our numbers against Hugging Face's, Pillow's and the tokenizers', from golden files.

mod checkpoints;
mod encoders;
mod golden;
mod pillow;
mod probe;
mod tokenizer;
