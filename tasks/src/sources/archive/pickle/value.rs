//! What a pickle describes.

/// What a pickle describes.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Value {
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
    pub(in super::super) fn entry(&self, key: &str) -> Option<&Self> {
        let Self::Pairs(pairs) = self else {
            return None;
        };
        pairs
            .iter()
            .find(|(name, _)| *name == Self::Bytes(key.into()))
            .map(|(_, value)| value)
    }

    /// How many values it is made of, itself included; bytes count by their length.
    pub(super) fn weight(&self) -> usize {
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
    pub(in super::super) fn integers(&self) -> Option<Vec<i64>> {
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
    pub(in super::super) fn array_bytes(&self, shape: &[usize]) -> Option<&[u8]> {
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
