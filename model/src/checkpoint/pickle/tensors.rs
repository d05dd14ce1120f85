//! The tensors that a pickle's objects describe.

use flava_base::pickle::{Id, Object, Pickle, Value};
use tch::Kind;

use super::view::{Outcome, View};

/// Most entries of dictionaries that are looked at on the way to tensors: what is shared is looked
/// at each time.
const MAX_VISITED: usize = 1 << 20;
/// Longest name of a tensor, dictionaries included, and of a storage.
const MAX_NAME: usize = 1 << 10;
/// Most bytes of all tensors' names together.
const MAX_NAMES: usize = 1 << 26;
/// Most dimensions of a tensor: PyTorch's own bound.
const MAX_DIMENSIONS: usize = 64;
/// How deep dictionaries may be nested around the tensors (`{"model": {"encoder": ..}}`).
const MAX_DEPTH: usize = 8;

/// Objects that can be looked into.
const ORDERED_DICT: &str = "collections.OrderedDict";
const REBUILD_TENSOR: [&str; 2] = [
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor",
];
const REBUILD_PARAMETER: &str = "torch._utils._rebuild_parameter";
/// A tuple that PyTorch calls otherwise.
const SIZE: &str = "torch.Size";

/// Refuses every class and function but those that a dictionary of tensors is made of.
///
/// # Errors
///
/// With the refused name.
pub(super) fn allow(name: &str) -> Outcome<()> {
    let known = [ORDERED_DICT, REBUILD_PARAMETER, SIZE];
    if known.contains(&name) || REBUILD_TENSOR.contains(&name) || storage_kind(name).is_some() {
        return Ok(());
    }
    Err(format!(
        "refuses to load {name}: a checkpoint needs tensors only. Save the state_dict alone"
    ))
}

/// The type of a storage's elements.
fn storage_kind(name: &str) -> Option<Kind> {
    Some(match name {
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
        _ => return None,
    })
}

/// The walk through a pickle's dictionaries.
pub(super) struct Tensors<'a> {
    pickle: &'a Pickle<'a>,
    /// Entries looked at so far.
    visited: usize,
    /// Bytes of names so far.
    named: usize,
}

impl<'a> Tensors<'a> {
    pub(super) fn of(pickle: &'a Pickle<'a>) -> Self {
        Self {
            pickle,
            visited: 0,
            named: 0,
        }
    }

    /// Gives every tensor with its dotted path through the dictionaries. What lies in lists and
    /// tuples is not looked at, nor are keys that are no texts.
    ///
    /// # Errors
    ///
    /// A tensor that is none, counts out of bounds, the reasons that `found` gives.
    pub(super) fn collect(
        &mut self,
        found: &mut dyn FnMut(String, View) -> Outcome<()>,
    ) -> Outcome<()> {
        self.collect_below(self.pickle.top(), "", 0, found)
    }

    fn collect_below(
        &mut self,
        id: Id,
        path: &str,
        depth: usize,
        found: &mut dyn FnMut(String, View) -> Outcome<()>,
    ) -> Outcome<()> {
        let pickle = self.pickle;
        let pairs = match pickle.get(id) {
            Value::Dict(pairs) => pairs,
            Value::Object(object) if pickle.function(object) == ORDERED_DICT => &object.items,
            Value::Object(object) => {
                return match self.tensor(object) {
                    Ok(Some(view)) => found(path.to_owned(), view),
                    Ok(None) => Ok(()),
                    Err(reason) => Err(format!("tensor {path}: {reason}")),
                };
            }
            _ => return Ok(()),
        };
        if depth >= MAX_DEPTH {
            return Err(format!("dictionaries nested deeper than {MAX_DEPTH}"));
        }
        self.visited += pairs.len();
        if self.visited > MAX_VISITED {
            return Err(format!("more than {MAX_VISITED} entries of dictionaries"));
        }
        for &(key, value) in pairs {
            if let Some(key) = pickle.bytes(key) {
                let path = self.joined(path, key)?;
                self.collect_below(value, &path, depth + 1, found)?;
            }
        }
        Ok(())
    }

    /// A name within a path, if they are not too long.
    fn joined(&mut self, path: &str, key: &[u8]) -> Outcome<String> {
        let length = path.len() + 1 + key.len();
        self.named += length;
        if length > MAX_NAME {
            return Err(format!("a name of {length} bytes"));
        }
        if self.named > MAX_NAMES {
            return Err(format!("names of more than {MAX_NAMES} bytes"));
        }
        let key = std::str::from_utf8(key).map_err(|_| "a name that is not UTF-8")?;
        Ok(if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        })
    }

    /// The tensor that an object is, if it is one.
    fn tensor(&self, object: &Object) -> Outcome<Option<View>> {
        let function = self.pickle.function(object);
        match self.pickle.arguments(object) {
            &[storage, offset, size, stride, ..] if REBUILD_TENSOR.contains(&function) => {
                self.view(storage, offset, size, stride).map(Some)
            }
            &[tensor, ..] if function == REBUILD_PARAMETER => match self.pickle.get(tensor) {
                Value::Object(inner) if self.pickle.function(inner) != REBUILD_PARAMETER => {
                    self.tensor(inner)
                }
                _ => Err("a parameter without a tensor".into()),
            },
            _ if function == SIZE => Ok(None),
            arguments => Err(format!(
                "a call of {function} with {} arguments",
                arguments.len()
            )),
        }
    }

    fn view(&self, storage: Id, offset: Id, size: Id, stride: Id) -> Outcome<View> {
        let (key, kind, elements) = self.storage(storage)?;
        Ok(View {
            key: key.to_owned(),
            kind,
            elements,
            offset: self.pickle.int(offset).ok_or("an integer is missing")?,
            size: self.dimensions(size)?,
            stride: self.dimensions(stride)?,
        })
    }

    /// Name, type and number of elements of `("storage", class, name, device, elements)`.
    fn storage(&self, id: Id) -> Outcome<(&'a str, Kind, i64)> {
        let pickle = self.pickle;
        let Value::Persistent(tuple) = *pickle.get(id) else {
            return Err("a tensor without a storage".into());
        };
        let none = "a persistent id that is no storage";
        let &[tag, class, key, _, elements, ..] = pickle.items(tuple).ok_or(none)? else {
            return Err(none.into());
        };
        let (Some("storage"), Value::Global(class)) = (pickle.text(tag), pickle.get(class)) else {
            return Err(none.into());
        };
        let kind = storage_kind(class).ok_or(none)?;
        let key = pickle.text(key).ok_or("a storage without a name")?;
        if key.len() > MAX_NAME {
            return Err(format!("a storage whose name has {} bytes", key.len()));
        }
        let elements = pickle.int(elements).ok_or("an integer is missing")?;
        Ok((key, kind, elements))
    }

    /// The numbers of a tuple, or of the `torch.Size` that was made of one.
    fn dimensions(&self, id: Id) -> Outcome<Vec<i64>> {
        let pickle = self.pickle;
        let tuple = match pickle.get(id) {
            Value::Object(object) if pickle.function(object) == SIZE => {
                pickle.arguments(object).first().copied()
            }
            _ => Some(id),
        };
        let sizes = tuple.and_then(|tuple| pickle.items(tuple));
        let sizes = sizes.ok_or("a tuple is missing")?;
        if sizes.len() > MAX_DIMENSIONS {
            return Err(format!("a tensor of {} dimensions", sizes.len()));
        }
        let sizes = sizes.iter().map(|&size| pickle.int(size));
        let sizes: Option<Vec<i64>> = sizes.collect();
        sizes.ok_or_else(|| "an integer is missing".into())
    }
}
