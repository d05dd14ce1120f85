//! A checkpoint as a Hugging Face directory that `transformers` loads with no missing and no
//! unexpected key.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::{self, File},
    path::Path,
};

use flava_base::{write_atomic, write_with};
use safetensors::{Dtype, View};
use tch::{Device, Kind, Tensor};

use super::file::MODEL;
use crate::{
    Error, FlavaConfig, Result,
    processor::{ImageProcessorConfig, TextProcessor},
};

/// The class of transformers that the directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// The three encoders and projections, without heads; names without the prefix `flava.`.
    FlavaModel,
    /// Everything.
    FlavaForPreTraining,
}

impl Architecture {
    fn name(self) -> &'static str {
        match self {
            Self::FlavaModel => "FlavaModel",
            Self::FlavaForPreTraining => "FlavaForPreTraining",
        }
    }
}

/// A tensor whose bytes are made when the file is written, one tensor at a time.
struct Stored {
    kind: Dtype,
    size: Vec<usize>,
    tensor: Tensor,
}

impl View for &Stored {
    fn dtype(&self) -> Dtype {
        self.kind
    }
    fn shape(&self) -> &[usize] {
        &self.size
    }
    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; self.data_len()];
        self.tensor.copy_data_u8(&mut bytes, self.tensor.numel());
        Cow::Owned(bytes)
    }
    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

/// Writes a model of `tensors`, named as in a full checkpoint: `config.json`, `model.safetensors`,
/// `preprocessor_config.json` and the tokenizer's files into `directory`.
///
/// Each file is written beside its place and renamed, the weights last: a directory that has them
/// is whole.
pub fn write_directory(
    directory: &Path,
    architecture: Architecture,
    config: &FlavaConfig,
    tensors: impl IntoIterator<Item = (String, Tensor)>,
    image: &ImageProcessorConfig,
    text: &TextProcessor,
) -> Result<()> {
    fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
    let named = |(name, variable): (String, Tensor)| match architecture {
        Architecture::FlavaForPreTraining => Some((name, variable)),
        Architecture::FlavaModel => Some((name.strip_prefix("flava.")?.to_owned(), variable)),
    };
    let tensors: Vec<(String, Tensor)> = tensors.into_iter().filter_map(named).collect();
    let half = tensors
        .iter()
        .any(|(_, tensor)| tensor.kind() == Kind::Half);
    let json = config.to_json(
        architecture.name(),
        if half { "float16" } else { "float32" },
    );
    write_atomic(&directory.join("config.json"), json.as_bytes())?;
    write_atomic(
        &directory.join("preprocessor_config.json"),
        image.to_json().as_bytes(),
    )?;
    for (name, contents) in text.files()? {
        write_atomic(&directory.join(name), contents.as_bytes())?;
    }
    write_tensors(&directory.join(MODEL), tensors)
}

/// Writes tensors by name to a safetensors file, whole or not at all.
pub fn write_tensors(path: &Path, mut tensors: Vec<(String, Tensor)>) -> Result<()> {
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| Ok((name, stored(name, tensor)?)))
        .collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]); // transformers insists on it
    Ok(write_with(path, |part| {
        let permissions = File::create(part)?.metadata()?.permissions();
        let views = tensors.iter().map(|(name, tensor)| (name, tensor));
        safetensors::serialize_to_file(views, Some(metadata), part)
            .map_err(std::io::Error::other)?;
        fs::set_permissions(part, permissions) // the crate's file is its owner's alone
    })?)
}

fn stored(name: &str, tensor: &Tensor) -> Result<Stored> {
    let kind = match tensor.kind() {
        Kind::Float => Dtype::F32,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        other => {
            return Err(Error::Input(format!(
                "{name} is {other:?}, which a checkpoint does not hold"
            )));
        }
    };
    let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
    Ok(Stored {
        kind,
        size: tensor.size().iter().map(|&s| s as usize).collect(),
        tensor,
    })
}
