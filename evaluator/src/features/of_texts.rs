//! Features of texts.

use std::{collections::HashMap, ops::Range};

use flava_base::hex;
use flava_model::processor::{Encoding, Text};
use flava_tasks::Feature;
use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use super::{
    Extractor, RowBatches,
    pass::{Made, Pass, joined},
    store::{FeatureShard, SHARD},
    taps::{output_rows, read_all},
};
use crate::Result;

/// Shards of texts that are made together, so that texts of like length meet.
const SHARDS_OF_BLOCK: usize = 8;

impl Extractor<'_> {
    /// Text embeddings, \[texts, projection\]. The same text is encoded once, so that its copies
    /// tie exactly.
    pub(crate) fn text_embeddings(&self, texts: &[Text], name: &str) -> Result<Tensor> {
        let (mut distinct, mut known) = (Vec::new(), HashMap::new());
        let mut positions: Vec<i64> = Vec::with_capacity(texts.len());
        for text in texts {
            let next = distinct.len() as i64;
            let position = *known.entry(format!("{text:?}")).or_insert(next);
            if position == next {
                distinct.push(*text);
            }
            positions.push(position);
        }
        let id = |text: usize| format!("{:?}", distinct[text]);
        let wanted = [Feature::TEXT_EMBEDDING];
        let values = self.first_of_texts(&distinct, name, &id, &wanted)?.values;
        Ok(values.f_index_select(0, &Tensor::f_from_slice(&positions)?)?)
    }

    /// The first of some features of texts, in the order given.
    pub(super) fn first_of_texts(
        &self,
        texts: &[Text],
        name: &str,
        id: &dyn Fn(usize) -> String,
        wanted: &[Feature],
    ) -> Result<FeatureShard> {
        Ok(self.all_of_texts(texts, name, id, wanted)?.swap_remove(0))
    }

    /// Several features of texts, in the order given; from the store no more than the first. The
    /// texts are in the key whole. Of some thousand those of like length go together, so that
    /// little is padded.
    pub(crate) fn all_of_texts(
        &self,
        texts: &[Text],
        name: &str,
        id: &dyn Fn(usize) -> String,
        wanted: &[Feature],
    ) -> Result<Vec<FeatureShard>> {
        let encodings = self.model.text.encode(texts, self.max_tokens())?;
        let pass = Pass {
            wanted,
            data: &digest_of_texts(texts),
            name: &format!("{name}: texts"),
            rows: texts.len(),
            preparation: self.tokenization(),
            shards_of_block: SHARDS_OF_BLOCK,
            blocks: blocks_of(&encodings, self.model.options.device),
            id,
        };
        self.run(&pass, true, |_| {
            |batch: &[usize]| {
                let texts: Vec<&Encoding> = batch.iter().map(|&text| &encodings[text]).collect();
                let values = self.encode_texts(&texts, wanted)?;
                let positions = batch.to_vec();
                Ok(Made { positions, values })
            }
        })
    }

    /// Each wanted feature of a batch of texts.
    fn encode_texts(&self, encodings: &[&Encoding], wanted: &[Feature]) -> Result<Vec<Tensor>> {
        let flava = self.model.flava()?;
        let encode = |some: Range<usize>| {
            let inputs = self.text_inputs(encodings[some].iter().copied())?;
            let output = flava.encode_text_rows(&inputs, &output_rows(wanted))?;
            read_all(flava, wanted, &output, inputs.attention_mask.as_ref())
        };
        let texts = encodings.len();
        joined(&self.fitting_texts.each(texts, self.progress, encode)?)
    }
}

/// The batches of each block of shards.
fn blocks_of(encodings: &[Encoding], device: Device) -> Vec<Vec<Vec<usize>>> {
    let size = SHARD * SHARDS_OF_BLOCK;
    let block = |(number, some): (usize, &[Encoding])| {
        let placed = |batch: &[usize]| batch.iter().map(|text| number * size + text).collect();
        RowBatches::by_length(some, device)
            .batches()
            .map(placed)
            .collect()
    };
    encodings.chunks(size).enumerate().map(block).collect()
}

/// A digest of texts, in order.
fn digest_of_texts(texts: &[Text]) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        let parts = match *text {
            Text::Single(a) => vec![a],
            Text::Pair(a, b) => vec![a, b],
        };
        digest.update([parts.len() as u8]);
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    hex(&digest.finalize()[..16])
}
