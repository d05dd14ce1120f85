//! How a model is run.

use flava_model::{AttentionKind, LoadOptions, processor::PassOrder, runtime::LoaderOptions};

use crate::{
    Result,
    args::{BatchSize, ModelArgs, device_name},
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
    /// What the arguments say, with the device and the threads that are there.
    pub fn new(args: &ModelArgs) -> Result<Self> {
        let (device, threads) = args.device_args.resolve()?;
        Ok(Self {
            load: LoadOptions {
                device,
                precision: args.device_args.precision,
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
            quiet: args.device_args.quiet,
        })
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
        device_name(self.load.device)
    }
}
