//! Scores into a model's card: the `model-index` block of its README.md, by a pull request.

use flava_model::hub::{
    RepoKind,
    write::{CommitPlan, Head, HubWriter, Upload},
};

use super::{
    board::{MAX_TABLE, parse, text_of},
    on_head::{commit_on_head, hub},
    options::{Ending, Publication, PublishOptions},
};
use crate::{Error, Result};

const CARD: &str = "README.md";
const BLOCK: &str = "model-index:";

/// Proposes to a model's repository what `merge` makes of its card; nothing but the block
/// `model-index` may change.
///
/// # Errors
/// If the token may not propose it, or if `merge` touches anything else.
pub fn publish_model_card(
    writer: &HubWriter,
    options: &PublishOptions,
    merge: &dyn Fn(Option<&str>) -> Result<String>,
) -> Result<Publication> {
    let repo = parse(RepoKind::Model, &options.repo)?;
    writer.may_propose(&repo).map_err(hub)?;
    let make = |head: &Head| {
        let old = writer
            .read(&repo, &head.oid, CARD, MAX_TABLE)
            .map_err(hub)?;
        let old = old.map(|bytes| text_of(&repo, CARD, bytes)).transpose()?;
        let new = merge(old.as_deref())?;
        let old = old.unwrap_or_default();
        if !old.is_empty() && outside(&old) != outside(&new) {
            return Err(Error::Internal(
                "more than the model-index of the card would change: nothing was proposed",
            ));
        }
        let text = format!("{repo}\n{}", changed_lines(&old, &new));
        Ok((new, old, text))
    };
    if options.dry_run {
        let head = writer.head(&repo).map_err(hub)?;
        let (.., plan) = make(&head)?;
        return Ok(Publication {
            plan,
            ending: Ending::DryRun,
        });
    }
    let mut plan = String::new();
    let ending = commit_on_head(writer, &repo, &mut |head| {
        let (new, old, text) = make(head)?;
        plan = text;
        let changed = new != old;
        Ok(CommitPlan {
            summary: "Add evaluation results to the model card".to_owned(),
            files: changed
                .then(|| Upload::bytes(CARD, new))
                .into_iter()
                .collect(),
            as_pr: true,
            ..CommitPlan::default()
        })
    })?;
    Ok(Publication { plan, ending })
}

/// The lines of a card that belong to no `model-index`; a card without front matter has the text of
/// one with an empty one.
fn outside(card: &str) -> Vec<&str> {
    let mut lines = card.lines().peekable();
    let mut kept = Vec::new();
    if lines.next_if_eq(&"---").is_some() {
        let mut inside = false;
        for line in lines.by_ref().take_while(|line| *line != "---") {
            let is_key = !line.starts_with([' ', '-', '#', '\t']) && !line.is_empty();
            inside = line.starts_with(BLOCK) || (inside && !is_key);
            if !inside {
                kept.push(line);
            }
        }
    }
    kept.extend(lines.skip_while(|line| line.is_empty()));
    kept
}

/// Lines that only one of two texts has, in its order.
fn changed_lines(old: &str, new: &str) -> String {
    let only = |text: &str, other: &str, sign: char| {
        let others: std::collections::HashSet<&str> = other.lines().collect();
        let lines = text.lines().filter(|line| !others.contains(line));
        lines
            .map(|line| format!("  {sign} {}\n", flava_base::escaped(line)))
            .collect::<String>()
    };
    only(old, new, '-') + &only(new, old, '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_model_index_is_told_from_it() {
        let old = "---\nlicense: mit\nmodel-index:\n- name: a\n  results: []\ntags: [x]\n---\n\n# A\n\ntext\n";
        let same = [
            old.replace("name: a", "name: b"),
            old.replace(
                "  results: []\n",
                "  results:\n  - task: {}\n\n  # comment\n",
            ),
            old.replace("model-index:\n- name: a\n  results: []\n", ""),
        ];
        for new in &same {
            assert_eq!(outside(new), outside(old), "{new}");
        }
        for new in [
            old.replace("mit", "bsd"),
            old.replace("tags: [x]\n", ""),
            old.replace("text", "texts"),
            old.replace("license", "- license"),
        ] {
            assert_ne!(outside(&new), outside(old), "{new}");
        }
        let plain = "# A\n\ntext\n";
        let with = format!("---\nmodel-index:\n- name: a\n---\n{plain}");
        assert_eq!(outside(plain), outside(&with));
        assert_eq!(changed_lines("a\nb\n", "a\nc\n"), "  - b\n  + c\n");
    }
}
