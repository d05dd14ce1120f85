//! The stack and the memo that the opcodes of a pickle work on, within bounds.

use super::value::Value;

/// Most values that a pickle may hold: CIFAR's have some ten thousand.
const MAX_VALUES: usize = 1_000_000;
/// Most lists, dictionaries and calls: CIFAR's have a few dozen. It bounds how deep they nest.
const MAX_CONTAINERS: usize = 1000;
/// Places of the memo that may be left out.
const MAX_GAP: usize = 1024;
/// Largest value that is remembered to be referred to again.
const MAX_REMEMBERED: usize = 64;

enum Item {
    Mark,
    Value(Value),
}

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Item>,
    memo: Vec<Option<Value>>,
    values: usize,
    containers: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            stack: Vec::new(),
            memo: Vec::new(),
            values: 0,
            containers: 0,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Marks a place of the stack.
    pub(super) fn mark(&mut self) -> Result<(), String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err("holds too many values".into());
        }
        self.stack.push(Item::Mark);
        Ok(())
    }

    /// The next place of the memo.
    pub(super) fn next_place(&self) -> usize {
        self.memo.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let bytes = self
            .at
            .checked_add(count)
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or("is cut off")?;
        self.at += count;
        Ok(bytes)
    }

    pub(super) fn number(&mut self, bytes: usize) -> Result<usize, String> {
        Ok(self
            .take(bytes)?
            .iter()
            .rev()
            .fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte)))
    }

    pub(super) fn line(&mut self) -> Result<&'a [u8], String> {
        let length = self.bytes[self.at..]
            .iter()
            .position(|b| *b == b'\n')
            .ok_or("is cut off")?;
        let line = self.take(length)?;
        self.at += 1;
        Ok(line)
    }

    pub(super) fn push(&mut self, value: Value) -> Result<(), String> {
        self.values += 1;
        self.containers += usize::from(matches!(
            value,
            Value::Sequence(_) | Value::Pairs(_) | Value::Made(..)
        ));
        if self.values > MAX_VALUES || self.containers > MAX_CONTAINERS {
            return Err("holds too many values".into());
        }
        self.stack.push(Item::Value(value));
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Value, String> {
        match self.stack.pop() {
            Some(Item::Value(value)) => Ok(value),
            _ => Err("takes more than it gave".into()),
        }
    }

    /// The values since the last mark.
    pub(super) fn marked(&mut self) -> Result<Vec<Value>, String> {
        let mark = self
            .stack
            .iter()
            .rposition(|item| matches!(item, Item::Mark))
            .ok_or("has no mark")?;
        let values = self.stack.drain(mark..).skip(1).map(|item| {
            if let Item::Value(value) = item {
                value
            } else {
                Value::None
            }
        });
        Ok(values.collect())
    }

    pub(super) fn remember(&mut self, place: usize) -> Result<(), String> {
        let Some(Item::Value(value)) = self.stack.last() else {
            return Err("remembers nothing".into());
        };
        // Only small things are referred to again; a list may still grow, and a dictionary is
        // looked into by nobody else.
        let small = match value {
            Value::Pairs(_) => false,
            Value::Sequence(values) if values.len() > MAX_REMEMBERED => false,
            value => value.weight() <= MAX_REMEMBERED,
        };
        let kept = small.then(|| value.clone());
        if place > self.memo.len() + MAX_GAP {
            return Err("remembers too much".into());
        }
        if self.memo.len() <= place {
            self.memo.resize(place + 1, None);
        }
        self.memo[place] = kept;
        Ok(())
    }

    pub(super) fn recall(&mut self, place: usize) -> Result<(), String> {
        let value = self
            .memo
            .get(place)
            .cloned()
            .flatten()
            .ok_or("refers to what was not kept")?;
        self.values += value.weight();
        self.push(value)
    }

    pub(super) fn append(&mut self, values: Vec<Value>) -> Result<(), String> {
        match self.stack.last_mut() {
            Some(Item::Value(Value::Sequence(list))) => list.extend(values),
            _ => return Err("appends to no list".into()),
        }
        Ok(())
    }

    pub(super) fn set(&mut self, values: Vec<Value>) -> Result<(), String> {
        let Some(Item::Value(Value::Pairs(pairs))) = self.stack.last_mut() else {
            return Err("sets an item of no dictionary".into());
        };
        let mut values = values.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            pairs.push((key, value));
        }
        Ok(())
    }

    pub(super) fn last(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let mut values = (0..count)
            .map(|_| self.pop())
            .collect::<Result<Vec<Value>, String>>()?;
        values.reverse();
        Ok(values)
    }

    pub(super) fn sized(&mut self, length_bytes: usize) -> Result<(), String> {
        let length = self.number(length_bytes)?;
        let bytes = self.take(length)?.to_vec();
        self.push(Value::Bytes(bytes))
    }

    pub(super) fn integer(&mut self, bytes: usize) -> Result<(), String> {
        let raw = self.take(bytes)?;
        let negative = raw.last().is_some_and(|b| b & 0x80 != 0);
        if bytes > 8 {
            return Err("holds a huge integer".into());
        }
        let mut full = [if negative { 0xff } else { 0 }; 8];
        full[..bytes].copy_from_slice(raw);
        self.push(Value::Integer(i64::from_le_bytes(full)))
    }
}
