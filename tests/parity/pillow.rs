//! Decoding and resizing byte for byte as Pillow does them, from `tests/golden/pillow_golden.py`.

use std::{fs, path::Path};

use flava_model::processor::{Filter, PassOrder, PixelSize, decode, resize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::place::root;

fn golden(name: &str) -> (std::path::PathBuf, Value) {
    let folder = root().join("tests/golden/pillow");
    let value = serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
    (folder, value)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn size(value: &Value) -> (usize, usize) {
    (
        value[0].as_u64().unwrap() as usize,
        value[1].as_u64().unwrap() as usize,
    )
}

/// The generator of the golden script.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut x = seed as u32;
    (0..count)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 24) as u8
        })
        .collect()
}

/// Files that Pillow reads and we refuse: by name, or by how their names begin and end.
fn refused_on_purpose(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        "planes-tiles.tif",
        "rgb-jpeg.tif",
        "grey-jpeg.tif",
        "grey-12bit.tif",
        "lab.tif",
        "group3.tif",
        "fill-order.tif",
        "no-photometric.tif",
        "animated-small.png",
        "no-palette.png",
        "no-adler.png",
        "no-palette.gif",
        "float.pfm",
    ];
    let ends = |ending: &str| Path::new(name).extension().is_some_and(|of| of == ending);
    let ycbcr = name.starts_with("ycbcr") && ends("tif");
    NAMES.contains(&name) || ycbcr || ends("tga")
}

#[test]
fn every_file_decodes_to_pillows_bytes_or_is_refused() {
    let (folder, golden) = golden("pillow.json");
    let files = golden["files"].as_object().unwrap();
    let mut wrong = Vec::new();
    for (name, expected) in files {
        match decode(&fs::read(folder.join(name)).unwrap()) {
            Err(error) if error.to_string().contains("gave up") => {
                wrong.push(format!("{name}: {error}"));
            }
            Err(_) if refused_on_purpose(name) => {}
            Err(error) => wrong.push(format!("{name} ({}): {error}", expected["mode"])),
            Ok(image) if (image.width, image.height) != size(&expected["size"]) => {
                wrong.push(format!("{name}: {}x{}", image.width, image.height));
            }
            Ok(image) if sha256(&image.rgb) != expected["sha256"] => {
                wrong.push(format!("{name} ({}) has other bytes", expected["mode"]));
            }
            Ok(_) => {}
        }
    }
    // Whatever Pillow refuses is no image here either, but for what it says more of than we look
    // at.
    for (name, reason) in golden["refused"].as_object().unwrap() {
        match decode(&fs::read(folder.join(name)).unwrap()) {
            Ok(_) if read_beyond_pillow(name) => {}
            Ok(_) => wrong.push(format!("{name} is read, and Pillow says {reason}")),
            Err(error) if error.to_string().contains("gave up") => {
                wrong.push(format!("{name}: {error}"));
            }
            Err(_) => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        files.len(),
        wrong.join("\n")
    );
    assert!(files.len() > 200);
}

/// Files whose pixels are all there, which Pillow refuses for a checksum behind them.
fn read_beyond_pillow(name: &str) -> bool {
    ["wrong-adler.png"].contains(&name)
}

fn check_resizes(name: &str, order: PassOrder) {
    let (_, golden) = golden(name);
    let cases = golden["resizes"].as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let (from, to) = (size(&case["size"]), size(&case["to"]));
        let channels = case["channels"].as_u64().unwrap() as usize;
        let filter = match case["filter"].as_str().unwrap() {
            "bicubic" => Filter::Bicubic,
            "lanczos" => Filter::Lanczos,
            _ => Filter::Bilinear,
        };
        let source = noise(from.0 * from.1 * channels, case["seed"].as_u64().unwrap());
        let size = |(width, height)| PixelSize { width, height };
        let resized = match channels {
            1 => resize::<1>(&source, size(from), size(to), filter, order),
            _ => resize::<3>(&source, size(from), size(to), filter, order),
        };
        if sha256(&resized) != case["sha256"] {
            wrong.push(format!(
                "{filter:?} {from:?} to {to:?}, {channels} channels"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} with {}:\n{}",
        wrong.len(),
        cases.len(),
        golden["pillow"],
        wrong.join("\n")
    );
    assert!(cases.len() >= 480);
}

#[test]
fn resizing_is_that_of_pillow_13() {
    check_resizes("pillow.json", PassOrder::Pillow13);
}

#[test]
fn resizing_in_the_older_order_is_that_of_pillow_12() {
    check_resizes("pillow12.json", PassOrder::Pillow12);
}
