//! The pickle machine: a stack, a memo, and the opcodes that a dictionary of tensors is written
//! with.

use std::{cell::Cell, collections::HashMap};

use tch::Kind;

use super::{Outcome, View};

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

pub(super) type Id = u32;

#[derive(Debug)]
enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    Str(String),
    Tuple(Vec<Id>),
    List,
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage {
        key: String,
        kind: Kind,
        elements: i64,
    },
    Tensor(View),
    /// Something of which nothing is needed, such as a dictionary's attributes.
    Ignored,
}

#[derive(Clone, Copy, Debug)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Kind),
}

/// The names a checkpoint may mention, and what is done with them.
fn global(name: &str) -> Outcome<Global> {
    let kind = match name {
        "collections.OrderedDict" => return Ok(Global::OrderedDict),
        "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => {
            return Ok(Global::RebuildTensor);
        }
        "torch._utils._rebuild_parameter" => return Ok(Global::RebuildParameter),
        "torch.Size" => return Ok(Global::Size),
        "torch.FloatStorage" => Kind::Float,
        "torch.DoubleStorage" => Kind::Double,
        "torch.HalfStorage" => Kind::Half,
        "torch.BFloat16Storage" => Kind::BFloat16,
        "torch.LongStorage" => Kind::Int64,
        "torch.IntStorage" => Kind::Int,
        "torch.ShortStorage" => Kind::Int16,
        "torch.CharStorage" => Kind::Int8,
        "torch.ByteStorage" => Kind::Uint8,
        "torch.BoolStorage" => Kind::Bool,
        _ => {
            return Err(format!(
                "refuses to load {name}: a checkpoint needs tensors only. Save the state_dict alone"
            ));
        }
    };
    Ok(Global::Storage(kind))
}

fn bounded(count: usize) -> Outcome<()> {
    if count < MAX_VALUES {
        Ok(())
    } else {
        Err(format!("more than {MAX_VALUES} values"))
    }
}

pub(super) struct Machine<'a> {
    data: &'a [u8],
    pub(super) at: usize,
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
            data,
            at: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            items: 0,
            visited: Cell::new(0),
        }
    }

    /// Runs to the end of the pickle and returns its value.
    pub(super) fn run(&mut self) -> Outcome<Id> {
        loop {
            let opcode = self.take::<1>()?[0];
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Outcome<()> {
        match opcode {
            0x80 => _ = self.take::<1>()?, // protocol
            0x95 => _ = self.take::<8>()?, // frame
            b'(' => {
                self.marks.push(self.stack.len());
                bounded(self.marks.len())?;
            }
            b'0' => _ = self.pop()?,
            b'N' => self.push(Value::None)?,
            0x88 | 0x89 => self.push(Value::Bool)?,
            b'K' | b'M' | b'J' | 0x8a => {
                let int = self.int(opcode)?;
                self.push(Value::Int(int))?;
            }
            b'G' => {
                self.take::<8>()?;
                self.push(Value::Float)?;
            }
            b'X' | 0x8c => {
                let text = self.text(opcode)?;
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

    fn take<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.slice(N)
            .map(|s| s.try_into().expect("a slice of N bytes"))
    }

    fn slice(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let end = self
            .at
            .checked_add(count)
            .filter(|&end| end <= self.data.len())
            .ok_or("data.pkl is cut off")?;
        let slice = &self.data[self.at..end];
        self.at = end;
        Ok(slice)
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
            return Err("the pickle takes more than it gave".into());
        }
        Ok(self.stack.pop().expect("it is longer than the floor"))
    }

    fn pop_mark(&mut self) -> Outcome<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Outcome<Id> {
        self.stack
            .last()
            .copied()
            .ok_or_else(|| "the pickle takes more than it gave".into())
    }

    fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    fn int(&mut self, opcode: u8) -> Outcome<i64> {
        Ok(match opcode {
            b'K' => self.take::<1>()?[0].into(),
            b'M' => u16::from_le_bytes(self.take()?).into(),
            b'J' => i32::from_le_bytes(self.take()?).into(),
            _ => {
                let length = self.take::<1>()?[0] as usize;
                let bytes = self.slice(length)?;
                if length > 8 {
                    return Err(format!("an integer of {length} bytes"));
                }
                let mut wide = [if bytes.last().is_some_and(|b| b & 0x80 != 0) {
                    0xff
                } else {
                    0
                }; 8];
                wide[..length].copy_from_slice(bytes);
                i64::from_le_bytes(wide)
            }
        })
    }

    fn text(&mut self, opcode: u8) -> Outcome<String> {
        let length = if opcode == b'X' {
            u32::from_le_bytes(self.take()?) as usize
        } else {
            self.take::<1>()?[0] as usize
        };
        let bytes = self.slice(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a text that is not UTF-8".into())
    }

    fn line(&mut self) -> Outcome<String> {
        let length = self.data[self.at..]
            .iter()
            .position(|&b| b == b'\n')
            .ok_or("data.pkl is cut off")?;
        let line = String::from_utf8_lossy(self.slice(length)?).into_owned();
        self.slice(1)?;
        Ok(line)
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
            b'q' | b'h' => self.take::<1>()?[0].into(),
            b'r' | b'j' => u32::from_le_bytes(self.take()?),
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
            (self.line()?, self.line()?)
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
        let value = match (function, arguments) {
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
        };
        self.push(value)
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
                    let Value::Str(key) = self.value(key) else {
                        continue;
                    };
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    if path.len() > MAX_NAME {
                        return Err(format!("a name of {} bytes", path.len()));
                    }
                    self.collect(value, &path, depth + 1, found)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
