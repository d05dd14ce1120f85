//! Which column of a table is what, by the names that people give them; where the names leave a
//! choice, nothing is chosen.

use crate::{Columns, sources::patterns::fits};

/// A column's names, in lower case.
type Names = &'static [&'static str];

/// Ids of rows.
const ID: Names = &["id", "idx", "uid", "question_id", "pair_id", "pairid"];
/// Paths of images, or images.
const IMAGE: Names = &[
    "image",
    "img",
    "image_path",
    "img_path",
    "image_file",
    "filepath",
    "file_path",
    "filename",
    "file_name",
    "file",
    "path",
    "jpg",
    "png",
    "webp",
];
/// Single texts.
const TEXT: Names = &[
    "text",
    "sentence",
    "content",
    "question",
    "hypothesis",
    "title",
    "review",
];
/// Texts that go together, each of a pair.
const PAIRS: [[&str; 2]; 8] = [
    ["text1", "text2"],
    ["text_1", "text_2"],
    ["text_a", "text_b"],
    ["sentence1", "sentence2"],
    ["sentence_a", "sentence_b"],
    ["premise", "hypothesis"],
    ["question1", "question2"],
    ["question", "sentence"],
];
/// The text of an image where nothing of [`TEXT`] is there and nobody asks for a label.
const CAPTION: Names = &["caption"];
/// Captions of an image.
const CAPTIONS: Names = &[
    "caption",
    "captions",
    "caption_*",
    "caption*",
    "text",
    "title",
    "sentence",
    "sentences",
];
/// Classes or values.
const LABEL: Names = &[
    "label",
    "labels",
    "class",
    "target",
    "category",
    "gold_label",
    "cls",
    "score",
];
/// Answers of people.
const ANSWERS: Names = &[
    "answers",
    "answer",
    "answer_*",
    "answer*",
    "multiple_choice_answer",
];

/// What a task reads of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Images and their captions.
    Captions,
    /// Inputs and what is right for them: a label or answers.
    Labelled,
    /// Images and what is right for them.
    LabelledImages,
    /// Inputs alone.
    Inputs,
}

/// The columns of a table that are read, those of `given` first; `names` are all that it has.
///
/// # Errors
/// Where a column that is needed is not there, or several may be it; where one that is given is
/// not there.
pub(crate) fn roles(names: &[String], given: &Columns, wanted: Wanted) -> Result<Columns, String> {
    let found = Found { names };
    let mut columns = given.clone();
    if columns.id.is_empty() {
        columns.id = found.one("id", ID)?.unwrap_or_default();
    }
    if !has_image(&columns) {
        columns.image = found.one("image", IMAGE)?.unwrap_or_default();
    }
    match wanted {
        Wanted::Captions => {
            if columns.captions.is_empty() {
                columns.captions = found.first(CAPTIONS).unwrap_or_default();
            }
            if !has_image(&columns) || columns.captions.is_empty() {
                return Err(found.lacking("image", IMAGE, "caption", CAPTIONS));
            }
            if columns.group.is_empty() {
                columns.group.clone_from(&columns.image);
            }
        }
        Wanted::Labelled | Wanted::LabelledImages => {
            if columns.label.is_empty() && columns.answers.is_empty() {
                columns.label = found.one("label", LABEL)?.unwrap_or_default();
                if columns.label.is_empty() {
                    columns.answers = found.first(ANSWERS).unwrap_or_default();
                }
            }
            if columns.label.is_empty() && columns.answers.is_empty() {
                return Err(found.lacking("label", LABEL, "answers", ANSWERS));
            }
            if wanted == Wanted::Labelled {
                found.inputs(&mut columns)?;
            } else if !has_image(&columns) {
                return Err(found.without("image", IMAGE));
            }
        }
        Wanted::Inputs => {
            found.inputs(&mut columns)?;
            if columns.texts.is_empty() {
                columns.texts.extend(found.first(CAPTION));
            }
        }
    }
    found.check(&columns)?;
    Ok(columns)
}

/// Whether rows have images, in a column or elsewhere.
fn has_image(columns: &Columns) -> bool {
    !columns.image.is_empty() || !columns.image_key.is_empty()
}

/// The names of a table's columns.
struct Found<'a> {
    names: &'a [String],
}

impl Found<'_> {
    /// The column of a name, whatever its case; of a pattern with a star the pattern.
    fn named(&self, name: &str) -> Option<String> {
        if name.contains('*') {
            let one = self.names.iter().any(|own| fits(name, &own.to_lowercase()));
            return one.then(|| name.to_owned());
        }
        let own = self.names.iter().find(|own| own.to_lowercase() == name);
        own.cloned()
    }

    /// The first of some names that there is.
    fn first(&self, known: Names) -> Option<String> {
        known.iter().find_map(|name| self.named(name))
    }

    /// The one column that has one of some names; an error where several have.
    fn one(&self, role: &str, known: Names) -> Result<Option<String>, String> {
        let mut there = known.iter().filter_map(|name| self.named(name));
        match (there.next(), there.next()) {
            // A column that is called what it is needs no choice.
            (Some(first), Some(_)) if first.to_lowercase() == role => Ok(Some(first)),
            (Some(first), Some(second)) => Err(format!(
                "both {first:?} and {second:?} may be the {role}: say which, with columns = {{ {role} = {first:?} }} in the task's source or --column {role}={first}"
            )),
            (first, _) => Ok(first),
        }
    }

    /// The texts of an input: a pair, or one; none where there is an image.
    fn inputs(&self, columns: &mut Columns) -> Result<(), String> {
        if columns.texts.is_empty() {
            let pair = PAIRS
                .iter()
                .find_map(|[first, second]| Some(vec![self.named(first)?, self.named(second)?]));
            columns.texts = match pair {
                Some(pair) => pair,
                None => self.one("text", TEXT)?.into_iter().collect(),
            };
        }
        if columns.texts.is_empty() && !has_image(columns) {
            return Err(self.lacking("text", TEXT, "image", IMAGE));
        }
        Ok(())
    }

    fn lacking(&self, role: &str, known: Names, other: &str, others: Names) -> String {
        let (first, second) = (known.join(", "), others.join(", "));
        format!(
            "{}: no {role} ({first}) or no {other} ({second}) is among them; has the file a first line of names? Otherwise say which is which, with columns = {{ {role} = \"..\" }} in the task's source or --column {role}=..",
            self.told()
        )
    }

    fn without(&self, role: &str, known: Names) -> String {
        let known = known.join(", ");
        format!("{}: no {role} ({known}) is among them", self.told())
    }

    fn told(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!("{name:?}")).collect();
        format!("its columns are {}", names.join(", "))
    }

    /// Every column that is read is there.
    fn check(&self, columns: &Columns) -> Result<(), String> {
        for name in columns.read() {
            let there = if name.contains('*') {
                self.names
                    .iter()
                    .any(|own| fits(name, own) || fits(name, &own.to_lowercase()))
            } else {
                self.names.iter().any(|own| own == name)
            };
            if !there {
                let near = flava_base::did_you_mean(name, self.names, 1);
                return Err(format!("has no column {name:?}; {}{near}", self.told()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &str, wanted: Wanted) -> Result<Columns, String> {
        let names: Vec<String> = names.split(',').map(str::to_owned).collect();
        roles(&names, &Columns::default(), wanted)
    }

    #[test]
    fn columns_are_known_by_their_names() {
        let columns = found(",Sentence1,Sentence2,Label", Wanted::Labelled).unwrap();
        assert_eq!(
            (columns.texts, columns.label),
            (vec!["Sentence1".into(), "Sentence2".into()], "Label".into())
        );
        let columns = found(
            "question_id,image,question,answer_1,answer_2",
            Wanted::Labelled,
        )
        .unwrap();
        assert_eq!(
            (columns.answers.as_str(), columns.texts),
            ("answer_*", vec!["question".into()])
        );
        let columns = found("filepath,title", Wanted::Captions).unwrap();
        assert_eq!(
            (columns.captions.as_str(), columns.group.as_str()),
            ("title", "filepath")
        );
        let columns = found("text,label,label_text", Wanted::Labelled).unwrap();
        assert_eq!(columns.label, "label");
    }

    #[test]
    fn what_may_be_two_things_is_asked_for() {
        let error = found("text,class,target", Wanted::Labelled).unwrap_err();
        assert!(
            error.contains("\"class\"") && error.contains("\"target\""),
            "{error}"
        );
        let error = found("a great film,1", Wanted::Labelled).unwrap_err();
        assert!(error.contains("first line of names"), "{error}");
        let given = Columns {
            label: "labl".into(),
            ..Columns::default()
        };
        let names = ["text".to_owned(), "label".to_owned()];
        let error = roles(&names, &given, Wanted::Labelled).unwrap_err();
        assert!(error.contains("did you mean label"), "{error}");
    }
}
