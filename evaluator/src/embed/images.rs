//! Images below a folder to features.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use flava_base::{IMAGE_ENDINGS, is_image, path_text, say, walk};
use flava_model::{
    Pretrained,
    processor::{ImageTransform, decode},
    runtime::{Loader, Progress},
};
use flava_tasks::Feature;
use tch::Tensor;

use super::spool::Spool;
use crate::{
    Error, Result, Settings,
    features::{Extractor, Prepared, check_finite},
};

/// Largest image file.
const MAX_IMAGE: u64 = 1 << 28;
/// Broken images that are named; more of them are counted.
const NAMED: usize = 20;
/// What is computed of each image.
const FEATURES: [Feature; 2] = [Feature::IMAGE_CLS, Feature::IMAGE_EMBEDDING];

/// Images below a folder, by their paths from there.
struct Images {
    root: PathBuf,
    files: Vec<PathBuf>,
    transform: ImageTransform,
}

impl Images {
    /// Hidden files and those that are no images are left out.
    fn below(folder: &Path, transform: ImageTransform) -> Result<Self> {
        let is_file_of_image = |file: &PathBuf| is_image(&path_text(file));
        let (files, others): (Vec<PathBuf>, Vec<PathBuf>) =
            walk(folder)?.into_iter().partition(is_file_of_image);
        if files.is_empty() {
            let (folder, endings) = (folder.display(), IMAGE_ENDINGS.join(", "));
            let reason = format!("{folder}: there are no images ({endings}) below it");
            return Err(Error::UnfitRows(reason));
        }
        if let Some(first) = others.first() {
            let (count, first) = (others.len(), path_text(first));
            say(&format!(
                "note: {count} files that are no images are left out, such as {first}"
            ));
        }
        Ok(Self {
            root: folder.to_owned(),
            files,
            transform,
        })
    }

    fn id(&self, index: usize) -> String {
        path_text(&self.files[index])
    }

    fn read(&self, index: usize) -> Result<Prepared> {
        let path = self.root.join(&self.files[index]);
        let broken = |reason: String| Error::Row {
            id: path_text(&path),
            reason,
        };
        let bytes = flava_base::read(&path, MAX_IMAGE).map_err(|e| broken(e.reason()))?;
        let image = decode(&bytes).map_err(|e| broken(e.to_string()))?;
        Ok(Prepared {
            position: index,
            pixels: self.transform.apply(&image),
            encoding: None,
        })
    }
}

/// Features of the images below a folder go to `spool`; how many were broken and left out.
pub(super) fn embed_images(
    folder: &Path,
    model: &Pretrained,
    settings: &Settings,
    spool: &mut Spool,
) -> Result<usize> {
    let _guard = tch::no_grad_guard();
    let images = Arc::new(Images::below(
        folder,
        model.image.transform(settings.order),
    )?);
    let count = images.files.len();
    let progress = Progress::new(count, "pictures", settings.quiet);
    let extractor = Extractor::new(model, settings, &progress);
    let size = settings.batch_size.rows(model.options.device);
    let reader = Arc::clone(&images);
    let batches = Loader::new(count.div_ceil(size), settings.loader(), move |batch| {
        let indices = batch * size..count.min((batch + 1) * size);
        indices
            .map(|index| reader.read(index))
            .collect::<Vec<Result<_>>>()
    });
    let (mut skipped, mut computing) = (0, None);
    for batch in batches {
        let mut rows = Vec::with_capacity(size);
        for row in batch {
            progress.step();
            match row {
                Ok(row) => rows.push(row),
                Err(Error::Row { id, reason }) if settings.skip_broken => {
                    skipped += 1;
                    if skipped <= NAMED {
                        progress.say(&format!("left out: {id}: {reason}"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if rows.is_empty() {
            continue;
        }
        let made = Embedded {
            values: extractor.encode_fitting(&rows, &FEATURES)?,
            positions: rows.iter().map(|row| row.position).collect(),
        };
        // A GPU computes a batch while the next is put together: numbers are read one later.
        if let Some(before) = computing.replace(made) {
            keep(&images, before, spool)?;
        }
    }
    if let Some(last) = computing {
        keep(&images, last, spool)?;
    }
    progress.finish();
    Ok(skipped)
}

/// Features of a batch, on the model's device.
struct Embedded {
    values: Vec<Tensor>,
    positions: Vec<usize>,
}

fn keep(images: &Images, made: Embedded, spool: &mut Spool) -> Result<()> {
    for (values, feature) in made.values.iter().zip(FEATURES) {
        check_finite(values, &made.positions, &|index| images.id(index), feature)?;
    }
    let ids = made.positions.iter().map(|&index| images.id(index));
    spool.add(ids.collect(), &made.values[0], &made.values[1])
}
