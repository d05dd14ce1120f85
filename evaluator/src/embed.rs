//! `flava-eval embed`: features of pictures or texts as a safetensors file, streamed.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek, Write},
    path::{Path, PathBuf},
};

use flava_base::{IMAGE_ENDINGS, is_image, path_text, say, walk, write_with};
use flava_model::{
    Pretrained,
    processor::{Text, decode, image_batch},
    runtime::{Loader, Progress},
};
use flava_tasks::Feature;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::{
    Error, ModelChoice, Result, Settings,
    args::EmbedArgs,
    features::{Extractor, check_finite},
    places::Places,
};

/// Largest image file.
const MAX_IMAGE: u64 = 1 << 28;
/// Largest file of texts.
const MAX_TEXTS: u64 = 4 << 30;
/// Largest header that the readers of safetensors take; ids stand in it.
const MAX_HEADER: usize = 90_000_000;
/// Broken images that are named; more of them are counted.
const NAMED: usize = 20;
/// Texts that are encoded before their features go to disk.
const TEXTS_AT_ONCE: usize = 1 << 14;

/// Writes the features and returns how many rows, and how many broken pictures were left out.
pub fn embed(args: &EmbedArgs) -> Result<(usize, usize)> {
    let settings = Settings::new(&args.model_args)?;
    let mut spool = Spool::create(&args.out)?;
    let places = Places::new(None, args.offline, settings.quiet)?;
    let model = ModelChoice::new(args.model.as_ref())?
        .load(&settings, &places)?
        .model;
    let skipped = match (&args.images, &args.texts) {
        (Some(folder), _) => embed_images(folder, &model, &settings, &mut spool)?,
        (None, Some(file)) => embed_texts(file, &model, &settings, &mut spool)?,
        (None, None) => return Err(Error::Other("--images or --texts is needed".into())),
    };
    if spool.ids.is_empty() {
        return Err(Error::Other(format!(
            "nothing to embed ({skipped} broken pictures were left out)"
        )));
    }
    let rows = spool.ids.len();
    spool.finish(&args.out)?;
    Ok((rows, skipped))
}

fn embed_images(
    folder: &Path,
    model: &Pretrained,
    settings: &Settings,
    spool: &mut Spool,
) -> Result<usize> {
    let _guard = tch::no_grad_guard();
    let files = images_below(folder)?;
    let progress = Progress::new(files.len(), "pictures", settings.quiet);
    let (transform, size, root) = (
        model.image.transform(settings.order),
        settings.batch_size.rows(model.options.device),
        folder.to_owned(),
    );
    let batches = Loader::new(
        files.len().div_ceil(size),
        settings.loader(),
        move |batch| {
            let files = &files[batch * size..files.len().min((batch + 1) * size)];
            let row = |file: &PathBuf| {
                let id = path_text(file);
                let broken = |reason: String| Error::Row {
                    id: path_text(&root.join(file)),
                    reason,
                };
                let bytes = flava_base::read(&root.join(file), MAX_IMAGE)
                    .map_err(|e| broken(e.reason()))?;
                let picture = decode(&bytes).map_err(|e| broken(e.to_string()))?;
                Ok((id, transform.apply(&picture)))
            };
            files.iter().map(row).collect::<Vec<Result<_>>>()
        },
    );
    let mut skipped = 0;
    for batch in batches {
        let (mut ids, mut pixels) = (Vec::new(), Vec::new());
        for row in batch {
            progress.step();
            match row {
                Ok((id, row)) => {
                    ids.push(id);
                    pixels.push(row);
                }
                Err(Error::Row { id, reason }) if settings.skip_broken => {
                    skipped += 1;
                    if skipped <= NAMED {
                        progress.say(&format!("left out: {id}: {reason}"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if !ids.is_empty() {
            let inputs = image_batch(
                &pixels,
                model.options.device,
                model.options.precision.kind(),
            )?;
            let output = model.flava.encode_image_cls(&inputs)?;
            let (cls, embedding) = (output.cls(), model.flava.project_image(&output)?);
            let positions: Vec<usize> = (0..ids.len()).collect();
            check_finite(
                &cls,
                &positions,
                &|row| ids[row].clone(),
                Feature::IMAGE_CLS,
            )?;
            check_finite(
                &embedding,
                &positions,
                &|row| ids[row].clone(),
                Feature::IMAGE_EMBEDDING,
            )?;
            spool.add(ids, &cls, &embedding)?;
        }
    }
    progress.finish();
    Ok(skipped)
}

/// The images below a folder, by their paths from there; hidden ones and other files are left out.
fn images_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (images, others): (Vec<PathBuf>, Vec<PathBuf>) = walk(folder)?
        .into_iter()
        .partition(|file| is_image(&path_text(file)));
    if images.is_empty() {
        return Err(Error::Other(format!(
            "{}: there are no images ({}) below it",
            folder.display(),
            IMAGE_ENDINGS.join(", ")
        )));
    }
    if let Some(first) = others.first() {
        say(&format!(
            "note: {} files that are no images are left out, such as {}",
            others.len(),
            path_text(first)
        ));
    }
    Ok(images)
}

fn embed_texts(
    file: &Path,
    model: &Pretrained,
    settings: &Settings,
    spool: &mut Spool,
) -> Result<usize> {
    let text = flava_base::read_text(file, MAX_TEXTS)?;
    let lines: Vec<&str> = text.lines().collect();
    let progress = Progress::new(lines.len(), "texts", settings.quiet);
    let extractor = Extractor::new(model, settings, &progress);
    for (part, lines) in lines.chunks(TEXTS_AT_ONCE).enumerate() {
        let texts: Vec<Text> = lines.iter().map(|line| Text::Single(line)).collect();
        let number = |line: usize| (part * TEXTS_AT_ONCE + line + 1).to_string();
        let line = |line: usize| format!("line {}", number(line));
        let pieces = extractor.all_of_texts(
            &texts,
            "texts",
            &line,
            &[Feature::TEXT_CLS, Feature::TEXT_EMBEDDING],
        )?;
        spool.add(
            (0..lines.len()).map(number).collect(),
            &pieces[0].values,
            &pieces[1].values,
        )?;
    }
    progress.finish();
    Ok(0)
}

/// Rows on their way to the file: its header needs their number, which is known at the end.
struct Spool {
    ids: Vec<String>,
    parts: [BufWriter<File>; 2],
    widths: [i64; 2],
    /// Bytes of the ids in the header, about.
    header: usize,
}

impl Spool {
    /// Its temporary files lie beside `out`, unnamed: nothing is left of them if the program is
    /// killed.
    fn create(out: &Path) -> Result<Self> {
        let folder = out
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if out.exists() && !out.is_file() {
            return Err(Error::Other(format!("--out {}: is no file", out.display())));
        }
        let io = |e: io::Error| Error::Other(format!("{}: {e}", folder.display()));
        fs::create_dir_all(folder).map_err(io)?;
        let part = || {
            tempfile::tempfile_in(folder)
                .map(BufWriter::new)
                .map_err(io)
        };
        Ok(Self {
            ids: Vec::new(),
            parts: [part()?, part()?],
            widths: [0; 2],
            header: 0,
        })
    }

    fn add(&mut self, ids: Vec<String>, cls: &Tensor, embedding: &Tensor) -> Result<()> {
        self.header += ids
            .iter()
            .map(|id| serde_json::to_string(id).map_or(0, |json| 2 * json.len()))
            .sum::<usize>();
        if self.header > MAX_HEADER {
            let reason = format!(
                "{} ids are too long for the head of a safetensors file: embed fewer at a time",
                self.ids.len() + ids.len()
            );
            return Err(Error::Other(reason));
        }
        self.ids.extend(ids);
        for (i, rows) in [cls, embedding].into_iter().enumerate() {
            let rows = rows
                .f_to_device(Device::Cpu)?
                .f_to_kind(Kind::Float)?
                .f_contiguous()?;
            self.widths[i] = rows.size()[1];
            let mut bytes = vec![0; rows.numel() * 4];
            rows.f_copy_data_u8(&mut bytes, rows.numel())?;
            self.parts[i]
                .write_all(&bytes)
                .map_err(|e| Error::Other(format!("writing features: {e}")))?;
        }
        Ok(())
    }

    fn finish(self, out: &Path) -> Result<()> {
        Ok(write_with(out, |part| self.assemble(part))?)
    }

    fn assemble(self, part: &Path) -> io::Result<()> {
        let rows = self.ids.len();
        let sizes = self.widths.map(|width| rows * width as usize * 4);
        let tensor = |width: i64, start: usize, size: usize| json!({ "dtype": "F32", "shape": [rows, width], "data_offsets": [start, start + size] });
        let header = json!({
            "__metadata__": { "format": "pt", "ids": serde_json::to_string(&self.ids)? },
            "cls": tensor(self.widths[0], 0, sizes[0]),
            "embedding": tensor(self.widths[1], sizes[0], sizes[1]),
        });
        let mut header = header.to_string();
        header.extend(std::iter::repeat_n(' ', (8 - header.len() % 8) % 8)); // the tensors start on a multiple of 8
        let mut file = File::create(part)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for part in self.parts {
            let mut part = part.into_inner()?;
            part.rewind()?;
            io::copy(&mut part, &mut file)?;
        }
        Ok(())
    }
}
