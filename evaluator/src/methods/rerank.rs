//! Retrieval with a second look: the best by cosine are put in a new order by the matching head
//! over the multimodal encoder. The paper does not do this; it is a method of its own.

use std::collections::BTreeMap;

use flava_heads::ItmHead;
use flava_model::{EncoderOutput, processor::Text};
use flava_tasks::metrics::rank;
use tch::{Kind, Tensor};

use super::{
    method::MethodInput,
    ranking::{Pairs, scores},
};
use crate::{
    Error, Result, check_interrupted,
    features::{Extractor, Fitting, Preparation, Rows},
};

/// Pairs that go through the multimodal encoder at once.
const BATCH: usize = 16;

/// What is looked at of one query, best first, and where its own items stand by cosine.
struct Shortlist {
    items: Vec<usize>,
    right: Vec<usize>,
    rank: usize,
}

/// The head's score of each pair that is looked at, by image and caption.
type Scores = BTreeMap<(usize, usize), f32>;

/// Everything that ranking again reads.
pub(super) struct Reranking<'a> {
    pairs: &'a Pairs,
    captions: &'a [&'a str],
    rows: &'a Rows,
    /// The row of each image.
    image_rows: &'a [usize],
    extractor: &'a Extractor<'a>,
    head: &'a ItmHead,
}

impl<'a> Reranking<'a> {
    pub(super) fn new(
        input: &'a MethodInput,
        pairs: &'a Pairs,
        captions: &'a [&'a str],
        image_rows: &'a [usize],
    ) -> Result<Self> {
        let none = || Error::Lacking {
            what: "itm_head",
            reason: "the checkpoint has no itm_head to rank with".into(),
        };
        Ok(Self {
            pairs,
            captions,
            rows: &input.splits.test,
            image_rows,
            extractor: &input.source.encoders()?.extractor,
            head: input.itm_head.ok_or_else(none)?,
        })
    }

    /// The ranks of captions by image and of images by caption, where the `best` by cosine are
    /// looked at again.
    pub(super) fn ranks(&self, best: usize) -> Result<(Vec<usize>, Vec<usize>)> {
        let Pairs {
            images,
            captions,
            owners,
            owned,
        } = self.pairs;
        let of_images = shortlists(images, captions, best, |image| owned[image].clone())?;
        let of_captions = shortlists(captions, images, best, |caption| vec![owners[caption]])?;
        // Each image is encoded once, with every caption that is looked at together with it.
        let mut asked: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (image, list) in of_images.iter().enumerate() {
            asked.entry(image).or_default().extend(&list.items);
        }
        for (caption, list) in of_captions.iter().enumerate() {
            for &image in &list.items {
                asked.entry(image).or_default().push(caption);
            }
        }
        let scores = self.scores(asked)?;
        let lists = of_images.iter().enumerate();
        let text_ranks =
            lists.map(|(image, list)| list.rank_by(|caption| scores[&(image, caption)]));
        let lists = of_captions.iter().enumerate();
        let image_ranks =
            lists.map(|(caption, list)| list.rank_by(|image| scores[&(image, caption)]));
        Ok((text_ranks.collect(), image_ranks.collect()))
    }

    /// The head's scores of images with the captions that are asked of each.
    fn scores(&self, asked: BTreeMap<usize, Vec<usize>>) -> Result<Scores> {
        let extractor = self.extractor;
        let bar = extractor
            .progress
            .task("matching head", "matching head", asked.len());
        let indices = self.rows.indices();
        let position = |&image: &usize| {
            let row = self.image_rows[image];
            indices.partition_point(|&other| other < row)
        };
        let positions = asked.keys().map(position);
        let batches = positions.map(|position| position..position + 1).collect();
        let preparation = Preparation {
            transform: extractor.transform(),
            text: None,
            loader: extractor.settings.loader(),
        };
        let loader = preparation.start(self.rows, batches);
        let mut scores = Scores::new();
        let fitting = Fitting::new(BATCH, extractor.settings.batch_size);
        for ((image, mut captions), prepared) in asked.into_iter().zip(loader) {
            check_interrupted()?;
            captions.sort_unstable();
            captions.dedup();
            let pixels = prepared.into_iter().collect::<Result<Vec<_>>>()?;
            let inputs = extractor.image_batch(pixels.iter().map(|row| &row.pixels))?;
            let encoded = extractor.model.flava()?.encode_image(&inputs)?;
            let found = fitting.each(captions.len(), extractor.progress, |some| {
                self.match_with(&encoded, &captions[some])
            })?;
            let pairs = captions.iter().map(|&caption| (image, caption));
            scores.extend(pairs.zip(found.into_iter().flatten()));
            bar.did(1);
        }
        Ok(scores)
    }

    /// By how much each caption is likelier to belong to the image than not.
    fn match_with(&self, image: &EncoderOutput, some: &[usize]) -> Result<Vec<f32>> {
        let _guard = tch::no_grad_guard();
        let (extractor, model) = (self.extractor, self.extractor.model);
        let captions = some
            .iter()
            .map(|&caption| Text::Single(self.captions[caption]));
        let texts: Vec<Text> = captions.collect();
        let inputs = extractor.text_inputs(&model.text.encode(&texts, extractor.max_tokens())?)?;
        let repeat = |states: &Tensor| states.f_expand([some.len() as i64, -1, -1], false);
        let image = EncoderOutput {
            hidden_states: repeat(&image.hidden_states)?,
            last_hidden_state: repeat(&image.last_hidden_state)?,
            cls_of_layers: Vec::new(),
        };
        let flava = model.flava()?;
        let text = flava.encode_text(&inputs)?;
        let mask = inputs.attention_mask.as_ref();
        let output = flava.encode_multimodal_cls(&image, &text, mask)?;
        let logits = self.head.forward(&output.cls())?.f_to_kind(Kind::Float)?; // [pairs, 2]
        let matching = logits.f_select(1, 1)?;
        let scores: Vec<f32> = matching.f_sub(&logits.f_select(1, 0)?)?.try_into()?;
        match scores.iter().position(|score| !score.is_finite()) {
            Some(at) => Err(Error::NotFinite(format!(
                "the matching head's score of {:?} is not finite",
                self.captions[some[at]]
            ))),
            None => Ok(scores),
        }
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
        let rank = rank(scores, &right);
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
