//! What a pickle of tensors is made of.

use tch::Kind;

use super::view::{Outcome, View};

/// The place of a value in the arena.
pub(super) type Id = u32;

#[derive(Debug)]
pub(super) enum Value {
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
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Kind),
}

/// The names a checkpoint may mention, and what is done with them.
pub(super) fn global(name: &str) -> Outcome<Global> {
    Ok(match name {
        "collections.OrderedDict" => Global::OrderedDict,
        "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => Global::RebuildTensor,
        "torch._utils._rebuild_parameter" => Global::RebuildParameter,
        "torch.Size" => Global::Size,
        "torch.FloatStorage" => Global::Storage(Kind::Float),
        "torch.DoubleStorage" => Global::Storage(Kind::Double),
        "torch.HalfStorage" => Global::Storage(Kind::Half),
        "torch.BFloat16Storage" => Global::Storage(Kind::BFloat16),
        "torch.LongStorage" => Global::Storage(Kind::Int64),
        "torch.IntStorage" => Global::Storage(Kind::Int),
        "torch.ShortStorage" => Global::Storage(Kind::Int16),
        "torch.CharStorage" => Global::Storage(Kind::Int8),
        "torch.ByteStorage" => Global::Storage(Kind::Uint8),
        "torch.BoolStorage" => Global::Storage(Kind::Bool),
        _ => {
            return Err(format!(
                "refuses to load {name}: a checkpoint needs tensors only. Save the state_dict alone"
            ));
        }
    })
}
