//! What a pickle describes: values that refer to each other by number.

/// The number of a value in a pickle's arena.
pub type Id = u32;

/// A value of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of at most eight bytes.
    Int(i64),
    /// A float.
    Float(f64),
    /// The bytes of `bytes`, of a `str` in UTF-8, or of Python 2's `str`.
    Bytes(&'a [u8]),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dictionary, in the order of insertion.
    Dict(Vec<(Id, Id)>),
    /// A class or a function, as `module.name`.
    Global(String),
    /// What the pickle's writer called by a persistent id.
    Persistent(Id),
    /// What a call of a class or a function would have made.
    Object(Object),
}

/// A call that was not made.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The called [`Value::Global`].
    pub function: Id,
    /// The [`Value::Tuple`] of its arguments.
    pub arguments: Id,
    /// What was set as the object's items afterwards.
    pub items: Vec<(Id, Id)>,
    /// What was set as the object's state afterwards.
    pub state: Option<Id>,
}

/// What a pickle describes.
#[derive(Debug)]
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    top: Id,
}

impl<'a> Pickle<'a> {
    pub(super) fn new(values: Vec<Value<'a>>, top: Id) -> Self {
        Self { values, top }
    }

    /// The value that the pickle was made of.
    pub fn top(&self) -> Id {
        self.top
    }

    /// The value of this number.
    pub fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    /// The bytes or the text of this number.
    pub fn bytes(&self, id: Id) -> Option<&'a [u8]> {
        match self.get(id) {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of this number, if it is UTF-8.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(id)?).ok()
    }

    /// The integer of this number.
    pub fn int(&self, id: Id) -> Option<i64> {
        match *self.get(id) {
            Value::Int(int) => Some(int),
            _ => None,
        }
    }

    /// The items of the tuple or list of this number.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The integers of the tuple or list of this number.
    pub fn ints(&self, id: Id) -> Option<Vec<i64>> {
        self.items(id)?.iter().map(|&id| self.int(id)).collect()
    }

    /// The name of an object's function, as `module.name`.
    pub fn function(&self, object: &Object) -> &str {
        match self.get(object.function) {
            Value::Global(name) => name,
            _ => "",
        }
    }

    /// An object's arguments.
    pub fn arguments(&self, object: &Object) -> &[Id] {
        self.items(object.arguments).unwrap_or_default()
    }
}
