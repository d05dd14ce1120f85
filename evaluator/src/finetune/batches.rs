//! Training rows in batches: tokenised once, shuffled by seed and pass, rows of like length
//! together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use flava_base::{id_rank, stream};
use flava_model::{
    ImageInputs, TextInputs,
    processor::{Encoding, Pixels, Text, image_batch, text_batch},
    runtime::{Loader, LoaderOptions},
};
use flava_tasks::{
    Label, Tower,
    metrics::{process_answer, soft_score},
};
use rand::seq::SliceRandom;
use tch::{Device, Kind, Tensor};

use super::{Network, Output};
use crate::{
    Error, Result, Settings, check_interrupted,
    features::{Preparation, Rows, text_of},
};

/// Batches among whose rows those of like length are brought together.
const POOL: usize = 50;
/// Texts that are tokenised at once.
const TEXTS: usize = 4096;

/// What is right for a row, as numbers.
#[derive(Clone, Debug)]
enum Target {
    Class(i64),
    Value(f32),
    /// Scores of the answers of the vocabulary that have any.
    Answers(Vec<(usize, f32)>),
}

/// The rows of a split, ready to be put in batches.
pub(crate) struct TrainingRows {
    rows: Rows,
    encodings: Vec<Encoding>,
    targets: Vec<Target>,
    preparation: Option<Preparation>,
    batch_size: usize,
    seed: u64,
}

/// The places of each batch of a pass.
type Pass = Arc<Vec<Vec<usize>>>;

/// A batch on its way to the network.
pub(crate) struct Batch {
    /// Places among the rows.
    pub(crate) places: Vec<usize>,
    pixels: Vec<Pixels>,
}

impl TrainingRows {
    pub(crate) fn new(
        rows: &Rows,
        network: &Network,
        (batch_size, max_tokens): (usize, usize),
        settings: &Settings,
        seed: u64,
    ) -> Result<Self> {
        let places = if let Output::Answers { answers } = &network.output {
            answers.places()
        } else {
            HashMap::new()
        };
        let targets = rows
            .indices()
            .iter()
            .map(|&row| target(rows, row, &network.output, &places))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            encodings: if network.feature.tower == Tower::Image {
                Vec::new()
            } else {
                encodings(rows, network, max_tokens)?
            },
            preparation: preparation(network, settings),
            rows: rows.clone(),
            targets,
            batch_size,
            seed,
        })
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
        order.sort_by_cached_key(|&place| {
            (id_rank(self.seed, &purpose, &self.rows.id(place)), place)
        });
        if !self.encodings.is_empty() {
            for pool in order.chunks_mut(POOL * self.batch_size) {
                pool.sort_by_key(|&place| self.encodings[place].input_ids.len());
            }
        }
        let mut batches: Vec<Vec<usize>> = order
            .chunks(self.batch_size)
            .map(<[usize]>::to_vec)
            .collect();
        batches.shuffle(&mut rng);
        batches
    }

    /// The batches of the steps from `first` to `end`, made ahead.
    pub(crate) fn steps(
        self: &Arc<Self>,
        first: usize,
        end: usize,
        loader: LoaderOptions,
    ) -> Loader<Result<Batch>> {
        let rows = Arc::clone(self);
        let passes: Mutex<Option<(usize, Pass)>> = Mutex::new(None);
        Loader::new(end - first, loader, move |index| {
            let step = first + index;
            let (pass, place) = (
                step / rows.batches_of_a_pass(),
                step % rows.batches_of_a_pass(),
            );
            let batches = {
                let mut known = passes
                    .lock()
                    .map_err(|_| Error::Other("a loader's thread panicked".into()))?;
                match &*known {
                    Some((number, batches)) if *number == pass => Arc::clone(batches),
                    _ => {
                        let batches = Arc::new(rows.pass(pass));
                        *known = Some((pass, Arc::clone(&batches)));
                        batches
                    }
                }
            };
            rows.load(batches[place].clone())
        })
    }

    fn load(&self, places: Vec<usize>) -> Result<Batch> {
        let pixels = match &self.preparation {
            None => Vec::new(),
            Some(preparation) => places
                .iter()
                .map(|&place| Ok(preparation.at(&self.rows, place)?.pixels))
                .collect::<Result<_>>()?,
        };
        Ok(Batch { places, pixels })
    }

    /// The inputs and targets of some of a batch's rows.
    pub(crate) fn tensors(
        &self,
        batch: &Batch,
        part: std::ops::Range<usize>,
        network: &Network,
        device: Device,
    ) -> Result<Inputs> {
        let places = &batch.places[part.clone()];
        let (text, images) = inputs(
            places.iter().filter_map(|&place| self.encodings.get(place)),
            batch.pixels.get(part).unwrap_or_default(),
            network.text.pad_id(),
            device,
        )?;
        let targets: Vec<&Target> = places.iter().map(|&place| &self.targets[place]).collect();
        Ok(Inputs {
            targets: target_tensor(&targets, network.output.width())?.f_to_device(device)?,
            text,
            images,
        })
    }

    /// Ids of some rows.
    pub(crate) fn ids(&self, places: &[usize]) -> Vec<String> {
        places
            .iter()
            .map(|&place| self.rows.dataset().id(self.rows.indices()[place]))
            .collect()
    }

    /// Tokens of some rows, padding left out.
    pub(crate) fn tokens(&self, places: &[usize]) -> usize {
        places
            .iter()
            .filter_map(|&place| self.encodings.get(place))
            .map(|encoding| encoding.input_ids.len())
            .sum()
    }
}

/// A batch as the network reads it.
pub(crate) struct Inputs {
    pub(crate) text: Option<TextInputs>,
    pub(crate) images: Option<ImageInputs>,
    pub(crate) targets: Tensor,
}

/// Texts and pictures as tensors; none where there are none.
pub(crate) fn inputs<'a>(
    encodings: impl Iterator<Item = &'a Encoding>,
    pixels: &[Pixels],
    pad: i64,
    device: Device,
) -> Result<(Option<TextInputs>, Option<ImageInputs>)> {
    let encodings: Vec<&Encoding> = encodings.collect();
    let text = if encodings.is_empty() {
        None
    } else {
        Some(text_batch(encodings, pad, device)?)
    };
    let images = if pixels.is_empty() {
        None
    } else {
        Some(image_batch(pixels, device, Kind::Float)?)
    };
    Ok((text, images))
}

/// How the pictures of a network's rows are prepared; none where it reads none.
pub(crate) fn preparation(network: &Network, settings: &Settings) -> Option<Preparation> {
    let reads = network.feature.tower != Tower::Text;
    reads.then(|| Preparation {
        transform: network.image.transform(settings.order),
        text: None,
        loader: settings.loader(),
    })
}

/// All texts of the rows as word pieces.
pub(crate) fn encodings(
    rows: &Rows,
    network: &Network,
    max_tokens: usize,
) -> Result<Vec<Encoding>> {
    let max_tokens = max_tokens.min(network.config.text_config.max_position_embeddings as usize);
    let mut all = Vec::with_capacity(rows.len());
    for some in rows.indices().chunks(TEXTS) {
        check_interrupted()?;
        let texts = some
            .iter()
            .map(|&row| Ok((rows.dataset().id(row), rows.dataset().texts_of(row)?)))
            .collect::<Result<Vec<_>>>()?;
        let inputs = texts.iter().map(|(id, texts)| {
            text_of(texts).map_err(|reason| Error::Other(format!("{id}: {reason}")))
        });
        let inputs = inputs.collect::<Result<Vec<Text>>>()?;
        all.extend(network.text.encode(&inputs, max_tokens)?);
    }
    Ok(all)
}

fn target(
    rows: &Rows,
    row: usize,
    output: &Output,
    known: &HashMap<&str, usize>,
) -> Result<Target> {
    let wrong = || {
        Error::Other(format!(
            "{} has no label of the kind that its neighbours have",
            rows.dataset().id(row)
        ))
    };
    match (rows.dataset().label(row), output) {
        (Label::Class(class), Output::Classes { classes }) if class < *classes => {
            Ok(Target::Class(class as i64))
        }
        (Label::Value(value), Output::Value) if value.is_finite() => {
            Ok(Target::Value(value as f32))
        }
        (Label::Answers(given), Output::Answers { .. }) => {
            let given: Vec<String> = given.iter().map(|answer| process_answer(answer)).collect();
            let mut scores: Vec<(usize, f32)> = Vec::new();
            for answer in &given {
                if let Some(&place) = known
                    .get(answer.as_str())
                    .filter(|place| !scores.iter().any(|(other, _)| other == *place))
                {
                    scores.push((place, soft_score(&given, answer) as f32));
                }
            }
            Ok(Target::Answers(scores))
        }
        _ => Err(wrong()),
    }
}

fn target_tensor(targets: &[&Target], width: i64) -> Result<Tensor> {
    Ok(match targets.first() {
        Some(Target::Class(_)) => {
            let class = |target: &&Target| {
                if let Target::Class(class) = target {
                    *class
                } else {
                    -100
                }
            };
            Tensor::f_from_slice(&targets.iter().map(class).collect::<Vec<i64>>())?
        }
        Some(Target::Value(_)) => {
            let value = |target: &&Target| {
                if let Target::Value(value) = target {
                    *value
                } else {
                    f32::NAN
                }
            };
            Tensor::f_from_slice(&targets.iter().map(value).collect::<Vec<f32>>())?
        }
        _ => {
            let mut flat = vec![0f32; targets.len() * width as usize];
            for (row, target) in targets.iter().enumerate() {
                if let Target::Answers(scores) = target {
                    for (answer, score) in scores {
                        flat[row * width as usize + answer] = *score;
                    }
                }
            }
            Tensor::f_from_slice(&flat)?.f_view([targets.len() as i64, width])?
        }
    })
}
