//! `tables FILE`: opens a table and reads every text of it, as predictions and corpora do; prints
//! seconds and the peak of memory as JSON. `bench.py tables` runs it.

use std::{env, path::Path, time::Instant};

use flava_model::runtime::peak_memory;
use flava_tasks::{Columns, sources::Inputs};

fn main() {
    let file = env::args().nth(1).expect("a file");
    let start = Instant::now();
    let columns = Columns::default();
    let split = Inputs::Table(Path::new(&file), &columns)
        .open()
        .expect("a table");
    let opened = start.elapsed().as_secs_f64();
    let mut bytes = 0;
    for row in 0..split.dataset.len() {
        let texts = split.dataset.texts_of(row).expect("a text");
        bytes += texts.iter().map(String::len).sum::<usize>();
    }
    let seconds = start.elapsed().as_secs_f64();
    let told = serde_json::json!({
        "rows": split.dataset.len(),
        "bytes": bytes,
        "opened": opened,
        "seconds": seconds,
        "peak_mb": peak_memory(tch::Device::Cpu),
    });
    println!("{told}");
}
