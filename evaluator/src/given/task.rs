//! The given features of one task: all files that it reads, checked against its splits.

use std::path::{Path, PathBuf};

use flava_base::{DigestIndex, hex};
use flava_tasks::{Dataset, Method, sources::OpenSplit};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tch::Tensor;

use super::{
    file::GivenFile,
    folder::GivenFolder,
    row_order::{Expected, RowOrder},
};
use crate::{
    Error, Result, TaskRun,
    data::OpenTask,
    features::{Features, Rows, SplitRole, mean_of_templates, unit_length},
};

/// What a file of a task holds; each has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivenPart {
    Split(SplitRole),
    /// An embedding of each class, in the order of the labels.
    Classes,
    /// The images of retrieval.
    Images,
    /// Its captions.
    Captions,
}

impl GivenPart {
    fn name(self) -> &'static str {
        match self {
            Self::Split(role) => role.name(),
            Self::Classes => "classes",
            Self::Images => "images",
            Self::Captions => "captions",
        }
    }
}

/// A file with the place of each row.
struct Opened {
    part: GivenPart,
    file: GivenFile,
    order: RowOrder,
}

/// The features of one task.
pub(crate) struct GivenTask<'a> {
    folder: &'a GivenFolder,
    files: Vec<Opened>,
}

impl<'a> GivenTask<'a> {
    /// Opens the files that a task reads; their numbers are read later.
    ///
    /// # Errors
    /// If one is missing or damaged, does not have the rows of its split, or has vectors of another
    /// width than the others.
    pub(crate) fn open(
        folder: &'a GivenFolder,
        task_run: &TaskRun,
        data: &OpenTask,
    ) -> Result<Self> {
        let place = folder.of_task(&task_run.task.name)?;
        let mut files: Vec<Opened> = Vec::new();
        for part in parts(&task_run.assignment.method, data) {
            let expected = expected(part, task_run, data)?;
            let mut file = GivenFile::open(&place, part.name())
                .map_err(|error| renamed(error, part, data, &place))?;
            check_form(&file, part)?;
            if let Some(first) = files.first() {
                check_width(&first.file, &file)?;
            }
            let order = RowOrder::of(&file, &expected)?;
            file.drop_ids();
            files.push(Opened { part, file, order });
        }
        Ok(Self { folder, files })
    }

    /// Who computed them.
    pub(crate) fn folder(&self) -> &GivenFolder {
        self.folder
    }

    /// A digest of all files that are read and of `source.json`, by their contents.
    pub(crate) fn digest(&self) -> Result<String> {
        let mut paths: Vec<PathBuf> = vec![self.folder.source_file()];
        paths.extend(
            self.files
                .iter()
                .flat_map(|opened| opened.file.paths())
                .cloned(),
        );
        let mut digest = Sha256::new();
        for (path, of_file) in paths.iter().zip(DigestIndex::of_user().digests(&paths)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            digest.update(format!("{name} {}\n", hex(&of_file?)));
        }
        Ok(hex(&digest.finalize()[..16]))
    }

    /// The kinds of numbers in the files, such as `f32`.
    pub(crate) fn precision(&self) -> String {
        let kinds = self.files.iter().map(|opened| opened.file.precision());
        let mut kinds: Vec<&str> = kinds.collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds.join(" and ")
    }

    /// The files, for people: `train.npy [100, 512] f32 by id`.
    pub(crate) fn described(&self) -> String {
        let line = |opened: &Opened| {
            let (file, by_id) = (&opened.file, opened.order.by_id);
            let (name, shape, kind) = (file.name(), file.shape(), file.precision());
            let order = if by_id { "by id" } else { "in order" };
            format!("{name} {shape} {kind} {order}")
        };
        self.files.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    /// The files, for the record.
    pub(crate) fn detail(&self) -> Value {
        let file = |opened: &Opened| {
            json!({
                "file": opened.file.name(),
                "rows": opened.file.rows(),
                "width": opened.file.width(),
                "templates": opened.file.templates(),
                "precision": opened.file.precision(),
                "by_id": opened.order.by_id,
                "left_out": opened.order.surplus,
            })
        };
        self.files.iter().map(file).collect()
    }

    /// What a reader of the numbers must know of the files.
    pub(crate) fn notes(&self) -> Vec<String> {
        let note = |opened: &Opened| {
            let (file, count) = (opened.file.name(), opened.order.surplus);
            let told = || format!("{count} rows of {file} have ids of no row, and are left out");
            (count > 0).then(told)
        };
        self.files.iter().filter_map(note).collect()
    }

    /// The features of a split's rows.
    pub(crate) fn features(&self, rows: &Rows) -> Result<Features> {
        let values = self.read(GivenPart::Split(rows.role), rows.indices())?;
        Ok(whole(rows, values))
    }

    /// The embeddings of a split's images, of unit length.
    pub(crate) fn image_embeddings(&self, rows: &Rows) -> Result<Features> {
        let is_retrieval = self
            .files
            .iter()
            .any(|opened| opened.part == GivenPart::Images);
        let part = if is_retrieval {
            GivenPart::Images
        } else {
            GivenPart::Split(rows.role)
        };
        let values = self.read(part, rows.indices())?;
        Ok(whole(rows, unit_length(&values)?))
    }

    /// The embeddings of all captions of some rows, row by row, of unit length.
    pub(crate) fn caption_embeddings(&self, rows: &Rows) -> Result<Tensor> {
        let mut first = Vec::with_capacity(rows.dataset().len() + 1);
        let mut count = 0;
        for row in 0..rows.dataset().len() {
            first.push(count);
            count += rows.dataset().texts(row);
        }
        first.push(count);
        let captions = rows.indices().iter();
        let captions: Vec<usize> = captions
            .flat_map(|&row| first[row]..first[row + 1])
            .collect();
        unit_length(&self.read(GivenPart::Captions, &captions)?)
    }

    /// An embedding of each class, of unit length; of several templates' their mean, as of our own.
    pub(crate) fn class_embeddings(&self) -> Result<Tensor> {
        let opened = self.opened(GivenPart::Classes)?;
        let all: Vec<usize> = (0..opened.order.rows.len()).collect();
        let values = unit_length(&self.read(GivenPart::Classes, &all)?)?;
        match opened.file.templates() {
            None => Ok(values),
            Some(_) => mean_of_templates(&values),
        }
    }

    fn opened(&self, part: GivenPart) -> Result<&Opened> {
        let none = Error::Internal("a file of features that was not opened");
        let found = self.files.iter().find(|opened| opened.part == part);
        found.ok_or(none)
    }

    /// The numbers of rows of the dataset.
    fn read(&self, part: GivenPart, rows: &[usize]) -> Result<Tensor> {
        let Opened { file, order, .. } = self.opened(part)?;
        let rows: Vec<usize> = rows.iter().map(|&row| order.rows[row]).collect();
        file.read(&rows)
    }
}

/// The files that a method reads.
fn parts(method: &Method, data: &OpenTask) -> Vec<GivenPart> {
    let roles: &[SplitRole] = match method {
        Method::LinearProbe { .. } => &SplitRole::ALL,
        Method::Knn { .. } | Method::FewShot { .. } => &[SplitRole::Train, SplitRole::Test],
        Method::ZeroShot { .. } => {
            return vec![GivenPart::Classes, GivenPart::Split(SplitRole::Test)];
        }
        Method::Retrieval { .. } => return vec![GivenPart::Images, GivenPart::Captions],
        Method::FineTune { .. } => &[],
    };
    let there = roles.iter().filter(|role| split(data, **role).is_some());
    there.map(|role| GivenPart::Split(*role)).collect()
}

fn split<'d>(data: &'d OpenTask, role: SplitRole) -> Option<&'d OpenSplit> {
    match role {
        SplitRole::Train => data.train.as_ref(),
        SplitRole::Validation => data.validation.as_ref(),
        SplitRole::Test => Some(&data.test),
        SplitRole::SecondTest => data.second_test.as_ref(),
    }
}

/// The rows that a file is to have.
fn expected(part: GivenPart, task_run: &TaskRun, data: &OpenTask) -> Result<Expected> {
    let role = match part {
        GivenPart::Split(role) => role,
        _ => SplitRole::Test,
    };
    let none = Error::Internal("features of a split that is not there");
    let split = split(data, role).ok_or(none)?;
    let (dataset, name) = (&*split.dataset, &split.name);
    let ids = (0..dataset.len()).map(|row| dataset.id(row));
    let (of, ids) = match part {
        GivenPart::Split(_) => (format!("split {name}"), ids.collect()),
        GivenPart::Images => (format!("images of split {name}"), ids.collect()),
        GivenPart::Captions => (format!("captions of split {name}"), caption_ids(dataset)),
        GivenPart::Classes => return Ok(expected_classes(task_run, dataset)),
    };
    let count = Vec::len(&ids);
    Ok(Expected { of, count, ids })
}

/// The classes, by the names of the task's row, else by the data's.
fn expected_classes(task_run: &TaskRun, dataset: &dyn Dataset) -> Expected {
    let of_row = match &task_run.assignment.method {
        Method::ZeroShot { class_names, .. } => class_names.clone(),
        _ => Vec::new(),
    };
    let mut ids = if of_row.is_empty() {
        dataset.class_names().unwrap_or_default().to_vec()
    } else {
        of_row
    };
    let count = task_run.task.classes;
    if ids.len() != count {
        ids.clear();
    }
    Expected {
        of: "classes".to_owned(),
        count,
        ids,
    }
}

/// Captions are called by their image, with their numbers there: `IMAGE#0`.
fn caption_ids(dataset: &dyn Dataset) -> Vec<String> {
    let of_row = |row: usize| {
        let id = dataset.id(row);
        (0..dataset.texts(row)).map(move |number| format!("{id}#{number}"))
    };
    (0..dataset.len()).flat_map(of_row).collect()
}

/// Says where a file is called by its split's name, and not by the split's part in the task.
fn renamed(error: Error, part: GivenPart, data: &OpenTask, folder: &Path) -> Error {
    let GivenPart::Split(role) = part else {
        return error;
    };
    let name = split(data, role).map(|split| split.name.as_str());
    let is_there = |name: &&str| {
        let files = ["safetensors", "npy"].map(|ending| folder.join(format!("{name}.{ending}")));
        *name != role.name() && files.iter().any(|file| flava_base::is_there(file))
    };
    match (error, name.filter(is_there)) {
        (Error::File(error), Some(name)) => {
            let role = role.name();
            let reason = format!(
                "{}; split {name} is the task's {role}: call the file so",
                error.reason()
            );
            flava_base::Error::file(folder, reason).into()
        }
        (error, _) => error,
    }
}

/// Only classes have several vectors a row.
fn check_form(file: &GivenFile, part: GivenPart) -> Result<()> {
    if file.templates().is_some() && part != GivenPart::Classes {
        let reason = format!("is of shape {}, no table [rows, width]", file.shape());
        return Err(file.wrong(reason));
    }
    Ok(())
}

fn check_width(first: &GivenFile, file: &GivenFile) -> Result<()> {
    let (theirs, own) = (first.width(), file.width());
    if theirs == own {
        return Ok(());
    }
    let name = first.name();
    Err(file.wrong(format!("has {own} numbers a row, {name} has {theirs}")))
}

/// Features of all rows.
fn whole(rows: &Rows, values: Tensor) -> Features {
    let all: Vec<usize> = (0..rows.len()).collect();
    Features::new(rows, &all, values)
}
