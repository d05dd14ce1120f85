//! The server's repositories: their files at each commit, and the pull requests to them.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use sha1::{Digest, Sha1};
use sha2::Sha256;

#[derive(Clone, Debug, Default)]
pub struct ServedRepo {
    pub files: BTreeMap<String, Vec<u8>>,
    pub gated: bool,
    pub private: bool,
    /// Somebody else's: everybody may see it and propose changes, but not write.
    pub foreign: bool,
    /// What it is called now.
    pub renamed: Option<String>,
    /// The hash of its commit, where it is not that of its files.
    pub pinned: Option<String>,
    /// What the Hub's converted branch holds; the main branch's files where it is empty.
    pub converted: BTreeMap<String, Vec<u8>>,
    /// Put in the place of a path in the listing.
    pub listed_as: Option<(String, String)>,
}

impl ServedRepo {
    /// With all files below a folder.
    pub fn of(folder: &Path) -> Self {
        let paths = flava_model::hub::files_below(folder).unwrap();
        Self {
            files: paths
                .into_iter()
                .map(|path| (path.clone(), fs::read(folder.join(&path)).unwrap()))
                .collect(),
            ..Self::default()
        }
    }

    pub fn commit(&self) -> String {
        if let Some(pinned) = &self.pinned {
            return pinned.clone();
        }
        let mut digest = Sha1::new();
        self.files.iter().for_each(|(path, bytes)| {
            digest.update(format!("{path} {}\n", hex(&Sha256::digest(bytes))));
        });
        hex(&digest.finalize())
    }
}

/// A file and its hashes.
#[derive(Clone)]
pub struct ServedFile {
    pub bytes: Arc<Vec<u8>>,
    pub sha256: String,
    pub git: String,
}

impl ServedFile {
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut git = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
        git.update(&bytes);
        Self {
            sha256: hex(&Sha256::digest(&bytes)),
            git: hex(&git.finalize()),
            bytes: Arc::new(bytes),
        }
    }

    pub fn is_large(&self, path: &str) -> bool {
        is_large(path, self.bytes.len() as u64)
    }
}

/// A commit and all its files.
#[derive(Clone)]
pub struct ServedCommit {
    pub id: String,
    pub title: String,
    pub files: BTreeMap<String, ServedFile>,
}

impl ServedCommit {
    /// A commit that follows this one.
    pub fn next(&self, title: &str, files: BTreeMap<String, ServedFile>) -> Self {
        let mut digest = Sha1::new();
        digest.update(format!("{} {title}\n", self.id));
        for (path, file) in &files {
            digest.update(format!("{path} {}\n", file.git));
        }
        Self {
            id: hex(&digest.finalize()),
            title: title.to_owned(),
            files,
        }
    }
}

/// A repository with what is asked for again and again computed.
pub struct Prepared {
    pub repo: ServedRepo,
    /// The main branch, the oldest first.
    pub log: Vec<ServedCommit>,
    /// The pull requests' commits; the first is number 1.
    pub proposed: Vec<ServedCommit>,
    /// The converted branch, where it is another.
    pub converted: Option<ServedCommit>,
}

impl Prepared {
    pub fn new(mut repo: ServedRepo) -> Self {
        let id = repo.commit();
        let files = std::mem::take(&mut repo.files).into_iter();
        let files = files.map(|(path, bytes)| (path, ServedFile::new(bytes)));
        let first = ServedCommit {
            id,
            title: "initial commit".into(),
            files: files.collect(),
        };
        let converted = std::mem::take(&mut repo.converted).into_iter();
        let converted: BTreeMap<String, ServedFile> = converted
            .map(|(path, bytes)| (path, ServedFile::new(bytes)))
            .collect();
        let converted = (!converted.is_empty()).then(|| first.next("converted", converted));
        Self {
            repo,
            log: vec![first],
            proposed: Vec::new(),
            converted,
        }
    }

    pub fn head(&self) -> &ServedCommit {
        self.log.last().unwrap()
    }

    /// The commit that a revision stands for.
    pub fn at(&self, revision: &str) -> Option<&ServedCommit> {
        if revision == "refs/convert/parquet" && self.converted.is_some() {
            return self.converted.as_ref();
        }
        if ["main", "refs/convert/parquet"].contains(&revision) {
            return Some(self.head());
        }
        if let Some(number) = revision.strip_prefix("refs/pr/") {
            return self.proposed.get(number.parse::<usize>().ok()? - 1);
        }
        let mut all = self.log.iter().chain(&self.proposed).chain(&self.converted);
        all.find(|commit| commit.id == revision)
    }

    /// A commit and the path in it, of a text that begins with a revision: which may have slashes.
    pub fn split<'a>(&self, text: &'a str) -> Option<(&ServedCommit, &'a str)> {
        let mut revisions = vec!["main".to_owned(), "refs/convert/parquet".to_owned()];
        revisions.extend((1..=self.proposed.len()).map(|number| format!("refs/pr/{number}")));
        let commits = self.log.iter().chain(&self.proposed).chain(&self.converted);
        revisions.extend(commits.map(|commit| commit.id.clone()));
        revisions.iter().find_map(|revision| {
            let path = text.strip_prefix(revision.as_str())?;
            let path = path.strip_prefix('/').or(path.is_empty().then_some(path))?;
            Some((self.at(revision)?, path))
        })
    }

    /// Appends a line to a file of the main branch, as somebody else would.
    pub fn overtake(&mut self, path: &str, line: &str) {
        let mut files = self.head().files.clone();
        let mut bytes = files
            .get(path)
            .map_or_else(Vec::new, |file| file.bytes.to_vec());
        bytes.extend_from_slice(line.as_bytes());
        files.insert(path.to_owned(), ServedFile::new(bytes));
        self.log.push(self.head().next("Somebody else's", files));
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Size from which a file belongs into large-file storage, whatever it is called.
const LARGE: u64 = 10 << 20;

/// Whether the Hub would keep the file in large-file storage, which takes no empty ones.
pub fn is_large(path: &str, size: u64) -> bool {
    let mut endings = [".parquet", ".tar", ".safetensors", ".bin"].iter();
    size > LARGE || (size > 0 && endings.any(|ending| path.ends_with(ending)))
}
