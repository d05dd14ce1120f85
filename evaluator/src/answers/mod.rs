//! Answers of a model to rows that have no labels: read, answered and written a few hundred at a
//! time.

mod answerer;
mod probe;
mod retrieve;
mod tuned;
mod zero_shot;

use std::path::PathBuf;

use flava_base::say;
use flava_model::runtime::{ExpectedWork, Progress};
use flava_tasks::{
    Columns, Tower,
    predictions::AnswerFile,
    sources::{Inputs, OpenSplit},
};
use tch::{Device, Tensor};

use crate::{
    Error, Outcome, Plan, Result, Settings,
    args::{AnswerArgs, InputArgs},
    check_interrupted,
    features::{Rows, non_finite_rows},
};

pub(crate) use answerer::Answerer;
pub(crate) use probe::SavedProbe;
pub use probe::probe;
pub use retrieve::retrieve;
pub use tuned::predict;
pub use zero_shot::zero_shot;

/// Rows that are answered before they are written.
const AT_ONCE: usize = 1024;

/// What came of a task of one's own.
pub struct OwnRun {
    /// The plan, and how it ended, where something was scored.
    pub measured: Option<(Plan, Outcome)>,
    /// The answers to rows without labels, where there were any.
    pub answered: Option<AnsweredRows>,
}

impl OwnRun {
    /// A plan that is told and not run.
    fn planned(plan: Plan) -> Self {
        Self {
            measured: Some((plan, Outcome::default())),
            answered: None,
        }
    }
}

/// What was answered.
#[derive(Debug)]
pub struct AnsweredRows {
    /// The file.
    pub path: PathBuf,
    /// Rows in it.
    pub rows: usize,
    /// Rows with broken images, which were left out.
    pub skipped: usize,
}

impl AnsweredRows {
    /// As it is said.
    pub fn told(&self) -> String {
        let left_out = left_out_told(self.skipped);
        format!("{}: {} answers{left_out}", self.path.display(), self.rows)
    }
}

/// How many broken images were left out, to end a line with; nothing where none was.
pub(crate) fn left_out_told(skipped: usize) -> String {
    match skipped {
        0 => String::new(),
        skipped => format!(", {skipped} broken images left out"),
    }
}

/// The rows of the arguments; whether a line without a text is one of them.
///
/// # Errors
/// If they are not there or are damaged.
pub(crate) fn open_inputs(
    args: &InputArgs,
    columns: &Columns,
    may_be_empty: bool,
) -> Result<OpenSplit> {
    let inputs = match (&args.images, &args.texts, &args.csv) {
        (Some(folder), ..) => Inputs::Images(folder),
        (_, Some(file), _) if may_be_empty => Inputs::Lines(file),
        (_, Some(file), _) => Inputs::Texts(file),
        (_, _, Some(file)) => Inputs::Table(file, columns),
        _ => {
            return Err(Error::Usage {
                argument: "--images",
                reason: "--images, --texts or --csv is needed".into(),
            });
        }
    };
    let split = inputs.open()?;
    for note in split.dataset.notes() {
        say(&format!("note: {note}"));
    }
    Ok(split)
}

/// Answers for all rows of a split into the file of the arguments.
///
/// # Errors
/// If a row lacks what the model reads, is broken and not to be left out, or the file cannot be
/// written.
pub(crate) fn answer(
    answerer: &mut dyn Answerer,
    split: &OpenSplit,
    args: &AnswerArgs,
    settings: &Settings,
) -> Result<AnsweredRows> {
    check_inputs(answerer.reads(), split)?;
    let rows = split.dataset.len();
    let progress = Progress::new(0, "rows", settings.quiet);
    progress.expect([ExpectedWork {
        piece: String::new(),
        kind: answerer.kind(),
        units: rows as f64,
        cost: 1.0,
    }]);
    let path = args.file();
    let file = AnswerFile::create(&path, answerer.meaning(), usize::from(args.top))?;
    let mut skipped = 0;
    let written = file.write(|file| {
        for start in (0..rows).step_by(AT_ONCE) {
            check_interrupted()?;
            let some = (start..rows.min(start + AT_ONCE)).collect();
            let some = Rows::some(split.clone(), some);
            let (positions, numbers) = answerer.numbers(&some, &progress)?;
            skipped += some.len() - positions.len();
            let ids: Vec<String> = positions.iter().map(|&row| some.id(row)).collect();
            if !ids.is_empty() {
                check_finite(&numbers, &ids)?;
                let numbers = numbers.f_to_device(Device::Cpu)?.f_flatten(0, -1)?;
                file.add(&ids, &Vec::<f32>::try_from(numbers)?)?;
            }
        }
        Ok::<(), Error>(())
    });
    progress.finish();
    Ok(AnsweredRows {
        rows: written?,
        path,
        skipped,
    })
}

/// The rows have what a model reads; told by the first.
fn check_inputs(reads: Tower, split: &OpenSplit) -> Result<()> {
    let has_image = split.dataset.image_origin(0) != flava_tasks::sources::ImageOrigin::None;
    let has_text = split.dataset.texts(0) > 0;
    let lacks = match reads {
        Tower::Image if !has_image => "images",
        Tower::Text if !has_text => "texts",
        Tower::Multimodal if !has_image || !has_text => "images and texts",
        _ => return Ok(()),
    };
    let name = &split.name;
    Err(Error::Usage {
        argument: "--images",
        reason: format!("the model answers for {lacks}, which {name} does not hold"),
    })
}

/// No row's answer is anything but numbers.
fn check_finite(numbers: &Tensor, ids: &[String]) -> Result<()> {
    match non_finite_rows(numbers)?.first() {
        Some(&row) => Err(Error::NotFinite(format!(
            "{}: the model's answer is not a number",
            ids[row as usize]
        ))),
        None => Ok(()),
    }
}

/// Probabilities of rows' numbers \[rows, classes\].
pub(crate) fn softmax(numbers: &Tensor) -> Result<Tensor> {
    Ok(numbers.f_softmax(1, tch::Kind::Float)?)
}
