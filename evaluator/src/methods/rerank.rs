//! Retrieval with a second look: the best by cosine are put in a new order by the matching head
//! over the multimodal encoder. The paper does not do this; it is a method of its own.

use std::collections::BTreeMap;

use flava_heads::ItmHead;
use flava_model::{EncoderOutput, processor::Text};
use tch::{Kind, Tensor};

use super::retrieval::{Pairs, scores};
use crate::{
    Error, Result, check_interrupted,
    features::{Extractor, Preparation, Rows},
};

/// Pairs that go through the multimodal encoder at once.
const BATCH: usize = 16;

/// What is looked at of one query, best first, and where its own items stand by cosine.
struct Shortlist {
    items: Vec<usize>,
    right: Vec<usize>,
    rank: usize,
}

/// The ranks of captions by picture and of pictures by caption.
pub(super) fn ranks(
    pairs: &Pairs,
    best: usize,
    captions: &[&str],
    (rows, used): (&Rows, &[usize]),
    (extractor, head): (&Extractor, &ItmHead),
) -> Result<(Vec<usize>, Vec<usize>)> {
    let of_pictures = shortlists(&pairs.pictures, &pairs.captions, best, |picture| {
        pairs.owned[picture].clone()
    })?;
    let of_captions = shortlists(&pairs.captions, &pairs.pictures, best, |caption| {
        vec![pairs.owners[caption]]
    })?;
    // Each picture is encoded once, with every caption that is looked at together with it.
    let mut asked: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (picture, list) in of_pictures.iter().enumerate() {
        asked.entry(picture).or_default().extend(&list.items);
    }
    for (caption, list) in of_captions.iter().enumerate() {
        list.items
            .iter()
            .for_each(|&picture| asked.entry(picture).or_default().push(caption));
    }
    let bar = extractor.progress.task("matching head", asked.len());
    let mut matching: BTreeMap<(usize, usize), f32> = BTreeMap::new();
    let places: Vec<usize> = asked
        .keys()
        .map(|&picture| rows.indices().partition_point(|&row| row < used[picture]))
        .collect();
    let ahead = Preparation {
        transform: extractor.transform(),
        text: None,
        loader: extractor.settings.loader(),
    };
    let loader = ahead.start(
        rows,
        places.into_iter().map(|place| place..place + 1).collect(),
    );
    for ((picture, mut wanted), prepared) in asked.into_iter().zip(loader) {
        check_interrupted()?;
        wanted.sort_unstable();
        wanted.dedup();
        let pixels = prepared.into_iter().collect::<Result<Vec<_>>>()?;
        let image = extractor
            .model
            .flava
            .encode_image(&extractor.images(pixels.iter().map(|row| &row.pixels))?)?;
        for some in wanted.chunks(BATCH) {
            for (&caption, score) in
                some.iter()
                    .zip(match_with(&image, some, captions, (extractor, head))?)
            {
                matching.insert((picture, caption), score);
            }
        }
        bar.add(1);
    }
    let text_ranks = of_pictures
        .iter()
        .enumerate()
        .map(|(picture, list)| list.rank_by(|caption| matching[&(picture, caption)]));
    let image_ranks = of_captions
        .iter()
        .enumerate()
        .map(|(caption, list)| list.rank_by(|picture| matching[&(picture, caption)]));
    Ok((text_ranks.collect(), image_ranks.collect()))
}

/// By how much each caption is likelier to belong to the picture than not.
fn match_with(
    image: &EncoderOutput,
    some: &[usize],
    captions: &[&str],
    (extractor, head): (&Extractor, &ItmHead),
) -> Result<Vec<f32>> {
    let _guard = tch::no_grad_guard();
    let model = extractor.model;
    let texts: Vec<Text> = some
        .iter()
        .map(|&caption| Text::Single(captions[caption]))
        .collect();
    let inputs = extractor.text_inputs(&model.text.encode(&texts, extractor.max_tokens())?)?;
    let repeat = |states: &Tensor| states.f_expand([some.len() as i64, -1, -1], false);
    let image = EncoderOutput {
        hidden_states: repeat(&image.hidden_states)?,
        last_hidden_state: repeat(&image.last_hidden_state)?,
        cls_of_layers: Vec::new(),
    };
    let output = model.flava.encode_multimodal_cls(
        &image,
        &model.flava.encode_text(&inputs)?,
        inputs.attention_mask.as_ref(),
    )?;
    let logits = head.forward(&output.cls())?.f_to_kind(Kind::Float)?; // [pairs, 2]
    let scores: Vec<f32> = logits
        .f_select(1, 1)?
        .f_sub(&logits.f_select(1, 0)?)?
        .try_into()?;
    match scores.iter().position(|score| !score.is_finite()) {
        Some(at) => Err(Error::Other(format!(
            "the matching head's score of {:?} is not finite",
            captions[some[at]]
        ))),
        None => Ok(scores),
    }
}

fn shortlists(
    queries: &Tensor,
    items: &Tensor,
    best: usize,
    right: impl Fn(usize) -> Vec<usize>,
) -> Result<Vec<Shortlist>> {
    let mut lists = Vec::new();
    scores(queries, items, |query, scores| {
        let right = right(query);
        let rank = flava_tasks::metrics::rank(scores, &right);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        let by_score = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        let count = best.min(order.len());
        if count < order.len() {
            order.select_nth_unstable_by(count, by_score);
        }
        order.truncate(count);
        order.sort_by(by_score);
        lists.push(Shortlist {
            items: order,
            right,
            rank,
        });
    })?;
    Ok(lists)
}

impl Shortlist {
    /// The rank of the best right item: among those looked at by `score`, ties counted against it;
    /// where none was looked at, it stays.
    fn rank_by(&self, score: impl Fn(usize) -> f32) -> usize {
        let is_right = |item: &&usize| self.right.contains(item);
        let best = self
            .items
            .iter()
            .filter(is_right)
            .map(|&item| score(item))
            .reduce(f32::max);
        match best {
            None => self.rank.max(self.items.len() + 1),
            Some(best) if best.is_nan() => self.items.len().max(1),
            Some(best) => {
                1 + self
                    .items
                    .iter()
                    .filter(|item| !is_right(item))
                    .filter(|&&item| score(item) >= best || score(item).is_nan())
                    .count()
            }
        }
    }
}
