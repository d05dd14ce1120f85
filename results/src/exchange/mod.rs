//! Result files of other tools: a run's records are written as theirs, and theirs are read.

mod clip_benchmark;
mod datasets;
mod eee;
mod exported;
mod format;
mod import;
mod lm_eval;
mod model_index;
mod model_name;
mod mteb;
mod open_clip;
mod parts;
mod samples;
mod tensorboard;
mod times;
mod timm;

use std::path::Path;

pub use self::{
    exported::{Exported, LeftOut, left_out_text},
    format::ExportFormat,
    import::{ForeignScore, Imported, import},
    model_index::{merge_model_index, model_index_block},
    model_name::model_file_name,
};

use self::exported::ExportFolder;
use crate::{Result, Run};

/// Writes a run's records as files of another tool, into a folder that is made where it is not
/// there.
///
/// The bytes are a function of the records and predictions. A record that is not publishable is
/// told with its state by lm-eval's, Every Eval Ever's and `TensorBoard`'s files, which have a place
/// for it; the others are tables of models beside each other, and leave it out.
///
/// # Errors
/// If predictions that are there cannot be read, or the folder cannot be written to.
pub fn export(run: &Run, format: ExportFormat, out: &Path) -> Result<Exported> {
    let mut folder = ExportFolder::new(run, out);
    match format {
        ExportFormat::LmEval => lm_eval::export(&mut folder)?,
        ExportFormat::ClipBenchmark => clip_benchmark::export(&mut folder)?,
        ExportFormat::ModelIndex => model_index::export(&mut folder)?,
        ExportFormat::Eee => eee::export(&mut folder)?,
        ExportFormat::Mteb => mteb::export(&mut folder)?,
        ExportFormat::OpenClip => open_clip::export(&mut folder)?,
        ExportFormat::Timm => timm::export(&mut folder)?,
        ExportFormat::TensorBoard => tensorboard::export(&mut folder)?,
    }
    Ok(folder.finish())
}
