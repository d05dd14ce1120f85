//! Answers as classes: by name, or by number.

use std::collections::HashMap;

/// Why an answer is no class.
pub(super) struct Unclear {
    /// The answer's row.
    pub(super) row: usize,
    pub(super) reason: String,
}

/// Answers, read as names of classes and as numbers of them.
pub(super) struct ClassAnswers<'a> {
    texts: Vec<&'a str>,
    named: Vec<Option<usize>>,
    numbered: Vec<Option<usize>>,
}

impl<'a> ClassAnswers<'a> {
    pub(super) fn new(texts: Vec<&'a str>, names: Option<&[String]>, classes: usize) -> Self {
        let names: HashMap<&str, usize> = names
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(class, name)| (name.as_str(), class))
            .collect();
        let named = texts.iter().map(|text| names.get(text).copied());
        let number = |text: &&str| number(text).filter(|class| *class < classes);
        Self {
            named: named.collect(),
            numbered: texts.iter().map(number).collect(),
            texts,
        }
    }

    /// The classes. Where a name or a number could be meant, what the logits say is `best` decides;
    /// the classes must be those.
    pub(super) fn chosen(
        &self,
        classes: usize,
        best: Option<&[usize]>,
    ) -> Result<Vec<usize>, Unclear> {
        let neither = |row: &usize| self.named[*row].is_none() && self.numbered[*row].is_none();
        if let Some(row) = (0..self.texts.len()).find(neither) {
            let reason = format!("{:?} is none of the {classes} classes", self.texts[row]);
            return Err(Unclear { row, reason });
        }
        let chosen = self.by_name_or_number(best)?;
        let mut pairs = best.unwrap_or_default().iter().zip(&chosen);
        if let Some(row) = pairs.position(|(best, chosen)| best != chosen) {
            let reason = format!(
                "the answer {:?} is not the class of the largest logit: one of the columns is in another order",
                self.texts[row]
            );
            return Err(Unclear { row, reason });
        }
        Ok(chosen)
    }

    fn by_name_or_number(&self, best: Option<&[usize]>) -> Result<Vec<usize>, Unclear> {
        let all =
            |classes: &[Option<usize>]| classes.iter().copied().collect::<Option<Vec<usize>>>();
        match (all(&self.named), all(&self.numbered)) {
            (Some(named), Some(numbered)) if named != numbered => match best {
                Some(best) if best == named => Ok(named),
                Some(best) if best == numbered => Ok(numbered),
                _ => Err(self.either()),
            },
            (Some(named), _) => Ok(named),
            (None, Some(numbered)) => Ok(numbered),
            (None, None) => {
                let row = self.named.iter().position(Option::is_none);
                let row = row.unwrap_or_default();
                let text = self.texts[row];
                let reason = format!("{text:?} is a number, where others are names");
                Err(Unclear { row, reason })
            }
        }
    }

    /// Of answers that are names and numbers of different classes.
    fn either(&self) -> Unclear {
        let row = (0..self.texts.len())
            .find(|&row| self.named[row] != self.numbered[row])
            .unwrap_or_default();
        let reason = format!(
            "{:?} may be the class of that name or the class of that number, which is another",
            self.texts[row]
        );
        let remedy = "a column of logits would tell, or names that are no numbers";
        Unclear {
            row,
            reason: format!("{reason}; {remedy}"),
        }
    }
}

/// A whole number, however it is written.
fn number(text: &str) -> Option<usize> {
    let whole = |value: &f64| value.fract() == 0.0 && (0.0..4e9).contains(value);
    text.parse::<usize>().ok().or_else(|| {
        text.parse::<f64>()
            .ok()
            .filter(whole)
            .map(|value| value as usize)
    })
}
