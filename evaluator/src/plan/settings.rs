//! How a model is run.

use flava_model::{
    AttentionKind, LoadOptions,
    processor::PassOrder,
    runtime::{DeviceChoice, LoaderOptions, set_threads},
};

use crate::{
    Result,
    args::{BatchSize, ModelArgs},
};

/// How a model is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Device, precision, attention.
    pub load: LoadOptions,
    /// Rows encoded at once.
    pub batch_size: BatchSize,
    /// Whether features are kept in f16.
    pub store_f16: bool,
    /// Threads of decoding.
    pub threads: usize,
    /// Order of the passes of resizing.
    pub order: PassOrder,
    /// Whether rows with broken images are left out.
    pub skip_broken: bool,
    /// Whether nothing is said on stderr but errors.
    pub quiet: bool,
}

impl Settings {
    /// Resolves the device, saying on stderr what `auto` chose, and sets libtorch's threads.
    pub fn new(args: &ModelArgs) -> Result<Self> {
        let device = args.device.resolve()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = args.threads.map_or(cores, usize::from);
        set_threads(threads);
        let settings = Self {
            load: LoadOptions {
                device,
                precision: args.precision,
                attention: AttentionKind::Fused,
            },
            batch_size: args.batch_size,
            store_f16: false,
            threads,
            order: if args.pillow == 12 {
                PassOrder::Pillow12
            } else {
                PassOrder::Pillow13
            },
            skip_broken: args.skip_broken,
            quiet: args.quiet,
        };
        if args.device == DeviceChoice::Auto && !args.quiet {
            flava_base::say(&format!(
                "device: {} in {}, {threads} threads",
                settings.device_name(),
                args.precision.name()
            ));
        }
        Ok(settings)
    }

    /// How batches are prepared: on all threads, one batch more than there are of them.
    pub(crate) fn loader(&self) -> LoaderOptions {
        LoaderOptions {
            threads: self.threads,
            prefetch: self.threads + 1,
        }
    }

    /// As it is written in records.
    pub fn device_name(&self) -> String {
        match self.load.device {
            tch::Device::Cuda(index) => format!("cuda:{index}"),
            _ => "cpu".into(),
        }
    }
}
