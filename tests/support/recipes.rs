//! Recipes that take seconds.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// All stages of `mini` with a few steps of a tiny model; `more` is TOML after it.
pub fn write_tiny_recipe(folder: &Path, more: &str) -> PathBuf {
    let path = folder.join("tiny.toml");
    let part =
        "hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 24";
    let text = format!(
        r#"extends = "mini"

[model]
hidden_size = 16
projection_dim = 16
image_config = {{ {part}, image_size = 32, vocab_size = 64 }}
text_config = {{ {part} }}
multimodal_config = {{ {part} }}
image_codebook_config = {{ hidden_size = 4, vocab_size = 64 }}

[image_masks]
total = 6
min_block = 2

[corpora]
images.rows = 60
texts.rows = 200
pairs.rows = 100

[stage]
tokenizer.vocab_size = 300
codebook = {{ decoder_hidden = 4, schedule = {{ steps = 6, batch_size = 4, warmup = 1, save_every = 2 }} }}
text.schedule = {{ steps = 7, batch_size = 8, warmup = 1, save_every = 2 }}
image = {{ outputs = 32, hidden = 16, bottleneck = 8, local_crops = 2, local_size = 16, schedule = {{ steps = 6, batch_size = 4, warmup = 1, save_every = 2 }} }}
beit.schedule = {{ steps = 4, batch_size = 4, warmup = 1, save_every = 2 }}
joint.schedule = {{ steps = 9, batch_size = 8, warmup = 1, save_every = 2 }}
{more}
"#
    );
    fs::write(&path, text).unwrap();
    path
}

/// The same without what comes before the joint stage, but for the tokenizer and the codebook.
pub fn write_short_recipe(folder: &Path) {
    let path = write_tiny_recipe(folder, "joint.init = []");
    let text = fs::read_to_string(&path).unwrap();
    let stages = "extends = \"mini\"\nrun = [\"tokenizer\", \"codebook\", \"joint\"]";
    fs::write(path, text.replace("extends = \"mini\"", stages)).unwrap();
}
