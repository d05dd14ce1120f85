//! Image-text retrieval: every picture ranks all captions, every caption all pictures, by cosine.

use std::collections::{HashMap, HashSet};

use flava_model::processor::Text;
use flava_tasks::{Feature, Outputs, Predictions, metrics::rank, predictions::Ranked};
use serde_json::{Map, json};
use tch::Tensor;

use super::{Answer, Job, rerank};
use crate::{Error, Result, features::Extractor};

/// Scores that are in memory at once.
const SCORES_AT_ONCE: i64 = 1 << 23;

/// Pictures and captions with what belongs together.
pub(super) struct Pairs {
    /// \[pictures, projection\] and \[captions, projection\].
    pub(super) pictures: Tensor,
    pub(super) captions: Tensor,
    /// The picture of each caption.
    pub(super) owners: Vec<usize>,
    /// Each picture's captions.
    pub(super) owned: Vec<Vec<usize>>,
}

pub(super) fn run(job: &Job, reranked: Option<usize>, extractor: &Extractor) -> Result<Answer> {
    let rows = &job.splits.test;
    let pictures = extractor.features(rows, Feature::IMAGE_EMBEDDING)?;
    let texts = pictures
        .rows
        .iter()
        .map(|&row| Ok(rows.dataset().get(row)?.texts))
        .collect::<Result<Vec<Vec<String>>>>()?;
    let mut pairs = Pairs {
        pictures: pictures.values,
        captions: Tensor::new(),
        owners: Vec::new(),
        owned: Vec::new(),
    };
    for (picture, texts) in texts.iter().enumerate() {
        pairs
            .owned
            .push((pairs.owners.len()..pairs.owners.len() + texts.len()).collect());
        pairs
            .owners
            .extend(std::iter::repeat_n(picture, texts.len()));
    }
    if let Some(picture) = texts.iter().position(Vec::is_empty) {
        return Err(Error::Other(format!(
            "{} has no caption that could be found",
            pictures.ids[picture]
        )));
    }
    let captions: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
    let repeated = repeated(&captions, &pairs.owners);
    let device = extractor.model.options.device;
    let inputs: Vec<Text> = captions
        .iter()
        .map(|caption| Text::Single(caption))
        .collect();
    pairs.captions = extractor
        .text_embeddings(&inputs, "captions")?
        .f_to_device(device)?;
    pairs.pictures = pairs.pictures.f_to_device(device)?;
    let (by_picture, by_caption) = match reranked {
        None => (ranks_of_captions(&pairs)?, ranks_of_pictures(&pairs)?),
        Some(best) => {
            let head = job.itm_head.ok_or_else(|| {
                Error::Other("the checkpoint has no itm_head to rank with".into())
            })?;
            rerank::ranks(
                &pairs,
                best,
                &captions,
                (rows, &pictures.rows),
                (extractor, head),
            )?
        }
    };
    let ranked = |(picture, rank)| Ranked { picture, rank };
    let outputs = Outputs::Ranks {
        texts: by_picture.into_iter().enumerate().map(ranked).collect(),
        images: pairs
            .owners
            .iter()
            .copied()
            .zip(by_caption)
            .map(ranked)
            .collect(),
    };
    let mut details = Map::from_iter([
        ("pictures".into(), json!(pictures.ids.len())),
        ("captions".into(), json!(captions.len())),
    ]);
    if let Some(best) = reranked {
        details.insert("reranked".into(), json!(best));
    }
    let predictions = Predictions {
        ids: Vec::new(),
        clusters: None,
        outputs,
    };
    let mut answer = Answer::new(vec![predictions], pictures.skipped, 0, details);
    if repeated > 0 {
        let reason = "stand at more than one picture: only its own counts as right, and the others rank as high";
        answer.notes.push(format!(
            "{repeated} of {} captions {reason}",
            captions.len()
        ));
    }
    Ok(answer)
}

/// How many captions are those of another picture too, word for word.
fn repeated(captions: &[&str], owners: &[usize]) -> usize {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut shared: HashSet<&str> = HashSet::new();
    for (caption, owner) in captions.iter().zip(owners) {
        if *first.entry(caption).or_insert(*owner) != *owner {
            shared.insert(caption);
        }
    }
    captions
        .iter()
        .filter(|caption| shared.contains(*caption))
        .count()
}

/// For each picture, the rank of its best caption.
pub(super) fn ranks_of_captions(pairs: &Pairs) -> Result<Vec<usize>> {
    ranks(&pairs.pictures, &pairs.captions, |picture| {
        &pairs.owned[picture]
    })
}

/// For each caption, the rank of its picture.
pub(super) fn ranks_of_pictures(pairs: &Pairs) -> Result<Vec<usize>> {
    ranks(&pairs.captions, &pairs.pictures, |caption| {
        std::slice::from_ref(&pairs.owners[caption])
    })
}

/// For each query \[queries, width\], the rank among all items \[items, width\] of the best of
/// those that are right for it, by inner product; a bounded number of scores is in memory at once.
pub fn ranks<'a>(
    queries: &Tensor,
    items: &Tensor,
    right: impl Fn(usize) -> &'a [usize],
) -> Result<Vec<usize>> {
    let mut ranks = Vec::with_capacity(queries.size()[0] as usize);
    scores(queries, items, |query, scores| {
        ranks.push(rank(scores, right(query)));
    })?;
    Ok(ranks)
}

/// Gives `read` each query's scores against all items, a bounded number of them in memory at once.
pub(super) fn scores(
    queries: &Tensor,
    items: &Tensor,
    mut read: impl FnMut(usize, &[f32]),
) -> Result<()> {
    let ((count, _), (width, _)) = (queries.size2()?, items.size2()?);
    let chunk = (SCORES_AT_ONCE / width.max(1)).clamp(1, count.max(1));
    let items = items.f_transpose(0, 1)?;
    for start in (0..count).step_by(chunk as usize) {
        let scores = queries
            .f_narrow(0, start, chunk.min(count - start))?
            .f_matmul(&items)?; // [chunk, items]
        let flat: Vec<f32> = scores.f_flatten(0, -1)?.try_into()?;
        flat.chunks_exact(width as usize)
            .enumerate()
            .for_each(|(row, scores)| read(start as usize + row, scores));
    }
    Ok(())
}
