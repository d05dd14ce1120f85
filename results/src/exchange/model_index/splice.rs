//! The text of a `model-index` with results put into it: only lines that are replaced are touched.
//! What cannot be understood line by line is left to the comparison that follows.

use std::{ops::Range, slice::from_ref};

use serde_json::Value;

use super::{
    front_matter::{bare, broken, parsed},
    key::{KEY, key_of},
};
use crate::Result;

/// Front matter with a block put in.
pub(super) fn splice(yaml: &str, block: &str, end: &str) -> Result<String> {
    let lines: Vec<&str> = yaml.split_inclusive('\n').collect();
    let Some(at) = key_line(&lines, 0..lines.len(), KEY, 0) else {
        let gap = if yaml.is_empty() || yaml.ends_with('\n') {
            ""
        } else {
            end
        };
        return Ok(format!("{yaml}{gap}{}", block.replace('\n', end)));
    };
    let index = Index {
        lines,
        block: block.lines().collect(),
        end,
    };
    index.splice(at)
}

/// Lines of front matter and of the block that is put in.
struct Index<'a> {
    lines: Vec<&'a str>,
    block: Vec<&'a str>,
    end: &'a str,
}

impl Index<'_> {
    fn splice(&self, key: usize) -> Result<String> {
        let body = self.body(key, 0);
        if body.is_empty() {
            self.must_be_empty(key)?;
            let new = self.indented(0..self.block.len(), 0);
            return Ok(self.replaced(from_ref(&(key..key + 1)), key, &new));
        }
        let models = items(&self.lines, body.clone());
        let name = self.block[1].trim_start_matches("- ").trim();
        let name = parsed(name)?.remove("name");
        let own = models
            .iter()
            .find(|model| name.is_some() && self.item(model).get("name") == name.as_ref());
        if let Some(model) = own {
            return self.with_results(model);
        }
        let indent = models.first().map_or(0, |model| self.indent(model.start));
        let place = models.last().map_or(body.end, |model| model.end);
        let new = self.indented(1..self.block.len(), indent);
        Ok(self.replaced(&[], place, &new))
    }

    /// Puts the block's results into those of a model.
    fn with_results(&self, model: &Range<usize>) -> Result<String> {
        let inner = self.indent(model.start) + dash_width(bare(self.lines[model.start]));
        let Some(key) = key_line(&self.lines, model.clone(), "results", inner) else {
            let new = self.indented(2..self.block.len(), inner - 2);
            return Ok(self.replaced(&[], model.end, &new));
        };
        let body = self.body(key, inner);
        let body = body.start..body.end.min(model.end);
        if body.is_empty() {
            self.must_be_empty(key)?;
            let head = bare(self.lines[key]).split(':').next().unwrap_or_default();
            let mut new = vec![format!("{head}:{}", self.end)];
            new.extend(self.indented(3..self.block.len(), inner - 2));
            return Ok(self.replaced(from_ref(&(key..key + 1)), key, &new));
        }
        let results = items(&self.lines, body.clone());
        let keys = self.new_keys()?;
        let goes = |result: &&Range<usize>| {
            key_of(&self.item(result)).is_some_and(|key| keys.contains(&key))
        };
        let gone: Vec<Range<usize>> = results.iter().filter(goes).cloned().collect();
        let last = results.last().map_or(body.end, |result| result.end);
        let place = gone.first().map_or(last, |result| result.start);
        let indent = results.first().map_or(inner, |r| self.indent(r.start));
        let new = self.indented(3..self.block.len(), indent.saturating_sub(2));
        Ok(self.replaced(&gone, place, &new))
    }

    fn new_keys(&self) -> Result<Vec<Value>> {
        let block = parsed(&self.block.join("\n"))?;
        let results = block[KEY][0]["results"].as_array();
        Ok(results.into_iter().flatten().filter_map(key_of).collect())
    }

    /// The lines that belong to a key at an indent, without comments and empty lines at the end.
    fn body(&self, key: usize, indent: usize) -> Range<usize> {
        let inside = |line: &&str| {
            let text = bare(line);
            let (own, rest) = (text.len() - text.trim_start().len(), text.trim_start());
            is_silent(text) || own > indent || (own == indent && is_item(rest))
        };
        let rest = &self.lines[key + 1..];
        let count = rest.iter().take_while(|line| inside(line)).count();
        trimmed(&self.lines, key + 1..key + 1 + count)
    }

    /// Refuses a key whose value stands on its own line, but for an empty one.
    fn must_be_empty(&self, key: usize) -> Result<()> {
        let line = bare(self.lines[key]);
        let value = line.split_once(':').map_or("", |(_, value)| value.trim());
        let value = value.split(" #").next().unwrap_or_default().trim();
        if matches!(value, "" | "[]" | "null" | "~") || value.starts_with('#') {
            Ok(())
        } else {
            let reason = format!("line {:?} has its value beside it", line.trim());
            Err(broken(&reason))
        }
    }

    fn indent(&self, line: usize) -> usize {
        self.lines[line].len() - self.lines[line].trim_start_matches(' ').len()
    }

    /// An item of a list as a value; null where it is none by itself.
    fn item(&self, lines: &Range<usize>) -> Value {
        let text = self.lines[lines.clone()].concat();
        let list: Option<Value> = serde_saphyr::from_str(&text).ok();
        list.and_then(|list| list.get(0).cloned())
            .unwrap_or_default()
    }

    /// Lines of the block that stand at an indent more.
    fn indented(&self, lines: Range<usize>, more: usize) -> Vec<String> {
        let lines = self.block[lines].iter();
        lines
            .map(|line| format!("{:more$}{line}{}", "", self.end))
            .collect()
    }

    /// The text without some lines and with new ones before the line at `place`.
    fn replaced(&self, gone: &[Range<usize>], place: usize, new: &[String]) -> String {
        let mut text = String::new();
        for at in 0..=self.lines.len() {
            if at == place {
                text.extend(new.iter().map(String::as_str));
            }
            if at < self.lines.len() && !gone.iter().any(|range| range.contains(&at)) {
                text.push_str(self.lines[at]);
            }
        }
        text
    }
}

/// The line of a key that stands at an indent, be it behind the dash of an item.
fn key_line(lines: &[&str], range: Range<usize>, key: &str, indent: usize) -> Option<usize> {
    let has = |line: &str| {
        let plain: String = line
            .chars()
            .enumerate()
            .map(|(at, c)| if c == '-' && at < indent { ' ' } else { c })
            .collect();
        let own = plain.len() - plain.trim_start_matches(' ').len();
        let rest = plain.trim_start_matches(' ').strip_prefix(key);
        own == indent && rest.is_some_and(|rest| rest.trim_start_matches(' ').starts_with(':'))
    };
    range.into_iter().find(|&at| has(bare(lines[at])))
}

/// The items of a list, without the comments and empty lines behind them.
fn items(lines: &[&str], body: Range<usize>) -> Vec<Range<usize>> {
    let indent = |at: usize| lines[at].len() - lines[at].trim_start_matches(' ').len();
    let is_one = |at: usize| is_item(bare(lines[at]).trim_start_matches(' '));
    let Some(first) = body.clone().find(|&at| is_one(at)) else {
        return Vec::new();
    };
    let mut starts: Vec<usize> = body
        .clone()
        .filter(|&at| is_one(at) && indent(at) == indent(first))
        .collect();
    starts.push(body.end);
    let pairs = starts.windows(2);
    pairs.map(|pair| trimmed(lines, pair[0]..pair[1])).collect()
}

/// Lines without the comments and empty lines at their end.
fn trimmed(lines: &[&str], range: Range<usize>) -> Range<usize> {
    let mut end = range.end;
    while end > range.start && is_silent(bare(lines[end - 1])) {
        end -= 1;
    }
    range.start..end
}

fn is_silent(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// Columns from the dash of an item to what stands behind it.
fn dash_width(line: &str) -> usize {
    let item = line.trim_start_matches(' ').strip_prefix('-').unwrap_or("");
    let behind = item.trim_start_matches(' ');
    if behind.is_empty() {
        2
    } else {
        1 + item.len() - behind.len()
    }
}
