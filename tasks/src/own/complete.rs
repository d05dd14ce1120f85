//! A short row becomes a whole one: the form of the files, the columns, the classes, the metrics
//! and the chance level are read from the data.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{fill::is_open, labels::LabelKind, splits};
use crate::{
    Columns, Error, Family, Feature, Label, Method, Metric, Result, Source, SourceFormat, Split,
    Tap, Task, Tower,
    metrics::{official_accuracy, process_answer},
    sources::{OpenSplit, Survey, Surveyed, Wanted, read_prompts},
};

/// The prompt of a class where none is given.
pub const TEMPLATE: &str = "a photo of a {c}.";

impl Task {
    /// This task with what its row leaves open filled in from the data of `source`, its only source
    /// then, which lies at `root`.
    ///
    /// # Errors
    /// If the data is not there, is damaged, or leaves a choice that the row must make.
    pub fn completed(&self, source: &Source, root: &Path) -> Result<Self> {
        let mut task = self.clone();
        let mut source = source.clone();
        splits::find(&mut source, root)?;
        let images_from = source.images_from.clone();
        let survey = Survey {
            root,
            images_from: &images_from,
            wanted: wanted(&self.method),
        };
        find_form(&mut source, &survey)?;
        let chooses = matches!(self.method, Method::FineTune { .. });
        task.found = splits::divide(&mut source, self.method.trains(), chooses);
        if self.open.classes {
            task.find_classes(&mut source, &survey)?;
        }
        task.sources = vec![source];
        task.choose_prompts(root)?;
        task.read_rows(root)?;
        task.open = super::Open::default();
        if let Some(problem) = task.problem() {
            return Err(Error::TaskFile {
                file: task.name.clone(),
                reason: problem,
            });
        }
        Ok(task)
    }

    /// Number and names of the classes, from the labels of the rows to learn from.
    fn find_classes(&mut self, source: &mut Source, survey: &Survey) -> Result<()> {
        if let Method::ZeroShot { class_names, .. } = &self.method
            && !class_names.is_empty()
        {
            self.classes = class_names.len();
            self.class_names.clone_from(class_names);
            if let Some(columns) = columns_of(&mut source.format) {
                columns.label_names.clone_from(class_names);
            }
            return Ok(());
        }
        let learned = source.train.as_ref().unwrap_or(&source.test);
        let Surveyed {
            labels,
            class_names,
            classes,
        } = survey.labels(&source.format, learned)?;
        if let Some(names) = class_names {
            self.classes = names.len();
            self.class_names = names;
        } else if !labels.is_empty() {
            let place = survey.root.join(&learned.files);
            let found = LabelKind::of(&labels).map_err(|reason| Error::data(&place, reason))?;
            self.classes = found.classes();
            if let (LabelKind::Names(names), Some(columns)) =
                (found, columns_of(&mut source.format))
            {
                self.class_names.clone_from(&names);
                columns.label_names = names;
            }
        } else {
            self.classes = classes;
        }
        Ok(())
    }

    /// Prompts of zero-shot classification, where neither the row nor the data has any.
    fn choose_prompts(&mut self, root: &Path) -> Result<()> {
        let Method::ZeroShot {
            templates,
            class_names,
            prompts,
        } = &mut self.method
        else {
            return Ok(());
        };
        let of_others = !prompts.is_empty() || read_prompts(root)?.is_some();
        if !class_names.is_empty() || (templates.is_empty() && of_others) {
            return Ok(());
        }
        if self.class_names.is_empty() {
            let reason =
                "the data does not name its classes: give them as class_names of the method";
            return Err(Error::data(root, reason));
        }
        class_names.clone_from(&self.class_names);
        if templates.is_empty() {
            templates.push(TEMPLATE.into());
            self.found.push(format!(
                "the prompt of a class is {TEMPLATE:?}, as none is given"
            ));
        }
        Ok(())
    }

    /// What takes a look at the rows: how many there are, what they consist of, and what is right.
    fn read_rows(&mut self, root: &Path) -> Result<()> {
        let mut source = self.sources[0].clone();
        let open = |split: &Split| self.open_split(&source, split, root, 0);
        let splits: Vec<Split> = source.splits().cloned().collect();
        let opened = splits.iter().map(open).collect::<Result<Vec<_>>>()?;
        let test = opened.get(splits.iter().position(|s| *s == source.test).unwrap_or(0));
        let Some(test) = test.cloned() else {
            return Ok(());
        };
        let first = test.dataset.texts(0);
        let has_image = test.dataset.image_origin(0) != crate::sources::ImageOrigin::None;
        if self.open.feature {
            self.read_what_there_is(has_image, first > 0);
        }
        if self.open.family {
            self.family = self.family_of(first > 0);
        }
        if self.open.metrics {
            self.metrics = self.usual_metrics(&test);
        }
        if self.open.chance {
            self.chance = self.chance_of(&test, &opened);
        }
        let mut rows = opened.iter().map(|split| split.dataset.len());
        let mut count = |split: &mut Split| {
            split.rows = rows.next().unwrap_or_default();
        };
        source.train.iter_mut().for_each(&mut count);
        source.validation.iter_mut().for_each(&mut count);
        count(&mut source.test);
        source.second_test.iter_mut().for_each(&mut count);
        self.sources = vec![source];
        Ok(())
    }

    /// The CLS state of the encoder of what the rows consist of.
    fn read_what_there_is(&mut self, image: bool, text: bool) {
        let tower = match (image, text) {
            (true, true) => Tower::Multimodal,
            (false, true) => Tower::Text,
            _ => Tower::Image,
        };
        let of_class = Feature {
            tower,
            tap: Tap::Cls,
        };
        match &mut self.method {
            Method::FineTune { feature } => *feature = of_class,
            method => method.set_feature(of_class),
        }
    }

    fn family_of(&self, text: bool) -> Family {
        match self.method.feature().map(|feature| feature.tower) {
            Some(Tower::Image) => Family::Vision,
            Some(Tower::Text) => Family::Text,
            Some(Tower::Multimodal) => Family::Multimodal,
            None if text => Family::Multimodal,
            None => Family::Vision,
        }
    }

    fn usual_metrics(&self, test: &OpenSplit) -> Vec<Metric> {
        match (&self.method, test.dataset.label(0)) {
            (Method::Retrieval { .. }, _) => vec![
                Metric::TextRecall1,
                Metric::TextRecall5,
                Metric::TextRecall10,
                Metric::ImageRecall1,
                Metric::ImageRecall5,
                Metric::ImageRecall10,
            ],
            (_, Label::Answers(_)) => vec![Metric::VqaAccuracy],
            (_, Label::Value(_)) => vec![Metric::Pearson, Metric::Spearman],
            _ => vec![Metric::Accuracy, Metric::MeanPerClass],
        }
    }

    /// What the main metric gives whoever always says the same.
    fn chance_of(&self, test: &OpenSplit, all: &[OpenSplit]) -> f64 {
        let rows = test.dataset.len();
        let share = |part: f64| (part * 1e4).round() / 1e4;
        match self.metrics.first() {
            Some(Metric::Accuracy | Metric::MeanPerClass) if self.classes > 0 => {
                let one = 1.0 / self.classes as f64;
                if self.metrics[0] == Metric::MeanPerClass {
                    return share(one);
                }
                share(largest_class(test).max(one))
            }
            Some(Metric::Top5) => share((5.0 / self.classes.max(5) as f64).min(1.0)),
            Some(Metric::RocAuc) => 0.5,
            Some(Metric::VqaAccuracy | Metric::VqaAccuracyLenient) => {
                share(best_answer(all.first().unwrap_or(test), test))
            }
            Some(metric) => match metric.recall() {
                Some((_, among)) => share((among as f64 / rows as f64).min(1.0)),
                None => 0.0,
            },
            None => 0.0,
        }
    }
}

/// What a method reads of a table.
fn wanted(method: &Method) -> Wanted {
    match method {
        Method::Retrieval { .. } => Wanted::Captions,
        Method::ZeroShot { .. } => Wanted::LabelledImages,
        _ => Wanted::Labelled,
    }
}

/// The columns of a format that has any.
fn columns_of(format: &mut SourceFormat) -> Option<&mut Columns> {
    match format {
        SourceFormat::Table { columns, .. }
        | SourceFormat::Parquet { columns }
        | SourceFormat::Auto { columns } => Some(columns),
        _ => None,
    }
}

/// The form of a source's files, which must be one for all splits.
fn find_form(source: &mut Source, survey: &Survey) -> Result<()> {
    if !is_open(&source.format) {
        return Ok(());
    }
    let given = columns_of(&mut source.format).cloned().unwrap_or_default();
    let mut first: Option<(SourceFormat, String)> = None;
    let mut splits: Vec<&mut Split> = source.train.iter_mut().collect();
    splits.extend(source.validation.iter_mut());
    splits.push(&mut source.test);
    splits.extend(source.second_test.iter_mut());
    for split in splits.into_iter().filter(|split| !split.name.is_empty()) {
        let (format, files) = survey.format(&split.files, &given)?;
        match &first {
            Some((known, of)) if *known != format => {
                let reason = format!(
                    "is not read as {of} is: {}; the files of all splits have one form and one set of columns",
                    difference(known, &format)
                );
                return Err(Error::data(survey.root.join(&files), reason));
            }
            Some(_) => {}
            None => first = Some((format, files.clone())),
        }
        split.files = files;
    }
    if let Some((format, _)) = first {
        let images = match &source.format {
            SourceFormat::Table { images, .. } => images.clone(),
            _ => String::new(),
        };
        source.format = format;
        if let SourceFormat::Table { images: of, .. } = &mut source.format {
            *of = images;
        }
    }
    Ok(())
}

/// What two forms differ in.
fn difference(first: &SourceFormat, second: &SourceFormat) -> String {
    match (first, second) {
        (
            SourceFormat::Table { columns: a, .. } | SourceFormat::Parquet { columns: a },
            SourceFormat::Table { columns: b, .. } | SourceFormat::Parquet { columns: b },
        ) if a != b => format!("{:?} are read, not {:?}", b.read(), a.read()),
        _ => "another format".into(),
    }
}

/// The share of the rows of the largest class.
fn largest_class(split: &OpenSplit) -> f64 {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for row in 0..split.dataset.len() {
        if let Label::Class(class) = split.dataset.label(row) {
            *counts.entry(class).or_default() += 1;
        }
    }
    let most = counts.into_values().max().unwrap_or(0);
    most as f64 / split.dataset.len().max(1) as f64
}

/// The accuracy of whoever always gives the answer that is given most in the rows to learn from.
fn best_answer(learned: &OpenSplit, test: &OpenSplit) -> f64 {
    let answers = |split: &OpenSplit, row: usize| match split.dataset.label(row) {
        Label::Answers(given) => given,
        _ => Arc::from([]),
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in 0..learned.dataset.len() {
        for answer in answers(learned, row).iter() {
            *counts.entry(process_answer(answer)).or_default() += 1;
        }
    }
    let most = counts
        .into_iter()
        .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
    let Some((best, _)) = most else {
        return 0.0;
    };
    let rows = test.dataset.len();
    let right = |row: usize| official_accuracy(&answers(test, row), &best);
    (0..rows).map(right).sum::<f64>() / rows.max(1) as f64
}
