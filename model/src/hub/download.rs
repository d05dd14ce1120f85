//! One file: resumed where an earlier try ended, tried again after a pause, kept only if its
//! checksum is right.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rand::Rng;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Checksum, HubError, RemoteFile, RepoId, http::Remote, store::beside};
use flava_base::hex;

/// Tries without any progress before a file is given up.
const TRIES: u32 = 5;
/// First pause between tries; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause, also where the Hub asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// Time without progress after which a request that failed for want of an answer is not tried
/// again.
const LONGEST_WAIT: Duration = Duration::from_secs(45);
/// A connection that gives less than so many bytes in this time is given up, and tried anew.
const LEAST: u64 = 16 << 10;
const IN_TIME: Duration = Duration::from_secs(15);
/// Bytes moved at once.
const BUFFER: usize = 1 << 18;

/// Calls `f` until it gives something else than an error that passes.
pub(super) fn with_patience<T>(mut f: impl FnMut() -> Result<T, HubError>) -> Result<T, HubError> {
    let began = Instant::now();
    for attempt in 1.. {
        match f() {
            Err(HubError::Network { what, reason }) if began.elapsed() > LONGEST_WAIT => {
                return Err(HubError::Network { what, reason });
            }
            Err(error) if error.passes() && attempt < TRIES => {
                thread::sleep(pause(&error, attempt));
            }
            other => return other,
        }
    }
    unreachable!("the last try returns")
}

fn pause(error: &HubError, attempt: u32) -> Duration {
    let asked = if let HubError::Busy { wait, .. } = error {
        *wait
    } else {
        None
    };
    // Many clients that were refused together should not come back together.
    let jitter = rand::rng().random_range(0.75..1.25);
    let own = PAUSE * 2u32.pow(attempt - 1);
    asked
        .map_or_else(
            || own.mul_f64(jitter),
            |asked| asked + PAUSE.mul_f64(jitter - 0.75),
        )
        .min(LONGEST_PAUSE)
}

/// The hash of the bytes so far.
enum Hasher {
    Sha256(Sha256),
    Git(Sha1),
}

impl Hasher {
    fn new(file: &RemoteFile) -> Self {
        match file.checksum {
            Checksum::Sha256(_) => Self::Sha256(Sha256::new()),
            Checksum::Git(_) => Self::Git(Sha1::new_with_prefix(format!("blob {}\0", file.size))),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => hex(&hash.finalize()),
            Self::Git(hash) => hex(&hash.finalize()),
        }
    }
}

/// Whether a file on disk has the length and checksum that the Hub lists.
pub fn is_intact(path: &Path, file: &RemoteFile) -> std::io::Result<bool> {
    let mut hasher = Hasher::new(file);
    let read = absorb(&mut File::open(path)?, &mut hasher)?;
    Ok(read == file.size && hasher.finish() == file.checksum.blob())
}

fn absorb(from: &mut impl Read, hasher: &mut Hasher) -> std::io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(total);
        }
        hasher.update(&buffer[..count]);
        total += count as u64;
    }
}

/// A file on its way, beside the place where it will lie.
struct Part<'a> {
    remote: &'a dyn Remote,
    repo: &'a RepoId,
    file: &'a RemoteFile,
    path: &'a Path,
    written: File,
    hasher: Hasher,
    done: u64,
    meter: &'a (dyn Fn(i64) + Sync),
}

impl Part<'_> {
    fn restart(&mut self) -> Result<(), HubError> {
        self.written.set_len(0).map_err(HubError::io(self.path))?;
        (self.meter)(-(self.done as i64));
        self.done = 0;
        self.hasher = Hasher::new(self.file);
        Ok(())
    }

    /// One request: appends what it gives. Ends well when the file is whole.
    fn proceed(&mut self) -> Result<(), HubError> {
        let mut body = self.remote.open(self.repo, &self.file.path, self.done)?;
        if body.start != self.done {
            self.restart()?;
        }
        let mut buffer = vec![0; BUFFER];
        let (mut since, mut at) = (Instant::now(), self.done);
        while self.done < self.file.size {
            let network = |e: std::io::Error| HubError::Network {
                what: format!("{} of {}", self.file.path, self.repo),
                reason: e.to_string(),
            };
            let count = body.reader.read(&mut buffer).map_err(network)?;
            if count == 0 {
                return Err(HubError::Network {
                    what: format!("{} of {}", self.file.path, self.repo),
                    reason: format!(
                        "the connection ended after {} of {} bytes",
                        self.done, self.file.size
                    ),
                });
            }
            if since.elapsed() > IN_TIME {
                if self.done + count as u64 - at < LEAST
                    && self.done + (count as u64) < self.file.size
                {
                    let reason =
                        format!("{} bytes came in {} s", self.done - at, IN_TIME.as_secs());
                    return Err(HubError::Network {
                        what: format!("{} of {}", self.file.path, self.repo),
                        reason,
                    });
                }
                (since, at) = (Instant::now(), self.done);
            }
            let count = count.min((self.file.size - self.done) as usize);
            self.written
                .write_all(&buffer[..count])
                .map_err(HubError::io(self.path))?;
            self.hasher.update(&buffer[..count]);
            self.done += count as u64;
            (self.meter)(count as i64);
        }
        Ok(())
    }

    fn checked(mut self) -> Result<(), HubError> {
        let hash = std::mem::replace(&mut self.hasher, Hasher::new(self.file)).finish();
        if hash != self.file.checksum.blob() {
            self.restart()?;
            let _gone = fs::remove_file(self.path);
            let reason = format!("checksum {hash}, listed {}", self.file.checksum.blob());
            return Err(HubError::Integrity {
                repo: self.repo.to_string(),
                path: self.file.path.clone(),
                reason,
            });
        }
        // Not forced to the disk: that would halve the speed, and what a power cut spoils has
        // another size or `verify` finds it.
        Ok(())
    }
}

/// Fetches `file` of `repo` (at a commit) into `target`, by way of `<target>.incomplete`, which a
/// later call goes on with.
pub(super) fn fetch_file(
    remote: &dyn Remote,
    repo: &RepoId,
    file: &RemoteFile,
    target: &Path,
    meter: &(dyn Fn(i64) + Sync),
) -> Result<(), HubError> {
    let path = beside(target);
    // Wrong bytes may be another program's or an earlier try's: they are fetched once more from the
    // start.
    let mut result = transfer(remote, repo, file, &path, meter);
    if matches!(result, Err(HubError::Integrity { .. })) {
        result = transfer(remote, repo, file, &path, meter);
    }
    result?;
    fs::rename(&path, target).map_err(HubError::io(target))
}

fn transfer(
    remote: &dyn Remote,
    repo: &RepoId,
    file: &RemoteFile,
    path: &Path,
    meter: &(dyn Fn(i64) + Sync),
) -> Result<(), HubError> {
    let mut hasher = Hasher::new(file);
    let mut written = File::options()
        .create(true)
        .append(true)
        .read(true)
        .open(path)
        .map_err(HubError::io(path))?;
    let mut done = written.metadata().map_err(HubError::io(path))?.len();
    if done > file.size {
        written.set_len(0).map_err(HubError::io(path))?;
        done = 0;
    }
    absorb(&mut written, &mut hasher).map_err(HubError::io(path))?;
    meter(done as i64);
    let mut part = Part {
        remote,
        repo,
        file,
        path,
        written,
        hasher,
        done,
        meter,
    };
    let (mut attempt, mut furthest, mut since) = (1, part.done, Instant::now());
    while part.done < file.size {
        match part.proceed() {
            Ok(()) => break,
            Err(error) if error.passes() => {
                if part.done >= furthest + LEAST {
                    (attempt, furthest, since) = (1, part.done, Instant::now());
                } else {
                    attempt += 1;
                }
                let silent =
                    matches!(error, HubError::Network { .. }) && since.elapsed() > LONGEST_WAIT;
                if attempt > TRIES || silent {
                    return Err(error);
                }
                thread::sleep(pause(&error, attempt));
            }
            Err(error) => return Err(error),
        }
    }
    part.checked()
}
