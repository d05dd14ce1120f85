//! Results into the front matter of a card, of which no other byte changes.

use serde_json::{Map, Value, json};

use super::{
    front_matter::{FrontMatter, broken, line_end, parsed},
    key::{KEY, key_of},
    splice::splice,
};
use crate::Result;

/// Puts a block of [`model_index_block`](super::model_index_block) into the front matter of a card:
/// results of this program for the same dataset, configuration and split are replaced, all others
/// stay, and so does every other byte. A card without front matter gets one.
///
/// # Errors
/// If the front matter is broken, or if its `model-index` is written in a way that cannot be
/// changed in place, such as in braces; nothing is changed then.
pub fn merge_model_index(readme: &str, block: &str) -> Result<String> {
    let begin = format!("{KEY}:\n- name: ");
    if !block.starts_with(&begin) || block.lines().nth(2) != Some("  results:") {
        return Err(broken(
            "what should be put into it is no block of this program",
        ));
    }
    let end = line_end(readme);
    let Some(place) = FrontMatter::find(readme)? else {
        let block = block.replace('\n', end);
        let gap = if readme.is_empty() { "" } else { end };
        return Ok(format!("---{end}{block}---{end}{gap}{readme}"));
    };
    let yaml = &readme[place.start..place.end];
    let before = parsed(yaml)?;
    let expected = merged(before, &parsed(block)?)?;
    let spliced = splice(yaml, block, end)?;
    // Whatever the text looked like: what is read from it now must be what was meant.
    if parsed(&spliced)? != expected {
        let reason = format!("its {KEY} is written in a way that is not understood");
        return Err(broken(&reason));
    }
    let (head, tail) = (&readme[..place.start], &readme[place.end..]);
    Ok(format!("{head}{spliced}{tail}"))
}

/// What the front matter is to say.
fn merged(mut card: Map<String, Value>, block: &Map<String, Value>) -> Result<Map<String, Value>> {
    let new = block.get(KEY).and_then(|index| index.get(0));
    let new = new.ok_or_else(|| broken("there is nothing to put into it"))?;
    let mut index = match card.remove(KEY) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(models)) => models,
        Some(_) => return Err(broken(&format!("its {KEY} is no list"))),
    };
    let own = index
        .iter_mut()
        .find(|model| model.get("name") == new.get("name"));
    match own {
        None => index.push(new.clone()),
        Some(model) => {
            let results = replaced(&model["results"], &new["results"])?;
            model["results"] = results;
        }
    }
    card.insert(KEY.to_owned(), index.into());
    Ok(card)
}

/// A model's results with the new ones in the place of the first that they replace, or at the end.
fn replaced(old: &Value, new: &Value) -> Result<Value> {
    let new = new.as_array().cloned().unwrap_or_default();
    let keys: Vec<Value> = new.iter().filter_map(key_of).collect();
    let empty = Vec::new();
    let old = match old {
        Value::Null => &empty,
        Value::Array(old) => old,
        _ => return Err(broken(&format!("results of its {KEY} are no list"))),
    };
    let goes = |result: &Value| key_of(result).is_some_and(|key| keys.contains(&key));
    let place = old.iter().position(goes).unwrap_or(old.len());
    let mut results: Vec<Value> = old[..place].to_vec();
    results.extend(new);
    results.extend(old[place..].iter().filter(|result| !goes(result)).cloned());
    Ok(json!(results))
}
