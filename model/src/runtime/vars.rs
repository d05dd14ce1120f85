//! Where a module's parameters come from: a path in the variable store and how new ones are filled.

use std::ops::Div;

use tch::{Tensor, nn};

/// How parameters are filled when a module is built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// As for training from scratch: weights normal with this standard deviation, biases and tokens
    /// zero, norms one.
    New(f64),
    /// Not at all: a checkpoint's tensors replace them before anything reads them.
    Unset,
}

/// A path in a variable store with the filling of what is created under it.
#[derive(Debug)]
pub struct Vars<'a> {
    path: nn::Path<'a>,
    fill: Fill,
}

impl<'a> Vars<'a> {
    /// The root of `store`.
    pub fn root(store: &'a nn::VarStore, fill: Fill) -> Self {
        Self {
            path: store.root(),
            fill,
        }
    }

    /// The same path with another standard deviation for new weights.
    #[must_use]
    pub fn with_std(self, std: f64) -> Self {
        let fill = if let Fill::New(_) = self.fill {
            Fill::New(std)
        } else {
            Fill::Unset
        };
        Self { fill, ..self }
    }

    /// The full name of a parameter here, as in a checkpoint.
    pub fn name(&self) -> String {
        self.path.components().collect::<Vec<_>>().join(".")
    }

    /// How new parameters are filled.
    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// A weight: normal, mean zero.
    pub fn weight(&self, name: &str, size: &[i64]) -> Tensor {
        self.add(name, size, |t, std| t.normal_(0.0, std))
    }

    /// A bias, token or position table: zero.
    pub fn zeros(&self, name: &str, size: &[i64]) -> Tensor {
        self.add(name, size, |t, _| t.zero_())
    }

    /// The gain of a norm: one.
    pub fn ones(&self, name: &str, size: &[i64]) -> Tensor {
        self.constant(name, size, 1.0)
    }

    /// A parameter that starts at `value`.
    pub fn constant(&self, name: &str, size: &[i64], value: f64) -> Tensor {
        self.add(name, size, |t, _| t.fill_(value))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a model is made once, before anything runs"
    )]
    fn add(
        &self,
        name: &str,
        size: &[i64],
        init: impl FnOnce(&mut Tensor, f64) -> Tensor,
    ) -> Tensor {
        let mut tensor = Tensor::empty(size, (self.path.kind(), self.path.device()));
        if let Fill::New(std) = self.fill {
            let _filled = init(&mut tensor, std);
        }
        self.path.add(name, tensor, true)
    }
}

impl<'a, T: ToString> Div<T> for &Vars<'a> {
    type Output = Vars<'a>;

    fn div(self, name: T) -> Vars<'a> {
        Vars {
            path: self.path.sub(name),
            fill: self.fill,
        }
    }
}

impl<'a, T: ToString> Div<T> for Vars<'a> {
    type Output = Vars<'a>;

    fn div(self, name: T) -> Vars<'a> {
        &self / name
    }
}
