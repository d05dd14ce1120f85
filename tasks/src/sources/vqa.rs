//! VQAv2 as its authors publish it: questions and annotations as JSON over folders of COCO
//! pictures; and the vocabulary of answers that a classifier chooses from.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Dataset, Label,
    listing::{Listing, Picture, Row, read_json},
};
use crate::{Error, Result, metrics::soft_score};

#[derive(Deserialize)]
struct Questions {
    #[serde(default)]
    data_subtype: String,
    questions: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    image_id: u64,
    question: String,
    question_id: u64,
}

#[derive(Deserialize)]
struct Annotations {
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: u64,
    image_id: u64,
    answers: Vec<Answer>,
    #[serde(default)]
    answer_type: String,
}

#[derive(Deserialize)]
struct Answer {
    answer: String,
}

/// Each answer is stored once, however often it was given.
#[derive(Default)]
pub(super) struct Interner(HashSet<Arc<str>>);

impl Interner {
    pub(super) fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

/// Opens questions; without the annotations file (the hidden test sets) nothing is right or wrong.
pub(super) fn open(questions: &Path, annotations: &Path, images: &Path) -> Result<Listing> {
    let Questions {
        data_subtype,
        questions: asked,
    } = read_json(questions)?;
    let mut answers = if flava_base::is_there(annotations) {
        Some(answers_of(annotations)?)
    } else {
        None
    };
    let mut ids = HashSet::new();
    let (mut rows, mut kinds) = (Vec::with_capacity(asked.len()), Vec::new());
    for (index, question) in asked.into_iter().enumerate() {
        let id = question.question_id;
        if !ids.insert(id) {
            return Err(Error::data(
                questions,
                format!("question {index}: the question_id {id} is there twice"),
            ));
        }
        let label = match &mut answers {
            None => Label::None,
            Some(answers) => match answers.remove(&id) {
                Some((image, answers, kind)) if image == question.image_id => {
                    kinds.push(kind);
                    Label::Answers(answers)
                }
                Some((image, ..)) => {
                    let reason = format!(
                        "question_id {id} belongs to image {image}, in {} to {}",
                        questions.display(),
                        question.image_id
                    );
                    return Err(Error::data(annotations, reason));
                }
                None => {
                    return Err(Error::data(
                        annotations,
                        format!("has no answers to question_id {id}"),
                    ));
                }
            },
        };
        let file = picture_name(images, &data_subtype, question.image_id);
        rows.push(Row {
            id: id.to_string(),
            picture: Picture::File(file.into()),
            texts: vec![question.question],
            label,
            cluster: 0,
        });
    }
    Ok(Listing::of_files(images, rows)?.with_slices(kinds))
}

/// `COCO_val2014_000000000042.jpg`; some copies leave the first part out.
fn picture_name(images: &Path, subset: &str, image: u64) -> String {
    // The questions of test-dev2015 are about pictures of test2015.
    let subset = if subset == "test-dev2015" {
        "test2015"
    } else {
        subset
    };
    let long = format!("COCO_{subset}_{image:012}.jpg");
    let short = format!("{image:012}.jpg");
    if !images.join(&long).exists() && images.join(&short).exists() {
        short
    } else {
        long
    }
}

/// The picture, the answers and their type of each question.
type Answers = HashMap<u64, (u64, Arc<[Arc<str>]>, Arc<str>)>;

fn answers_of(path: &Path) -> Result<Answers> {
    let mut interner = Interner::default();
    let mut found = HashMap::new();
    for Annotation {
        question_id,
        image_id,
        answers,
        answer_type,
    } in read_json::<Annotations>(path)?.annotations
    {
        let answers = answers
            .iter()
            .map(|answer| interner.get(&answer.answer))
            .collect();
        if found
            .insert(question_id, (image_id, answers, interner.get(&answer_type)))
            .is_some()
        {
            return Err(Error::data(
                path,
                format!("the question_id {question_id} is there twice"),
            ));
        }
    }
    Ok(found)
}

/// The answers that a classifier chooses from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnswerVocabulary {
    /// The most frequent first; of equal ones the alphabetically first.
    pub answers: Vec<String>,
}

impl AnswerVocabulary {
    /// The place of each answer.
    pub fn places(&self) -> HashMap<&str, usize> {
        self.answers
            .iter()
            .enumerate()
            .map(|(place, answer)| (answer.as_str(), place))
            .collect()
    }

    /// The answers that are the most frequent one of at least `least` questions of `splits`, each
    /// question counting once; of VQAv2's train and val these are the 3,129 of the released lists.
    /// `process` brings answers into the form in which they are compared.
    pub fn count(splits: &[&dyn Dataset], least: usize, process: impl Fn(&str) -> String) -> Self {
        let mut processed: HashMap<Arc<str>, String> = HashMap::new();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for split in splits {
            for index in 0..split.len() {
                let Label::Answers(answers) = split.label(index) else {
                    continue;
                };
                let texts: Vec<&Arc<str>> = answers.iter().collect();
                let times =
                    |answer: &Arc<str>| texts.iter().filter(|other| **other == answer).count();
                // Of equally frequent ones the first that was given.
                let best = texts
                    .iter()
                    .enumerate()
                    .max_by_key(|(place, answer)| (times(answer), std::cmp::Reverse(*place)));
                if let Some((_, answer)) = best {
                    let text = processed
                        .entry(Arc::clone(answer))
                        .or_insert_with(|| process(answer));
                    *counts.entry(text.clone()).or_default() += 1;
                }
            }
        }
        let mut frequent: Vec<(String, usize)> = counts
            .into_iter()
            .filter(|(_, count)| *count >= least)
            .collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Self {
            answers: frequent.into_iter().map(|(answer, _)| answer).collect(),
        }
    }

    /// The mean score of whoever always gave the best answer of the vocabulary: no classifier over
    /// it can do better.
    pub fn ceiling(&self, split: &dyn Dataset, process: impl Fn(&str) -> String) -> f64 {
        let known: HashSet<&str> = self.answers.iter().map(String::as_str).collect();
        let best = |index| {
            let Label::Answers(answers) = split.label(index) else {
                return 0.0;
            };
            let answers: Vec<String> = answers.iter().map(|answer| process(answer)).collect();
            let score = |answer: &String| {
                if known.contains(answer.as_str()) {
                    soft_score(&answers, answer)
                } else {
                    0.0
                }
            };
            answers.iter().map(score).fold(0.0, f64::max)
        };
        (0..split.len()).map(best).sum::<f64>() / split.len().max(1) as f64
    }
}
