//! Draws the images of README: scenes of the mini suite with their captions, and the
//! training of the embedded model.
//!
//!     cargo run --release --example front_page      writes docs/images/{world.png, training.svg}

use std::{error::Error, fs, path::Path};

use flava_model::processor::decode;
use flava_tasks::sources::{Corpus, MiniWorld};
use image::{RgbImage, imageops};
use plotters::prelude::*;
use serde_json::Value;

/// Scenes in a row, and rows.
const GRID: (u32, u32) = (8, 2);
/// Side of a scene, and the space between two.
const SIDE: u32 = 96;
const SPACE: u32 = 6;
/// Losses that are drawn, with their colours.
const LOSSES: [(&str, RGBColor); 5] = [
    ("global_contrastive", RGBColor(214, 69, 65)),
    ("mim", RGBColor(38, 110, 170)),
    ("mlm", RGBColor(46, 139, 87)),
    ("mmm_text", RGBColor(150, 90, 160)),
    ("itm", RGBColor(220, 140, 30)),
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = root.join("docs/images");
    fs::create_dir_all(&out)?;
    world(&out.join("world.png"))?;
    let log = root.join("evaluator/assets/mini/log.jsonl");
    training(&log, &out.join("training.svg"))
}

/// Scenes that the embedded model was pretrained on, side by side.
fn world(path: &Path) -> Result<(), Box<dyn Error>> {
    let (columns, rows) = GRID;
    let corpus = Corpus::Mini {
        world: MiniWorld::Pairs,
        rows: (columns * rows) as usize,
    };
    let scenes = corpus.open(Path::new("."), 0)?;
    let step = SIDE + SPACE;
    let mut sheet = RgbImage::from_pixel(
        columns * step - SPACE,
        rows * step - SPACE,
        image::Rgb([255, 255, 255]),
    );
    for index in 0..scenes.len() {
        let example = scenes.get(index)?;
        let scene = decode(&example.image.ok_or("a scene without an image")?)?;
        let (width, height) = (scene.width as u32, scene.height as u32);
        let scene = RgbImage::from_raw(width, height, scene.rgb).ok_or("a broken scene")?;
        let scene = imageops::resize(&scene, SIDE, SIDE, imageops::FilterType::Lanczos3);
        let (column, row) = (index as u32 % columns, index as u32 / columns);
        imageops::replace(
            &mut sheet,
            &scene,
            i64::from(column * step),
            i64::from(row * step),
        );
        flava_base::print(&example.texts.join(" / "));
    }
    Ok(sheet.save(path)?)
}

/// The losses of joint training by step.
fn training(log: &Path, path: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(log)?;
    let lines: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let lines: Vec<&Value> = lines
        .iter()
        .filter(|line| line["kind"] == "train")
        .collect();
    let steps = lines.last().ok_or("an empty log")?["step"]
        .as_f64()
        .unwrap_or(0.0);
    let area = SVGBackend::new(path, (800, 260)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(20)
        .x_label_area_size(34)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..steps, (0.2..40.0).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("step of joint training")
        .y_desc("loss")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .draw()?;
    for (name, colour) in LOSSES {
        let points = lines
            .iter()
            .filter_map(|line| Some((line["step"].as_f64()?, line[name].as_f64()?)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(area.present()?)
}
