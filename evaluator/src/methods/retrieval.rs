//! Image-text retrieval: every picture ranks all captions, every caption all pictures, by cosine.

use flava_model::processor::Text;
use flava_tasks::{
    Predictions,
    metrics::{Ranked, rank},
};
use serde_json::Map;
use tch::Tensor;

use super::{Answer, Splits};
use crate::{Result, features::Extractor};

/// Queries whose scores are in memory at once.
const CHUNK: i64 = 256;

pub(super) fn run(splits: &Splits, extractor: &Extractor) -> Result<Answer> {
    let pictures = extractor.image_embeddings(&splits.test)?;
    let owners: Vec<usize> = pictures.texts.iter().enumerate().flat_map(|(picture, texts)| vec![picture; texts.len()]).collect();
    let captions: Vec<Text> = pictures.texts.iter().flatten().map(|caption| Text::Single(caption)).collect();
    let texts = extractor.text_embeddings(&captions, "captions")?; // [captions, projection]
    let by_picture = ranks(&pictures.values, &texts, |picture, caption| owners[caption] == picture)?;
    let by_caption = ranks(&texts, &pictures.values, |caption, picture| owners[caption] == picture)?;
    let texts = by_picture.into_iter().enumerate().map(|(picture, rank)| Ranked { picture, rank }).collect();
    let images = owners.iter().zip(by_caption).map(|(&picture, rank)| Ranked { picture, rank }).collect();
    let details = [("pictures", pictures.ids.len()), ("captions", owners.len())].map(|(name, count)| (name.to_owned(), count.into()));
    Ok(Answer {
        predictions: Predictions::Ranks { texts, images },
        skipped: pictures.skipped,
        train_rows: 0,
        details: Map::from_iter(details),
    })
}

/// For each query, the rank of its best right item.
fn ranks(queries: &Tensor, items: &Tensor, right: impl Fn(usize, usize) -> bool) -> Result<Vec<usize>> {
    let (count, _) = queries.size2()?;
    let mut ranks = Vec::with_capacity(count as usize);
    for start in (0..count).step_by(CHUNK as usize) {
        let chunk = queries.f_narrow(0, start, CHUNK.min(count - start))?;
        let scores = chunk.f_matmul(&items.f_transpose(0, 1)?)?; // [chunk, items]
        for row in 0..scores.size()[0] {
            let scores: Vec<f32> = scores.get(row).try_into()?;
            ranks.push(rank(&scores, |item| right((start + row) as usize, item)));
        }
    }
    Ok(ranks)
}
