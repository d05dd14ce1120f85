//! Draws the data that the task files beside this file are about: shapes, sentences about
//! them, questions and captions.
//!
//!     cargo run --example make_data      writes examples/data

use std::{
    error::Error,
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use arrow_array::{
    ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray,
    builder::{ListBuilder, StringBuilder},
};
use image::{ImageEncoder, Rgb, RgbImage, codecs::png::PngEncoder};
use parquet::arrow::ArrowWriter;

/// Side of an image in pixels.
const SIDE: u32 = 48;
const SHAPES: [&str; 2] = ["circle", "square"];
const COLOURS: [(&str, [u8; 3]); 3] = [
    ("red", [200, 60, 50]),
    ("green", [70, 160, 80]),
    ("blue", [60, 90, 190]),
];

/// A shape of a colour somewhere in an image.
struct Scene {
    shape: usize,
    colour: usize,
    number: u32,
}

impl Scene {
    fn new(number: usize) -> Self {
        Self {
            shape: number % SHAPES.len(),
            colour: number / SHAPES.len() % COLOURS.len(),
            number: number as u32,
        }
    }

    fn caption(&self) -> String {
        format!("a {} {}", COLOURS[self.colour].0, SHAPES[self.shape])
    }

    fn png(&self) -> Result<Vec<u8>, image::ImageError> {
        let radius = 8 + self.number % 5;
        let middle = [14 + self.number * 7 % 20, 14 + self.number * 11 % 20];
        let is_inside = |x: u32, y: u32| {
            let (dx, dy) = (x.abs_diff(middle[0]), y.abs_diff(middle[1]));
            match SHAPES[self.shape] {
                "circle" => dx * dx + dy * dy <= radius * radius,
                _ => dx <= radius && dy <= radius,
            }
        };
        let colour = Rgb(COLOURS[self.colour].1);
        let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            if is_inside(x, y) {
                colour
            } else {
                Rgb([240, 240, 235])
            }
        });
        let mut png = Vec::new();
        let encoder = PngEncoder::new(&mut png);
        encoder.write_image(&image, SIDE, SIDE, image::ExtendedColorType::Rgb8)?;
        Ok(png)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    for (split, numbers) in [("train", 0..36), ("test", 36..60)] {
        let scenes: Vec<Scene> = numbers.map(Scene::new).collect();
        folders(&data.join("shapes").join(split), &scenes)?;
        let file = format!("{split}.parquet");
        sentences(&data.join("sentences").join(&file), &scenes)?;
        questions(&data.join("questions").join(&file), &scenes)?;
    }
    // Captions that no two images share.
    let scenes: Vec<Scene> = (0..6).map(Scene::new).collect();
    captions(&data.join("captions/test.parquet"), &scenes)
}

/// A folder a class, as torchvision's `ImageFolder` reads them.
fn folders(folder: &Path, scenes: &[Scene]) -> Result<(), Box<dyn Error>> {
    for scene in scenes {
        let class = folder.join(SHAPES[scene.shape]);
        fs::create_dir_all(&class)?;
        fs::write(class.join(format!("{}.png", scene.number)), scene.png()?)?;
    }
    Ok(())
}

fn sentences(path: &Path, scenes: &[Scene]) -> Result<(), Box<dyn Error>> {
    let text = |scene: &Scene| {
        format!(
            "{} is {}",
            scene.caption(),
            ["round", "straight"][scene.number as usize / 6 % 2]
        )
    };
    let label = |scene: &Scene| i64::from(scene.number / 6 % 2 == 1);
    write(
        path,
        [
            (
                "id",
                Arc::new(Int64Array::from_iter_values(
                    scenes.iter().map(|s| s.number.into()),
                )),
            ),
            (
                "text",
                Arc::new(StringArray::from_iter_values(scenes.iter().map(text))),
            ),
            (
                "label",
                Arc::new(Int64Array::from_iter_values(scenes.iter().map(label))),
            ),
        ],
    )
}

/// What colour a shape has, as ten people would answer.
fn questions(path: &Path, scenes: &[Scene]) -> Result<(), Box<dyn Error>> {
    let images = scenes
        .iter()
        .map(Scene::png)
        .collect::<Result<Vec<_>, _>>()?;
    let mut answers = ListBuilder::new(StringBuilder::new());
    for scene in scenes {
        (0..10).for_each(|_| answers.values().append_value(COLOURS[scene.colour].0));
        answers.append(true);
    }
    let question = |scene: &Scene| format!("what colour is the {}?", SHAPES[scene.shape]);
    write(
        path,
        [
            ("image", Arc::new(BinaryArray::from_iter_values(images))),
            (
                "question",
                Arc::new(StringArray::from_iter_values(scenes.iter().map(question))),
            ),
            ("answers", Arc::new(answers.finish())),
        ],
    )
}

fn captions(path: &Path, scenes: &[Scene]) -> Result<(), Box<dyn Error>> {
    let images = scenes
        .iter()
        .map(Scene::png)
        .collect::<Result<Vec<_>, _>>()?;
    let mut captions = ListBuilder::new(StringBuilder::new());
    for scene in scenes {
        captions.values().append_value(scene.caption());
        captions
            .values()
            .append_value(format!("{} on paper", scene.caption()));
        captions.append(true);
    }
    let columns: [(&str, ArrayRef); 2] = [
        ("image", Arc::new(BinaryArray::from_iter_values(images))),
        ("captions", Arc::new(captions.finish())),
    ];
    write(path, columns)
}

fn write<const N: usize>(
    path: &Path,
    columns: [(&str, ArrayRef); N],
) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(path.parent().ok_or("a path without a folder")?)?;
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
