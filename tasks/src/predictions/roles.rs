//! What the columns of somebody's predictions are: all of them are looked at before one is taken
//! for the answer, since the truth often stands beside it.

use std::collections::HashSet;

/// What people call the column of ids.
const IDS: [&str; 6] = ["id", "question_id", "pairid", "index", "idx", "row_id"];
/// Of these the one that is SNLI-VE's own.
pub(super) const PAIR_ID: &str = "pairid";
/// What can only be an answer.
const ANSWERS: [&str; 14] = [
    "prediction",
    "predictions",
    "predicted",
    "pred",
    "preds",
    "y_pred",
    "predicted_label",
    "predicted_class",
    "pred_label",
    "output",
    "answer",
    "model_answer",
    "response",
    "y_hat",
];
/// What is the answer where nothing else is, and else the truth.
const EITHER: [&str; 3] = ["label", "class", "value"];
/// The column of a number for each class.
pub(super) const LOGITS: &str = "logits";
/// The column of probabilities of class 1.
pub(super) const PROBABILITY: &str = "proba";

/// The columns that are read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Roles {
    pub(super) id: String,
    /// Classes, numbers or words.
    pub(super) answer: Option<String>,
    pub(super) logits: bool,
    pub(super) probability: bool,
    /// Whether the answer may be the truth: then it must be what the probabilities say.
    pub(super) doubtful: bool,
}

impl Roles {
    /// Of columns by their names, in lower case.
    ///
    /// # Errors
    /// If there is no id or no answer, or two columns could be either.
    pub(super) fn of(columns: &[String]) -> Result<Self, String> {
        let mut seen = HashSet::new();
        if let Some(twice) = columns.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(format!("has the column {twice} twice"));
        }
        let has = |name: &str| columns.iter().any(|column| column == name);
        let id = one("ids", &IDS, columns)?;
        let id = id.ok_or_else(|| format!("has no column of ids: {}", IDS.join(", ")))?;
        let logits = has(LOGITS);
        let probability = has(PROBABILITY) && !logits;
        let sure = one("answers", &ANSWERS, columns)?;
        let open = sure.is_none() && !logits;
        let answer = match sure {
            None if open => one("answers", &EITHER, columns)?,
            sure => sure,
        };
        if answer.is_none() && !logits && !probability {
            return Err(no_answers(columns));
        }
        Ok(Self {
            doubtful: open && probability && answer.is_some(),
            id,
            answer,
            logits,
            probability,
        })
    }
}

/// The only one of the columns that is one of the known.
fn one(what: &str, known: &[&str], columns: &[String]) -> Result<Option<String>, String> {
    let is_there = |name: &&&str| columns.iter().any(|column| column == **name);
    let found: Vec<&str> = known.iter().filter(is_there).copied().collect();
    if found.len() > 1 {
        return Err(format!(
            "has several columns that could be the {what}: {}; leave one (of {})",
            found.join(" and "),
            known.join(", ")
        ));
    }
    Ok(found.first().map(|name| (*name).to_owned()))
}

fn no_answers(columns: &[String]) -> String {
    let known = [&ANSWERS[..], &EITHER, &[LOGITS, PROBABILITY]].concat();
    format!(
        "has no column of answers ({}); its columns are {}",
        known.join(", "),
        columns.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(columns: &[&str]) -> Result<Roles, String> {
        Roles::of(
            &columns
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_truth_is_never_taken_for_the_answer() {
        for (columns, answer) in [
            (&["id", "label", "pred"][..], "pred"),
            (&["id", "label", "y_pred"], "y_pred"),
            (&["id", "label", "predicted_label"], "predicted_label"),
            (&["id", "label", "output"], "output"),
            (&["value", "pred", "id"], "pred"),
            (&["id", "class", "pred"], "pred"),
            (&["id", "gold", "label"], "label"),
            (&["question_id", "answer"], "answer"),
        ] {
            assert_eq!(
                of(columns).unwrap().answer.as_deref(),
                Some(answer),
                "{columns:?}"
            );
        }
        for (columns, both) in [
            (&["id", "answer", "pred"][..], "pred and answer"),
            (&["id", "label", "class"], "label and class"),
            (&["id", "idx", "pred"], "id and idx"),
            (&["id", "pred", "pred"], "pred twice"),
        ] {
            assert!(
                of(columns).unwrap_err().contains(both),
                "{columns:?}: {}",
                of(columns).unwrap_err()
            );
        }
        assert!(
            of(&["id", "gold"])
                .unwrap_err()
                .contains("no column of answers")
        );
        let memes = of(&["id", "proba", "label"]).unwrap();
        assert!(memes.probability && memes.doubtful);
        let logits = of(&["id", "label", "logits"]).unwrap();
        assert!(logits.logits && logits.answer.is_none());
    }
}
