//! The predictions of a file beside the rows of a data set.

use std::sync::Arc;

use super::{
    Foreign,
    classes::{ClassAnswers, Unclear},
};
use crate::{
    Dataset, Error, Label, Result,
    predictions::{
        logits::Logits,
        outputs::{Outputs, Predictions, shared},
    },
};

/// The predictions of a file beside the rows of a data set.
struct Matched<'a> {
    file: &'a Foreign,
    dataset: &'a dyn Dataset,
    /// For each row, its place in the file.
    positions: Vec<usize>,
    ids: Vec<String>,
    labels: Vec<Label>,
}

impl Foreign {
    /// Puts the predictions beside what is right: each row of `dataset` has one, and there is none
    /// besides.
    pub fn against(&self, dataset: &dyn Dataset, classes: usize) -> Result<Predictions> {
        let rows = 0..dataset.len();
        let matched = Matched {
            file: self,
            dataset,
            positions: self.positions(dataset)?,
            ids: rows.clone().map(|row| dataset.id(row)).collect(),
            labels: rows.clone().map(|row| dataset.label(row)).collect(),
        };
        Ok(Predictions {
            outputs: matched.outputs(classes)?,
            ids: matched.ids,
            clusters: shared(rows.map(|row| dataset.cluster(row)).collect()),
        })
    }
}

impl Matched<'_> {
    fn outputs(&self, classes: usize) -> Result<Outputs> {
        match self.labels.first() {
            Some(Label::Class(_)) => self.classes(classes),
            Some(Label::Value(_)) => self.values(),
            Some(Label::Answers(_)) => self.answers(),
            _ => Err(Error::Predictions(
                "the task's rows have no labels that predictions could be compared with".into(),
            )),
        }
    }

    /// What is right for each row.
    fn gold<T>(&self, read: impl Fn(&Label) -> Option<T>) -> Result<Vec<T>> {
        let unlike = |id: &String| {
            let reason = format!("{id} has no label of the kind that its neighbours have");
            self.file.broken(reason)
        };
        let rows = self.labels.iter().zip(&self.ids);
        rows.map(|(label, id)| read(label).ok_or_else(|| unlike(id)))
            .collect()
    }

    /// The answer to a row.
    fn text(&self, row: usize) -> Result<&str> {
        let answers = self
            .file
            .answers
            .as_ref()
            .ok_or_else(|| self.no_answers())?;
        Ok(&answers[self.positions[row]])
    }

    fn no_answers(&self) -> Error {
        self.file
            .broken("has numbers for classes, and no answers of the kind that the task asks for")
    }

    fn classes(&self, classes: usize) -> Result<Outputs> {
        let gold = self.gold(|label| match label {
            Label::Class(class) => Some(*class),
            _ => None,
        })?;
        let logits = self.logits(classes)?;
        let best = logits.as_ref().map(Logits::best);
        let predicted = if self.file.answers.is_some() {
            self.classes_of_answers(classes, best.as_deref())?
        } else {
            best.ok_or_else(|| self.no_answers())?
        };
        Ok(Outputs::Classes {
            predicted,
            gold,
            logits,
        })
    }

    fn logits(&self, classes: usize) -> Result<Option<Logits>> {
        let Some(logits) = &self.file.logits else {
            return Ok(None);
        };
        let have = logits.classes();
        if have != classes {
            let reason = format!("has {have} logits a row for {classes} classes");
            return Err(self.file.broken(reason));
        }
        let rows: Vec<&[f32]> = logits.rows().collect();
        let values = self.positions.iter().flat_map(|&position| rows[position]);
        Logits::new(values.copied().collect(), classes, &self.ids).map(Some)
    }

    /// The answers as classes, which those of the largest logits must be.
    fn classes_of_answers(&self, classes: usize, best: Option<&[usize]>) -> Result<Vec<usize>> {
        let texts = (0..self.positions.len()).map(|row| self.text(row).map(str::trim));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let answers = ClassAnswers::new(texts, self.dataset.class_names(), classes);
        answers
            .chosen(classes, best)
            .map_err(|Unclear { row, reason }| {
                let id = &self.file.ids[self.positions[row]];
                self.file.broken(format!("{id}: {reason}"))
            })
    }

    fn values(&self) -> Result<Outputs> {
        let gold = self.gold(|label| match label {
            Label::Value(value) => Some(*value),
            _ => None,
        })?;
        let value = |row: usize| {
            let text = self.text(row)?;
            let value = text.trim().parse::<f64>().ok().filter(|v| v.is_finite());
            value.ok_or_else(|| {
                let id = &self.ids[row];
                self.file.broken(format!("{id}: {text:?} is no number"))
            })
        };
        Ok(Outputs::Values {
            gold,
            predicted: (0..self.ids.len()).map(value).collect::<Result<_>>()?,
        })
    }

    fn answers(&self) -> Result<Outputs> {
        let predicted = (0..self.ids.len()).map(|row| self.text(row).map(str::to_owned));
        Ok(Outputs::Answers {
            predicted: predicted.collect::<Result<_>>()?,
            gold: self.gold(|label| match label {
                Label::Answers(answers) => Some(Arc::clone(answers)),
                _ => None,
            })?,
        })
    }
}
