//! `flava-eval embed`: features of images or texts as a safetensors file, streamed.

mod images;
mod spool;

use std::path::Path;

use flava_model::{Pretrained, processor::Text, runtime::Progress};
use flava_tasks::Feature;

use crate::{
    Error, ModelChoice, Result, Settings, args::EmbedArgs, features::Extractor,
    locator::DataLocator,
};
use images::embed_images;
use spool::Spool;

/// Largest file of texts.
const MAX_TEXTS: u64 = 4 << 30;
/// Texts that are encoded before their features go to disk.
const TEXTS_AT_ONCE: usize = 1 << 14;

/// Writes the features and returns how many rows, and how many broken images were left out.
pub fn embed(args: &EmbedArgs) -> Result<(usize, usize)> {
    let settings = Settings::new(&args.model_args)?;
    let mut spool = Spool::create(&args.out)?;
    let positions = DataLocator::new(None, args.network.offline, settings.quiet)?;
    let model = ModelChoice::new(args.model.as_ref())?
        .load(&settings, &positions)?
        .model;
    let skipped = match (&args.images, &args.texts) {
        (Some(folder), _) => embed_images(folder, &model, &settings, &mut spool)?,
        (None, Some(file)) => embed_texts(file, &model, &settings, &mut spool)?,
        (None, None) => {
            return Err(Error::Usage {
                argument: "--images",
                reason: "--images or --texts is needed".into(),
            });
        }
    };
    if spool.ids.is_empty() {
        return Err(Error::UnfitRows(format!(
            "nothing to embed ({skipped} broken images were left out)"
        )));
    }
    let rows = spool.ids.len();
    spool.finish(&args.out)?;
    Ok((rows, skipped))
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
