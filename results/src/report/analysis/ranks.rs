//! How far down the right items of a retrieval stand.

use flava_base::id_rank;
use flava_tasks::predictions::Ranked;

use crate::{median, report::options::ReportOptions};

/// Places down the list that recall is shown for.
const DEPTHS: [usize; 8] = [1, 2, 5, 10, 20, 50, 100, 200];
/// Queries that are drawn at random.
const DRAWN: usize = 8;

/// A query, by its number, the image it belongs to, and the rank of its best right item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) number: usize,
    pub(crate) image: usize,
    pub(crate) rank: usize,
}

/// Share of queries whose item is among the best `depth`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RecallAt {
    pub(crate) depth: usize,
    pub(crate) share: f64,
}

/// Queries of one direction.
#[derive(Clone, Debug)]
pub(crate) struct QuerySide {
    pub(crate) queries: usize,
    pub(crate) recall: Vec<RecallAt>,
    pub(crate) median_rank: f64,
    pub(crate) worst: Vec<Query>,
    /// Drawn by the seed.
    pub(crate) drawn: Vec<Query>,
}

/// Both directions.
#[derive(Clone, Debug)]
pub(crate) struct RanksSeen {
    /// For images, among all captions.
    pub(crate) texts: QuerySide,
    /// For captions, among all images.
    pub(crate) images: QuerySide,
}

impl RanksSeen {
    pub(super) fn of(texts: &[Ranked], images: &[Ranked], options: &ReportOptions) -> Option<Self> {
        Some(Self {
            texts: QuerySide::of(texts, images.len(), options)?,
            images: QuerySide::of(images, texts.len(), options)?,
        })
    }
}

impl QuerySide {
    fn of(ranked: &[Ranked], items: usize, options: &ReportOptions) -> Option<Self> {
        if ranked.is_empty() {
            return None;
        }
        let queries = ranked.iter().enumerate().map(|(number, ranked)| Query {
            number,
            image: ranked.image,
            rank: ranked.rank,
        });
        let mut queries: Vec<Query> = queries.collect();
        let count = queries.len() as f64;
        let recall = |depth: usize| {
            let found = queries.iter().filter(|query| query.rank <= depth).count();
            let share = found as f64 / count;
            RecallAt { depth, share }
        };
        let depths = DEPTHS.into_iter().filter(|depth| *depth <= items.max(1));
        let recall = depths.map(recall).collect();
        let draw = |query: &Query| id_rank(options.seed, "report", &query.number.to_string());
        queries.sort_by_key(draw);
        let mut drawn: Vec<Query> = queries.iter().take(DRAWN).copied().collect();
        drawn.sort_by_key(|query| query.number);
        queries.sort_by_key(|query| (query.rank, query.number));
        let ranks: Vec<f64> = queries.iter().map(|query| query.rank as f64).collect();
        let worst = queries.iter().rev().take(options.most_rows);
        Some(Self {
            queries: queries.len(),
            recall,
            median_rank: median(&ranks),
            worst: worst.copied().collect(),
            drawn,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_ranks_and_the_worst_come_first() {
        let ranked = |rank| Ranked { image: 0, rank };
        let texts: Vec<Ranked> = [1, 7, 2, 1].map(ranked).into();
        let options = ReportOptions::default();
        let seen = RanksSeen::of(&texts, &texts, &options).unwrap().texts;
        let shares: Vec<f64> = seen.recall.iter().map(|at| at.share).collect();
        assert_eq!(shares, [0.5, 0.75]);
        assert_eq!((seen.worst[0].number, seen.median_rank), (1, 1.5));
        assert_eq!(seen.drawn.len(), 4);
        assert!(RanksSeen::of(&[], &[], &options).is_none());
    }
}
