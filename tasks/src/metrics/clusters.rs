//! Rows that belong together.

use std::collections::BTreeMap;

/// The members of each cluster, in order of the clusters.
pub(super) fn grouped(clusters: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, &cluster) in clusters.iter().enumerate() {
        groups.entry(cluster).or_default().push(row);
    }
    groups
}
