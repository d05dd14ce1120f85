//! What contradicts itself in a task's row.

use crate::{Method, Metric, Source, SourceFormat, Submission, Task};

/// A name is that of files too, with what stands behind it.
const LONGEST_NAME: usize = 64;
/// What `--tasks` takes for more than one task.
const RESERVED: [&str; 1] = ["all"];
/// Files of every run.
const OF_RUNS: [&str; 2] = ["plan", "status"];

impl Task {
    /// What contradicts itself in this row, if anything.
    pub fn problem(&self) -> Option<String> {
        self.name_problem()
            .or_else(|| self.metric_problem())
            .or_else(|| self.class_problem())
            .or_else(|| self.submission_problem())
            .or_else(|| self.method_problem())
            .or_else(|| self.prompt_problem())
            .or_else(|| self.sources.iter().find_map(Source::problem))
    }

    fn name_problem(&self) -> Option<String> {
        let names = || self.aliases.iter().chain([&self.name]);
        if let Some(name) = names().find(|name| !(1..=LONGEST_NAME).contains(&name.len())) {
            let have = name.len();
            return Some(format!(
                "a name has 1 to {LONGEST_NAME} letters, not {have}"
            ));
        }
        let spelt = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if let Some(name) = names().find(|name| !name.chars().all(spelt)) {
            return Some(format!(
                "name {name:?} is not of lower-case letters, digits and hyphens"
            ));
        }
        if let Some(name) = names().find(|name| RESERVED.contains(&name.as_str())) {
            return Some(format!("the name {name} stands for several tasks"));
        }
        let name = &self.name;
        OF_RUNS
            .contains(&name.as_str())
            .then(|| format!("the name {name} is that of a file of every run"))
    }

    fn metric_problem(&self) -> Option<String> {
        if (self.metrics.is_empty() && !self.open.metrics) || self.sources.is_empty() {
            return Some("metrics or source is empty".into());
        }
        let strange = |metric: &&Metric| !metric.fits(&self.method);
        self.metrics.iter().find(strange).map(|metric| {
            let (metric, method) = (metric.name(), self.method.name());
            format!("{metric} is no metric of {method}")
        })
    }

    fn class_problem(&self) -> Option<String> {
        let (named, classes) = (self.class_names.len(), self.classes);
        if named > 0 && named != classes {
            return Some(format!("{named} class_names for {classes} classes"));
        }
        if !(0.0..=1.0).contains(&self.chance) {
            return Some(format!("chance {} is no share", self.chance));
        }
        let closed = self.sources.iter().filter(|_| !self.open.classes);
        closed.into_iter().find_map(|source| {
            let (name, has) = (source.name(), self.classes_of(source));
            (has != classes).then(|| format!("{name} has {has} classes, the task {classes}"))
        })
    }

    /// How many classes a source has, as far as its format says.
    fn classes_of(&self, source: &Source) -> usize {
        match &source.format {
            SourceFormat::Parquet { columns } | SourceFormat::Table { columns, .. }
                if !columns.label_names.is_empty() =>
            {
                columns.label_names.len()
            }
            SourceFormat::SnliVe { .. } => 3,
            SourceFormat::HatefulMemes {} => 2,
            _ => self.classes,
        }
    }

    fn submission_problem(&self) -> Option<String> {
        let outside = |submission: &&Submission| {
            let (file, rows) = (&submission.file, &submission.split.files);
            file.contains(['/', '\\'])
                || file.starts_with('.')
                || rows.split('/').any(|part| part == "..")
        };
        let submission = self.submissions.iter().find(outside)?;
        let file = &submission.file;
        Some(format!("submission {file:?} leads out of its folder"))
    }

    fn method_problem(&self) -> Option<String> {
        let method = self.method.name();
        let probes = matches!(
            self.method,
            Method::LinearProbe { .. } | Method::Knn { .. } | Method::FewShot { .. }
        );
        if probes && self.classes < 2 && !self.open.classes {
            return Some(format!(
                "{method} needs at least two classes; labels that are values are fine-tuned"
            ));
        }
        let lacks_rows = self.sources.iter().any(|source| source.train.is_none());
        let lacks_rows = lacks_rows && !self.open.files;
        (self.method.trains() && lacks_rows).then(|| format!("{method} needs a train split"))
    }

    fn prompt_problem(&self) -> Option<String> {
        let Method::ZeroShot {
            templates,
            class_names,
            ..
        } = &self.method
        else {
            return None;
        };
        let (named, classes) = (class_names.len(), self.classes);
        if named > 0 && named != classes && !self.open.classes {
            return Some(format!("{named} class_names for {classes} classes"));
        }
        if templates.iter().any(|template| !template.contains("{c}")) {
            return Some("every template needs {c}".into());
        }
        let apart = templates.is_empty() != class_names.is_empty();
        (apart && !self.open.classes).then(|| "templates and class_names go together".into())
    }
}
