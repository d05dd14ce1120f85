//! One file: resumed where an earlier try ended, tried again after a pause, kept only if its
//! checksum is right.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{
    Checksum, HubError, RemoteFile, RepoId,
    patience::{LONGEST_WAIT, Passing, TRIES, pause},
    remote::Remote,
    store::beside,
};
use flava_base::hex;

/// A connection that gives less than so many bytes in this time is given up, and tried anew.
const LEAST: u64 = 16 << 10;
const IN_TIME: Duration = Duration::from_secs(15);
/// Bytes moved at once.
const BUFFER: usize = 1 << 18;

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

/// Whether bytes have the length and checksum that the Hub lists.
pub(super) fn is_right(bytes: &[u8], file: &RemoteFile) -> bool {
    let mut hasher = Hasher::new(file);
    hasher.update(bytes);
    bytes.len() as u64 == file.size && hasher.finish() == file.checksum.blob()
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

/// Gets the number of bytes as they come.
pub(super) type Meter<'a> = &'a (dyn Fn(i64) + Sync);

/// What is fetched, and from where.
#[derive(Clone, Copy)]
pub(super) struct Fetch<'a> {
    pub(super) remote: &'a dyn Remote,
    /// At a commit.
    pub(super) repo: &'a RepoId,
    pub(super) file: &'a RemoteFile,
    pub(super) meter: Meter<'a>,
}

/// A file on its way, beside the place where it will lie.
struct Part<'a> {
    fetch: Fetch<'a>,
    path: &'a Path,
    written: File,
    hasher: Hasher,
    done: u64,
}

impl<'a> Part<'a> {
    /// What an earlier try left, or nothing.
    fn open(fetch: Fetch<'a>, path: &'a Path) -> Result<Self, HubError> {
        let mut hasher = Hasher::new(fetch.file);
        let mut options = File::options();
        options.create(true).append(true).read(true);
        let mut written = options.open(path).map_err(HubError::io(path))?;
        let mut done = written.metadata().map_err(HubError::io(path))?.len();
        if done > fetch.file.size {
            written.set_len(0).map_err(HubError::io(path))?;
            done = 0;
        }
        absorb(&mut written, &mut hasher).map_err(HubError::io(path))?;
        (fetch.meter)(done as i64);
        Ok(Self {
            fetch,
            path,
            written,
            hasher,
            done,
        })
    }

    fn restart(&mut self) -> Result<(), HubError> {
        self.written.set_len(0).map_err(HubError::io(self.path))?;
        (self.fetch.meter)(-(self.done as i64));
        self.done = 0;
        self.hasher = Hasher::new(self.fetch.file);
        Ok(())
    }

    fn network(&self, reason: String) -> HubError {
        HubError::Network {
            what: format!("{} of {}", self.fetch.file.path, self.fetch.repo),
            reason,
        }
    }

    /// One request: appends what it gives. Ends well when the file is whole.
    fn proceed(&mut self) -> Result<(), HubError> {
        let Fetch {
            remote, repo, file, ..
        } = self.fetch;
        let mut body = remote.open(repo, &file.path, self.done)?;
        if body.start != self.done {
            self.restart()?;
        }
        let mut buffer = vec![0; BUFFER];
        let (mut since, mut at) = (Instant::now(), self.done);
        while self.done < file.size {
            let count = body.reader.read(&mut buffer);
            let count = count.map_err(|e| self.network(e.to_string()))?;
            if count == 0 {
                let (done, size) = (self.done, file.size);
                let reason = format!("the connection ended after {done} of {size} bytes");
                return Err(self.network(reason));
            }
            if since.elapsed() > IN_TIME {
                let reached = self.done + count as u64;
                if reached - at < LEAST && reached < file.size {
                    let (came, seconds) = (self.done - at, IN_TIME.as_secs());
                    return Err(self.network(format!("{came} bytes came in {seconds} s")));
                }
                (since, at) = (Instant::now(), self.done);
            }
            let count = count.min((file.size - self.done) as usize);
            self.append(&buffer[..count])?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        let written = self.written.write_all(bytes);
        written.map_err(HubError::io(self.path))?;
        self.hasher.update(bytes);
        self.done += bytes.len() as u64;
        (self.fetch.meter)(bytes.len() as i64);
        Ok(())
    }

    fn checked(mut self) -> Result<(), HubError> {
        let Fetch { repo, file, .. } = self.fetch;
        let hash = std::mem::replace(&mut self.hasher, Hasher::new(file)).finish();
        if hash != file.checksum.blob() {
            self.restart()?;
            let _gone = fs::remove_file(self.path);
            let reason = format!("checksum {hash}, listed {}", file.checksum.blob());
            return Err(HubError::Integrity {
                repo: repo.to_string(),
                path: file.path.clone(),
                reason,
            });
        }
        // Not forced to the disk: that would halve the speed, and what a power cut spoils has
        // another size or `verify` finds it.
        Ok(())
    }
}

/// Fetches a file into `target`, by way of `<target>.incomplete`, which a later call goes on with.
pub(super) fn fetch_file(fetch: Fetch, target: &Path) -> Result<(), HubError> {
    let path = beside(target);
    // Wrong bytes may be another program's or an earlier try's: they are fetched once more from the
    // start.
    let mut result = transfer(fetch, &path);
    if matches!(result, Err(HubError::Integrity { .. })) {
        result = transfer(fetch, &path);
    }
    result?;
    fs::rename(&path, target).map_err(HubError::io(target))
}

fn transfer(fetch: Fetch, path: &Path) -> Result<(), HubError> {
    let mut part = Part::open(fetch, path)?;
    let (mut attempt, mut furthest, mut since) = (1, part.done, Instant::now());
    while part.done < fetch.file.size {
        let Err(error) = part.proceed() else {
            break;
        };
        if !error.passes() {
            return Err(error);
        }
        if part.done >= furthest + LEAST {
            (attempt, furthest, since) = (1, part.done, Instant::now());
        } else {
            attempt += 1;
        }
        let silent = error.is_silence() && since.elapsed() > LONGEST_WAIT;
        if attempt > TRIES || silent {
            return Err(error);
        }
        thread::sleep(pause(&error, attempt));
    }
    part.checked()
}
