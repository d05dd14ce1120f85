//! Where a benchmark computes, and how it waits for it.

use std::env;

use flava_model::runtime::{DeviceChoice, distributed::Place, load_cuda, prepare_memory};
use tch::{Cuda, Device};

/// Threads of libtorch, as the peer's.
const THREADS: i32 = 2;

/// `FLAVA_BENCH_DEVICE`, or the CPU with two threads. Must come first in `main`.
pub fn start() -> Device {
    let choice = env::var("FLAVA_BENCH_DEVICE").map_or(DeviceChoice::Cpu, |d| d.parse().unwrap());
    if choice != DeviceChoice::Cpu {
        load_cuda();
    }
    prepare_memory();
    tch::set_num_threads(THREADS);
    choice.resolve(&Place::alone()).unwrap()
}

/// Returns once everything that was asked of the device is done.
pub fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index.try_into().unwrap());
    }
}
