//! Which device runs a model, and CUDA loaded only where there is a GPU.
#![allow(
    unsafe_code,
    reason = "opening libtorch's CUDA library runs its static initialisers"
)]

use std::{path::Path, str::FromStr};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::Device;

use crate::{Error, Result};

/// What `--device` can ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU by index.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(s: &str) -> std::result::Result<Self, String> {
        match s {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = s.strip_prefix("cuda:").and_then(|n| n.parse().ok());
                index
                    .map(Self::Cuda)
                    .ok_or_else(|| format!("{s:?} is none of auto, cpu, cuda, cuda:N"))
            }
        }
    }
}

impl DeviceChoice {
    /// The device itself; an error where a GPU is asked for that is not there.
    pub fn resolve(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(if gpu_count() > 0 {
                Device::Cuda(0)
            } else {
                Device::Cpu
            }),
            Self::Cuda(index) => match gpu_count() {
                0 => Err(Error::Device(format!(
                    "--device cuda:{index}: there is no usable GPU here. {}",
                    why_no_gpu()
                ))),
                count if index < count => Ok(Device::Cuda(index)),
                count => Err(Error::Device(format!(
                    "--device cuda:{index}: there are {count} GPUs, counted from 0"
                ))),
            },
        }
    }
}

/// Opens libtorch's CUDA library if this machine has an NVIDIA driver.
///
/// Must be the first thing in `main`: whatever asks libtorch for CUDA before this settles for the
/// process that there is none. Without a driver nothing is loaded, which saves 0.2 s and 235 MB.
pub fn load_cuda() {
    if !has_driver() {
        return;
    }
    // SAFETY: libtorch's own library, found by this program's rpath or the loader's path, of the
    // version it links.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    if let Ok(library) = library {
        std::mem::forget(library); // its static registrations live on
    }
}

fn has_driver() -> bool {
    ["/dev/nvidiactl", "/dev/dxg"]
        .iter()
        .any(|device| Path::new(device).exists())
}

fn gpu_count() -> usize {
    // Without the CUDA library libtorch answers 0; asking it is harmless but needless.
    if has_driver() {
        tch::Cuda::device_count().try_into().unwrap_or(0)
    } else {
        0
    }
}

fn why_no_gpu() -> &'static str {
    if !has_driver() {
        "No NVIDIA driver was found (/dev/nvidiactl is missing)."
    } else if tch::utils::has_cuda() {
        "The driver is there, but it reports no device to this process."
    } else {
        "The driver is there, but this libtorch has no CUDA\nhint: remove third_party/libtorch and run `make setup` again."
    }
}
