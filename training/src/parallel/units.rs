//! Parameters in units that are exchanged at once: a block, a table, what is small of a tower.

use std::ops::Range;

use flava_model::runtime::set_gradient;
use tch::{Kind, Tensor};

/// Numbers that a parameter's place in its unit is a multiple of: the optimiser's kernel rounds
/// the rest of a vector register otherwise.
const ALIGNED: usize = 64;
/// Numbers of a parameter that is a unit by itself.
const LARGE: usize = 1 << 20;

/// A parameter's place in its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its place among all parameters.
    pub(super) parameter: usize,
    /// Its numbers in the unit.
    pub(super) range: Range<usize>,
}

impl Slot {
    /// It, of a size, in a whole unit.
    pub(super) fn of_whole(&self, whole: &Tensor, size: &[i64]) -> flava_model::Result<Tensor> {
        let (start, length) = (self.range.start as i64, self.range.len() as i64);
        Ok(whole.f_narrow(0, start, length)?.f_view(size)?)
    }

    /// Its numbers that are in a part of the unit: where in the parameter they begin, and where in
    /// the part.
    pub(super) fn within(&self, part: &Range<usize>) -> Option<Slice> {
        let start = self.range.start.max(part.start);
        let end = self.range.end.min(part.end);
        (start < end).then(|| Slice {
            of_parameter: start - self.range.start..end - self.range.start,
            of_part: start - part.start,
        })
    }
}

/// Units whose sums are under way while the next is put together.
pub(super) const AT_ONCE: usize = 2;

/// A sum with more added to it.
pub(super) fn with_more(sum: Option<Tensor>, more: Tensor) -> flava_model::Result<Tensor> {
    Ok(match sum {
        Some(mut sum) => sum.f_add_(&more)?,
        None => more,
    })
}

/// Moves a parameter's gradient, if it has one, to its place in a whole unit: as the first there, or
/// added to what is there.
pub(super) fn move_gradient(
    parameter: &Tensor,
    whole: &Tensor,
    slot: &Slot,
    is_first: bool,
) -> flava_model::Result<()> {
    let gradient = parameter.grad();
    if !gradient.defined() {
        return Ok(());
    }
    let mut place = slot.of_whole(whole, &gradient.size())?;
    if is_first {
        place.f_copy_(&gradient)?;
    } else {
        let _sum = place.f_add_(&gradient)?;
    }
    set_gradient(parameter, None)
}

/// What of a parameter is in a part of its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Its numbers.
    pub(super) of_parameter: Range<usize>,
    /// Where in the part they begin.
    pub(super) of_part: usize,
}

/// Parameters that are exchanged at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    /// Whether it is a block of an encoder.
    pub(super) is_block: bool,
    /// In which its weights are gathered, where they are lent.
    pub(super) kind: Kind,
    pub(super) slots: Vec<Slot>,
    /// Numbers with what fills up to equal parts for all processes.
    pub(super) length: usize,
}

impl Unit {
    /// Whether any of its parameters has a gradient in any process.
    pub(super) fn is_reached(&self, reached: &[f64]) -> bool {
        self.slots.iter().any(|slot| reached[slot.parameter] > 0.0)
    }
}

/// The units of parameters by name and size, each in equal parts for so many processes. Blocks are
/// gathered in the kind of `products`; where that is not f32 they are of matrices alone, which
/// products read, and norms and biases are among what is small.
pub(super) fn units<'p>(
    parameters: impl Iterator<Item = (&'p str, &'p [i64])>,
    world: usize,
    products: Kind,
) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (number, (name, size)) in parameters.enumerate() {
        let is_gathered = products == Kind::Float || size.len() > 1;
        let block = block_of(name).filter(|_| is_gathered);
        let size = size.iter().product::<i64>() as usize;
        let of = match block {
            Some(block) => block,
            None if size >= LARGE => name,
            None => tower_of(name),
        };
        let known = units.iter().position(|known| known.name == of);
        let place = known.unwrap_or_else(|| {
            units.push(Unit {
                name: of.to_owned(),
                is_block: block.is_some(),
                kind: if block.is_some() {
                    products
                } else {
                    Kind::Float
                },
                slots: Vec::new(),
                length: 0,
            });
            units.len() - 1
        });
        let unit = &mut units[place];
        unit.slots.push(Slot {
            parameter: number,
            range: unit.length..unit.length + size,
        });
        unit.length = (unit.length + size).next_multiple_of(ALIGNED);
    }
    for unit in &mut units {
        unit.length = unit.length.next_multiple_of(world * ALIGNED);
    }
    units
}

/// Whether a parameter is of a block.
pub(super) fn is_of_block(name: &str) -> bool {
    block_of(name).is_some()
}

/// The block that a parameter is of: its name up to the number of the layer.
fn block_of(name: &str) -> Option<&str> {
    const LAYER: &str = ".layer.";
    let start = name.find(LAYER)? + LAYER.len();
    let digits = name[start..].find('.')?;
    Some(&name[..start + digits])
}

/// The first two parts of a name: what it is of.
fn tower_of(name: &str) -> &str {
    let mut dots = name.match_indices('.').map(|(place, _)| place);
    let second = dots.nth(1);
    &name[..second.unwrap_or(name.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_tables_are_units_in_equal_aligned_parts() {
        const TABLE: &[i64] = &[1024, 1024];
        let sizes = [
            ("flava.text_model.embeddings.word_embeddings.weight", TABLE),
            ("flava.text_model.embeddings.cls", &[7]),
            ("flava.text_model.encoder.layer.0.dense.weight", &[10, 10]),
            ("flava.text_model.encoder.layer.0.dense.bias", &[10]),
            ("flava.text_model.encoder.layer.10.dense.bias", &[10]),
            ("flava.text_model.layernorm.bias", &[64]),
            ("flava.logit_scale", &[]),
        ];
        let found = units(sizes.into_iter(), 3, Kind::Float);
        let slot = |parameter, start: usize, size: usize| Slot {
            parameter,
            range: start..start + size,
        };
        let slots: Vec<Vec<Slot>> = found.iter().map(|unit| unit.slots.clone()).collect();
        assert_eq!(
            slots,
            [
                vec![slot(0, 0, LARGE)],
                vec![slot(1, 0, 7), slot(5, 64, 64)],
                vec![slot(2, 0, 100), slot(3, 128, 10)],
                vec![slot(4, 0, 10)],
                vec![slot(6, 0, 1)],
            ]
        );
        assert!(found.iter().all(|unit| unit.length % (3 * ALIGNED) == 0));
        assert!(found.iter().all(|unit| unit.length < LARGE + 3 * ALIGNED));
        let halves = units(sizes.into_iter(), 3, Kind::BFloat16);
        let kinds = halves.iter().map(|unit| (unit.kind, unit.slots.clone()));
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            [
                (Kind::Float, vec![slot(0, 0, LARGE)]),
                (
                    Kind::Float,
                    vec![
                        slot(1, 0, 7),
                        slot(3, 64, 10),
                        slot(4, 128, 10),
                        slot(5, 192, 64)
                    ]
                ),
                (Kind::BFloat16, vec![slot(2, 0, 100)]),
                (Kind::Float, vec![slot(6, 0, 1)]),
            ]
        );
    }

    #[test]
    fn parts_of_a_unit_hold_slices_of_parameters() {
        let slot = Slot {
            parameter: 0,
            range: 100..200,
        };
        let slice = |of_parameter, of_part| {
            Some(Slice {
                of_parameter,
                of_part,
            })
        };
        assert_eq!(slot.within(&(0..64)), None);
        assert_eq!(slot.within(&(64..128)), slice(0..28, 36));
        assert_eq!(slot.within(&(128..192)), slice(28..92, 0));
        assert_eq!(slot.within(&(192..256)), slice(92..100, 0));
        assert_eq!(slot.within(&(200..256)), None);
    }
}
