//! Checkpoints that differ in their seed alone, as one row.

use super::entry::Entry;

/// Entries whose names differ in `seed-N` alone, joined.
pub(super) fn join(entries: Vec<Entry>) -> Vec<Entry> {
    let mut joined: Vec<Entry> = Vec::new();
    for mut entry in entries {
        entry.model = without_seed(&entry.model);
        let known = joined.iter_mut().find(|known| {
            known.model == entry.model
                && known.protocol == entry.protocol
                && known.precision == entry.precision
                && known.origin == entry.origin
        });
        match known {
            Some(known) => known.members.extend(entry.members),
            None => joined.push(entry),
        }
    }
    for entry in &mut joined {
        entry
            .members
            .sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    }
    joined
}

/// The name without the part of its path that is `seed-N`.
fn without_seed(name: &str) -> String {
    let is_seed = |part: &&str| {
        let number = part.strip_prefix("seed-");
        number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let parts: Vec<&str> = name.split('/').filter(|part| !is_seed(part)).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_part_of_the_path_is_a_seed() {
        for (name, without) in [
            ("ablation/flava/seed-0/model", "ablation/flava/model"),
            ("ablation/flava/seed-12/model", "ablation/flava/model"),
            ("my-seed-1/model", "my-seed-1/model"),
            ("seed-/model", "seed-/model"),
        ] {
            assert_eq!(without_seed(name), without);
        }
    }
}
