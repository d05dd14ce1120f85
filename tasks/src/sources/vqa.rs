//! VQAv2 as its authors publish it: questions and annotations as JSON over folders of COCO
//! images; and the vocabulary of answers that a classifier chooses from.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    dataset::{Dataset, Label},
    listing::{ImageAt, Listing, Row},
    reading::read_json,
};
use crate::{
    Error, Result,
    metrics::{official_accuracy, process_answer},
};

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

/// Questions as rows, before anybody has looked for their images.
struct Asked {
    data_subtype: String,
    /// Rows with the ids of their images.
    rows: Vec<(Row, u64)>,
    kinds: Vec<Arc<str>>,
}

/// Opens questions; without the annotations file (the hidden test sets) nothing is right or wrong.
pub(super) fn open(questions: &Path, annotations: &Path, images: &Path) -> Result<Listing> {
    let asked = Asked::read(questions, annotations)?;
    let subset = &asked.data_subtype;
    let rows = asked.rows.into_iter().map(|(row, image)| Row {
        image: ImageAt::File(image_name(images, subset, image).into()),
        ..row
    });
    Ok(Listing::of_files(images, rows.collect())?.with_slices(asked.kinds))
}

/// The same without the images, and the id of each row's image.
pub(super) fn without_images(
    questions: &Path,
    annotations: &Path,
) -> Result<(Listing, Vec<String>)> {
    let asked = Asked::read(questions, annotations)?;
    let (rows, images): (Vec<Row>, Vec<u64>) = asked.rows.into_iter().unzip();
    let keys = images.iter().map(u64::to_string).collect();
    let listing = Listing::without_images(questions, rows).with_slices(asked.kinds);
    Ok((listing, keys))
}

impl Asked {
    fn read(questions: &Path, annotations: &Path) -> Result<Self> {
        let Questions {
            data_subtype,
            questions: asked,
        } = read_json(questions)?;
        let mut answers = flava_base::is_there(annotations)
            .then(|| answers_of(annotations))
            .transpose()?;
        let mut ids = HashSet::new();
        let (mut rows, mut kinds) = (Vec::with_capacity(asked.len()), Vec::new());
        for (index, question) in asked.into_iter().enumerate() {
            let id = question.question_id;
            if !ids.insert(id) {
                let reason = format!("question {index}: the question_id {id} is there twice");
                return Err(Error::data(questions, reason));
            }
            let mut label = Label::None;
            if let Some(answers) = &mut answers {
                let answered = answer_to(&question, answers, questions);
                let answered = answered.map_err(|reason| Error::data(annotations, reason))?;
                kinds.push(answered.kind);
                label = Label::Answers(answered.answers);
            }
            let row = Row {
                id: id.to_string(),
                image: ImageAt::Elsewhere,
                texts: vec![question.question],
                label,
                cluster: 0,
            };
            rows.push((row, question.image_id));
        }
        Ok(Self {
            data_subtype,
            rows,
            kinds,
        })
    }
}

/// Takes the answers to a question of the file `questions`.
fn answer_to(
    question: &Question,
    answers: &mut HashMap<u64, Answered>,
    questions: &Path,
) -> std::result::Result<Answered, String> {
    let (id, asked) = (question.question_id, question.image_id);
    let answered = answers
        .remove(&id)
        .ok_or_else(|| format!("has no answers to question_id {id}"))?;
    let image = answered.image;
    if image != asked {
        let questions = questions.display();
        return Err(format!(
            "question_id {id} belongs to image {image}, in {questions} to {asked}"
        ));
    }
    Ok(answered)
}

/// `COCO_val2014_000000000042.jpg`; some copies leave the first part out.
fn image_name(images: &Path, subset: &str, image: u64) -> String {
    // The questions of test-dev2015 are about images of test2015.
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

/// What people answered to a question.
struct Answered {
    image: u64,
    answers: Arc<[Arc<str>]>,
    /// The type of the answer.
    kind: Arc<str>,
}

fn answers_of(path: &Path) -> Result<HashMap<u64, Answered>> {
    let mut interner = Interner::default();
    let mut found = HashMap::new();
    for annotation in read_json::<Annotations>(path)?.annotations {
        let id = annotation.question_id;
        let answers = annotation.answers.iter();
        let answered = Answered {
            image: annotation.image_id,
            answers: answers.map(|answer| interner.get(&answer.answer)).collect(),
            kind: interner.get(&annotation.answer_type),
        };
        if found.insert(id, answered).is_some() {
            let reason = format!("the question_id {id} is there twice");
            return Err(Error::data(path, reason));
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
    pub fn positions(&self) -> HashMap<&str, usize> {
        self.answers
            .iter()
            .enumerate()
            .map(|(position, answer)| (answer.as_str(), position))
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
                if let Some(answer) = most_given(&answers) {
                    let text = processed
                        .entry(Arc::clone(answer))
                        .or_insert_with(|| process(answer));
                    *counts.entry(text.clone()).or_default() += 1;
                }
            }
        }
        let mut frequent: Vec<(String, usize)> = counts.into_iter().collect();
        frequent.retain(|(_, count)| *count >= least);
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Self {
            answers: frequent.into_iter().map(|(answer, _)| answer).collect(),
        }
    }

    /// The mean official accuracy of whoever always gave the best answer of the vocabulary to some
    /// rows of a split: no classifier over it can do better.
    pub fn ceiling(&self, split: &dyn Dataset, rows: &[usize]) -> f64 {
        let known: HashSet<&str> = self.answers.iter().map(String::as_str).collect();
        let best = |&row: &usize| {
            let Label::Answers(given) = split.label(row) else {
                return 0.0;
            };
            let processed = given.iter().map(|answer| process_answer(answer));
            let reachable = processed.filter(|answer| known.contains(answer.as_str()));
            reachable
                .map(|answer| official_accuracy(&given, &answer))
                .fold(0.0, f64::max)
        };
        rows.iter().map(best).sum::<f64>() / rows.len().max(1) as f64
    }
}

/// The answer that was given most often; of equally frequent ones the first that was given.
fn most_given(answers: &[Arc<str>]) -> Option<&Arc<str>> {
    let times = |answer: &Arc<str>| answers.iter().filter(|other| *other == answer).count();
    let numbered = answers.iter().enumerate();
    numbered
        .max_by_key(|(position, answer)| (times(answer), std::cmp::Reverse(*position)))
        .map(|(_, answer)| answer)
}
