//! Which device runs a model, and CUDA loaded only where there is a GPU.
#![allow(
    unsafe_code,
    reason = "opening libtorch's CUDA library runs its static initialisers, and the shim is C++"
)]

use std::{path::Path, str::FromStr};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::Device;

use super::distributed::Place;
use crate::{Error, Result};

unsafe extern "C" {
    fn flava_exact_f32();
}

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
    /// The device itself; an error where a GPU is asked for that is not there. Of several processes
    /// on a machine each has the GPU of its number.
    pub fn resolve(self, place: &Place) -> Result<Device> {
        let Place {
            local_rank,
            local_world,
            ..
        } = *place;
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => match gpu_count() {
                0 => Ok(Device::Cpu),
                count if local_world <= count => Ok(Device::Cuda(local_rank)),
                count => Err(Error::Device(format!(
                    "there are {local_world} processes and {count} GPUs on this machine\nhint: start as many processes as GPUs, or all on the CPU with --device cpu"
                ))),
            },
            Self::Cuda(_) if local_world > 1 => Err(Error::Device(format!(
                "--device: {local_world} processes of this machine cannot all have one GPU\nhint: leave --device out: each takes the GPU of its number"
            ))),
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
/// f32 is computed as f32, not in TF32.
pub fn load_cuda() {
    if !has_driver() {
        return;
    }
    // SAFETY: libtorch's own library, found by this program's rpath or the loader's path, of the
    // version it links.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    if let Ok(library) = library {
        std::mem::forget(library); // its static registrations live on
        // SAFETY: sets two flags of libtorch.
        unsafe { flava_exact_f32() };
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
