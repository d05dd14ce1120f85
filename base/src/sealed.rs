//! Values in files of our own that must come back as they were: a digest stands behind them.

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{is_there, read, say};

/// Largest file that is kept to save time.
const MAX_KEPT: u64 = 8 << 30;

const DIGEST: usize = 32;

fn digest(form: &str, bytes: &[u8]) -> [u8; DIGEST] {
    Sha256::new()
        .chain_update(form)
        .chain_update([0])
        .chain_update(bytes)
        .finalize()
        .into()
}

/// A value as bytes with their digest; `form` names what it is and its version.
pub fn seal<T: Serialize>(form: &str, value: &T) -> Option<Vec<u8>> {
    let mut bytes = postcard::to_stdvec(value).ok()?;
    let seal = digest(form, &bytes);
    bytes.extend(seal);
    Some(bytes)
}

/// What [`seal`] wrote into a file that saves time. It can be made again: None where there is none,
/// and where it is damaged or of another version, which is said.
pub fn read_sealed<T: DeserializeOwned>(form: &str, path: &Path) -> Option<T> {
    if !is_there(path) {
        return None;
    }
    let value = read(path, MAX_KEPT)
        .ok()
        .and_then(|bytes| unseal(form, &bytes));
    if value.is_none() {
        say(&format!(
            "{}: is damaged or of another version: what it held is computed again",
            path.display()
        ));
    }
    value
}

/// The value of [`seal`]'s bytes; None where a bit of them differs, or they are of another form.
fn unseal<T: DeserializeOwned>(form: &str, bytes: &[u8]) -> Option<T> {
    let (bytes, seal) = bytes.split_last_chunk::<DIGEST>()?;
    (digest(form, bytes) == *seal).then(|| postcard::from_bytes(bytes).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_passes() {
        let value = (vec![1u64, 2, 3], "text".to_owned());
        let bytes = seal("v1", &value).unwrap();
        assert_eq!(unseal("v1", &bytes), Some(value));
        assert_eq!(unseal::<(Vec<u64>, String)>("v2", &bytes), None);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal::<(Vec<u64>, String)>("v1", &damaged), None);
        }
        assert!(
            (0..bytes.len()).all(|cut| unseal::<(Vec<u64>, String)>("v1", &bytes[..cut]).is_none())
        );
    }
}
