//! The pickle machine: a stack, a memo, and the opcodes that a dictionary of tensors is written
//! with.

use std::{cell::Cell, collections::HashMap};

use super::{
    input::Input,
    value::{Global, Id, Value, global},
    view::{Outcome, View},
};

/// Most values that a pickle may make, marks that it may set, and items that it may put into
/// dictionaries.
const MAX_VALUES: usize = 1 << 20;
/// Most entries of dictionaries that are looked at on the way to tensors: what is shared is looked
/// at each time.
const MAX_VISITED: usize = 1 << 20;
/// Longest name of a tensor, dictionaries included.
const MAX_NAME: usize = 1 << 10;
/// Longest name of a storage.
const MAX_KEY: usize = 1 << 10;
/// Most dimensions of a tensor: PyTorch's own bound.
const MAX_DIMENSIONS: usize = 64;
/// How deep dictionaries may be nested around the tensors (`{"model": {"encoder": ..}}`).
const MAX_DEPTH: usize = 8;

/// What is said of a stack that runs empty.
const TOO_LITTLE: &str = "the pickle takes more than it gave";

fn bounded(count: usize) -> Outcome<()> {
    if count < MAX_VALUES {
        Ok(())
    } else {
        Err(format!("more than {MAX_VALUES} values"))
    }
}

pub(super) struct Machine<'a> {
    input: Input<'a>,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Items put into dictionaries so far.
    items: usize,
    /// Entries looked at so far.
    visited: Cell<usize>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            input: Input::new(data),
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            items: 0,
            visited: Cell::new(0),
        }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.input.at
    }

    /// Runs to the end of the pickle and returns its value.
    pub(super) fn run(&mut self) -> Outcome<Id> {
        loop {
            let opcode = self.input.take::<1>()?[0];
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Outcome<()> {
        match opcode {
            0x80 => _ = self.input.take::<1>()?, // protocol
            0x95 => _ = self.input.take::<8>()?, // frame
            b'(' => {
                self.marks.push(self.stack.len());
                bounded(self.marks.len())?;
            }
            b'0' => _ = self.pop()?,
            b'N' => self.push(Value::None)?,
            0x88 | 0x89 => self.push(Value::Bool)?,
            b'K' | b'M' | b'J' | 0x8a => {
                let int = self.input.int(opcode)?;
                self.push(Value::Int(int))?;
            }
            b'G' => {
                self.input.take::<8>()?;
                self.push(Value::Float)?;
            }
            b'X' | 0x8c => {
                let text = self.input.text(opcode)?;
                self.push(Value::Str(text))?;
            }
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b']' => self.push(Value::List)?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => self.tuple((opcode - 0x84) as usize)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(opcode)?,
            b'c' | 0x93 => self.name(opcode)?,
            b'R' => self.reduce()?,
            b'b' => _ = self.pop()?, // the state of an object: attributes of the dictionary
            b'a' => _ = self.pop()?, // lists are not looked into
            b'e' => _ = self.pop_mark()?,
            b's' | b'u' => self.set_items(opcode)?,
            b'Q' => self.persistent_id()?,
            other => {
                return Err(format!(
                    "pickle opcode {other:#04x} is not one that tensors need"
                ));
            }
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Outcome<()> {
        bounded(self.values.len())?;
        self.values.push(value);
        self.stack.push(self.values.len() as Id - 1);
        Ok(())
    }

    fn pop(&mut self) -> Outcome<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(TOO_LITTLE.into());
        }
        self.stack.pop().ok_or_else(|| TOO_LITTLE.into())
    }

    fn pop_mark(&mut self) -> Outcome<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Outcome<Id> {
        self.stack.last().copied().ok_or_else(|| TOO_LITTLE.into())
    }

    fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    fn tuple(&mut self, count: usize) -> Outcome<()> {
        let mut items = (0..count)
            .map(|_| self.pop())
            .collect::<Outcome<Vec<Id>>>()?;
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn memo(&mut self, opcode: u8) -> Outcome<()> {
        let key = match opcode {
            b'q' | b'h' => self.input.take::<1>()?[0].into(),
            b'r' | b'j' => u32::from_le_bytes(self.input.take()?),
            _ => self.memo.len() as u32,
        };
        if matches!(opcode, b'h' | b'j') {
            let id = *self.memo.get(&key).ok_or("a reference to nothing")?;
            self.stack.push(id);
            bounded(self.stack.len())?;
        } else {
            let id = self.top()?;
            self.memo.insert(key, id);
        }
        Ok(())
    }

    fn name(&mut self, opcode: u8) -> Outcome<()> {
        let (module, name) = if opcode == b'c' {
            (self.input.line()?, self.input.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            (self.str(module)?.to_owned(), self.str(name)?.to_owned())
        };
        self.push(Value::Global(global(&format!("{module}.{name}"))?))
    }

    fn str(&self, id: Id) -> Outcome<&str> {
        if let Value::Str(text) = self.value(id) {
            Ok(text)
        } else {
            Err("a text is missing".into())
        }
    }

    fn items(&self, id: Id) -> Outcome<&[Id]> {
        if let Value::Tuple(items) = self.value(id) {
            Ok(items)
        } else {
            Err("a tuple is missing".into())
        }
    }

    fn number(&self, id: Id) -> Outcome<i64> {
        if let Value::Int(int) = self.value(id) {
            Ok(*int)
        } else {
            Err("an integer is missing".into())
        }
    }

    fn numbers(&self, id: Id) -> Outcome<Vec<i64>> {
        let items = self.items(id)?;
        if items.len() > MAX_DIMENSIONS {
            return Err(format!("a tensor of {} dimensions", items.len()));
        }
        items.iter().map(|&id| self.number(id)).collect()
    }

    /// What a call of one of the known functions would give; nothing is called.
    fn reduce(&mut self) -> Outcome<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Global(function) = *self.value(function) else {
            return Err("a call of something that is no function".into());
        };
        let arguments = self.items(arguments)?;
        // A size is the tuple that it is made of.
        if let (Global::Size, &[sizes]) = (function, arguments) {
            self.items(sizes)?;
            self.stack.push(sizes);
            return bounded(self.stack.len());
        }
        let value = self.result(function, arguments)?;
        self.push(value)
    }

    fn result(&self, function: Global, arguments: &[Id]) -> Outcome<Value> {
        Ok(match (function, arguments) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::OrderedDict, _) => Value::Ignored,
            (Global::RebuildTensor, &[storage, offset, size, stride, ..]) => {
                Value::Tensor(self.view(storage, offset, size, stride)?)
            }
            (Global::RebuildParameter, &[tensor, ..]) => match self.value(tensor) {
                Value::Tensor(view) => Value::Tensor(view.clone()),
                _ => return Err("a parameter without a tensor".into()),
            },
            _ => {
                return Err(format!(
                    "a call of {function:?} with {} arguments",
                    arguments.len()
                ));
            }
        })
    }

    fn view(&self, storage: Id, offset: Id, size: Id, stride: Id) -> Outcome<View> {
        let Value::Storage {
            key,
            kind,
            elements,
        } = self.value(storage)
        else {
            return Err("a tensor without a storage".into());
        };
        Ok(View {
            key: key.clone(),
            kind: *kind,
            elements: *elements,
            offset: self.number(offset)?,
            size: self.numbers(size)?,
            stride: self.numbers(stride)?,
        })
    }

    fn set_items(&mut self, opcode: u8) -> Outcome<()> {
        let items = if opcode == b'u' {
            self.pop_mark()?
        } else {
            let (value, key) = (self.pop()?, self.pop()?);
            vec![key, value]
        };
        self.items += items.len();
        bounded(self.items)?;
        let target = self.top()?;
        if let Value::Dict(pairs) = &mut self.values[target as usize] {
            pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }

    /// `("storage", class, key, device, elements)`.
    fn persistent_id(&mut self) -> Outcome<()> {
        let id = self.pop()?;
        let &[tag, class, key, _, elements, ..] = self.items(id)? else {
            return Err("a persistent id that is no storage".into());
        };
        let (Value::Str(tag), Value::Global(Global::Storage(kind))) =
            (self.value(tag), self.value(class))
        else {
            return Err("a persistent id that is no storage".into());
        };
        if tag != "storage" {
            return Err(format!("a persistent id of kind {tag:?}"));
        }
        let key = self.str(key)?;
        if key.len() > MAX_KEY {
            return Err(format!("a storage whose name has {} bytes", key.len()));
        }
        let storage = Value::Storage {
            key: key.to_owned(),
            kind: *kind,
            elements: self.number(elements)?,
        };
        self.push(storage)
    }

    /// Gives every tensor below `id` with its dotted path.
    pub(super) fn collect(
        &self,
        id: Id,
        path: &str,
        depth: usize,
        found: &mut dyn FnMut(String, &View) -> Outcome<()>,
    ) -> Outcome<()> {
        match self.value(id) {
            Value::Tensor(view) => found(path.to_owned(), view),
            Value::Dict(_) if depth >= MAX_DEPTH => {
                Err(format!("dictionaries nested deeper than {MAX_DEPTH}"))
            }
            Value::Dict(pairs) => {
                self.visited.set(self.visited.get() + pairs.len());
                if self.visited.get() > MAX_VISITED {
                    return Err(format!("more than {MAX_VISITED} entries of dictionaries"));
                }
                for &(key, value) in pairs {
                    if let Value::Str(key) = self.value(key) {
                        self.collect(value, &joined(path, key)?, depth + 1, found)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A name within a path, if they are not too long together.
fn joined(path: &str, key: &str) -> Outcome<String> {
    let path = if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    };
    if path.len() > MAX_NAME {
        return Err(format!("a name of {} bytes", path.len()));
    }
    Ok(path)
}
