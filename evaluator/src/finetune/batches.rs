//! Training rows in batches: tokenised once, shuffled by seed and pass, rows of like length
//! together.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use flava_base::{id_rank, stream};
use flava_model::{
    processor::{Encoding, Pixels, Text, image_batch, text_batch},
    runtime::{
        Loader, LoaderOptions,
        distributed::{Group, share},
    },
};
use flava_tasks::{Recipe, Tower};
use flava_training::BatchRows;
use rand::seq::SliceRandom;
use tch::{Kind, Tensor};

use super::{
    Network,
    network::Inputs,
    targets::{Target, target_tensor, targets},
};
use crate::{
    Error, Result, Settings, check_interrupted,
    features::{Preparation, Rows, text_of_row},
};

/// Batches among whose rows those of like length are brought together.
const POOL: usize = 50;
/// Texts that are tokenised at once.
const TEXTS: usize = 4096;

/// The rows of a split, ready to be put in batches.
pub(crate) struct TrainingRows {
    rows: Rows,
    encodings: Vec<Encoding>,
    targets: Vec<Target>,
    preparation: Option<Preparation>,
    batch_size: usize,
    seed: u64,
    /// Which of the processes this is, and how many there are.
    place: (usize, usize),
}

/// The places of each batch of a pass.
type BatchPositions = Arc<Vec<Vec<usize>>>;

/// This process's rows of a batch, on their way to the network.
pub(crate) struct Batch {
    /// Which rows of the whole batch they are.
    pub(crate) own: BatchRows,
    /// Indices among the rows.
    pub(crate) positions: Vec<usize>,
    pixels: Vec<Pixels>,
}

/// The pass that was asked for last, by its number: the next step is mostly of the same.
#[derive(Default)]
struct LastPass(Mutex<Option<(usize, BatchPositions)>>);

impl LastPass {
    /// The batches of a pass.
    fn get(&self, pass: usize, rows: &TrainingRows) -> Result<BatchPositions> {
        let panicked = |_| Error::Internal("a loader's thread panicked");
        let mut known = self.0.lock().map_err(panicked)?;
        match &*known {
            Some((number, batches)) if *number == pass => Ok(Arc::clone(batches)),
            _ => {
                let batches = Arc::new(rows.pass(pass));
                *known = Some((pass, Arc::clone(&batches)));
                Ok(batches)
            }
        }
    }
}

impl TrainingRows {
    pub(crate) fn new(
        rows: &Rows,
        network: &Network,
        recipe: &Recipe,
        settings: &Settings,
        seed: u64,
    ) -> Result<Self> {
        let targets = targets(rows, &network.output)?;
        Ok(Self {
            encodings: encodings(rows, network, recipe.max_tokens)?,
            preparation: preparation(network, settings),
            rows: rows.clone(),
            targets,
            batch_size: recipe.batch_size,
            seed,
            place: (0, 1),
        })
    }

    /// The same, of which each process reads its part of every batch.
    pub(crate) fn of(self, group: &Group) -> Self {
        Self {
            place: (group.rank(), group.world()),
            ..self
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }

    pub(crate) fn batches_of_a_pass(&self) -> usize {
        self.len().div_ceil(self.batch_size)
    }

    /// The places of each batch of a pass. They depend on the seed, the pass and the rows' ids
    /// alone.
    fn pass(&self, pass: usize) -> Vec<Vec<usize>> {
        let purpose = format!("fine-tuning, pass {pass}");
        let mut rng = stream(self.seed, &purpose);
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_cached_key(|&position| {
            (
                id_rank(self.seed, &purpose, &self.rows.id(position)),
                position,
            )
        });
        if !self.encodings.is_empty() {
            for pool in order.chunks_mut(POOL * self.batch_size) {
                pool.sort_by_key(|&position| self.encodings[position].input_ids.len());
            }
        }
        let batches = order.chunks(self.batch_size);
        let mut batches: Vec<Vec<usize>> = batches.map(<[usize]>::to_vec).collect();
        batches.shuffle(&mut rng);
        batches
    }

    /// The batches of steps, made ahead.
    pub(crate) fn steps(
        self: &Arc<Self>,
        steps: Range<usize>,
        loader: LoaderOptions,
    ) -> Loader<Result<Batch>> {
        let rows = Arc::clone(self);
        let last = LastPass::default();
        Loader::new(steps.len(), loader, move |index| {
            let step = steps.start + index;
            let of_a_pass = rows.batches_of_a_pass();
            let batches = last.get(step / of_a_pass, &rows)?;
            rows.load(&batches[step % of_a_pass])
        })
    }

    fn load(&self, whole: &[usize]) -> Result<Batch> {
        let (rank, world) = self.place;
        let own = share(rank, world, whole.len());
        let positions = whole[own.clone()].to_vec();
        let ids = positions.iter().map(|&position| self.rows.id(position));
        let own = BatchRows::whole(ids.collect(), own.start);
        let pixels = match &self.preparation {
            None => Vec::new(),
            Some(preparation) => positions
                .iter()
                .map(|&position| Ok(preparation.at(&self.rows, position)?.pixels))
                .collect::<Result<_>>()?,
        };
        Ok(Batch {
            own,
            positions,
            pixels,
        })
    }

    /// The inputs of some of a batch's rows.
    pub(crate) fn inputs(
        &self,
        batch: &Batch,
        part: Range<usize>,
        network: &Network,
    ) -> Result<Inputs> {
        let positions = &batch.positions[part.clone()];
        let encodings = positions
            .iter()
            .filter_map(|&position| self.encodings.get(position));
        inputs(
            encodings,
            batch.pixels.get(part).unwrap_or_default(),
            network,
        )
    }

    /// What is right for some of a batch's rows.
    pub(crate) fn targets(
        &self,
        batch: &Batch,
        part: Range<usize>,
        network: &Network,
    ) -> Result<Tensor> {
        let positions = &batch.positions[part];
        let targets: Vec<&Target> = positions
            .iter()
            .map(|&position| &self.targets[position])
            .collect();
        let targets = target_tensor(&targets, network.output.width())?;
        Ok(targets.f_to_device(network.store.device())?)
    }

    /// Tokens of some rows, padding left out.
    pub(crate) fn tokens(&self, positions: &[usize]) -> usize {
        positions
            .iter()
            .filter_map(|&position| self.encodings.get(position))
            .map(|encoding| encoding.input_ids.len())
            .sum()
    }
}

/// Texts and images as tensors on the network's device.
pub(crate) fn inputs<'a>(
    encodings: impl Iterator<Item = &'a Encoding>,
    pixels: &[Pixels],
    network: &Network,
) -> Result<Inputs> {
    let device = network.store.device();
    let encodings: Vec<&Encoding> = encodings.collect();
    let text = if encodings.is_empty() {
        None
    } else {
        Some(text_batch(encodings, network.text.pad_id(), device)?)
    };
    let images = if pixels.is_empty() {
        None
    } else {
        Some(image_batch(pixels, device, Kind::Float)?)
    };
    Ok(Inputs { text, images })
}

/// How the images of a network's rows are prepared; none where it reads none.
pub(crate) fn preparation(network: &Network, settings: &Settings) -> Option<Preparation> {
    let reads = network.feature.tower != Tower::Text;
    reads.then(|| Preparation {
        transform: network.image.transform(settings.order),
        text: None,
        loader: settings.loader(),
    })
}

/// All texts of the rows as tokens; none where the network reads none.
pub(crate) fn encodings(
    rows: &Rows,
    network: &Network,
    max_tokens: usize,
) -> Result<Vec<Encoding>> {
    if network.feature.tower == Tower::Image {
        return Ok(Vec::new());
    }
    let max_tokens = max_tokens.min(network.config.text_config.max_position_embeddings as usize);
    let mut all = Vec::with_capacity(rows.len());
    for some in rows.indices().chunks(TEXTS) {
        check_interrupted()?;
        let texts = some
            .iter()
            .map(|&row| Ok((rows.dataset().id(row), rows.dataset().texts_of(row)?)))
            .collect::<Result<Vec<_>>>()?;
        let inputs = texts.iter().map(|(id, texts)| text_of_row(id, texts));
        let inputs = inputs.collect::<Result<Vec<Text>>>()?;
        all.extend(network.text.encode(&inputs, max_tokens)?);
    }
    Ok(all)
}
