//! Positions of a batch that losses read: an encoder's last block computes no others.

use std::ops::Range;

use flava_model::{EncoderOutput, Rows};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// Sequences that an encoder runs over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequences {
    /// How many.
    pub count: i64,
    /// Positions of each.
    pub length: i64,
    /// Where they are.
    pub device: Device,
}

/// Positions that a head reads.
#[derive(Debug)]
pub(crate) struct LossPositions {
    /// Their places in all sequences one after another, \[rows\].
    pub positions: Tensor,
    /// Their labels, \[rows\]; none where nothing is scored, and every position of the sequences is
    /// read.
    pub labels: Option<Tensor>,
    /// The sequences that are read, where all their positions are.
    pub sequences: i64,
}

impl Sequences {
    /// The positions of `range` with a label that is not `ignore`. Labels \[count, labelled\] stand
    /// for the last positions of the range: it may start with tokens that have none. Sequences that
    /// are not `kept` \[count\] are left out.
    pub fn labelled(
        self,
        range: Range<i64>,
        labels: Option<&Tensor>,
        ignore: i64,
        kept: Option<&Tensor>,
    ) -> Result<LossPositions> {
        let positions = range.end - range.start;
        let labelled = labels.map_or(Ok(positions), |labels| {
            labels.size2().map(|(_, labelled)| labelled)
        })?;
        if labelled > positions {
            return Err(Error::Input(format!(
                "{labelled} labels for {positions} positions"
            )));
        }
        let asked = self.asked(labelled, labels, ignore, kept)?;
        let found = asked.f_reshape([-1])?.f_nonzero()?.f_squeeze_dim(-1)?; // [rows]
        let sequence = found.f_div_scalar_mode(labelled.max(1), "floor")?;
        let positions = found
            .f_add(&sequence.f_mul_scalar(self.length - labelled)?)?
            .f_add_scalar(range.end - labelled)?;
        let labels = labels
            .map(|labels| labels.f_reshape([-1])?.f_index_select(0, &found))
            .transpose()?;
        Ok(LossPositions {
            sequences: positions.size()[0] / labelled.max(1),
            positions,
            labels,
        })
    }

    /// Which of the `labelled` last positions are scored: \[count, labelled\] bool.
    fn asked(
        self,
        labelled: i64,
        labels: Option<&Tensor>,
        ignore: i64,
        kept: Option<&Tensor>,
    ) -> Result<Tensor> {
        let asked = match labels {
            Some(labels) => labels.f_ne(ignore)?,
            None => Tensor::f_ones([self.count, labelled], (Kind::Bool, self.device))?,
        };
        Ok(match kept {
            Some(kept) => asked.f_logical_and(&kept.f_unsqueeze(-1)?)?,
            None => asked,
        })
    }

    /// The first position of each.
    pub fn cls(self) -> Result<LossPositions> {
        let positions =
            Tensor::f_arange(self.count, (Kind::Int64, self.device))?.f_mul_scalar(self.length)?;
        Ok(LossPositions {
            positions,
            labels: None,
            sequences: self.count,
        })
    }
}

/// The rows that an encoder has to give for what is `asked`.
pub(crate) fn rows_to_compute(asked: &[&LossPositions], all_states: bool) -> Result<Rows> {
    let positions: Vec<&Tensor> = asked.iter().map(|positions| &positions.positions).collect();
    Ok(if all_states {
        Rows::All
    } else {
        Rows::At(Tensor::f_cat(&positions, 0)?.into())
    })
}

/// The normed states \[rows, size\] of each that was `asked`, from the rows that were computed.
pub(crate) fn states_of(
    encoded: &EncoderOutput,
    rows: &Rows,
    asked: &[&LossPositions],
) -> Result<Vec<Tensor>> {
    let states = &encoded.last_hidden_state;
    if let Rows::At(_) = rows {
        let sizes: Vec<i64> = asked
            .iter()
            .map(|positions| positions.positions.size()[0])
            .collect();
        return Ok(states.f_split_with_sizes(sizes, 0)?);
    }
    Ok(asked
        .iter()
        .map(|positions| Rows::At(positions.positions.shallow_clone().into()).of(states))
        .collect::<std::result::Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sequences of five positions, of which the last three may be scored.
    #[test]
    fn labels_stand_for_the_last_positions_of_their_range() {
        let labels = Tensor::from_slice(&[-1i64, 7, -1, 8, 9, -1]).view([2, 3]);
        let numbers = |t: &Tensor| Vec::<i64>::try_from(t).unwrap();
        let sequences = Sequences {
            count: 2,
            length: 5,
            device: Device::Cpu,
        };
        let positions = sequences.labelled(1..5, Some(&labels), -1, None).unwrap();
        assert_eq!(
            (
                numbers(&positions.positions),
                numbers(&positions.labels.unwrap())
            ),
            (vec![3, 7, 8], vec![7, 8, 9])
        );
        let kept = Tensor::from_slice(&[false, true]);
        let positions = sequences
            .labelled(0..4, Some(&labels), -1, Some(&kept))
            .unwrap();
        assert_eq!(
            (
                numbers(&positions.positions),
                numbers(&positions.labels.unwrap())
            ),
            (vec![6, 7], vec![8, 9])
        );
        let all = sequences.labelled(1..3, None, -1, Some(&kept)).unwrap();
        assert_eq!((numbers(&all.positions), all.sequences), (vec![6, 7], 1));
        assert_eq!(numbers(&sequences.cls().unwrap().positions), [0, 5]);
        assert!(
            sequences.labelled(3..5, Some(&labels), -1, None).is_err(),
            "three labels for two positions"
        );
    }
}
