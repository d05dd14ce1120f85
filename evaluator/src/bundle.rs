//! A sealed folder of data that another machine evaluates without a network: what is in it, whence,
//! under which terms.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use flava_base::{file_digest, hex, write_atomic};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Its name in the bundle's folder.
const MANIFEST: &str = "manifest.json";
const MAX_MANIFEST: u64 = 1 << 28;
/// What people read.
const NOTICE: &str = "NOTICE.md";

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFile {
    /// In bytes.
    pub size: u64,
    /// Of its content, in hexadecimal digits.
    pub sha256: String,
}

/// A task that a bundle has the data of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedTask {
    /// The folder of its source.
    pub source: String,
    /// The protocol that it was fetched for.
    pub protocol: String,
    /// Rows of each split, as the registry expects them.
    pub splits: BTreeMap<String, usize>,
    /// Terms of the data.
    pub licence: String,
    /// Whom to cite.
    pub citation: String,
}

/// What a bundle holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the program that made it.
    pub program: String,
    /// Folders and the commits that they were fetched from.
    pub revisions: BTreeMap<String, String>,
    /// By name.
    pub tasks: BTreeMap<String, SealedTask>,
    /// By path.
    pub files: BTreeMap<String, SealedFile>,
}

impl Manifest {
    /// The manifest of a folder; None if it has none, and so is no bundle.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let text = flava_base::read_text(&path, MAX_MANIFEST)?;
        let manifest = serde_json::from_str(&text);
        Ok(Some(
            manifest.map_err(|e| flava_base::Error::file(&path, e))?,
        ))
    }

    /// The commit that the files of a folder were fetched from.
    pub fn revision(&self, folder: &str) -> Option<String> {
        self.revisions.get(folder).cloned()
    }

    /// Notes the commit of a folder's files; those of another are forgotten.
    pub fn set_revision(&mut self, folder: &str, commit: String) {
        let before = self.revisions.insert(folder.to_owned(), commit.clone());
        if before.is_some_and(|before| before != commit) {
            self.forget(folder);
        }
    }

    /// Forgets the files of a folder: they are of another commit than those that replace them.
    pub fn forget(&mut self, folder: &str) {
        self.files.retain(|path, _| {
            !path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        });
    }

    /// Records a file of the bundle.
    pub fn seal(&mut self, folder: &Path, path: &str) -> Result<()> {
        let (size, sha256) = digest(&folder.join(path))?;
        self.files
            .insert(path.to_owned(), SealedFile { size, sha256 });
        Ok(())
    }

    /// Writes it, and a text of terms and credits beside it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        write(&folder.join(MANIFEST), &format!("{json}\n"))?;
        let mut notice = String::from(
            "# Data in this folder\n\nFetched by flava-eval; each set keeps its own terms.\n",
        );
        for (name, task) in &self.tasks {
            let revision = self.revision(&task.source).unwrap_or_default();
            let _written = write!(
                notice,
                "\n## {name}\n\n* from {} at {revision}\n* licence: {}\n* cite: {}\n",
                task.source, task.licence, task.citation
            );
        }
        write(&folder.join(NOTICE), &notice)
    }

    /// Files that are missing or have another content than when the bundle was sealed, and why.
    pub fn broken(&self, folder: &Path) -> Vec<String> {
        let problem = |(path, sealed): (&String, &SealedFile)| sealed.problem(folder, path);
        self.files.iter().filter_map(problem).collect()
    }
}

impl SealedFile {
    /// How the file in a folder differs from what was sealed.
    fn problem(&self, folder: &Path, path: &str) -> Option<String> {
        if path.starts_with('/') || path.split(['/', '\\']).any(|part| part == "..") {
            return Some(format!("{path}: leads out of the bundle"));
        }
        match fs::metadata(folder.join(path)) {
            Err(error) => return Some(format!("{path}: {error}")),
            Ok(file) if !file.is_file() || file.len() != self.size => {
                return Some(format!(
                    "{path}: is not the file of {} bytes that was sealed",
                    self.size
                ));
            }
            Ok(_) => {}
        }
        match digest(&folder.join(path)) {
            Err(error) => Some(error.to_string()),
            Ok((_, sha256)) if sha256 != self.sha256 => Some(format!(
                "{path}: its content is another than what was sealed"
            )),
            Ok(_) => None,
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(write_atomic(path, text.as_bytes())?)
}

/// A file's size and SHA-256.
fn digest(path: &Path) -> Result<(u64, String)> {
    let (size, sha256) = file_digest(path)?;
    Ok((size, hex(&sha256)))
}
