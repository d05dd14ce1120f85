//! Sums that begin while the backward pass still computes. A unit whose gradients are complete goes
//! out, in an order that process 0 has found in an earlier step and all keep to: all processes then
//! come to the same collectives, whatever each of them has computed so far. What is not complete in
//! time goes out after the pass.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    rc::{Rc, Weak},
};

use flava_model::runtime::{
    distributed::{Group, Work},
    on_gradient,
};
use tch::{Kind, Tensor};

use super::units::{Unit, move_gradient};
use crate::Result;

/// The gradients of all processes, on their way to their sums.
pub(crate) struct Sums {
    group: Group,
    parameters: Vec<Tensor>,
    pub(super) units: Vec<Unit>,
    /// Whether each process takes its part of a sum alone.
    in_parts: bool,
    /// In which order the units of a kind of batch are complete.
    orders: RefCell<BTreeMap<&'static str, Vec<usize>>>,
    pass: RefCell<Pass>,
}

/// A unit's gradients on their way to their sum.
pub(super) struct UnderWay {
    /// The sum, or this process's part of it, once `work` is done.
    pub(super) sum: Tensor,
    pub(super) work: Work,
    /// Its parameters that had a gradient here.
    pub(super) reached: Vec<usize>,
}

/// A step's backward passes.
#[derive(Default)]
struct Pass {
    kind: &'static str,
    /// Whether the last of them has begun.
    is_last: bool,
    order: Vec<usize>,
    /// How many of the order have gone out.
    gone: usize,
    /// Parameters of each unit that the last pass has reached.
    arrived: Vec<usize>,
    /// Units in the order in which they were complete.
    complete: Vec<usize>,
    under_way: BTreeMap<usize, UnderWay>,
    /// Whether a unit could not go out: it and those after it wait for the end of the pass.
    is_held_up: bool,
}

impl fmt::Debug for Sums {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "sums of {} units", self.units.len())
    }
}

impl Sums {
    /// Of the parameters of units, which are told of their gradients from now on.
    pub(super) fn new(
        group: &Group,
        parameters: &[(String, Tensor)],
        units: Vec<Unit>,
        in_parts: bool,
    ) -> Result<Rc<Self>> {
        let sums = Rc::new(Self {
            group: group.clone(),
            parameters: parameters
                .iter()
                .map(|(_, it)| it.shallow_clone())
                .collect(),
            units,
            in_parts,
            orders: RefCell::default(),
            pass: RefCell::default(),
        });
        for (number, unit) in sums.units.iter().enumerate() {
            for slot in &unit.slots {
                // Else the parameters would keep what keeps the parameters.
                let told: Weak<Self> = Rc::downgrade(&sums);
                on_gradient(&sums.parameters[slot.parameter], move || {
                    if let Some(sums) = told.upgrade() {
                        sums.arrive(number);
                    }
                })?;
            }
        }
        Ok(sums)
    }

    /// Before the backward passes of a batch of a kind. What is left of others is dropped.
    pub(crate) fn begin(&self, kind: &'static str) -> Result<()> {
        for (_, under_way) in std::mem::take(&mut self.pass.borrow_mut().under_way) {
            under_way.work.wait()?;
        }
        let order = self.orders.borrow().get(kind).cloned();
        self.pass.replace(Pass {
            kind,
            order: order.unwrap_or_default(),
            arrived: vec![0; self.units.len()],
            ..Pass::default()
        });
        Ok(())
    }

    /// The next backward pass is the step's last: what it has given a parameter is all.
    pub(crate) fn begin_last(&self) {
        self.pass.borrow_mut().is_last = true;
    }

    /// A parameter of a unit has its gradient.
    fn arrive(&self, unit: usize) {
        let mut pass = self.pass.borrow_mut();
        if !pass.is_last {
            return;
        }
        pass.arrived[unit] += 1;
        if pass.arrived[unit] != self.units[unit].slots.len() {
            return;
        }
        pass.complete.push(unit);
        while !pass.is_held_up
            && let Some(&next) = pass.order.get(pass.gone)
            && pass.complete.contains(&next)
        {
            // Memory may be short while activations are kept: there is more at the end.
            pass.is_held_up = self.send_next(&mut pass).is_err();
        }
    }

    fn send_next(&self, pass: &mut Pass) -> Result<()> {
        let unit = pass.order[pass.gone];
        let under_way = self.send(unit)?;
        pass.under_way.insert(unit, under_way);
        pass.gone += 1;
        Ok(())
    }

    /// Begins to sum what a unit has of gradients, which are taken away.
    pub(super) fn send(&self, unit: usize) -> Result<UnderWay> {
        let _guard = tch::no_grad_guard();
        let unit = &self.units[unit];
        let device = self.parameters[unit.slots[0].parameter].device();
        let whole = Tensor::f_zeros([unit.length as i64], (Kind::Float, device))?;
        let part = if self.in_parts {
            let size = (unit.length / self.group.world()) as i64;
            Some(Tensor::f_empty([size], (Kind::Float, device))?)
        } else {
            None
        };
        let mut reached = Vec::new();
        for slot in &unit.slots {
            let parameter = &self.parameters[slot.parameter];
            if parameter.grad().defined() {
                reached.push(slot.parameter);
                move_gradient(parameter, &whole, slot, true)?;
            }
        }
        let (sum, work) = if let Some(part) = part {
            let work = self.group.reduce_scatter(&part, &whole)?;
            (part, work)
        } else {
            let work = self.group.sum(&whole)?;
            (whole, work)
        };
        Ok(UnderWay { sum, work, reached })
    }

    /// After the backward passes: sends what of the order is left, since the others have.
    ///
    /// # Errors
    /// If that cannot be begun. It ends the process, also where memory is short: the others are
    /// past where fewer rows at once could be agreed on.
    pub(crate) fn end(&self) -> Result<()> {
        let mut pass = self.pass.borrow_mut();
        while pass.gone < pass.order.len() {
            self.send_next(&mut pass).map_err(|error| {
                let reason = format!("gradients cannot be summed: {error}");
                crate::Error::Model(flava_model::Error::Process(reason))
            })?;
        }
        Ok(())
    }

    /// What has gone out, by unit.
    pub(super) fn take(&self) -> BTreeMap<usize, UnderWay> {
        std::mem::take(&mut self.pass.borrow_mut().under_way)
    }

    /// After a step: the order for batches of this kind, without the units that got more gradients
    /// once they had gone.
    pub(super) fn learn_order(&self, late: &[usize]) -> Result<()> {
        let pass = self.pass.borrow();
        let mut orders = self.orders.borrow_mut();
        if let Some(order) = orders.get_mut(pass.kind) {
            order.retain(|unit| !late.contains(unit));
            return Ok(());
        }
        // What came more than once in a pass may come again after it has gone.
        let is_once = |unit: usize| pass.arrived[unit] == self.units[unit].slots.len();
        let place = |unit: usize| {
            let place = pass.complete.iter().position(|complete| *complete == unit);
            place.filter(|_| is_once(unit))
        };
        let places = (0..self.units.len()).map(|unit| place(unit).map_or(-1.0, |at| at as f64));
        let of_first = self
            .group
            .exchange(&places.collect::<Vec<_>>())?
            .swap_remove(0);
        let mut order: Vec<usize> = (0..self.units.len()).collect();
        order.retain(|unit| of_first[*unit] >= 0.0);
        order.sort_by(|a, b| of_first[*a].total_cmp(&of_first[*b]));
        if !order.is_empty() {
            orders.insert(pass.kind, order);
        }
        Ok(())
    }
}
