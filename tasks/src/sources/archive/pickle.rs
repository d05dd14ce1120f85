//! Python pickles of plain values and numpy arrays, as CIFAR's authors wrote them. Nothing in them
//! is executed: a call is recorded with its arguments, and only those that make an array of bytes
//! mean anything here.

/// Most values that a pickle may hold: CIFAR's have some ten thousand.
const MAX_VALUES: usize = 1_000_000;
/// Most lists, dictionaries and calls: CIFAR's have a few dozen. It bounds how deep they nest.
const MAX_CONTAINERS: usize = 1000;
/// Places of the memo that may be left out.
const MAX_GAP: usize = 1024;
/// Largest value that is remembered to be referred to again.
const MAX_REMEMBERED: usize = 64;

/// What a pickle describes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Integer(i64),
    /// Bytes, or a text of either version of Python.
    Bytes(Vec<u8>),
    Sequence(Vec<Value>),
    Pairs(Vec<(Value, Value)>),
    /// A name in a module.
    Name(String),
    /// Something made by a call, with what was set on it.
    Made(Box<Value>, Option<Box<Value>>),
}

impl Value {
    /// A dictionary's entry.
    pub(super) fn entry(&self, key: &str) -> Option<&Self> {
        let Self::Pairs(pairs) = self else {
            return None;
        };
        pairs
            .iter()
            .find(|(name, _)| *name == Self::Bytes(key.into()))
            .map(|(_, value)| value)
    }

    /// How many values it is made of, itself included; bytes count by their length.
    fn weight(&self) -> usize {
        match self {
            Self::None | Self::Integer(_) => 1,
            Self::Bytes(bytes) => 1 + bytes.len() / 16,
            Self::Name(name) => 1 + name.len() / 16,
            Self::Sequence(values) => 1 + values.iter().map(Self::weight).sum::<usize>(),
            Self::Pairs(pairs) => {
                1 + pairs
                    .iter()
                    .map(|(key, value)| key.weight() + value.weight())
                    .sum::<usize>()
            }
            Self::Made(what, state) => {
                1 + what.weight() + state.as_ref().map_or(0, |state| state.weight())
            }
        }
    }

    /// A list of integers.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        let Self::Sequence(values) = self else {
            return None;
        };
        values
            .iter()
            .map(|value| {
                if let Self::Integer(i) = value {
                    Some(*i)
                } else {
                    None
                }
            })
            .collect()
    }

    /// The bytes of a numpy array of unsigned bytes of this shape, row by row: what was set is
    /// version, shape, type, whether it is stored column by column, content.
    pub(super) fn array_bytes(&self, shape: &[usize]) -> Option<&[u8]> {
        let Self::Made(_, Some(state)) = self else {
            return None;
        };
        let Self::Sequence(parts) = &**state else {
            return None;
        };
        match parts.as_slice() {
            [_, sizes, kind, Self::Integer(0), Self::Bytes(bytes)] if is_u8(kind) => {
                let wanted: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
                (sizes.integers()? == wanted).then_some(bytes.as_slice())
            }
            _ => None,
        }
    }
}

/// `dtype('u1', ...)`.
fn is_u8(kind: &Value) -> bool {
    let Value::Made(call, _) = kind else {
        return false;
    };
    let Value::Sequence(parts) = &**call else {
        return false;
    };
    let u1 = Value::Bytes(b"u1".to_vec());
    parts
        .iter()
        .any(|part| matches!(part, Value::Sequence(arguments) if arguments.first() == Some(&u1)))
}

enum Item {
    Mark,
    Value(Value),
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Item>,
    memo: Vec<Option<Value>>,
    values: usize,
    containers: usize,
}

/// The value that a pickle of protocol 0 to 5 describes.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        memo: Vec::new(),
        values: 0,
        containers: 0,
    };
    while machine.at < bytes.len() {
        if let Some(value) = machine.step()? {
            return Ok(value);
        }
    }
    Err("is cut off".into())
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let bytes = self
            .at
            .checked_add(count)
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or("is cut off")?;
        self.at += count;
        Ok(bytes)
    }

    fn number(&mut self, bytes: usize) -> Result<usize, String> {
        Ok(self
            .take(bytes)?
            .iter()
            .rev()
            .fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte)))
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let length = self.bytes[self.at..]
            .iter()
            .position(|b| *b == b'\n')
            .ok_or("is cut off")?;
        let line = self.take(length)?;
        self.at += 1;
        Ok(line)
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
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

    fn pop(&mut self) -> Result<Value, String> {
        match self.stack.pop() {
            Some(Item::Value(value)) => Ok(value),
            _ => Err("takes more than it gave".into()),
        }
    }

    /// The values since the last mark.
    fn marked(&mut self) -> Result<Vec<Value>, String> {
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

    fn remember(&mut self, place: usize) -> Result<(), String> {
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

    fn recall(&mut self, place: usize) -> Result<(), String> {
        let value = self
            .memo
            .get(place)
            .cloned()
            .flatten()
            .ok_or("refers to what was not kept")?;
        self.values += value.weight();
        self.push(value)
    }

    fn append(&mut self, values: Vec<Value>) -> Result<(), String> {
        match self.stack.last_mut() {
            Some(Item::Value(Value::Sequence(list))) => list.extend(values),
            _ => return Err("appends to no list".into()),
        }
        Ok(())
    }

    fn set(&mut self, values: Vec<Value>) -> Result<(), String> {
        let Some(Item::Value(Value::Pairs(pairs))) = self.stack.last_mut() else {
            return Err("sets an item of no dictionary".into());
        };
        let mut values = values.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            pairs.push((key, value));
        }
        Ok(())
    }

    fn last(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let mut values = (0..count)
            .map(|_| self.pop())
            .collect::<Result<Vec<Value>, String>>()?;
        values.reverse();
        Ok(values)
    }

    fn sized(&mut self, length_bytes: usize) -> Result<(), String> {
        let length = self.number(length_bytes)?;
        let bytes = self.take(length)?.to_vec();
        self.push(Value::Bytes(bytes))
    }

    fn integer(&mut self, bytes: usize) -> Result<(), String> {
        let raw = self.take(bytes)?;
        let negative = raw.last().is_some_and(|b| b & 0x80 != 0);
        if bytes > 8 {
            return Err("holds a huge integer".into());
        }
        let mut full = [if negative { 0xff } else { 0 }; 8];
        full[..bytes].copy_from_slice(raw);
        self.push(Value::Integer(i64::from_le_bytes(full)))
    }

    /// A call: `_codecs.encode(text, 'latin1')` gives the text's bytes, everything else stays what
    /// it is, a call.
    fn call(&mut self) -> Result<(), String> {
        let (arguments, what) = (self.pop()?, self.pop()?);
        let encoded = match (&what, &arguments) {
            (Value::Name(name), Value::Sequence(parts)) if name == "_codecs.encode" => {
                match parts.first() {
                    Some(Value::Bytes(text)) => Some(latin1(text)?),
                    _ => None,
                }
            }
            _ => None,
        };
        self.push(encoded.map_or_else(
            || Value::Made(Box::new(Value::Sequence(vec![what, arguments])), None),
            Value::Bytes,
        ))
    }

    /// One opcode; the value at the end.
    fn step(&mut self) -> Result<Option<Value>, String> {
        let opcode = self.take(1)?[0];
        match opcode {
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => {
                self.values += 1;
                if self.values > MAX_VALUES {
                    return Err("holds too many values".into());
                }
                self.stack.push(Item::Mark);
            }
            b'.' => return self.pop().map(Some),
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | b'I' | b'U' | b'C' | 0x8c | b'T'
            | b'B' | b'X' | 0x8d | 0x8e | 0x96 => {
                self.plain(opcode)?;
            }
            b'}' | b']' | b')' | b't' | b'l' | 0x85..=0x87 | b'a' | b'e' | b's' | b'u' => {
                self.collection(opcode)?;
            }
            b'c' | 0x93 | b'R' | 0x81 | b'b' => self.object(opcode)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memory(opcode)?,
            other => {
                return Err(format!(
                    "has the opcode {other:#04x}, which no batch of CIFAR needs"
                ));
            }
        }
        Ok(None)
    }

    /// Nothing, truth, numbers, texts and bytes.
    fn plain(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Integer(i64::from(opcode == 0x88))),
            b'K' | b'M' => {
                let number = self.number(if opcode == b'K' { 1 } else { 2 })?;
                self.push(Value::Integer(number as i64))
            }
            b'J' => self.integer(4),
            0x8a => {
                let bytes = self.number(1)?;
                self.integer(bytes)
            }
            b'I' => {
                let text = String::from_utf8_lossy(self.line()?).into_owned();
                self.push(Value::Integer(
                    text.trim()
                        .parse()
                        .map_err(|_| format!("{text:?} is no integer"))?,
                ))
            }
            b'U' | b'C' | 0x8c => self.sized(1),
            b'T' | b'B' | b'X' => self.sized(4),
            _ => self.sized(8),
        }
    }

    /// Lists, tuples and dictionaries.
    fn collection(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            b'}' => return self.push(Value::Pairs(Vec::new())),
            b']' | b')' => return self.push(Value::Sequence(Vec::new())),
            _ => {}
        }
        let values = match opcode {
            b'a' => self.last(1)?,
            b's' => self.last(2)?,
            0x85..=0x87 => self.last(usize::from(opcode - 0x84))?,
            _ => self.marked()?,
        };
        match opcode {
            b'a' | b'e' => self.append(values),
            b's' | b'u' => self.set(values),
            _ => self.push(Value::Sequence(values)),
        }
    }

    /// Names, calls and what is set on what they made.
    fn object(&mut self, opcode: u8) -> Result<(), String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match opcode {
            b'c' => {
                let (module, name) = (text(self.line()?), text(self.line()?));
                self.push(Value::Name(format!("{module}.{name}")))
            }
            0x93 => {
                let parts = self.last(2)?;
                let part = |value: &Value| {
                    if let Value::Bytes(bytes) = value {
                        text(bytes)
                    } else {
                        String::new()
                    }
                };
                self.push(Value::Name(format!(
                    "{}.{}",
                    part(&parts[0]),
                    part(&parts[1])
                )))
            }
            b'b' => {
                let state = self.pop()?;
                let Value::Made(what, _) = self.pop()? else {
                    return Err("sets the state of no object".into());
                };
                self.push(Value::Made(what, Some(Box::new(state))))
            }
            _ => self.call(),
        }
    }

    /// What is remembered and referred to.
    fn memory(&mut self, opcode: u8) -> Result<(), String> {
        let place = match opcode {
            0x94 => self.memo.len(),
            b'q' | b'h' => self.number(1)?,
            _ => self.number(4)?,
        };
        if matches!(opcode, b'h' | b'j') {
            self.recall(place)
        } else {
            self.remember(place)
        }
    }
}

/// A UTF-8 text of characters below 256 as their bytes.
fn latin1(text: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).map_err(|_| format!("{c:?} is no byte")))
        .collect()
}
