//! `flava-eval embed`: features of images, texts or pairs as a file, streamed.

mod features;
mod format;
mod spool;

use std::path::PathBuf;

use flava_model::runtime::Progress;

use self::{features::EmbeddedFeatures, format::EmbedFormat, spool::Spool};
use crate::{
    Error, ModelChoice, Result, Settings,
    answers::{left_out_told, open_inputs},
    args::EmbedArgs,
    check_interrupted,
    features::{Extractor, Rows, sample},
    locator::DataLocator,
    plan::columns_of,
};

/// Rows whose features are in memory at once.
const AT_ONCE: usize = 1 << 13;

/// What was embedded.
#[derive(Debug)]
pub struct EmbeddedRows {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Rows in them.
    pub rows: usize,
    /// Rows with broken images, which were left out.
    pub skipped: usize,
}

impl EmbeddedRows {
    /// As it is said.
    pub fn told(&self) -> String {
        let files: Vec<String> = self.files.iter().map(|f| f.display().to_string()).collect();
        let left_out = left_out_told(self.skipped);
        format!("{} rows in {}{left_out}", self.rows, files.join(", "))
    }
}

/// Writes the features of the rows of the arguments.
///
/// # Errors
/// If the file is there already, a row is broken and not to be left out, or the file cannot be
/// written; nothing is left of it then.
pub fn embed(args: &EmbedArgs) -> Result<EmbeddedRows> {
    let settings = Settings::new(&args.model_args)?;
    let format = EmbedFormat::of(&args.out)?;
    let files = format.files(&args.out);
    check_free(&files, args.force)?;
    let split = open_inputs(&args.input, &columns_of(&args.columns)?, true)?;
    let features = EmbeddedFeatures::of(args, &split, format)?;
    let locator = DataLocator::new(None, args.network.offline, settings.quiet)?;
    let model = ModelChoice::new(args.model.as_ref())?
        .load(&settings, &locator)?
        .model;
    let indices = sample(&split, args.limit, args.seed);
    let progress = Progress::new(0, "rows", settings.quiet);
    progress.expect(features.works(indices.len(), &model.config));
    let extractor = Extractor::new(&model, &settings, &progress);
    features.check(&extractor)?;
    let mut spool = Spool::create(&args.out, &features.names, format)?;
    spool.check_ids(indices.iter().map(|&row| split.dataset.id(row)))?;
    let mut skipped = 0;
    for some in indices.chunks(AT_ONCE) {
        check_interrupted()?;
        let rows = Rows::some(split.clone(), some.to_vec());
        let (places, values) = features.read(&extractor, &rows)?;
        skipped += some.len() - places.len();
        let ids = places.iter().map(|&place| rows.id(place)).collect();
        spool.add(ids, &values)?;
    }
    progress.finish();
    let rows = spool.finish(&args.out)?;
    Ok(EmbeddedRows {
        files,
        rows,
        skipped,
    })
}

/// No file is there that would be replaced without a word.
fn check_free(files: &[PathBuf], force: bool) -> Result<()> {
    let wrong = |file: &PathBuf, reason: &str| Error::Argument {
        argument: "--out",
        value: file.display().to_string(),
        reason: reason.into(),
    };
    for file in files.iter().filter(|file| file.exists()) {
        if !file.is_file() {
            return Err(wrong(file, "is no file"));
        }
        if !force {
            return Err(wrong(file, "is there already; --force writes over it"));
        }
    }
    Ok(())
}
