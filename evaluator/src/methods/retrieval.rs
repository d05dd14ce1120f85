//! Image-text retrieval: every image ranks all captions, every caption all images, by cosine.

use std::collections::{HashMap, HashSet};

use flava_tasks::{Outputs, Predictions, predictions::Ranked};

use super::{
    method::{MethodInput, MethodOutput},
    ranking::{Pairs, ranks_of_captions, ranks_of_images},
    rerank::Reranking,
};
use crate::{Error, Result, features::Features};

pub(super) fn run(input: &MethodInput, reranked: Option<usize>) -> Result<MethodOutput> {
    let images = input.source.image_embeddings(&input.splits.test)?;
    let texts = texts_of(input, &images)?;
    let captions: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
    let pairs = pairs(input, &images, &texts, &captions)?;
    let (by_image, by_caption) = match reranked {
        None => (ranks_of_captions(&pairs)?, ranks_of_images(&pairs)?),
        Some(best) => Reranking::new(input, &pairs, &captions, &images.rows)?.ranks(best)?,
    };
    let ranked = |(image, rank)| Ranked { image, rank };
    let owners = pairs.owners.iter().copied();
    let outputs = Outputs::Ranks {
        texts: by_image.into_iter().enumerate().map(ranked).collect(),
        images: owners.zip(by_caption).map(ranked).collect(),
    };
    let mut output = MethodOutput::new(vec![Predictions {
        ids: Vec::new(),
        clusters: None,
        outputs,
    }]);
    output.skipped = images.skipped;
    output.detail("pictures", images.ids.len());
    output.detail("captions", captions.len());
    if let Some(best) = reranked {
        output.detail("reranked", best);
    }
    let (repeated, all) = (repeated(&captions, &pairs.owners), captions.len());
    if repeated > 0 {
        let reason = "stand at more than one image: only its own counts as right, and the others \
                      rank as high";
        output
            .notes
            .push(format!("{repeated} of {all} captions {reason}"));
    }
    Ok(output)
}

/// The captions of each image, of which there is one at least.
fn texts_of(input: &MethodInput, images: &Features) -> Result<Vec<Vec<String>>> {
    let dataset = input.splits.test.dataset();
    let mut all = Vec::with_capacity(images.rows.len());
    for (&row, id) in images.rows.iter().zip(&images.ids) {
        let texts = dataset.get(row)?.texts;
        if texts.is_empty() {
            return Err(Error::RowLacks {
                id: id.clone(),
                what: "caption that could be found",
            });
        }
        all.push(texts);
    }
    Ok(all)
}

/// Embeddings of images and captions, and what belongs together.
fn pairs(
    input: &MethodInput,
    images: &Features,
    texts: &[Vec<String>],
    captions: &[&str],
) -> Result<Pairs> {
    let device = input.device();
    let test = &input.splits.test;
    let embeddings = input.source.caption_embeddings(test, captions)?;
    let mut pairs = Pairs {
        images: images.values.f_to_device(device)?,
        captions: embeddings.f_to_device(device)?,
        owners: Vec::new(),
        owned: Vec::new(),
    };
    for (image, texts) in texts.iter().enumerate() {
        let first = pairs.owners.len();
        pairs.owned.push((first..first + texts.len()).collect());
        pairs.owners.extend(std::iter::repeat_n(image, texts.len()));
    }
    Ok(pairs)
}

/// How many captions are those of another image too, word for word.
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
