//! What is known of parquet rows without their images: labels, texts, ids.

use std::collections::HashMap;

use arrow_array::{Array, LargeStringArray, RecordBatch, cast::AsArray};
use arrow_schema::DataType;

use super::{
    super::{class_names, dataset::Label, label_space::LabelSpace, vqa::Interner},
    file::{ParquetFile, small_columns},
    values::{Labels, Texts, as_text, cast_to},
};
use crate::{Columns, Result};

/// What is known of the rows without their images.
#[derive(Default)]
pub(super) struct Known {
    /// Row of all files; in order, but not all of them where a column picks the split or several
    /// rows are one.
    pub(super) row: Vec<usize>,
    pub(super) label: Vec<Label>,
    pub(super) texts: Vec<Vec<String>>,
    pub(super) id: Vec<String>,
    pub(super) cluster: Vec<usize>,
}

/// Which rows of a file are read, and what is remembered from one file to the next.
pub(super) struct Reading<'a> {
    pub(super) columns: &'a Columns,
    split: &'a str,
    classes: usize,
    /// Rows by the value of the `group` column.
    groups: HashMap<String, usize>,
    /// The names of the classes, as the first file that has any gives them.
    pub(super) space: Option<LabelSpace>,
    /// For each class of the file at hand, which class it is of all.
    map: Option<Vec<usize>>,
    interner: Interner,
}

impl<'a> Reading<'a> {
    pub(super) fn new(columns: &'a Columns, split: &'a str, classes: usize) -> Self {
        Self {
            columns,
            split,
            classes,
            groups: HashMap::new(),
            space: None,
            map: None,
            interner: Interner::default(),
        }
    }

    /// Compares what a file calls its classes with what the files before it do; a note where they
    /// stand in another order.
    pub(super) fn map_classes(&mut self, file: &ParquetFile) -> Result<Option<String>> {
        self.map = None;
        let label = &self.columns.label;
        let Some(names) = class_names::of_description_in(&file.path, file.description(), label)?
        else {
            return Ok(None);
        };
        let name = file.name();
        let Some(space) = &self.space else {
            let space = LabelSpace::new(&name, names).map_err(|reason| file.wrong(reason))?;
            self.space = Some(space);
            return Ok(None);
        };
        self.map = space
            .map(&name, &names)
            .map_err(|reason| file.wrong(reason))?;
        let of = &space.of;
        let note = || {
            format!(
                "the classes of {name} stand in another order than those of {of}: mapped by name"
            )
        };
        Ok(self.map.is_some().then(note))
    }

    /// A label in the numbering of all files.
    fn mapped(&self, label: Label) -> Label {
        match (label, &self.map) {
            (Label::Class(class), Some(map)) => {
                Label::Class(map.get(class).copied().unwrap_or(class))
            }
            (label, _) => label,
        }
    }
}

/// Where a batch of rows lies.
#[derive(Clone, Copy)]
struct BatchLocation<'a> {
    file: &'a ParquetFile,
    /// Row of all files that the file starts with.
    start: usize,
    /// Row of the file that the batch starts with.
    first: usize,
}

/// A batch of rows, its columns as what is read of them.
struct Rows<'a> {
    at: BatchLocation<'a>,
    /// Of the file.
    name: String,
    /// Whether captions may be null.
    gaps: bool,
    ids: Option<LargeStringArray>,
    groups: Option<LargeStringArray>,
    splits: Option<LargeStringArray>,
    captions: Option<Texts>,
    answers: Option<Texts>,
    inputs: Vec<Texts>,
    labels: Option<Labels>,
}

impl<'a> Rows<'a> {
    fn new(at: BatchLocation<'a>, batch: &RecordBatch, reading: &Reading) -> Result<Self> {
        let (path, columns) = (&at.file.path, reading.columns);
        let column = |name: &str| batch.column_by_name(name).filter(|_| !name.is_empty());
        let text = |name: &str| column(name).map(|c| as_text(path, name, c)).transpose();
        let texts = |name: &str| column(name).map(|c| Texts::new(path, name, c)).transpose();
        let inputs = columns.texts.iter();
        let inputs = inputs.filter_map(|name| texts(name).transpose());
        let label = column(&columns.label);
        let labels = |label| Labels::new(path, columns, label, reading.classes);
        Ok(Self {
            at,
            name: at.file.name(),
            gaps: columns.gaps,
            ids: text(&columns.id)?,
            groups: text(&columns.group)?,
            splits: text(&columns.split)?,
            captions: texts(&columns.captions)?,
            answers: texts(&columns.answers)?,
            inputs: inputs.collect::<Result<_>>()?,
            labels: label.map(labels).transpose()?,
        })
    }

    fn is_of(&self, split: &str, row: usize) -> bool {
        let splits = self.splits.as_ref();
        splits.is_none_or(|splits| splits.value(row) == split)
    }

    /// What messages call a row.
    fn location(&self, row: usize) -> String {
        format!("row {}", self.at.first + row)
    }

    fn id(&self, row: usize) -> String {
        self.ids.as_ref().map_or_else(
            || format!("{}:{}", self.name, self.at.first + row),
            |ids| ids.value(row).to_owned(),
        )
    }

    fn group(&self, row: usize) -> Option<String> {
        let groups = self.groups.as_ref()?;
        Some(groups.value(row).to_owned())
    }

    fn captions(&self, row: usize, location: &str) -> Result<Option<Vec<String>>> {
        let captions = self.captions.as_ref();
        captions
            .filter(|column| !(self.gaps && column.is_null(row)))
            .map(|column| column.get(&self.at.file.path, location, row))
            .transpose()
    }

    /// The texts that go together as one input.
    fn inputs(&self, row: usize, location: &str) -> Result<Vec<String>> {
        let mut inputs = Vec::new();
        for column in &self.inputs {
            inputs.extend(column.get(&self.at.file.path, location, row)?);
        }
        Ok(inputs)
    }

    fn label(&self, row: usize, location: &str, reading: &mut Reading) -> Result<Label> {
        let path = &self.at.file.path;
        if let Some(labels) = &self.labels {
            return Ok(reading.mapped(labels.get(path, location, row)?));
        }
        let Some(answers) = &self.answers else {
            return Ok(Label::None);
        };
        let answers = answers.get(path, location, row)?;
        let answers = answers.iter().map(|answer| reading.interner.get(answer));
        Ok(Label::Answers(answers.collect()))
    }
}

/// What stands in the column of the labels of a split's rows, as text; None where nothing does.
pub(super) fn column_values(
    file: &ParquetFile,
    columns: &Columns,
    split: &str,
) -> Result<Vec<Option<String>>> {
    let wanted: Vec<&str> = [&columns.label, &columns.split]
        .into_iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let mut values = Vec::new();
    for batch in file.reader(&wanted, None)? {
        let batch = batch.map_err(|e| file.broken(&wanted, None, &e))?;
        let column = |name: &str| batch.column_by_name(name).filter(|_| !name.is_empty());
        let splits = column(&columns.split).map(|c| as_text(&file.path, &columns.split, c));
        let splits = splits.transpose()?;
        let Some(labels) = column(&columns.label) else {
            continue;
        };
        let labels = cast_to(&file.path, &columns.label, labels, &DataType::LargeUtf8)?;
        let labels: &LargeStringArray = labels.as_string::<i64>();
        for row in 0..batch.num_rows() {
            let is_of = splits
                .as_ref()
                .is_none_or(|splits| splits.value(row) == split);
            if is_of {
                values.push(labels.is_valid(row).then(|| labels.value(row).to_owned()));
            }
        }
    }
    Ok(values)
}

impl Known {
    /// Rows of a file of which nothing but images is read.
    pub(super) fn number(&mut self, file: &ParquetFile, start: usize, rows: usize) {
        let name = file.name();
        self.row.extend(start..start + rows);
        self.id.extend((0..rows).map(|row| format!("{name}:{row}")));
    }

    /// Reads the rows of a file, which starts with row `start` of all.
    pub(super) fn read(
        &mut self,
        file: &ParquetFile,
        start: usize,
        rows: usize,
        reading: &mut Reading,
    ) -> Result<()> {
        let wanted = small_columns(reading.columns);
        let mut first = 0;
        for batch in file.reader(&wanted, None)? {
            let batch = batch.map_err(|e| file.broken(&wanted, None, &e))?;
            let rows = Rows::new(BatchLocation { file, start, first }, &batch, reading)?;
            for row in 0..batch.num_rows() {
                if rows.is_of(reading.split, row) {
                    self.add(&rows, row, reading)?;
                }
            }
            first += batch.num_rows();
        }
        if first == rows {
            return Ok(());
        }
        let column = wanted[0];
        let reason = format!("column {column} has {first} rows, the file says {rows}");
        Err(file.wrong(reason))
    }

    /// Adds a row, or its captions to the row that shares its image.
    fn add(&mut self, rows: &Rows, row: usize, reading: &mut Reading) -> Result<()> {
        let location = rows.location(row);
        let captions = rows.captions(row, &location)?;
        let next = self.row.len();
        let group = rows.group(row);
        let owner = group.map(|group| *reading.groups.entry(group).or_insert(next));
        if let (Some(owner), Some(captions)) = (owner.filter(|owner| *owner < next), &captions) {
            self.texts[owner].extend(captions.iter().cloned());
            return Ok(());
        }
        let label = rows.label(row, &location, reading)?;
        let mut texts = captions.unwrap_or_default();
        texts.extend(rows.inputs(row, &location)?);
        self.row.push(rows.at.start + rows.at.first + row);
        self.label.push(label);
        self.texts.push(texts);
        self.id.push(rows.id(row));
        self.cluster.extend(owner);
        Ok(())
    }
}
