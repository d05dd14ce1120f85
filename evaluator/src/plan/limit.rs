//! How many rows of a split are used.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// Rows of each split that are used, where not all are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many.
    Rows(usize),
    /// This part of them, more than 0 and less than 1.
    Share(f64),
}

impl Limit {
    /// Of so many rows; at least one of any.
    pub fn of(self, rows: usize) -> usize {
        match self {
            Self::Rows(most) => most.min(rows),
            Self::Share(share) => ((rows as f64 * share).round() as usize).max(1).min(rows),
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let none =
            || format!("{text:?} is neither a number of rows nor a share, such as 0.1 or 10%");
        if let Ok(rows) = text.parse::<usize>() {
            return if rows > 0 {
                Ok(Self::Rows(rows))
            } else {
                Err(none())
            };
        }
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
            None => text.parse::<f64>(),
        };
        match share {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Share(share)),
            _ => Err(none()),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Rows(rows) => rows.fmt(f),
            Self::Share(share) => share.fmt(f),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Rows(rows) => rows.serialize(to),
            Self::Share(share) => share.serialize(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_shares_are_told_apart() {
        let of = |text: &str, rows| text.parse::<Limit>().map(|limit| limit.of(rows));
        assert_eq!(of("5", 10), Ok(5));
        assert_eq!(of("50", 10), Ok(10));
        assert_eq!(of("0.25", 10), Ok(3));
        assert_eq!(of("1%", 10), Ok(1));
        assert_eq!(of("10%", 1000), Ok(100));
        for wrong in ["0", "-1", "1.0", "0.0", "100%", "ten", "", "nan", "1e-400"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
    }
}
