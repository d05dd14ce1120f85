//! Rows to features: one pass of a split through the model reads all that is asked for of it, shard
//! by shard into the store.

mod batches;
mod extractor;
mod finite;
mod fitting;
mod of_rows;
mod of_texts;
mod pass;
mod prepare;
mod sharing;
mod source;
mod store;
mod taps;
mod unit_length;

use flava_tasks::Label;
use tch::Tensor;

use crate::{Error, Result};

pub(crate) use batches::RowBatches;
pub(crate) use extractor::{Extractor, numerics};
pub(crate) use finite::{check_finite, non_finite_rows};
pub(crate) use fitting::Fitting;
pub(crate) use pass::rows_kind;
pub(crate) use prepare::{
    Preparation, Prepared, Rows, SplitIdentity, SplitRole, sample, text_of_row,
};
pub(crate) use source::{Encoders, FeatureSource};
pub(crate) use store::{Store, StoreEntry};
pub(crate) use unit_length::{mean_of_templates, unit_length};

/// What the rows gave, without those that were skipped.
pub(crate) struct Features {
    /// \[rows, width\], f32, on the CPU.
    pub(crate) values: Tensor,
    pub(crate) ids: Vec<String>,
    pub(crate) labels: Vec<Label>,
    /// Which rows share an image.
    pub(crate) clusters: Vec<usize>,
    /// Rows of the split, by place.
    pub(crate) rows: Vec<usize>,
    pub(crate) skipped: usize,
}

impl Features {
    /// Numbers with what the split says about their rows, which are given by their positions.
    pub(crate) fn new(rows: &Rows, positions: &[usize], values: Tensor) -> Self {
        let kept: Vec<usize> = positions.iter().map(|&at| rows.indices()[at]).collect();
        let dataset = rows.dataset();
        Self {
            values,
            ids: kept.iter().map(|&row| dataset.id(row)).collect(),
            labels: kept.iter().map(|&row| dataset.label(row)).collect(),
            clusters: kept.iter().map(|&row| dataset.cluster(row)).collect(),
            skipped: rows.len() - kept.len(),
            rows: kept,
        }
    }

    /// The rows at these positions, in this order.
    pub(crate) fn picked(self, order: &[usize]) -> Result<Self> {
        let index: Vec<i64> = order.iter().map(|&row| row as i64).collect();
        Ok(Self {
            values: self
                .values
                .f_index_select(0, &Tensor::f_from_slice(&index)?)?,
            ids: order.iter().map(|&row| self.ids[row].clone()).collect(),
            labels: order.iter().map(|&row| self.labels[row].clone()).collect(),
            clusters: order.iter().map(|&row| self.clusters[row]).collect(),
            rows: order.iter().map(|&row| self.rows[row]).collect(),
            skipped: self.skipped,
        })
    }

    /// The labels as classes.
    pub(crate) fn classes(&self) -> Result<Vec<usize>> {
        let class = |(label, id): (&Label, &String)| match label {
            Label::Class(class) => Ok(*class),
            _ => Err(Error::RowLacks {
                id: id.clone(),
                what: "class",
            }),
        };
        self.labels.iter().zip(&self.ids).map(class).collect()
    }
}
