//! Scalars for `TensorBoard`, added to an event file as training goes on.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use flava_base::{first_event, scalar_event};

/// An event file that scalars are added to.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
}

impl EventWriter {
    /// A new file in `folder`, named so that `TensorBoard` reads it after those that are there.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = format!("events.out.tfevents.{:.6}.flava", seconds());
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join(name))?;
        file.write_all(&first_event(seconds()))?;
        Ok(Self { file })
    }

    /// Adds a scalar of a step.
    pub fn scalar(&mut self, name: &str, step: u64, value: f64) -> io::Result<()> {
        self.file
            .write_all(&scalar_event(seconds(), step, name, value))
    }
}

fn seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
