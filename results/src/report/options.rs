//! What a report is asked for.

use crate::Record;

/// The bytes of a row's image as JPEG, PNG or WebP, at most 96 pixels wide and high; None where
/// there is none or it must not be shown. The row is named by its id; of a retrieval, whose
/// predictions hold no ids, by the number of its image from 0.
pub type ImageOf<'a> = &'a (dyn Fn(&Record, &str) -> Option<Vec<u8>> + Sync);

/// What the classes of a task are called, in the order of the labels.
pub type ClassNames<'a> = &'a (dyn Fn(&Record) -> Option<Vec<String>> + Sync);

/// The order of the table of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// As in the paper's table, then by name.
    #[default]
    Paper,
    /// By name.
    Name,
    /// The lowest score first.
    Score,
    /// The furthest below the paper first.
    Difference,
}

/// What a report is asked for.
#[derive(Clone, Copy)]
pub struct ReportOptions<'a> {
    /// The title; empty for one that is made of the model's name.
    pub title: &'a str,
    /// Order of the table of tasks.
    pub sort: Sort,
    /// Rows of the table of tasks; the rest is counted.
    pub most_tasks: usize,
    /// Rows of every other table and bars of a figure; the rest is counted.
    pub most_rows: usize,
    /// Figures of a part; the rest is counted.
    pub most_figures: usize,
    /// Of what is drawn at random, such as queries.
    pub seed: u64,
    /// Bytes of images, as text, that are copied into the file.
    pub most_image_bytes: usize,
    /// Bytes of the records that are copied into the file.
    pub most_json: usize,
    /// Where images come from; without, rows are named by their ids alone.
    pub images: Option<ImageOf<'a>>,
    /// Where names of classes come from; without, from the registry of tasks, else classes have
    /// numbers.
    pub class_names: Option<ClassNames<'a>>,
}

impl Default for ReportOptions<'_> {
    fn default() -> Self {
        Self {
            title: "",
            sort: Sort::default(),
            most_tasks: 250,
            most_rows: 20,
            most_figures: 40,
            seed: 0,
            most_image_bytes: 600 << 10,
            most_json: 400 << 10,
            images: None,
            class_names: None,
        }
    }
}
