//! `flava-eval zero-shot`: images of one's own by the names of their classes, scored where they lie
//! in folders of those names or a table has labels, answered for in any case that is asked for.

use std::{collections::BTreeSet, path::Path};

use flava_base::say;
use flava_model::{
    Pretrained,
    runtime::{Progress, distributed::Peers, linear},
};
use flava_tasks::{
    Feature, TEMPLATE, Tower,
    predictions::Meaning,
    sources::{Prompts, folder_entries, has_labels},
};
use tch::{Kind, Tensor};
use toml::{Table, Value};

use super::{AnsweredRows, Answerer, OwnRun, answer, open_inputs, softmax};
use crate::{
    DataLocator, Error, Loaded, ModelChoice, Plan, Result, Settings,
    args::{InputArgs, ZeroShotArgs},
    features::{Encoders, Extractor, FeatureSource, Rows},
    plan::{OwnData, OwnTask, columns_of, method},
    run,
};

/// What came of it: a plan that was run, where there were labels; answers, where they were asked
/// for or there were none.
pub fn zero_shot(args: &ZeroShotArgs, peers: &Peers) -> Result<OwnRun> {
    let templates = templates(args)?;
    let folders = match &args.images {
        Some(folder) => class_folders(folder)?,
        None => BTreeSet::new(),
    };
    let given = given_classes(args)?;
    let columns = columns_of(&args.own.columns)?;
    let labelled = match (&args.images, &args.csv) {
        (Some(_), _) => !folders.is_empty() && (given.is_empty() || names(&given) == folders),
        (_, Some(file)) => has_labels(file, &columns)?,
        _ => false,
    };
    if !labelled && !folders.is_empty() && !given.is_empty() {
        let folders: Vec<String> = folders.iter().cloned().collect();
        say(&format!(
            "note: the folders ({}) are not the classes ({}): answers are not scored",
            folders.join(", "),
            given.join(", ")
        ));
    }
    if given.is_empty() && !labelled {
        return Err(Error::Usage {
            argument: "--classes",
            reason: "the images lie in no folder for each class, and there are no labels: name the classes with --classes".into(),
        });
    }
    let mut measured = None;
    let mut classes = given.clone();
    if labelled {
        let plan = Plan::of_own(&task_of(args, &given, &templates)?, &args.own)?;
        if classes.is_empty() {
            classes = plan.tasks[0].told_class_names().to_vec();
        }
        if args.own.how.dry_run {
            return Ok(OwnRun::planned(plan));
        }
        let outcome = run(&plan, peers)?;
        measured = Some((plan, outcome));
    }
    let asked = args.answers.answers.is_some() || !labelled;
    let answered = (asked && peers.leads() && !args.own.how.dry_run)
        .then(|| answers(args, classes, templates))
        .transpose()?;
    Ok(OwnRun { measured, answered })
}

/// The task that labelled images stand for.
fn task_of(args: &ZeroShotArgs, classes: &[String], templates: &[String]) -> Result<OwnTask> {
    let list = |all: &[String]| Value::Array(all.iter().map(|one| one.as_str().into()).collect());
    let mut method: Table = method("zero_shot");
    method.insert("templates".into(), list(templates));
    if !classes.is_empty() {
        method.insert("class_names".into(), list(classes));
    }
    let path = args.images.as_deref().or(args.csv.as_deref());
    let argument = if args.images.is_some() {
        "--images"
    } else {
        "--csv"
    };
    OwnTask::new(&OwnData {
        name: args.own.name.as_ref(),
        method,
        splits: path
            .into_iter()
            .map(|path| (argument, "test", path))
            .collect(),
        columns: &args.own.columns,
    })
}

fn templates(args: &ZeroShotArgs) -> Result<Vec<String>> {
    let given = &args.template;
    if let Some(template) = given.iter().find(|template| !template.contains("{c}")) {
        return Err(Error::Argument {
            argument: "--template",
            value: template.clone(),
            reason: "has no {c}, which stands for the class's name".into(),
        });
    }
    Ok(if given.is_empty() {
        vec![TEMPLATE.to_owned()]
    } else {
        given.clone()
    })
}

/// The classes of the arguments, each once.
fn given_classes(args: &ZeroShotArgs) -> Result<Vec<String>> {
    let mut argument = "--classes";
    let mut classes: Vec<String> = args
        .classes
        .iter()
        .map(|name| name.trim().to_owned())
        .collect();
    if let Some(file) = &args.classes_file {
        argument = "--classes-file";
        let text = flava_base::read_text(file, flava_base::MAX_SETTINGS)?;
        let lines = text.lines().map(|line| line.trim().to_owned());
        classes = lines.filter(|line| !line.is_empty()).collect();
    }
    let wrong = |value: &str, reason: &str| Error::Argument {
        argument,
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    let mut seen = BTreeSet::new();
    for name in &classes {
        if name.is_empty() {
            return Err(wrong("", "a class has no name"));
        }
        if !seen.insert(name) {
            return Err(wrong(name, "is there twice"));
        }
    }
    if let [only] = classes.as_slice() {
        return Err(wrong(only, "there is nothing to tell one class from"));
    }
    Ok(classes)
}

fn names(classes: &[String]) -> BTreeSet<String> {
    classes.iter().cloned().collect()
}

/// The folders of classes in a folder; none where images lie beside them.
fn class_folders(folder: &Path) -> Result<BTreeSet<String>> {
    let mut folders = BTreeSet::new();
    for (name, is_folder) in folder_entries(folder)? {
        if is_folder {
            folders.insert(name);
        } else if flava_base::is_image(&name) {
            return Ok(BTreeSet::new());
        }
    }
    Ok(folders)
}

fn answers(
    args: &ZeroShotArgs,
    class_names: Vec<String>,
    templates: Vec<String>,
) -> Result<AnsweredRows> {
    let how = &args.own.how;
    let settings = Settings::new(&how.model_args)?;
    let locator = DataLocator::new(None, args.own.network.offline, settings.quiet)?;
    let input = InputArgs {
        images: args.images.clone(),
        csv: args.csv.clone(),
        texts: None,
    };
    let split = open_inputs(&input, &columns_of(&args.own.columns)?, false)?;
    let loaded = ModelChoice::new(how.model.as_ref())?.load(&settings, &locator)?;
    let prompts = Prompts {
        class_names,
        templates,
    };
    let mut answerer = Prompted::new(&loaded, &settings, &prompts)?;
    answer(&mut answerer, &split, &args.answers, &settings)
}

/// Classes by their prompts.
struct Prompted<'a> {
    loaded: &'a Loaded,
    settings: &'a Settings,
    class_names: Vec<String>,
    /// \[classes, projection\].
    classes: Tensor,
    /// What cosines are multiplied by.
    scale: f64,
}

impl<'a> Prompted<'a> {
    fn new(loaded: &'a Loaded, settings: &'a Settings, prompts: &Prompts) -> Result<Self> {
        let progress = Progress::new(0, "prompts", true);
        let encoders = Encoders {
            loaded,
            extractor: Extractor::new(&loaded.model, settings, &progress),
        };
        let classes = FeatureSource::Encoders(&encoders).class_embeddings(Some(prompts))?;
        Ok(Self {
            loaded,
            settings,
            class_names: prompts.class_names.clone(),
            classes,
            scale: scale_of(&loaded.model)?,
        })
    }
}

fn scale_of(model: &Pretrained) -> Result<f64> {
    let scale = model.flava()?.clamped_logit_scale()?;
    Ok(scale.f_to_kind(Kind::Double)?.f_exp()?.double_value(&[]))
}

impl Answerer for Prompted<'_> {
    fn meaning(&self) -> Meaning {
        Meaning::Classes(self.class_names.clone())
    }

    fn reads(&self) -> Tower {
        Tower::Image
    }

    fn numbers(&mut self, rows: &Rows, progress: &Progress) -> Result<(Vec<usize>, Tensor)> {
        let extractor = Extractor::new(&self.loaded.model, self.settings, progress);
        let (places, images) = extractor.places(rows, Feature::IMAGE_EMBEDDING)?;
        if places.is_empty() {
            return Ok((places, images));
        }
        let cosines = linear(&images, &self.classes, None)?;
        Ok((places, softmax(&cosines.f_mul_scalar(self.scale)?)?))
    }
}
