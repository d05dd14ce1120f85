//! Our own launcher, `--processes N`: the processes of one machine, told what torchrun would tell
//! them, by a parent that serves their store, passes their lines on, and leaves none behind.
#![allow(
    unsafe_code,
    reason = "a child asks its kernel to be ended with its parent"
)]

use std::{
    env,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use flava_base::{interrupted, listen, say, say_error};

use super::{
    life::{dead, host_name, note_failure},
    place::prefix_of_attempt,
    store::KeyValueStore,
};
use crate::{Error, Result};

/// How long processes are given to end by themselves.
const GRACE: Duration = Duration::from_secs(10);
/// How often is looked whether one ended.
const LOOK: Duration = Duration::from_millis(30);
/// Time-out of the store that the parent serves.
const STORE: Duration = Duration::from_mins(10);
/// Exit code of what was interrupted.
const INTERRUPTED: u8 = 130;

/// Whether a launcher started this process, ours or another.
pub fn is_launched() -> bool {
    env::var_os("RANK").is_some()
}

/// What becomes of the other processes where one fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// They go on without it, and do what it had to do.
    Sharing,
    /// They end too, and all are started again, so often at most.
    Together {
        /// How often.
        restarts: usize,
    },
}

/// Runs this program in so many processes with the same arguments, and waits for all; the exit code
/// of process 0, or of the first that failed where that ends all.
///
/// # Errors
/// If the processes cannot be started.
pub fn launch(processes: usize, company: Company) -> Result<u8> {
    listen();
    let listener = TcpListener::bind("127.0.0.1:0");
    let listener = listener.map_err(|e| Error::Process(format!("the store's socket: {e}")))?;
    let port = listener.local_addr().map_or(0, |address| address.port());
    let store = KeyValueStore::serve(listener, STORE)?;
    let restarts = match company {
        Company::Sharing => 0,
        Company::Together { restarts } => restarts,
    };
    for attempt in 0.. {
        let of_attempt = Attempt {
            processes,
            number: attempt,
            port,
        };
        let code = Launched::start(&of_attempt, company, &store)?.wait();
        let again = code != 0 && code != INTERRUPTED && attempt < restarts && !interrupted();
        if !again {
            return Ok(code);
        }
        let left = restarts - attempt - 1;
        say(&format!(
            "all processes are started again; {left} more times at most"
        ));
    }
    Ok(0)
}

/// One start of all processes.
struct Attempt {
    processes: usize,
    number: usize,
    port: u16,
}

/// One process, and what it says.
struct Process {
    rank: usize,
    child: Child,
    last_error: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

/// All processes; dropping it leaves none behind.
struct Launched {
    processes: Vec<Process>,
    store: KeyValueStore,
    company: Company,
}

impl Launched {
    fn start(attempt: &Attempt, company: Company, store: &KeyValueStore) -> Result<Self> {
        let mut all = Self {
            store: store.below(&prefix_of_attempt(&attempt.number.to_string()))?,
            processes: Vec::new(),
            company,
        };
        for rank in 0..attempt.processes {
            let process = Process::start(rank, &mut command(rank, attempt)?);
            all.processes.push(process?);
        }
        Ok(all)
    }

    /// Waits for all; the exit code of process 0, with which the others end, or of the first that
    /// failed where that ends all.
    fn wait(mut self) -> u8 {
        let mut code = 0;
        let mut ending: Option<Instant> = None;
        while self.processes.iter().any(Process::runs) {
            thread::sleep(LOOK);
            let mut failed = None;
            for process in &mut self.processes {
                let Some(status) = process.ended() else {
                    continue;
                };
                let own = code_of(status);
                if own != 0 {
                    self.company.tell(&self.store, process, status);
                    failed = failed.or(Some(own));
                }
                if process.rank == 0 && self.company == Company::Sharing {
                    code = own;
                }
            }
            if let (Some(own), Company::Together { .. }) = (failed, self.company) {
                code = if code == 0 { own } else { code };
                ending = ending.or(Some(Instant::now()));
            }
            let ends = interrupted() || !self.processes[0].runs();
            if ends && ending.is_none() {
                ending = Some(Instant::now());
                if interrupted() || self.company == Company::Sharing {
                    self.signal(libc::SIGTERM);
                }
            }
            if ending.is_some_and(|since| since.elapsed() > GRACE) && !interrupted() {
                self.signal(libc::SIGKILL); // one that is stopped, or hangs
            }
        }
        code
    }

    /// Sends a signal to those that run.
    fn signal(&self, signal: libc::c_int) {
        for process in self.processes.iter().filter(|process| process.runs()) {
            process.signal(signal);
        }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        for process in &mut self.processes {
            let _ended = process.child.wait();
            for reader in process.readers.drain(..) {
                let _done = reader.join();
            }
        }
    }
}

impl Process {
    fn start(rank: usize, command: &mut Command) -> Result<Self> {
        let child = command.spawn();
        let mut child =
            child.map_err(|e| Error::Process(format!("process {rank} cannot be started: {e}")))?;
        let last_error = Arc::new(Mutex::new(String::new()));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(pass_on(rank, stdout, false, &last_error));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(pass_on(rank, stderr, true, &last_error));
        }
        Ok(Self {
            rank,
            child,
            last_error,
            readers,
            status: None,
        })
    }

    fn runs(&self) -> bool {
        self.status.is_none()
    }

    /// Its status, once, when it has just ended.
    fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_some() {
            return None;
        }
        self.status = self.child.try_wait().ok().flatten();
        self.status
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = self.child.id() as libc::pid_t;
        // SAFETY: a process of ours that was not waited for yet, so that its number is its own.
        unsafe { libc::kill(pid, signal) };
    }

    /// How it ended, and the last error that it told itself.
    fn end(&self, status: ExitStatus) -> String {
        let how = match status.signal() {
            Some(signal) => format!("was ended by signal {signal}"),
            None => format!("ended with exit code {}", code_of(status)),
        };
        let last = self.last_error.lock();
        let last = last.unwrap_or_else(PoisonError::into_inner);
        let last = if last.is_empty() {
            String::new()
        } else {
            format!(": {last}")
        };
        format!("process {} on {} {how}{last}", self.rank, host_name())
    }
}

impl Company {
    /// Tells the others, and people, that a process failed.
    fn tell(self, store: &KeyValueStore, process: &Process, status: ExitStatus) {
        let _told = store.set(&dead(process.rank), b"");
        let end = process.end(status);
        match self {
            // Each that ends says why itself, but for those that were killed.
            Self::Together { .. } => {
                let _told = note_failure(store, code_of(status), &end);
                if status.signal().is_some() {
                    say_error(&end);
                }
            }
            Self::Sharing if process.rank == 0 && status.signal().is_none() => {}
            Self::Sharing if process.rank == 0 => say_error(&end),
            Self::Sharing => say_error(&format!("{end}; the others go on without it")),
        }
    }
}

/// What a process is started with: this program's own arguments, and torchrun's variables.
fn command(rank: usize, attempt: &Attempt) -> Result<Command> {
    let program = env::current_exe();
    let program = program.map_err(|e| Error::Process(format!("this program's path: {e}")))?;
    let mut command = Command::new(program);
    let world = attempt.processes.to_string();
    command
        .args(env::args_os().skip(1))
        .env("RANK", rank.to_string())
        .env("LOCAL_RANK", rank.to_string())
        .env("WORLD_SIZE", &world)
        .env("LOCAL_WORLD_SIZE", &world)
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", attempt.port.to_string())
        .env("TORCHELASTIC_USE_AGENT_STORE", "True")
        .env("TORCHELASTIC_RESTART_COUNT", attempt.number.to_string())
        .process_group(0);
    if rank > 0 {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }
    let parent = std::process::id();
    let with_parent = move || {
        // SAFETY: plain calls, allowed between fork and exec. The signals that the parent listens
        // for are blocked in it, which children would take over.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            if libc::getppid() as u32 != parent {
                libc::raise(libc::SIGKILL);
            }
        }
        Ok(())
    };
    // SAFETY: the closure calls what may be called there alone.
    unsafe { command.pre_exec(with_parent) };
    Ok(command)
}

/// Passes the lines of a process on, with its number before them.
fn pass_on(
    rank: usize,
    from: impl Read + Send + 'static,
    is_error: bool,
    last: &Arc<Mutex<String>>,
) -> JoinHandle<()> {
    let last = Arc::clone(last);
    thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if text.is_empty() {
                continue;
            }
            if is_error {
                say(&format!("[{rank}] {text}"));
                if text.starts_with("error") {
                    text.clone_into(&mut last.lock().unwrap_or_else(PoisonError::into_inner));
                }
            } else {
                flava_base::print(&format!("[{rank}] {text}"));
            }
        }
    })
}

/// As shells say it: 128 and the signal.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| {
        let signal = status.signal().unwrap_or(1);
        128 + signal
    });
    u8::try_from(code).unwrap_or(1)
}
