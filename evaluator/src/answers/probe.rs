//! `flava-eval probe`: a linear probe on one's own data; kept in a folder, and applied to new rows.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_heads::LinearHead;
use flava_model::{
    checkpoint::{read_tensors, write_tensors},
    runtime::{Progress, distributed::Peers},
};
use flava_tasks::{Feature, Tower, predictions::Meaning};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{AnsweredRows, Answerer, OwnRun, answer, open_inputs, softmax};
use crate::{
    DataLocator, Error, Loaded, ModelChoice, Plan, Result, Settings,
    args::ProbeArgs,
    features::{Extractor, Rows},
    plan::{OwnData, OwnTask, columns_of, method},
    run,
};

/// Its description and its weights, in its folder.
const DESCRIPTION: &str = "probe.json";
const WEIGHTS: &str = "probe.safetensors";
/// Largest description.
const MAX_DESCRIPTION: u64 = 64 << 20;

/// What a probe that is kept is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedProbe {
    /// The task it was fitted on.
    pub(crate) task: String,
    /// What it reads.
    pub(crate) feature: Feature,
    /// Digest of the encoder's weights that it reads.
    pub(crate) model: String,
    /// Names of the classes, in the order of its numbers.
    pub(crate) class_names: Vec<String>,
    /// The penalty that was chosen.
    pub(crate) penalty: f64,
    /// Rows that it was fitted on.
    pub(crate) train_rows: usize,
}

impl SavedProbe {
    /// Writes it with its weights into a folder.
    pub(crate) fn write(&self, head: &LinearHead, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(|e| flava_base::Error::io(folder, e))?;
        let (weight, bias) = head.parts();
        let plain = |values: &Tensor| values.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float);
        let tensors = vec![
            ("weight".to_owned(), plain(weight)?),
            ("bias".to_owned(), plain(bias)?),
        ];
        write_tensors(&folder.join(WEIGHTS), tensors)?;
        let text = serde_json::to_string_pretty(self)?;
        Ok(flava_base::write_atomic(
            &folder.join(DESCRIPTION),
            format!("{text}\n").as_bytes(),
        )?)
    }

    fn read(folder: &Path) -> Result<(Self, LinearHead)> {
        let description = folder.join(DESCRIPTION);
        let saved: Self = flava_base::read_json(&description, MAX_DESCRIPTION)?;
        let path = folder.join(WEIGHTS);
        let broken = |reason: &str| flava_base::Error::file(&path, reason);
        let (mut weight, mut bias) = (None, None);
        for (name, tensor) in read_tensors(&path)? {
            match name.as_str() {
                "weight" => weight = Some(tensor),
                "bias" => bias = Some(tensor),
                _ => return Err(broken("holds other tensors than weight and bias").into()),
            }
        }
        let (Some(weight), Some(bias)) = (weight, bias) else {
            return Err(broken("lacks weight or bias").into());
        };
        let classes = saved.class_names.len() as i64;
        let numbers = if classes == 2 { 1 } else { classes };
        let fits =
            weight.size().len() == 2 && weight.size()[0] == numbers && bias.size() == [numbers];
        if !fits {
            let reason = format!(
                "{:?} and {:?} are no weights of {classes} classes",
                weight.size(),
                bias.size()
            );
            return Err(broken(&reason).into());
        }
        Ok((saved, LinearHead::new(weight, bias)))
    }
}

/// Fits a probe and scores it, or takes one that was kept; and answers for new rows, if there are
/// any.
pub fn probe(args: &ProbeArgs, peers: &Peers) -> Result<OwnRun> {
    let how = &args.own.how;
    if args.probe.is_some() && !args.input.any() {
        return Err(Error::Usage {
            argument: "--probe",
            reason: "--probe answers for new rows: name them with --images, --texts or --csv"
                .into(),
        });
    }
    let (mut measured, mut kept) = (None, args.probe.clone());
    if args.train.is_some() {
        let mut plan = Plan::of_own(&task_of(args)?, &args.own)?;
        plan.save_probe = place_of_probe(args)?;
        // A record that is there keeps no probe.
        plan.again |= plan.save_probe.is_some();
        if how.dry_run {
            return Ok(OwnRun::planned(plan));
        }
        let outcome = run(&plan, peers)?;
        let place = |folder: &PathBuf| outcome.out.join(folder);
        kept = plan.save_probe.as_ref().map(place);
        let failed = !outcome.failures.is_empty() || outcome.interrupted;
        measured = Some((plan, outcome));
        if failed {
            return Ok(OwnRun {
                measured,
                answered: None,
            });
        }
    }
    let answered = match kept.filter(|_| args.input.any() && peers.leads()) {
        Some(folder) => Some(answers(args, &folder)?),
        None => None,
    };
    Ok(OwnRun { measured, answered })
}

/// Where a probe is kept that is fitted: where it was asked for, else in the run's folder where new
/// rows are answered for.
fn place_of_probe(args: &ProbeArgs) -> Result<Option<PathBuf>> {
    match &args.save_probe {
        Some(folder) => {
            let whole = std::path::absolute(folder);
            Ok(Some(whole.map_err(|e| flava_base::Error::io(folder, e))?))
        }
        None => Ok(args.input.any().then(|| "probe".into())),
    }
}

fn task_of(args: &ProbeArgs) -> Result<OwnTask> {
    let given: [(&str, &str, &Option<PathBuf>); 3] = [
        ("--train", "train", &args.train),
        ("--validation", "validation", &args.validation),
        ("--test", "test", &args.test),
    ];
    let given = given.into_iter();
    OwnTask::new(&OwnData {
        name: args.own.name.as_ref(),
        method: method("linear_probe"),
        splits: given
            .filter_map(|(argument, split, path)| Some((argument, split, path.as_deref()?)))
            .collect(),
        columns: &args.own.columns,
    })
}

fn answers(args: &ProbeArgs, folder: &Path) -> Result<AnsweredRows> {
    let how = &args.own.how;
    let settings = Settings::new(&how.model_args)?;
    let locator = DataLocator::new(None, args.own.network.offline, settings.quiet)?;
    let (saved, head) = SavedProbe::read(folder)?;
    let split = open_inputs(&args.input, &columns_of(&args.own.columns)?, false)?;
    let loaded = ModelChoice::new(how.model.as_ref())?.load(&settings, &locator)?;
    let model = loaded.model.identity();
    if saved.model != model {
        let (folder, fitted) = (folder.display(), &saved.model);
        return Err(Error::Mismatch {
            what: "model",
            reason: format!(
                "the probe in {folder} was fitted on features of another model ({fitted}, this is {model}): give that one with --model"
            ),
        });
    }
    let mut answerer = Probed {
        loaded: &loaded,
        settings: &settings,
        saved,
        head,
    };
    answer(&mut answerer, &split, &args.answers, &settings)
}

/// A probe over a model's features.
struct Probed<'a> {
    loaded: &'a Loaded,
    settings: &'a Settings,
    saved: SavedProbe,
    head: LinearHead,
}

impl Answerer for Probed<'_> {
    fn meaning(&self) -> Meaning {
        Meaning::Classes(self.saved.class_names.clone())
    }

    fn reads(&self) -> Tower {
        self.saved.feature.tower
    }

    fn numbers(&mut self, rows: &Rows, progress: &Progress) -> Result<(Vec<usize>, Tensor)> {
        let extractor = Extractor::new(&self.loaded.model, self.settings, progress);
        let (places, features) = extractor.places(rows, self.saved.feature)?;
        if places.is_empty() {
            return Ok((places, features));
        }
        Ok((places, softmax(&self.head.forward(&features)?)?))
    }
}
