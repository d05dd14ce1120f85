//! `torch.save` zip files, read without running pickle.
//!
//! The machine below knows the opcodes and the handful of names that a dictionary of tensors is made of. Every other
//! opcode, class or function is refused by name, so a file can do nothing but describe tensors. Values lie in an arena:
//! neither nesting nor sharing can exhaust the stack or memory.

use std::{
    collections::{BTreeMap, HashMap},
    io::Cursor,
    path::Path,
    sync::Arc,
};

use memmap2::Mmap;
use tch::Kind;
use zip::{CompressionMethod, ZipArchive};

use super::file::CheckpointTensor;
use crate::{Error, Result};

/// Largest `data.pkl` that is read; flava-full's has some 60 kB.
const MAX_PICKLE: usize = 1 << 26;
/// Most values that a pickle may make.
const MAX_VALUES: usize = 1 << 22;
/// How deep dictionaries may be nested around the tensors (`{"model": {"encoder": ..}}`).
const MAX_DEPTH: usize = 8;
/// Most tensors.
const MAX_TENSORS: usize = 1 << 20;

/// The tensors of the file `path`, mapped as `map`, by dotted path through its dictionaries.
pub(super) fn read(path: &Path, map: &Arc<Mmap>) -> Result<BTreeMap<String, CheckpointTensor>> {
    read_archive(map).map_err(|reason| Error::file(path, reason))
}

type Outcome<T> = std::result::Result<T, String>;

fn read_archive(map: &Arc<Mmap>) -> Outcome<BTreeMap<String, CheckpointTensor>> {
    let members = members(map)?;
    let pickles: Vec<&String> = members.keys().filter(|name| name.ends_with("/data.pkl")).collect();
    let [name] = pickles[..] else { return Err(format!("a zip file with {} data.pkl: not written by torch.save", pickles.len())) };
    let root = name.trim_end_matches("data.pkl");
    if let Some(range) = members.get(&format!("{root}byteorder"))
        && &map[range.clone()] != b"little"
    {
        return Err("was written on a big-endian machine".into());
    }
    let pickle = &map[members[name].clone()];
    if pickle.len() > MAX_PICKLE {
        return Err(format!("its data.pkl has {} bytes", pickle.len()));
    }
    let mut machine = Machine::new(pickle);
    let top = machine.run().map_err(|reason| format!("{reason} (byte {} of data.pkl)", machine.at))?;
    let mut tensors = BTreeMap::new();
    let storage = |key: &str| members.get(&format!("{root}data/{key}")).cloned();
    machine.collect(top, "", 0, &mut |name, view| {
        let tensor = view.open(map, &storage).map_err(|reason| format!("tensor {name}: {reason}"))?;
        if tensors.len() >= MAX_TENSORS {
            return Err(format!("more than {MAX_TENSORS} tensors"));
        }
        tensors.insert(strip_wrapper(&name).to_owned(), tensor);
        Ok(())
    })?;
    Ok(tensors)
}

/// Trainers wrap a state dictionary once or twice.
fn strip_wrapper(name: &str) -> &str {
    let name = ["model_state_dict.", "state_dict."].iter().find_map(|w| name.strip_prefix(w)).unwrap_or(name);
    name.strip_prefix("module.").unwrap_or(name)
}

/// Where each member's bytes lie; torch.save compresses none, so a compressed one is refused unread.
fn members(map: &Mmap) -> Outcome<HashMap<String, std::ops::Range<usize>>> {
    let mut archive = ZipArchive::new(Cursor::new(&map[..])).map_err(|e| format!("is no whole zip file: {e}"))?;
    let mut members = HashMap::new();
    for i in 0..archive.len() {
        let member = archive.by_index_raw(i).map_err(|e| format!("zip member {i}: {e}"))?;
        let name = member.name().to_owned();
        if member.compression() != CompressionMethod::Stored {
            return Err(format!("zip member {name} is compressed; torch.save compresses none"));
        }
        let start = member.data_start() as usize;
        let end = start.checked_add(member.size() as usize).filter(|&end| end <= map.len());
        members.insert(name.clone(), start..end.ok_or_else(|| format!("zip member {name} is cut off"))?);
    }
    Ok(members)
}

type Id = u32;

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
        "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => return Ok(Global::RebuildTensor),
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
        _ => return Err(format!("refuses to load {name}: a checkpoint needs tensors only. Save the state_dict alone")),
    };
    Ok(Global::Storage(kind))
}

/// A tensor as its pickle describes it.
#[derive(Clone, Debug)]
struct View {
    key: String,
    kind: Kind,
    elements: i64,
    offset: i64,
    size: Vec<i64>,
    stride: Vec<i64>,
}

impl View {
    fn open(&self, map: &Arc<Mmap>, storage: &dyn Fn(&str) -> Option<std::ops::Range<usize>>) -> Outcome<CheckpointTensor> {
        let range = storage(&self.key).ok_or_else(|| format!("its storage {} is missing", self.key))?;
        let element = self.kind.elt_size_in_bytes();
        let held = (range.len() / element) as i64;
        if held < self.elements {
            return Err(format!("its storage {} has {held} of {} elements", self.key, self.elements));
        }
        let reach = self.reach().filter(|&reach| reach <= held);
        let reach = reach
            .ok_or_else(|| format!("shape {:?}, strides {:?}, offset {} reach past its storage", self.size, self.stride, self.offset))?;
        let start = range.start + self.offset as usize * element;
        // Only what the view reaches: a large storage may be shared by many views.
        let range = start..range.start + reach.max(self.offset) as usize * element;
        Ok(CheckpointTensor { map: Arc::clone(map), kind: self.kind, size: self.size.clone(), stride: self.stride.clone(), range })
    }

    /// One past the last element of the storage that the view touches; None for what no tensor has.
    fn reach(&self) -> Option<i64> {
        if self.size.len() != self.stride.len() || self.offset < 0 || self.size.iter().chain(&self.stride).any(|&n| n < 0) {
            return None;
        }
        // A zero stride would let a small file ask for any amount of memory.
        let expanded = self.size.iter().zip(&self.stride).any(|(&size, &stride)| size > 1 && stride == 0);
        let count = self.size.iter().try_fold(1i64, |n, &size| n.checked_mul(size))?;
        if count == 0 {
            return (self.offset <= self.elements).then_some(self.offset);
        }
        if expanded || count > self.elements {
            return None;
        }
        let steps =
            self.size.iter().zip(&self.stride).try_fold(0i64, |n, (&size, &stride)| n.checked_add((size - 1).checked_mul(stride)?))?;
        self.offset.checked_add(steps)?.checked_add(1)
    }
}

struct Machine<'a> {
    data: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
    }

    /// Runs to the end of the pickle and returns its value.
    fn run(&mut self) -> Outcome<Id> {
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
            b'(' => self.marks.push(self.stack.len()),
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
            other => return Err(format!("pickle opcode {other:#04x} is not one that tensors need")),
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.slice(N).map(|s| s.try_into().expect("a slice of N bytes"))
    }

    fn slice(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.data.len()).ok_or("data.pkl is cut off")?;
        let slice = &self.data[self.at..end];
        self.at = end;
        Ok(slice)
    }

    fn push(&mut self, value: Value) -> Outcome<()> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
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
        self.stack.last().copied().ok_or_else(|| "the pickle takes more than it gave".into())
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
                let mut wide = [if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 }; 8];
                wide[..length].copy_from_slice(bytes);
                i64::from_le_bytes(wide)
            }
        })
    }

    fn text(&mut self, opcode: u8) -> Outcome<String> {
        let length = if opcode == b'X' { u32::from_le_bytes(self.take()?) as usize } else { self.take::<1>()?[0] as usize };
        let bytes = self.slice(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a text that is not UTF-8".into())
    }

    fn line(&mut self) -> Outcome<String> {
        let length = self.data[self.at..].iter().position(|&b| b == b'\n').ok_or("data.pkl is cut off")?;
        let line = String::from_utf8_lossy(self.slice(length)?).into_owned();
        self.slice(1)?;
        Ok(line)
    }

    fn tuple(&mut self, count: usize) -> Outcome<()> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Outcome<Vec<Id>>>()?;
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
            if self.stack.len() > MAX_VALUES {
                return Err(format!("more than {MAX_VALUES} values"));
            }
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
        if let Value::Str(text) = self.value(id) { Ok(text) } else { Err("a text is missing".into()) }
    }

    fn items(&self, id: Id) -> Outcome<&[Id]> {
        if let Value::Tuple(items) = self.value(id) { Ok(items) } else { Err("a tuple is missing".into()) }
    }

    fn number(&self, id: Id) -> Outcome<i64> {
        if let Value::Int(int) = self.value(id) { Ok(*int) } else { Err("an integer is missing".into()) }
    }

    fn numbers(&self, id: Id) -> Outcome<Vec<i64>> {
        self.items(id)?.iter().map(|&id| self.number(id)).collect()
    }

    /// What a call of one of the known functions would give; nothing is called.
    fn reduce(&mut self) -> Outcome<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Global(function) = *self.value(function) else { return Err("a call of something that is no function".into()) };
        let arguments = self.items(arguments)?;
        let value = match (function, arguments) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::OrderedDict, _) => Value::Ignored,
            (Global::Size, &[sizes]) => Value::Tuple(self.items(sizes)?.to_vec()),
            (Global::RebuildTensor, &[storage, offset, size, stride, ..]) => Value::Tensor(self.view(storage, offset, size, stride)?),
            (Global::RebuildParameter, &[tensor, ..]) => match self.value(tensor) {
                Value::Tensor(view) => Value::Tensor(view.clone()),
                _ => return Err("a parameter without a tensor".into()),
            },
            _ => return Err(format!("a call of {function:?} with {} arguments", arguments.len())),
        };
        self.push(value)
    }

    fn view(&self, storage: Id, offset: Id, size: Id, stride: Id) -> Outcome<View> {
        let Value::Storage { key, kind, elements } = self.value(storage) else { return Err("a tensor without a storage".into()) };
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
        let target = self.top()?;
        if let Value::Dict(pairs) = &mut self.values[target as usize] {
            pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }

    /// `("storage", class, key, device, elements)`.
    fn persistent_id(&mut self) -> Outcome<()> {
        let id = self.pop()?;
        let &[tag, class, key, _, elements, ..] = self.items(id)? else { return Err("a persistent id that is no storage".into()) };
        let (Value::Str(tag), Value::Global(Global::Storage(kind))) = (self.value(tag), self.value(class)) else {
            return Err("a persistent id that is no storage".into());
        };
        if tag != "storage" {
            return Err(format!("a persistent id of kind {tag:?}"));
        }
        let storage = Value::Storage { key: self.str(key)?.to_owned(), kind: *kind, elements: self.number(elements)? };
        self.push(storage)
    }

    /// Gives every tensor below `id` with its dotted path.
    fn collect(&self, id: Id, path: &str, depth: usize, found: &mut dyn FnMut(String, &View) -> Outcome<()>) -> Outcome<()> {
        match self.value(id) {
            Value::Tensor(view) => found(path.to_owned(), view),
            Value::Dict(_) if depth >= MAX_DEPTH => Err(format!("dictionaries nested deeper than {MAX_DEPTH}")),
            Value::Dict(pairs) => {
                for &(key, value) in pairs {
                    if let Value::Str(key) = self.value(key) {
                        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                        self.collect(value, &path, depth + 1, found)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
