//! The formats of other tools that a run is written in.

use std::{fmt, str::FromStr};

use flava_base::did_you_mean;

/// A format of another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Results and samples of the LM evaluation harness.
    LmEval,
    /// A JSON file for each task, which `clip_benchmark build` puts into a table.
    ClipBenchmark,
    /// The `model-index` of a model card.
    ModelIndex,
    /// Every Eval Ever's common format.
    Eee,
    /// The tree of results of mteb.
    Mteb,
    /// The wide tables of `open_clip`.
    OpenClip,
    /// The table of timm's `ImageNet` results.
    Timm,
    /// Event files with scalars and hyperparameters.
    TensorBoard,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::LmEval,
        Self::ClipBenchmark,
        Self::ModelIndex,
        Self::Eee,
        Self::Mteb,
        Self::OpenClip,
        Self::Timm,
        Self::TensorBoard,
    ];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::LmEval => "lm-eval",
            Self::ClipBenchmark => "clip-benchmark",
            Self::ModelIndex => "model-index",
            Self::Eee => "eee",
            Self::Mteb => "mteb",
            Self::OpenClip => "open-clip",
            Self::Timm => "timm",
            Self::TensorBoard => "tensorboard",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name);
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| {
            let near = did_you_mean(name, known, 1);
            format!("no format {name}; there are {}{near}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_told_the_nearest() {
        for format in ExportFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let error = "lmeval".parse::<ExportFormat>().unwrap_err();
        assert!(error.contains("did you mean lm-eval?"), "{error}");
    }
}
