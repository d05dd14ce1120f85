//! Progress on stderr: one bar for the whole run, one for what it is doing.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::Mutex,
    time::Duration,
};

use flava_base::{escaped, say};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Two bars; neither is drawn where stderr is no terminal or quiet was asked for.
#[derive(Debug)]
pub struct Progress {
    bars: MultiProgress,
    run: ProgressBar,
    quiet: bool,
    log: Option<Mutex<File>>,
}

impl Progress {
    /// Bars for a run of `steps` named `noun`, such as "tasks".
    pub fn new(steps: usize, noun: &str, quiet: bool) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bars = MultiProgress::with_draw_target(target);
        let run = bars.add(ProgressBar::new(steps as u64));
        run.set_style(style(&format!(
            "{{prefix:28}} {{bar:28}} {{pos}}/{{len}} {noun}, {{elapsed}}, {{eta}} left"
        )));
        run.set_prefix("all");
        run.enable_steady_tick(Duration::from_millis(500));
        Self {
            bars,
            run,
            quiet,
            log: None,
        }
    }

    /// Adds what is said to a file too, whether or not it is shown.
    pub fn log_to(&mut self, path: &Path) -> std::io::Result<()> {
        self.log = Some(Mutex::new(
            OpenOptions::new().create(true).append(true).open(path)?,
        ));
        Ok(())
    }

    /// A bar for `count` pieces of the work `name`; it goes away when it is dropped.
    pub fn task(&self, name: &str, count: usize) -> TaskProgress {
        let bar = self
            .bars
            .insert_before(&self.run, ProgressBar::new(count as u64));
        bar.set_style(style(
            "{prefix:28} {bar:28} {pos}/{len} {msg} {per_sec}, {eta} left",
        ));
        bar.set_prefix(escaped(name).into_owned());
        TaskProgress {
            bar,
            run: self.run.clone(),
        }
    }

    /// Says how far the run has come, whatever its pieces of work counted.
    pub fn reach(&self, steps: usize) {
        self.run.set_position(steps as u64);
    }

    /// Marks one step of the run as done.
    pub fn step(&self) {
        self.run.inc(1);
    }

    /// Prints a line above the bars, on stderr, unless quiet was asked for.
    pub fn say(&self, line: &str) {
        if let Some(mut log) = self.log.as_ref().and_then(|log| log.lock().ok()) {
            let _written = writeln!(log, "{}", escaped(line)); // a full disk shows where results are written
        }
        if self.quiet {
            return;
        }
        if self.bars.is_hidden() {
            say(line);
        } else {
            let _heard = self.bars.println(escaped(line));
        }
    }

    /// Removes the bars.
    pub fn finish(&self) {
        self.run.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates above are valid")
        .progress_chars("=> ")
}

/// The bar of one piece of work.
#[derive(Debug)]
pub struct TaskProgress {
    bar: ProgressBar,
    run: ProgressBar,
}

impl TaskProgress {
    /// Marks `count` more as done.
    pub fn add(&self, count: usize) {
        self.bar.inc(count as u64);
    }

    /// The same, of a piece of work that is counted in the steps of the run.
    pub fn add_to_run(&self, count: usize) {
        self.bar.inc(count as u64);
        self.run.inc(count as u64);
    }
}

impl Drop for TaskProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
