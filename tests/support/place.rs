//! Where the tests find the repository, the programs, and the device that they compute on.
//!
//! A test program that was built elsewhere is told by its environment, as `tests/gpu/run.sh` does.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use flava_model::runtime::{DeviceChoice, distributed::Place, load_cuda};
use tch::Device;

/// The repository: `FLAVA_TEST_ROOT`, or where this program was built.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        env::var_os("FLAVA_TEST_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), Into::into)
    })
}

/// One of the programs: in `FLAVA_TEST_PROGRAMS`, or where cargo built it.
pub fn program_path(name: &str) -> PathBuf {
    if let Some(folder) = env::var_os("FLAVA_TEST_PROGRAMS") {
        return Path::new(&folder).join(name);
    }
    PathBuf::from(match name {
        "flava-finetune" => env!("CARGO_BIN_EXE_flava-finetune"),
        "flava-pretrain" => env!("CARGO_BIN_EXE_flava-pretrain"),
        _ => env!("CARGO_BIN_EXE_flava-eval"),
    })
}

/// Where tensors are compared with golden ones: `FLAVA_TEST_DEVICE`, or the CPU.
pub fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    *DEVICE.get_or_init(|| {
        let Ok(name) = env::var("FLAVA_TEST_DEVICE") else {
            return Device::Cpu;
        };
        load_cuda();
        let choice: DeviceChoice = name.parse().unwrap();
        choice.resolve(&Place::alone()).unwrap()
    })
}
