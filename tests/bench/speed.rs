//! Our side of `make bench`: times one thing and prints it as JSON. `tests/bench/bench.py` runs it
//! beside the peer.
//!
//! speed image MODEL BATCH PRECISION | text MODEL FILE PRECISION | pairs MODEL BATCH PRECISION | preprocess FOLDER | sgemm | load MODEL |
//! rounds image MODEL BATCH PRECISION | rounds text MODEL FILE PRECISION | parquet FOLDER | shards FOLDER |
//! bootstrap ROWS | retrieval PICTURES CAPTIONS
//!
//! `rounds` answers each line of its input by the seconds of one pass, as the peers of `encoders.py`.
#![allow(clippy::disallowed_methods, reason = "a benchmark may panic")]

mod place;

use std::{env, fs, path::Path, time::Instant};

use flava_model::{
    ImageInputs, LoadOptions, Pretrained, TextInputs,
    processor::{PassOrder, Text, decode, text_batch},
    runtime::{Fused, PackedLinear},
};
use flava_tasks::{Metric, Outputs, Predictions, Registry, SourceFormat, sources::OpenSplit};
use serde_json::json;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

const REPEATS: usize = 7;

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let device = place::start();
    let _guard = tch::no_grad_guard();
    let result = match args[..] {
        ["image", model, batch, precision] => {
            image(&open(model, precision, device), batch.parse().unwrap())
        }
        ["text", model, file, precision] => text(&open(model, precision, device), file),
        ["rounds", "image", model, batch, precision] => {
            let model = open(model, precision, device);
            rounds(device, image_pass(&model, batch.parse().unwrap()))
        }
        ["rounds", "text", model, file, precision] => {
            let (model, file) = (
                open(model, precision, device),
                fs::read_to_string(file).unwrap(),
            );
            rounds(device, || {
                text_pass(&model, &file);
            })
        }
        ["pairs", model, batch, precision] => {
            pairs(&open(model, precision, device), batch.parse().unwrap())
        }
        ["preprocess", folder] => preprocess(Path::new(folder)),
        ["sgemm"] => sgemm(),
        ["parquet", folder] => parquet(Path::new(folder)),
        ["shards", folder] => shards(Path::new(folder)),
        ["bootstrap", rows] => bootstrap(rows.parse().unwrap()),
        ["retrieval", images, captions] => {
            retrieval(images.parse().unwrap(), captions.parse().unwrap())
        }
        ["load", model] => json!({ "seconds": timed(1, || drop(open(model, "f32", device))) }),
        _ => {
            eprintln!(
                "usage: speed image MODEL BATCH PRECISION | text MODEL FILE PRECISION | pairs MODEL BATCH PRECISION | preprocess FOLDER | sgemm | load MODEL | rounds image MODEL BATCH PRECISION | rounds text MODEL FILE PRECISION | parquet FOLDER | shards FOLDER | bootstrap ROWS | retrieval PICTURES CAPTIONS"
            );
            std::process::exit(2);
        }
    };
    println!("{result}");
}

fn open(model: &str, precision: &str, device: Device) -> Pretrained {
    let options = LoadOptions {
        precision: precision.parse().unwrap(),
        device,
        ..LoadOptions::default()
    };
    Pretrained::open(Path::new(model), options).unwrap()
}

/// The shortest of so many runs, in seconds.
fn timed(repeats: usize, mut f: impl FnMut()) -> f64 {
    (0..repeats)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

/// Rows a second that an encoder takes, each time as many.
fn rate(rows: i64, device: Device, mut encode: impl FnMut()) -> f64 {
    let seconds = timed(REPEATS, || {
        encode();
        place::wait(device);
    });
    rows as f64 / seconds
}

fn random_pixels(model: &Pretrained, batch: i64) -> ImageInputs {
    let side = model.config.image_config.image_size;
    let options = &model.options;
    let pixels = Tensor::randn([batch, 3, side, side], (Kind::Float, options.device));
    ImageInputs::new(pixels.to_kind(options.precision.kind()))
}

/// A pass for each line of the input, and its seconds on the output, until the input ends.
fn rounds(device: Device, mut pass: impl FnMut()) -> serde_json::Value {
    pass();
    let asked = std::io::stdin().lines().map(Result::unwrap);
    let passes = asked.map(|_| {
        let seconds = timed(1, || {
            pass();
            place::wait(device);
        });
        println!("{seconds}");
    });
    json!({ "rounds": passes.count() })
}

fn image_pass(model: &Pretrained, batch: i64) -> impl FnMut() {
    let inputs = random_pixels(model, batch);
    move || drop(model.flava().unwrap().encode_image_cls(&inputs).unwrap())
}

fn image(model: &Pretrained, batch: i64) -> serde_json::Value {
    let images = rate(batch, model.options.device, image_pass(model, batch));
    json!({ "images_per_s": images, "gflops": image_flops(model) * images / 1e9 })
}

/// Image and text of 77 tokens through all three encoders.
fn pairs(model: &Pretrained, batch: i64) -> serde_json::Value {
    let inputs = random_pixels(model, batch);
    let words = model.config.text_config.vocab_size;
    let text = TextInputs {
        input_ids: Tensor::randint_low(
            1000.min(words - 1),
            words,
            [batch, 77],
            (Kind::Int64, model.options.device),
        ),
        attention_mask: None,
        token_type_ids: None,
        position_ids: None,
    };
    let flava = model.flava().unwrap();
    let pairs = rate(batch, model.options.device, || {
        let (image, text) = (
            flava.encode_image(&inputs).unwrap(),
            flava.encode_text(&text).unwrap(),
        );
        drop(flava.encode_multimodal(&image, &text, None).unwrap());
    });
    json!({ "pairs_per_s": pairs })
}

/// Multiplications and additions that are really done for one CLS state: products of the linear
/// layers and of attention.
fn image_flops(model: &Pretrained) -> f64 {
    let config = &model.config.image_config;
    let (size, wide, seq) = (
        config.hidden_size as f64,
        config.intermediate_size as f64,
        (config.grid().pow(2) + 1) as f64,
    );
    let rows = |asking: f64| {
        asking * (4.0 * size * size + 4.0 * size * wide)
            + seq * 4.0 * size * size
            + 4.0 * asking * seq * size
    };
    let patch = 2.0 * (seq - 1.0) * size * (3 * config.patch_size.pow(2)) as f64;
    patch + (config.num_hidden_layers - 1) as f64 * rows(seq) + rows(1.0)
}

/// Tokenizes the lines of `text`, encodes them in batches of similar lengths, and counts their tokens.
fn text_pass(model: &Pretrained, text: &str) -> usize {
    let device = model.options.device;
    let sentences: Vec<Text> = text.lines().map(Text::Single).collect();
    let mut encodings = model.text.encode(&sentences, 77).unwrap();
    encodings.sort_by_key(|e| e.input_ids.len());
    for batch in encodings.chunks(if device.is_cuda() { 512 } else { 64 }) {
        let inputs = text_batch(batch, model.text.pad_id(), device).unwrap();
        drop(model.flava().unwrap().encode_text_cls(&inputs).unwrap());
    }
    encodings.iter().map(|e| e.input_ids.len()).sum()
}

fn text(model: &Pretrained, file: &str) -> serde_json::Value {
    let text = fs::read_to_string(file).unwrap();
    let sentences = text.lines().count() as f64;
    let mut tokens = 0;
    let seconds = timed(2, || {
        tokens = text_pass(model, &text);
        place::wait(model.options.device);
    });
    json!({ "sentences_per_s": sentences / seconds, "tokens_per_sentence": tokens as f64 / sentences })
}

fn preprocess(folder: &Path) -> serde_json::Value {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let transform =
        flava_model::processor::ImageProcessorConfig::default().transform(PassOrder::default());
    let bytes: Vec<Vec<u8>> = files.iter().map(|f| fs::read(f).unwrap()).collect();
    let decoding = timed(3, || bytes.iter().for_each(|b| drop(decode(b).unwrap())));
    let all = timed(3, || {
        for b in &bytes {
            drop(transform.apply(&decode(b).unwrap()));
        }
    });
    let images: Vec<_> = bytes.iter().map(|b| decode(b).unwrap()).collect();
    let transforming = timed(3, || images.iter().for_each(|p| drop(transform.apply(p))));
    let mut digest = Sha256::new();
    for bytes in bytes.iter().take(50) {
        let (pixels, _) = transform.apply(&decode(bytes).unwrap());
        digest.update(
            pixels
                .iter()
                .flat_map(|p| p.to_le_bytes())
                .collect::<Vec<u8>>(),
        );
    }
    let sha256: String = digest
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    json!({ "sha256_of_50": sha256, "images_per_s": bytes.len() as f64 / all, "ms_decode": decoding / bytes.len() as f64 * 1e3, "ms_transform": transforming / bytes.len() as f64 * 1e3, "ms": all / bytes.len() as f64 * 1e3 })
}

/// A split of mnist's first source of a format, below `folder`.
fn open_split(format: fn(&SourceFormat) -> bool, folder: &Path) -> OpenSplit {
    let task = Registry::built_in().unwrap().get("mnist").unwrap().clone();
    let source = task
        .sources
        .iter()
        .find(|source| format(&source.format))
        .unwrap();
    task.open_split(source, source.train.as_ref().unwrap(), folder, 0)
        .unwrap()
}

/// All images of `mnist/train-*.parquet` in order, left encoded.
fn parquet(folder: &Path) -> serde_json::Value {
    let open = || {
        open_split(
            |format| matches!(format, SourceFormat::Parquet { .. }),
            folder,
        )
    };
    let opening = timed(3, || drop(open()));
    let split = open();
    let rows = split.dataset.len();
    let mut bytes = 0;
    let seconds = timed(3, || {
        bytes = (0..rows)
            .map(|row| split.dataset.get(row).unwrap().image.unwrap().len())
            .sum();
    });
    json!({ "rows_per_s": rows as f64 / seconds, "rows": rows, "bytes": bytes, "opening_s": opening })
}

/// All images of the shards in `train`, in a random order, left encoded.
fn shards(folder: &Path) -> serde_json::Value {
    let open = || {
        open_split(
            |format| matches!(format, SourceFormat::Webdataset { .. }),
            folder,
        )
    };
    let first = timed(1, || drop(open()));
    let again = timed(3, || drop(open()));
    let split = open();
    let rows = split.dataset.len();
    // Every row once, far from the last: the step is a prime that does not divide the number of
    // rows.
    let step = 6_700_417;
    assert!(rows % step != 0);
    let mut bytes = 0;
    let seconds = timed(3, || {
        bytes = (0..rows)
            .map(|i| {
                split
                    .dataset
                    .get(i * step % rows)
                    .unwrap()
                    .image
                    .unwrap()
                    .len()
            })
            .sum();
    });
    json!({ "rows_per_s": rows as f64 / seconds, "rows": rows, "bytes": bytes, "first_opening_s": first, "opening_s": again })
}

/// The best rate of f32 matrix products on this machine, over both libraries and the shapes of a
/// block at batch 32.
fn sgemm() -> serde_json::Value {
    let mut best: f64 = 0.0;
    let mut rates = Vec::new();
    for (rows, input, output) in [
        (4096, 4096, 4096),
        (6304, 768, 3072),
        (6304, 3072, 768),
        (6304, 768, 768),
        (6304, 768, 2304),
    ] {
        let random = |a, b| Tensor::randn([a, b], (Kind::Float, Device::Cpu));
        let (xs, weight) = (random(rows, input), random(output, input));
        let flops = 2.0 * (rows * input * output) as f64;
        let plain = flops / timed(REPEATS, || drop(xs.linear(&weight, None::<&Tensor>))) / 1e9;
        let packed = PackedLinear::new(&weight, None);
        let packed = packed.map_or(0.0, |p| {
            flops / timed(REPEATS, || drop(p.forward(&xs, Fused::Nothing).unwrap())) / 1e9
        });
        best = best.max(plain).max(packed);
        rates.push(
            json!({ "rows": rows, "in": input, "out": output, "plain": plain, "packed": packed }),
        );
    }
    json!({ "gflops": best, "rates": rates })
}

/// A thousand resamples of each metric that has no closed form.
fn bootstrap(rows: usize) -> serde_json::Value {
    let ids = Vec::new();
    let (predicted, gold): (Vec<usize>, Vec<usize>) = (0..rows)
        .map(|i| ((i * 7919 % 13) % 2, (i * 104_729 % 11) % 2))
        .unzip();
    let classes = Predictions {
        ids,
        clusters: None,
        outputs: Outputs::Classes {
            predicted,
            gold,
            logits: None,
        },
    };
    let value = |i: usize, prime: usize| (i * prime % 997) as f64;
    let (predicted, gold) = (
        (0..rows).map(|i| value(i, 7919)).collect(),
        (0..rows).map(|i| value(i, 104_729)).collect(),
    );
    let values = Predictions {
        ids: Vec::new(),
        clusters: None,
        outputs: Outputs::Values { predicted, gold },
    };
    let seconds = |metric: Metric, of: &Predictions| {
        timed(1, || assert!(metric.score(of, "bench").is_some()))
    };
    json!({
        "matthews": seconds(Metric::Matthews, &classes), "f1": seconds(Metric::F1, &classes),
        "pearson": seconds(Metric::Pearson, &values), "spearman": seconds(Metric::Spearman, &values),
    })
}

/// Ranks both ways, and the matrix products alone.
fn retrieval(image_count: i64, captions: i64) -> serde_json::Value {
    let random = |rows: i64| Tensor::randn([rows, 768], (Kind::Float, Device::Cpu));
    let (images, texts) = (random(image_count), random(captions));
    let owners: Vec<usize> = (0..captions as usize)
        .map(|caption| caption * image_count as usize / captions as usize)
        .collect();
    let mut owned = vec![Vec::new(); image_count as usize];
    owners
        .iter()
        .enumerate()
        .for_each(|(caption, &owner)| owned[owner].push(caption));
    let seconds = timed(3, || {
        drop(flava_evaluator::ranks(&images, &texts, |image| &owned[image]).unwrap());
        drop(
            flava_evaluator::ranks(&texts, &images, |caption| {
                std::slice::from_ref(&owners[caption])
            })
            .unwrap(),
        );
    });
    let products = timed(3, || {
        for (a, b) in [(&images, &texts), (&texts, &images)] {
            let rows = a.size()[0];
            let b = b.tr();
            for start in (0..rows).step_by(256) {
                let _product = a.narrow(0, start, 256.min(rows - start)).matmul(&b);
            }
        }
    });
    json!({ "seconds": seconds, "products": products })
}
