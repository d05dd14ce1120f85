//! BERT's special tokens.

/// In the order that this crate keeps them in.
pub(super) const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// The keys of `tokenizer_config.json` that name them, in the order of [`SPECIAL`].
pub(super) const SPECIAL_KEYS: [&str; 5] = [
    "pad_token",
    "unk_token",
    "cls_token",
    "sep_token",
    "mask_token",
];
