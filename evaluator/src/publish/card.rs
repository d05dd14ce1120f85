//! The card of a repository of results.

/// A config for each table: the Hub's viewer wants all files of one to have the same columns.
///
/// No features are declared, since the viewer breaks where they age.
const CARD: &str = "---
license: cc-by-4.0
pretty_name: FLAVA evaluation
configs:
- config_name: leaderboard
  data_files: leaderboard.csv
  default: true
- config_name: results
  data_files: \"results/*.csv\"
---

# FLAVA evaluation

Measured with `flava-eval` and published with `flava-eval publish`.

* `leaderboard.csv`: a row for each checkpoint and protocol.
* `results/`: a table for each checkpoint, with a row for each score, its standard error, its 95 % interval, and the revisions
  and digests of the model and of the data that it is of.
* `report.html`: the last report, if one was published.
* `predictions/`: what the models answered, row by row, where it was published.

```python
from datasets import load_dataset

board = load_dataset(\"REPO\", \"leaderboard\", split=\"train\")
scores = load_dataset(\"REPO\", \"results\", split=\"train\")
```
";

/// The card of a repository that has none.
pub(super) fn card(repo: &str) -> String {
    CARD.replace("REPO", repo)
}

/// Whether a card tells the viewer where the shared table is.
pub(super) fn shows_tables(card: &str) -> bool {
    card.contains("data_files: leaderboard.csv") && card.contains("results/*.csv")
}
