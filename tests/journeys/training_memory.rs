//! What of a training's memory a process has that has a part of everything.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::trainings::{pretrain, tensors};

/// A model whose weights, gradients and moments are most of a process, on which little is computed.
const RECIPE: &str = r#"extends = "mini"
run = ["tokenizer", "codebook", "joint"]
[model]
hidden_size = 384
projection_dim = 384
image_config = { hidden_size = 384, num_attention_heads = 6, intermediate_size = 1536, num_hidden_layers = 6, image_size = 48, patch_size = 8, vocab_size = 256 }
text_config = { hidden_size = 384, num_attention_heads = 6, intermediate_size = 1536, num_hidden_layers = 6 }
multimodal_config = { hidden_size = 384, num_attention_heads = 6, intermediate_size = 1536, num_hidden_layers = 3 }
[corpora]
texts.rows = 200
pairs.rows = 200
[stage]
codebook.schedule = { steps = 2, batch_size = 4, warmup = 1 }
[stage.joint]
mixture = [{ corpus = "pairs", ratio = 1.0, rows = "pairs" }]
init = []
schedule = { steps = 4, batch_size = 8, warmup = 1, save_every = 2 }
"#;
const BLOCKS: f64 = 15.0;

/// The largest resident set of process 0 in MB, before a state was saved, and with that.
fn peaks(folder: &Path, processes: &str, shard: &str) -> [f64; 2] {
    let out = format!("{shard}{processes}");
    let args = [
        &["--processes", processes, "--shard", shard, "--out", &out][..],
        &["--micro-batch", "2", "--recompute"],
    ];
    let made = pretrain(folder, &[], &args.concat()).output().unwrap();
    let told = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{out}: {told}");
    let log = fs::read_to_string(folder.join(out).join("joint/log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let trained = lines.filter(|line: &Value| line["kind"] == "train");
    let peaks: Vec<f64> = trained
        .map(|line| line["peak_memory_mb"].as_f64().unwrap())
        .collect();
    assert_eq!(peaks.len(), 4);
    [peaks[1], peaks[3]]
}

/// Besides its parts a process has four blocks' numbers: the weights of one and of the next, its
/// gradients and their sum.
#[test]
fn a_process_has_its_parts_and_a_few_blocks() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("tiny.toml"), RECIPE).unwrap();
    let [whole, _] = peaks(folder.path(), "2", "none");
    let weights = tensors(&folder.path().join("none2/joint/last/model.safetensors"));
    let size = |is_counted: &dyn Fn(&str) -> bool| {
        let of = weights.iter().filter(|(name, _)| is_counted(name));
        of.map(|(_, tensor)| tensor.numel() as f64 * 4.0 / f64::from(1 << 20))
            .sum::<f64>()
    };
    let blocks = size(&|name| name.contains(".encoder.layer."));
    let rest = size(&|name| !name.contains(".encoder.layer.") && !name.contains("image_codebook"));
    for processes in [2, 4] {
        let [found, saving] = peaks(folder.path(), &processes.to_string(), "full");
        // Weights, gradients and two moments of blocks; the moments of the rest.
        let of_others = (1.0 - 1.0 / f64::from(processes)) * (4.0 * blocks + 2.0 * rest);
        let expected = whole - of_others + 4.0 * blocks / BLOCKS;
        assert!(
            found < 1.1 * expected,
            "{processes} processes: {found:.0} MB, not {expected:.0} of {whole:.0}"
        );
        let last = folder.path().join(format!("full{processes}/joint/last"));
        let file = format!("optimiser-{processes:05}-of-{processes:05}.safetensors");
        assert!(last.join(file).exists(), "each process writes");
        // What it saves: its share of blocks and of all moments, whole; holes of the heap besides.
        let saved = (3.0 * blocks + 2.0 * rest) / f64::from(processes);
        assert!(
            saving < 1.2 * (expected + saved),
            "{processes} processes that save: {saving:.0} MB, not {saved:.0} and {expected:.0}"
        );
    }
}
