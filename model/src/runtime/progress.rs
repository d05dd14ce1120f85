//! Progress on stderr: one bar for the whole run, one for what it is doing.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use flava_base::{escaped, human_duration, say};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::forecast::{ExpectedWork, Forecast};

/// Seconds between two lines about how far a run is, where no bar is shown.
const LINE_EVERY: f64 = 60.0;
/// Lines that are kept for a log that is not there yet.
const EARLY: usize = 1000;
/// Rows that are left out and named.
const NAMED: usize = 20;
/// Steps of the bar of a run.
const FINENESS: f64 = 1000.0;

/// Two bars; neither is drawn where stderr is no terminal or quiet was asked for.
#[derive(Debug)]
pub struct Progress {
    shown: Arc<Shown>,
    log: Option<Mutex<File>>,
    /// What was said before there was a log.
    early: Mutex<Vec<String>>,
    left_out: AtomicUsize,
}

/// The bars and what they show.
#[derive(Debug)]
struct Shown {
    bars: MultiProgress,
    run: ProgressBar,
    quiet: bool,
    clock: Mutex<Clock>,
}

/// What is left, and when that was last found out.
#[derive(Debug)]
struct Clock {
    forecast: Forecast,
    /// What is being done.
    name: String,
    counted: Instant,
    said: Instant,
}

impl Clock {
    /// Seconds since this was asked last.
    fn elapsed(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = (now - self.counted).as_secs_f64();
        self.counted = now;
        seconds
    }
}

impl Shown {
    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn did(&self, kind: &str, units: f64) {
        self.note(|forecast, seconds| forecast.did(kind, units, seconds));
    }

    fn spare(&self, kind: &str, units: f64) {
        self.note(|forecast, seconds| {
            forecast.passed(seconds);
            forecast.spare(kind, units);
        });
    }

    /// Changes what is left, and shows it; where no bar is shown, a line a minute tells it.
    fn note(&self, change: impl FnOnce(&mut Forecast, f64)) {
        let mut clock = self.clock();
        let seconds = clock.elapsed();
        change(&mut clock.forecast, seconds);
        let (share, left) = (clock.forecast.share(), clock.forecast.left());
        self.run.set_position((share * FINENESS) as u64);
        let left = left.map_or(String::new(), |left| {
            format!(", {} left", human_duration(left))
        });
        self.run.set_message(left.clone());
        let silent = self.quiet || !self.bars.is_hidden();
        if !silent && clock.said.elapsed().as_secs_f64() >= LINE_EVERY {
            clock.said = Instant::now();
            let (name, percent) = (&clock.name, share * 100.0);
            say(&format!("{name}: {percent:.0} % of the run{left}"));
        }
    }
}

impl Progress {
    /// Bars for a run of `steps` named `noun`, such as "tasks", which cost alike; 0 where
    /// [`Progress::expect`] says what is to be done.
    pub fn new(steps: usize, noun: &str, quiet: bool) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bars = MultiProgress::with_draw_target(target);
        let run = bars.add(ProgressBar::new(FINENESS as u64));
        run.set_style(style("{prefix:28} {bar:28} {percent} %, {elapsed}{msg}"));
        run.set_prefix("all");
        run.enable_steady_tick(Duration::from_millis(500));
        let now = Instant::now();
        let clock = Clock {
            forecast: Forecast::default(),
            name: noun.to_owned(),
            counted: now,
            said: now,
        };
        let progress = Self {
            log: None,
            early: Mutex::default(),
            left_out: AtomicUsize::new(0),
            shown: Arc::new(Shown {
                bars,
                run,
                quiet,
                clock: Mutex::new(clock),
            }),
        };
        if steps > 0 {
            progress.expect([ExpectedWork {
                piece: String::new(),
                kind: String::new(),
                units: steps as f64,
                cost: 1.0,
            }]);
        }
        progress
    }

    /// Says what is to be done, and what it is expected to cost.
    pub fn expect(&self, works: impl IntoIterator<Item = ExpectedWork>) {
        let mut clock = self.shown.clock();
        clock.elapsed();
        works
            .into_iter()
            .for_each(|work| clock.forecast.expect(work));
    }

    /// Adds what is said to a file too, whether or not it is shown.
    pub fn log_to(&mut self, path: &Path) -> std::io::Result<()> {
        let mut log = OpenOptions::new().create(true).append(true).open(path)?;
        for line in std::mem::take(&mut *self.early.lock().unwrap_or_else(PoisonError::into_inner))
        {
            log.write_all(line.as_bytes())?;
        }
        self.log = Some(Mutex::new(log));
        Ok(())
    }

    /// A bar for `count` pieces of the work `name`, of a kind of which others cost alike; it goes
    /// away when it is dropped.
    pub fn task(&self, name: &str, kind: &str, count: usize) -> TaskProgress {
        let Shown { bars, run, .. } = &*self.shown;
        let bar = bars.insert_before(run, ProgressBar::new(count as u64));
        bar.set_style(style(
            "{prefix:28} {bar:28} {pos}/{len} {msg} {per_sec}, {eta} left",
        ));
        bar.set_prefix(escaped(name).into_owned());
        name.clone_into(&mut self.shown.clock().name);
        TaskProgress {
            bar,
            kind: kind.to_owned(),
            shown: Arc::clone(&self.shown),
        }
    }

    /// A part of the run is over, whatever of it was not done.
    pub fn over(&self, piece: &str) {
        self.shown.note(|forecast, seconds| {
            forecast.passed(seconds);
            forecast.over(piece);
        });
    }

    /// So many units of a kind of work are done.
    pub fn did(&self, kind: &str, units: f64) {
        self.shown.did(kind, units);
    }

    /// Marks one step of a run whose steps cost alike as done.
    pub fn step(&self) {
        self.did("", 1.0);
    }

    /// Prints a line above the bars, on stderr, unless quiet was asked for.
    pub fn say(&self, line: &str) {
        let logged = format!("{}\n", escaped(line));
        if let Some(mut log) = self.log.as_ref().and_then(|log| log.lock().ok()) {
            let _written = log.write_all(logged.as_bytes()); // a full disk shows where results are written
        } else if let Ok(mut early) = self.early.lock()
            && early.len() < EARLY
        {
            early.push(logged);
        }
        let Shown { bars, quiet, .. } = &*self.shown;
        if *quiet {
            return;
        }
        if bars.is_hidden() {
            say(line);
        } else {
            let _heard = bars.println(escaped(line));
        }
    }

    /// Says that a row is left out, and why; of many the first are named.
    pub fn left_out(&self, id: &str, reason: &str) {
        match self.left_out.fetch_add(1, Ordering::Relaxed) {
            0..NAMED => self.say(&format!("left out: {id}: {reason}")),
            NAMED => self.say("more rows are left out than are named"),
            _ => {}
        }
    }

    /// Removes the bars.
    pub fn finish(&self) {
        self.shown.run.finish_and_clear();
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
    kind: String,
    shown: Arc<Shown>,
}

impl TaskProgress {
    /// Marks `count` more as done.
    pub fn did(&self, count: usize) {
        self.bar.inc(count as u64);
        self.shown.did(&self.kind, count as f64);
    }

    /// Marks `count` as done before, or as not needed.
    pub fn spare(&self, count: usize) {
        self.bar.inc(count as u64);
        self.shown.spare(&self.kind, count as f64);
    }
}

impl Drop for TaskProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
