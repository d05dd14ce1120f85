//! Python pickles of plain values and numpy arrays, as CIFAR's authors wrote them. Nothing in them
//! is executed: a call is recorded with its arguments, and only those that make an array of bytes
//! mean anything here.

mod machine;
mod value;

use machine::Machine;
pub(super) use value::Value;

/// The value that a pickle of protocol 0 to 5 describes.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut machine = Machine::new(bytes);
    while !machine.is_at_end() {
        if let Some(value) = machine.step()? {
            return Ok(value);
        }
    }
    Err("is cut off".into())
}

impl Machine<'_> {
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
            b'(' => self.mark()?,
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
                let number = text.trim().parse();
                let number = number.map_err(|_| format!("{text:?} is no integer"))?;
                self.push(Value::Integer(number))
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
                let part = |value: &Value| match value {
                    Value::Bytes(bytes) => text(bytes),
                    _ => String::new(),
                };
                let (module, name) = (part(&parts[0]), part(&parts[1]));
                self.push(Value::Name(format!("{module}.{name}")))
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
            0x94 => self.next_place(),
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
