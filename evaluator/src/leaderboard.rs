//! `flava-eval leaderboard`: several checkpoints beside each other, in every format.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flava_base::{say, write_atomic};
use flava_results::board::Board;

use crate::{
    Error, Result,
    args::{BoardFormat, LeaderboardArgs},
};

/// Formats and the files that hold them.
const FILES: [(BoardFormat, &str); 5] = [
    (BoardFormat::Csv, "leaderboard.csv"),
    (BoardFormat::LongCsv, "leaderboard-long.csv"),
    (BoardFormat::Markdown, "LEADERBOARD.md"),
    (BoardFormat::Latex, "leaderboard.tex"),
    (BoardFormat::Json, "leaderboard.json"),
];

/// Lines around the block of a Markdown file.
const BEGIN: &str = "<!-- leaderboard -->";
const END: &str = "<!-- /leaderboard -->";

/// Makes the board, and writes its files where that was asked for; what is to be printed.
///
/// # Errors
/// If the runs do not compare, or if the files of --check are not these.
pub fn leaderboard(args: &LeaderboardArgs) -> Result<String> {
    let board = Board::read(&args.runs, &args.options())?;
    for note in &board.notes {
        say(&format!("note: {note}"));
    }
    for file in files(&board, args)? {
        if args.check {
            file.check()?;
        } else {
            file.write()?;
        }
    }
    text(&board, args.format)
}

fn text(board: &Board, format: BoardFormat) -> Result<String> {
    Ok(match format {
        BoardFormat::Markdown => board.markdown()?,
        BoardFormat::Csv => board.wide_csv(),
        BoardFormat::LongCsv => board.long_csv()?,
        BoardFormat::Latex => board.latex(),
        BoardFormat::Json => format!("{:#}\n", board.json()),
    })
}

/// A file, and what it is to hold.
struct Wanted {
    path: PathBuf,
    text: String,
}

/// The files that were asked for.
fn files(board: &Board, args: &LeaderboardArgs) -> Result<Vec<Wanted>> {
    let mut files = Vec::new();
    for (format, name) in args.out.iter().flat_map(|_| FILES) {
        let folder = args.out.as_deref().unwrap_or(Path::new(""));
        files.push(Wanted {
            path: folder.join(name),
            text: text(board, format)?,
        });
    }
    if let Some(path) = &args.block {
        let around = flava_base::read_text(path, flava_base::MAX_SETTINGS)?;
        files.push(Wanted {
            path: path.clone(),
            text: with_block(path, &around, &board.markdown_summary())?,
        });
    }
    if args.check && files.is_empty() {
        return Err(Error::Usage {
            argument: "--check",
            reason: "--check compares files: name them with --out or --block".into(),
        });
    }
    Ok(files)
}

/// The text of a file with another block in it.
fn with_block(path: &Path, around: &str, block: &str) -> Result<String> {
    let lacking = || Error::Lacking {
        what: "block",
        reason: format!("{} has no lines {BEGIN} and {END}", path.display()),
    };
    let (before, rest) = around.split_once(BEGIN).ok_or_else(lacking)?;
    let (_, behind) = rest.split_once(END).ok_or_else(lacking)?;
    Ok(format!("{before}{BEGIN}\n\n{block}\n{END}{behind}"))
}

impl Wanted {
    fn write(&self) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|e| flava_base::Error::io(folder, e))?;
        }
        Ok(write_atomic(&self.path, self.text.as_bytes())?)
    }

    /// The file is the one that would be written.
    fn check(&self) -> Result<()> {
        let there = fs::read(&self.path).map_err(|e| flava_base::Error::io(&self.path, e))?;
        if there == self.text.as_bytes() {
            return Ok(());
        }
        let there = String::from_utf8_lossy(&there);
        let mut lines = there.lines().zip(self.text.lines());
        let differ = lines.position(|(a, b)| a != b);
        let shorter = || there.lines().count().min(self.text.lines().count());
        let line = differ.unwrap_or_else(shorter) + 1;
        let path = self.path.display();
        let remedy = "without --check it is written anew";
        Err(Error::Mismatch {
            what: "leaderboard",
            reason: format!(
                "{path} is not what these runs give, from line {line} on\nhint: {remedy}"
            ),
        })
    }
}
