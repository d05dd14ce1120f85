//! Lookup tables.

use tch::Tensor;

use crate::{
    Result,
    runtime::{Fill, Vars},
};

/// A table of vectors, one a row.
#[derive(Debug)]
pub struct Embedding {
    weight: Tensor,
    padding: i64,
}

impl Embedding {
    /// A table of `rows` vectors; the row `padding`, if any, starts at zero and gets no gradient.
    pub fn new(vars: &Vars, rows: i64, size: i64, padding: Option<i64>) -> Self {
        let weight = vars.weight("weight", &[rows, size]);
        if let (Fill::New(_), Some(row)) = (vars.fill(), padding) {
            tch::no_grad(|| {
                let _zeroed = weight.get(row).zero_();
            });
        }
        Self {
            weight,
            padding: padding.unwrap_or(-1),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> i64 {
        self.weight.size()[0]
    }

    /// Ids \[batch, seq\] to \[batch, seq, size\].
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(Tensor::f_embedding(
            &self.weight,
            ids,
            self.padding,
            false,
            false,
        )?)
    }
}
