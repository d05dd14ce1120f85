//! The pickle machine: a stack, a memo, and the opcodes of protocols 1 to 5 that data are written
//! with.

use std::collections::HashMap;

use super::{
    input::Input,
    value::{Id, Object, Pickle, Value},
};

/// Most values that a pickle may make, references that it may keep, marks that it may set, and
/// items that it may put into lists and dictionaries.
const MAX_VALUES: usize = 1 << 20;

/// Longest name of a class or a function.
const MAX_NAME: usize = 1 << 8;

/// What is said of a stack that runs empty.
const TOO_LITTLE: &str = "takes more than it gave";

type Outcome<T> = Result<T, String>;

/// Reads the pickle `bytes`; `allow` says of each class and function (`module.name`) whether it
/// may be mentioned.
///
/// # Errors
///
/// With the position of the first byte that could not be followed: a pickle that is cut off or
/// refers to nothing, an opcode that data do not need, a count out of bounds, what `allow` says.
pub fn load<'a>(bytes: &'a [u8], allow: &dyn Fn(&str) -> Outcome<()>) -> Outcome<Pickle<'a>> {
    let mut machine = Machine {
        input: Input::new(bytes),
        allow,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        items: 0,
    };
    let top = machine.run();
    let top = top.map_err(|reason| format!("{reason} (byte {})", machine.input.position))?;
    let values = machine.values;
    Ok(Pickle::new(values, top))
}

fn bounded(count: usize) -> Outcome<()> {
    if count <= MAX_VALUES {
        Ok(())
    } else {
        Err(format!("more than {MAX_VALUES} values"))
    }
}

struct Machine<'a, 'b> {
    input: Input<'a>,
    allow: &'b dyn Fn(&str) -> Outcome<()>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Items put into lists, dictionaries and objects so far.
    items: usize,
}

impl<'a> Machine<'a, '_> {
    /// Runs to the end of the pickle and returns its value.
    fn run(&mut self) -> Outcome<Id> {
        loop {
            let opcode = self.input.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Outcome<()> {
        match opcode {
            0x80 => _ = self.input.byte()?,  // protocol
            0x95 => _ = self.input.take(8)?, // frame
            b'(' => {
                self.marks.push(self.stack.len());
                bounded(self.marks.len())?;
            }
            b'0' => _ = self.pop()?,
            b'N' | 0x88 | 0x89 | b'I' | b'K' | b'M' | b'J' | 0x8a | b'G' => self.number(opcode)?,
            b'U' | b'C' | 0x8c | b'T' | b'B' | b'X' | 0x8d | 0x8e | 0x96 => self.bytes(opcode)?,
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b't' | b'l' | 0x85..=0x87 => self.sequence(opcode)?,
            b'q' | b'r' | 0x94 => self.remember(opcode)?,
            b'h' | b'j' => self.recall(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b'R' | 0x81 => self.call()?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            b'b' => self.set_state()?,
            b'a' | b'e' => self.append(opcode)?,
            b's' | b'u' => self.set_items(opcode)?,
            other => return Err(format!("opcode {other:#04x}, which data do not need")),
        }
        Ok(())
    }

    fn number(&mut self, opcode: u8) -> Outcome<()> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool(opcode == 0x88),
            b'K' => Value::Int(self.input.byte()?.into()),
            b'M' => Value::Int(self.input.unsigned(2)? as i64),
            b'J' => Value::Int(self.input.signed(4)?),
            b'G' => Value::Float(f64::from_bits(self.input.unsigned(8)?.swap_bytes())),
            b'I' => {
                let line = String::from_utf8_lossy(self.input.line()?);
                let int = line.trim().parse();
                Value::Int(int.map_err(|_| format!("the integer {line:?}"))?)
            }
            _ => {
                let length = self.input.byte()?;
                Value::Int(self.input.signed(length.into())?)
            }
        };
        self.push(value)
    }

    fn bytes(&mut self, opcode: u8) -> Outcome<()> {
        let length = match opcode {
            b'U' | b'C' | 0x8c => 1,
            b'T' | b'B' | b'X' => 4,
            _ => 8,
        };
        let bytes = self.input.counted(length)?;
        self.push(Value::Bytes(bytes))
    }

    fn push(&mut self, value: Value<'a>) -> Outcome<()> {
        self.values.push(value);
        bounded(self.values.len())?;
        self.push_id(self.values.len() as Id - 1)
    }

    fn push_id(&mut self, id: Id) -> Outcome<()> {
        self.stack.push(id);
        bounded(self.stack.len())
    }

    fn pop(&mut self) -> Outcome<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(TOO_LITTLE.into());
        }
        self.stack.pop().ok_or_else(|| TOO_LITTLE.into())
    }

    /// The last `count` values, the first one first.
    fn pop_many(&mut self, count: usize) -> Outcome<Vec<Id>> {
        let mut values = (0..count)
            .map(|_| self.pop())
            .collect::<Outcome<Vec<_>>>()?;
        values.reverse();
        Ok(values)
    }

    /// The values since the last mark.
    fn pop_mark(&mut self) -> Outcome<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    /// The value that lies on top, to be changed.
    fn top(&mut self) -> Outcome<&mut Value<'a>> {
        let id = *self.stack.last().ok_or(TOO_LITTLE)?;
        Ok(&mut self.values[id as usize])
    }

    fn sequence(&mut self, opcode: u8) -> Outcome<()> {
        let items = match opcode {
            0x85..=0x87 => self.pop_many(usize::from(opcode - 0x84))?,
            _ => self.pop_mark()?,
        };
        self.push(if opcode == b'l' {
            Value::List(items)
        } else {
            Value::Tuple(items)
        })
    }

    fn key(&mut self, opcode: u8) -> Outcome<u32> {
        let length = if matches!(opcode, b'q' | b'h') { 1 } else { 4 };
        Ok(self.input.unsigned(length)? as u32)
    }

    fn remember(&mut self, opcode: u8) -> Outcome<()> {
        let key = match opcode {
            0x94 => self.memo.len() as u32,
            _ => self.key(opcode)?,
        };
        let id = *self.stack.last().ok_or(TOO_LITTLE)?;
        self.memo.insert(key, id);
        bounded(self.memo.len())
    }

    fn recall(&mut self, opcode: u8) -> Outcome<()> {
        let key = self.key(opcode)?;
        let id = *self.memo.get(&key).ok_or("a reference to nothing")?;
        self.push_id(id)
    }

    fn global(&mut self, opcode: u8) -> Outcome<()> {
        let name = if opcode == b'c' {
            full_name(self.input.line()?, self.input.line()?)?
        } else {
            let parts = self.pop_many(2)?;
            let part = |id: Id| match self.values[id as usize] {
                Value::Bytes(bytes) => Ok(bytes),
                _ => Err("a class without a name"),
            };
            full_name(part(parts[0])?, part(parts[1])?)?
        };
        (self.allow)(&name)?;
        self.push(Value::Global(name))
    }

    fn call(&mut self) -> Outcome<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let value = |id: Id| &self.values[id as usize];
        if !matches!(value(function), Value::Global(_)) {
            return Err("a call of something that is no function".into());
        }
        if !matches!(value(arguments), Value::Tuple(_)) {
            return Err("a call without a tuple of arguments".into());
        }
        self.push(Value::Object(Object {
            function,
            arguments,
            items: Vec::new(),
            state: None,
        }))
    }

    fn set_state(&mut self) -> Outcome<()> {
        let state = self.pop()?;
        match self.top()? {
            Value::Object(object) => object.state = Some(state),
            _ => return Err("a state of what is no object".into()),
        }
        Ok(())
    }

    fn append(&mut self, opcode: u8) -> Outcome<()> {
        let items = if opcode == b'e' {
            self.pop_mark()?
        } else {
            self.pop_many(1)?
        };
        self.items += items.len();
        bounded(self.items)?;
        match self.top()? {
            Value::List(list) => list.extend(items),
            _ => return Err("an item of what is no list".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, opcode: u8) -> Outcome<()> {
        let items = if opcode == b'u' {
            self.pop_mark()?
        } else {
            self.pop_many(2)?
        };
        self.items += items.len();
        bounded(self.items)?;
        let (Value::Dict(pairs) | Value::Object(Object { items: pairs, .. })) = self.top()? else {
            return Err("an item of what is no dictionary".into());
        };
        pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }
}

fn full_name(module: &[u8], name: &[u8]) -> Outcome<String> {
    if module.len() + name.len() > MAX_NAME {
        let length = module.len() + name.len();
        return Err(format!("a class whose name has {length} bytes"));
    }
    let (module, name) = (
        String::from_utf8_lossy(module),
        String::from_utf8_lossy(name),
    );
    Ok(format!("{module}.{name}"))
}
