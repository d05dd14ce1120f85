//! Our numbers against Hugging Face's, Pillow's and the tokenizers', from golden files.

mod golden;
mod pillow;
