//! Ranks of images among captions and of captions among images.

use flava_model::runtime::linear;
use flava_tasks::metrics::rank;
use tch::Tensor;

use crate::Result;

/// Scores that are in memory at once.
const SCORES_AT_ONCE: i64 = 1 << 23;

/// Images and captions with what belongs together.
pub(super) struct Pairs {
    /// \[images, projection\] and \[captions, projection\].
    pub(super) images: Tensor,
    pub(super) captions: Tensor,
    /// The image of each caption.
    pub(super) owners: Vec<usize>,
    /// Each image's captions.
    pub(super) owned: Vec<Vec<usize>>,
}

/// For each image, the rank of its best caption.
pub(super) fn ranks_of_captions(pairs: &Pairs) -> Result<Vec<usize>> {
    ranks(&pairs.images, &pairs.captions, |image| &pairs.owned[image])
}

/// For each caption, the rank of its image.
pub(super) fn ranks_of_images(pairs: &Pairs) -> Result<Vec<usize>> {
    ranks(&pairs.captions, &pairs.images, |caption| {
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
    for start in (0..count).step_by(chunk as usize) {
        let queries = queries.f_narrow(0, start, chunk.min(count - start))?;
        let scores = linear(&queries, items, None)?; // [chunk, items]
        let flat: Vec<f32> = scores.f_flatten(0, -1)?.try_into()?;
        flat.chunks_exact(width as usize)
            .enumerate()
            .for_each(|(row, scores)| read(start as usize + row, scores));
    }
    Ok(())
}
