//! Names that nobody knows, and the known ones that may have been meant.

/// Likeness from which on a name may have been meant.
const LIKE: f64 = 0.75;

/// What is added to a message about an unknown name: the known ones nearest to it, at most so many;
/// nothing where none is near.
pub fn did_you_mean<'a, N: AsRef<str> + ?Sized + 'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a N>,
    most: usize,
) -> String {
    let scored = known
        .into_iter()
        .map(N::as_ref)
        .map(|other| (strsim::jaro_winkler(name, other), other));
    let mut near: Vec<(f64, &str)> = scored.filter(|(likeness, _)| *likeness > LIKE).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<&str> = near
        .into_iter()
        .take(most)
        .map(|(_, known)| known)
        .collect();
    if near.is_empty() {
        String::new()
    } else {
        format!("\nhint: did you mean {}?", near.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_far_ones_not_at_all() {
        let known = ["cifar10", "cifar100", "mnist"];
        assert_eq!(
            did_you_mean("minst", known, 2),
            "\nhint: did you mean mnist?"
        );
        assert_eq!(
            did_you_mean("cifar", known, 2),
            "\nhint: did you mean cifar10 or cifar100?"
        );
        assert_eq!(
            did_you_mean("cifar", known, 1),
            "\nhint: did you mean cifar10?"
        );
        assert_eq!(did_you_mean("glue", known, 3), "");
    }
}
