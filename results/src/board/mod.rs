//! A leaderboard: the numbers of several checkpoints beside each other, ranked, with what is
//! uncertain of them.
//!
//! Rows of the data, tasks and seeds are three uncertainties, and stand apart: the intervals of
//! ranks and averages are over rows, the same rows for all checkpoints.

mod average;
mod columns;
mod entry;
mod grid;
mod input;
mod paper;
mod rank;
mod refusal;
mod rerank;
mod resampled;
mod seeds;
mod standing;
mod tables;
mod text;

use flava_tasks::Suite;

pub use self::{
    average::Mean,
    columns::{Column, Columns},
    entry::{Cell, Entry, Measured, Member, Origin},
    input::PAPER,
    rank::Rank,
    rerank::rerank,
};
use self::{
    average::{Drawn, Weights, rescaled},
    input::Inputs,
    resampled::Resampled,
};
use crate::{Error, Record, Result};

/// How a board is made.
#[derive(Clone, Debug)]
pub struct BoardOptions {
    /// The suite that averages are over; that of most records without.
    pub suite: Option<Suite>,
    /// Rows of this protocol alone.
    pub protocol: Option<String>,
    /// Records that may not stand in a leaderboard too, marked.
    pub all: bool,
    /// Published rows are ranked too.
    pub rank_published: bool,
    /// Checkpoints whose names differ in `seed-N` alone are one row.
    pub join_seeds: bool,
    /// Draws of the bootstrap; with none there are no intervals of ranks.
    pub draws: usize,
}

impl Default for BoardOptions {
    fn default() -> Self {
        Self {
            suite: None,
            protocol: None,
            all: false,
            rank_published: false,
            join_seeds: false,
            draws: 1000,
        }
    }
}

/// A group's average.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMean {
    /// vision, language or multimodal.
    pub group: &'static str,
    /// None while a number is missing.
    pub average: Option<Mean>,
}

/// A row with its numbers.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub entry: Entry,
    /// Its numbers, by column.
    pub cells: Vec<Option<Cell>>,
    /// Numbers of the suite that it has.
    pub present: usize,
    /// Of each group.
    pub groups: Vec<GroupMean>,
    /// The mean of the groups' averages; None while a number is missing.
    pub average: Option<Mean>,
    /// The mean over the numbers that all rows have.
    pub common: Option<Mean>,
    /// Share of comparisons with other ranked rows that it wins, ties half; over the numbers that
    /// rows are ranked by.
    pub win_rate: Option<f64>,
    /// The mean that it is ranked by, each number as its share of the way from chance to 1.
    pub rescaled: Option<f64>,
    /// None of rows that are not ranked.
    pub rank: Option<Rank>,
}

impl Row {
    /// Whether all of its records may stand in a leaderboard.
    pub fn is_publishable(&self) -> bool {
        self.entry
            .records()
            .all(|measured| measured.record.publishable)
    }
}

/// A leaderboard.
#[derive(Clone, Debug)]
pub struct Board {
    /// Its columns.
    pub columns: Columns,
    /// Ranked rows, the best first; then others.
    pub rows: Vec<Row>,
    /// Positions of the columns that all compared rows have.
    pub common: Vec<usize>,
    /// Whether rows are ranked by the average over all numbers, and not by that over the common
    /// ones.
    pub is_complete: bool,
    /// What a reader should hear.
    pub notes: Vec<String>,
}

impl Board {
    /// A board of folders of runs, files of records, tables, and [`PAPER`].
    ///
    /// # Errors
    /// If an argument cannot be read, or if what stands in one column does not compare.
    pub fn read(arguments: &[String], options: &BoardOptions) -> Result<Self> {
        let Inputs { mut entries, notes } = Inputs::read(arguments)?;
        if let Some(protocol) = &options.protocol {
            entries.retain(|entry| entry.protocol == *protocol);
        }
        if options.join_seeds {
            entries = seeds::join(entries);
        }
        if entries.is_empty() {
            return Err(Error::Board("there is nothing to compare".into()));
        }
        Self::of(entries, notes, options)
    }

    fn of(entries: Vec<Entry>, notes: Vec<String>, options: &BoardOptions) -> Result<Self> {
        let published = |entry: &&Entry| entry.origin == Origin::Published;
        let is_told =
            |entry: &&Entry| !published(entry) || entries.iter().all(|one| published(&one));
        // What is measured decides what is compared; the paper alone decides it for itself.
        let told = entries.iter().filter(is_told).flat_map(Entry::records);
        let records: Vec<&Record> = told.map(|measured| &measured.record).collect();
        let columns = Columns::new(&records, options.suite)?;
        let has_any = |entry: &Entry| {
            columns
                .all
                .iter()
                .any(|column| entry.cell(column).is_some())
        };
        let count = entries.len();
        let entries: Vec<Entry> = entries.into_iter().filter(has_any).collect();
        let mut notes = notes;
        if entries.len() < count {
            let (left_out, suite) = (count - entries.len(), columns.suite.name());
            notes.push(format!(
                "{left_out} rows have no number of the suite {suite} and are left out"
            ));
        }
        refusal::check(&entries, &columns.all, options.all)?;
        let resampled = Resampled::new(&entries, &columns.all, options.draws)?;
        let mut board = Self {
            rows: Vec::new(),
            common: Vec::new(),
            is_complete: false,
            columns,
            notes,
        };
        let cells = |entry: &Entry| {
            board
                .columns
                .all
                .iter()
                .map(|column| entry.cell(column))
                .collect()
        };
        let cells: Vec<Vec<Option<Cell>>> = entries.iter().map(cells).collect();
        let is_compared = |entry: &Entry| options.rank_published || entry.origin < Origin::Foreign;
        let compared: Vec<usize> = (0..entries.len())
            .filter(|at| is_compared(&entries[*at]))
            .collect();
        board.common = common(&board.columns, &cells, &compared);
        let whole = board.columns.averaged().count();
        board.is_complete = whole > 0 && board.common.len() == whole;
        let rows = entries.into_iter().zip(cells).enumerate();
        board.rows = rows
            .map(|(at, (entry, cells))| board.row(at, entry, cells, &resampled))
            .collect();
        board.rank(&compared, &resampled);
        board.note(&compared, &resampled);
        board.sort();
        Ok(board)
    }

    fn row(
        &self,
        entry_at: usize,
        entry: Entry,
        cells: Vec<Option<Cell>>,
        resampled: &Resampled,
    ) -> Row {
        let drawn = Drawn {
            entry: entry_at,
            cells: &cells,
            columns: &self.columns.all,
            resampled,
        };
        let group = |group: &'static str| GroupMean {
            group,
            average: drawn.average(&Weights::alike(&self.columns.of_group(group))),
        };
        let groups: Vec<GroupMean> = self.columns.groups().into_iter().map(group).collect();
        let average = drawn.average(&Weights::of_groups(&self.columns));
        let common = drawn.average(&Weights::alike(&self.common));
        let present = self
            .columns
            .averaged()
            .filter(|at| cells[*at].is_some())
            .count();
        Row {
            present,
            groups,
            average,
            common,
            win_rate: None,
            rescaled: rescaled(&self.weights(), &cells),
            rank: None,
            entry,
            cells,
        }
    }

    fn note(&mut self, compared: &[usize], resampled: &Resampled) {
        let whole = self.columns.averaged().count();
        if !self.is_complete && !compared.is_empty() {
            let suite = self.columns.suite.name();
            let count = self.common.len();
            self.notes.push(if count == 0 {
                format!("no number is in all rows: nothing is ranked (the suite {suite} has {whole})")
            } else {
                format!("ranked by the mean of the {count} numbers that all rows have, of the {whole} of the suite {suite}")
            });
        }
        if compared.len() < 2 || resampled.draws == 0 {
            return;
        }
        let weights = self.weights();
        let is_unpaired = |at: &&usize| {
            weights
                .0
                .iter()
                .any(|weight| resampled.of(**at, weight.column).is_none())
        };
        let unpaired: Vec<&str> = compared
            .iter()
            .filter(is_unpaired)
            .map(|at| self.rows[*at].entry.model.as_str())
            .collect();
        if !unpaired.is_empty() && !weights.0.is_empty() {
            self.notes.push(format!(
                "intervals of ranks are unpaired, and so too wide, where predictions are not at hand: {}",
                unpaired.join(", ")
            ));
        }
    }
}

/// Positions of the averaged columns that all compared entries have.
fn common(columns: &Columns, cells: &[Vec<Option<Cell>>], compared: &[usize]) -> Vec<usize> {
    let in_all = |column: &usize| compared.iter().all(|&at| cells[at][*column].is_some());
    let of_suite: Vec<usize> = columns.averaged().filter(in_all).collect();
    if of_suite.is_empty() && columns.averaged().next().is_none() {
        return (0..columns.all.len()).filter(in_all).collect();
    }
    of_suite
}
