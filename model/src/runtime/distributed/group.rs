//! Processes that compute one thing together: sums and gatherings of their tensors.
#![allow(unsafe_code, reason = "the shim takes raw tensors and c10d's objects")]

use std::{
    any::Any,
    cell::{Cell, OnceCell, RefCell},
    fmt,
    ops::Range,
    rc::Rc,
};

use tch::{Device, Kind, Tensor};

use super::{
    backends::uses_nccl,
    check,
    peers::Peers,
    place::COLLECTIVES,
    raw::{
        RawGroup, RawWork, flava_group_all_gather, flava_group_broadcast, flava_group_free,
        flava_group_reduce_scatter, flava_group_sum, flava_work_free, flava_work_wait,
    },
    work::{Started, Work},
};
use crate::{Error, Result};

/// The processes of a training. All of them call the same collectives in the same order; a process
/// alone is a group of one, whose collectives do nothing.
#[derive(Clone, Debug)]
pub struct Group(Rc<Members>);

struct Members {
    rank: usize,
    world: usize,
    /// None of a process alone, and of one that only stands for others.
    backend: Option<Backend>,
    /// Collectives and their bytes, of a group that is only simulated.
    trace: RefCell<Vec<Exchange>>,
    /// Pieces of work that were named so far.
    pieces: Cell<usize>,
}

/// A collective that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What it does.
    pub collective: Collective,
    /// Bytes of its whole tensor: what all processes put together, or what is summed.
    pub bytes: usize,
    /// Of its numbers.
    pub kind: Kind,
}

struct Backend {
    /// Over Gloo.
    raw: *mut RawGroup,
    /// Whether tensors of GPUs go over NCCL, and not through the host's memory.
    uses_nccl: bool,
    /// Over NCCL, from the first tensor of a GPU on.
    nccl: OnceCell<*mut RawGroup>,
    peers: Peers,
    /// Whether each collective is first compared.
    checks: bool,
    /// Collectives so far.
    number: Cell<i64>,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "process {} of {}", self.rank, self.world)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        for group in self.nccl.get().into_iter().chain([&self.raw]) {
            // SAFETY: made by the shim, and nobody else's.
            unsafe { flava_group_free(*group) }
        }
    }
}

/// What a collective does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collective {
    /// Sums tensors into all of them.
    Sum = 1,
    /// Puts the tensors of all processes side by side.
    AllGather,
    /// Sums tensors, of which each process gets a part.
    ReduceScatter,
    /// Gives all the first one's tensor.
    Broadcast,
}

/// Of `count` things in order, those that are one process's: all parts differ by one at most.
pub fn share(rank: usize, world: usize, count: usize) -> Range<usize> {
    rank * count / world..(rank + 1) * count / world
}

impl Group {
    /// A process alone.
    pub fn alone() -> Self {
        Self::simulated(0, 1)
    }

    /// One of so many processes, the others of which are not there: each is taken to have what this
    /// one has. It does what the real one would do, and keeps a trace of what it would exchange.
    pub fn simulated(rank: usize, world: usize) -> Self {
        Self(Rc::new(Members {
            rank,
            world,
            backend: None,
            trace: RefCell::default(),
            pieces: Cell::new(0),
        }))
    }

    /// What a simulated group has exchanged since it was asked last.
    pub fn take_trace(&self) -> Vec<Exchange> {
        self.0.trace.take()
    }

    /// The processes of a run, which meet over Gloo; from then on the failure of one ends all.
    ///
    /// # Errors
    /// If one of them does not come.
    pub fn meet(peers: &Peers) -> Result<Self> {
        let checks = std::env::var_os("FLAVA_CHECK").is_some_and(|value| value == "1");
        Self::compared(peers, checks)
    }

    /// The same, each of whose collectives is compared with the others' first, or none.
    fn compared(peers: &Peers, checks: bool) -> Result<Self> {
        let (rank, world) = (peers.place().rank, peers.place().world);
        let uses_nccl = uses_nccl()?;
        let Some(raw) = peers.open_group()? else {
            return Ok(Self::alone());
        };
        let group = Self(Rc::new(Members {
            rank,
            world,
            backend: Some(Backend {
                raw,
                uses_nccl,
                nccl: OnceCell::new(),
                peers: peers.clone(),
                checks,
                number: Cell::new(0),
            }),
            trace: RefCell::default(),
            pieces: Cell::new(0),
        }));
        peers.stand_together();
        let all = group.exchange(&[f64::from(uses_nccl)])?;
        if let Some(rank) = all.iter().position(|other| *other != all[0]) {
            return Err(Error::Process(format!(
                "process {rank} has another {COLLECTIVES} than process 0"
            )));
        }
        Ok(group)
    }

    /// This process, counted from 0.
    pub fn rank(&self) -> usize {
        self.0.rank
    }

    /// All processes.
    pub fn world(&self) -> usize {
        self.0.world
    }

    /// Whether this process speaks for all.
    pub fn leads(&self) -> bool {
        self.0.rank == 0
    }

    /// Whether there is something to exchange: not for a process alone, unless it was made to go the
    /// way of several.
    pub fn has_others(&self) -> bool {
        self.0.world > 1 || self.0.backend.is_some()
    }

    /// Of `count` things in order, those that are this process's: all parts differ by one at most.
    pub fn share(&self, count: usize) -> Range<usize> {
        share(self.0.rank, self.0.world, count)
    }

    /// The most that any process has of `count` things.
    pub fn largest_share(&self, count: usize) -> usize {
        count.div_ceil(self.0.world)
    }

    /// A name for a piece of work that all processes come to, which no other piece has: what was told
    /// of one is not taken for what is told of another.
    pub fn piece(&self, name: &str) -> String {
        let number = self.0.pieces.get() + 1;
        self.0.pieces.set(number);
        format!("{name}, {number}")
    }

    /// Puts the sum of all processes' tensors into each.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn sum(&self, tensor: &Tensor) -> Result<Work> {
        self.start(Collective::Sum, tensor, tensor)
    }

    /// Puts every process's `from` into `into`, in the order of the processes.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn all_gather(&self, into: &Tensor, from: &Tensor) -> Result<Work> {
        self.start(Collective::AllGather, into, from)
    }

    /// Puts this process's part of the sum of all processes' `from` into `into`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn reduce_scatter(&self, into: &Tensor, from: &Tensor) -> Result<Work> {
        self.start(Collective::ReduceScatter, into, from)
    }

    /// Puts process 0's tensor into all.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn broadcast(&self, tensor: &Tensor) -> Result<Work> {
        self.start(Collective::Broadcast, tensor, tensor)
    }

    /// The processes, as they share work out.
    pub fn peers(&self) -> Peers {
        match &self.0.backend {
            None => Peers::alone(),
            Some(backend) => backend.peers.clone(),
        }
    }

    /// Starts a collective. Gloo knows the host's memory alone: tensors of a GPU go through it, or
    /// over NCCL.
    fn start(&self, what: Collective, into: &Tensor, from: &Tensor) -> Result<Work> {
        let _guard = tch::no_grad_guard();
        let is_one = into.as_ptr() == from.as_ptr();
        let Some(backend) = &self.0.backend else {
            self.0.simulate(what, into, from)?;
            return Ok(Work::done());
        };
        backend.compare(what, from, self.0.world)?;
        if let (true, Device::Cuda(gpu)) = (backend.uses_nccl, into.device()) {
            let (into, from) = (into.f_detach()?, from.f_detach()?);
            let raw = backend.start(backend.over_nccl(gpu)?, what, &into, &from)?;
            return Ok(self.under_way(raw, into, from, None));
        }
        let host_from = from.f_detach()?.f_to_device(Device::Cpu)?;
        let host_into = if is_one {
            host_from.shallow_clone()
        } else if into.device() == Device::Cpu {
            into.f_detach()?
        } else {
            Tensor::f_empty(into.size(), (into.kind(), Device::Cpu))?
        };
        let raw = backend.start(backend.raw, what, &host_into, &host_from)?;
        let is_staged = into.device() != Device::Cpu;
        let result = is_staged.then(|| into.shallow_clone());
        Ok(self.under_way(raw, host_into, host_from, result))
    }

    fn under_way(
        &self,
        raw: *mut RawWork,
        into: Tensor,
        from: Tensor,
        result: Option<Tensor>,
    ) -> Work {
        Work::started(Started {
            raw,
            peers: self.peers(),
            into,
            from,
            result,
            group: Rc::clone(&self.0) as Rc<dyn Any>,
        })
    }
}

impl Members {
    fn simulate(&self, what: Collective, into: &Tensor, from: &Tensor) -> Result<()> {
        let Self { rank, world, .. } = *self;
        if world > 1 {
            let kind = from.kind();
            self.trace.borrow_mut().push(Exchange {
                collective: what,
                bytes: into.numel().max(from.numel()) * kind.elt_size_in_bytes(),
                kind,
            });
        }
        let mut into = into.shallow_clone();
        match what {
            Collective::Sum => drop(into.f_mul_scalar_(world as i64)?),
            Collective::Broadcast => {}
            Collective::AllGather => {
                let all = from
                    .f_reshape([1, -1])?
                    .f_expand([world as i64, -1], false)?;
                into.f_copy_(&all.f_reshape(into.size())?)?;
            }
            Collective::ReduceScatter => {
                let size = into.numel() as i64;
                let own = from
                    .f_reshape([-1])?
                    .f_narrow(0, rank as i64 * size, size)?;
                into.f_copy_(&own.f_view_as(&into)?.f_mul_scalar(world as i64)?)?;
            }
        }
        Ok(())
    }
}

impl Backend {
    /// The group over NCCL, to which all processes come with their first tensor of a GPU.
    fn over_nccl(&self, gpu: usize) -> Result<*mut RawGroup> {
        if let Some(group) = self.nccl.get() {
            return Ok(*group);
        }
        let made = self.peers.open_nccl(gpu)?;
        let group = made.ok_or_else(|| Error::Process("a process alone has no group".into()))?;
        Ok(*self.nccl.get_or_init(|| group))
    }

    fn start(
        &self,
        group: *const RawGroup,
        what: Collective,
        into: &Tensor,
        from: &Tensor,
    ) -> Result<*mut RawWork> {
        let mut raw = std::ptr::null_mut();
        let out = &raw mut raw;
        let (into, from) = (into.as_ptr().cast_mut(), from.as_ptr().cast_mut());
        // SAFETY: the caller keeps the tensors until the work is done.
        let code = unsafe {
            match what {
                Collective::Sum => flava_group_sum(group, into, out),
                Collective::AllGather => flava_group_all_gather(group, into, from, out),
                Collective::ReduceScatter => flava_group_reduce_scatter(group, into, from, out),
                Collective::Broadcast => flava_group_broadcast(group, into, 0, out),
            }
        };
        check(code).map_err(|error| self.peers.explained(error))?;
        Ok(raw)
    }

    /// Whether all processes come to the same collective: a process that comes to another would
    /// be ended by Gloo.
    fn compare(&self, what: Collective, tensor: &Tensor, world: usize) -> Result<()> {
        let number = self.number.get();
        self.number.set(number + 1);
        if !self.checks {
            return Ok(());
        }
        let count = tensor.numel() as i64;
        let mine = [number, what as i64, tensor.kind() as i64, count];
        let from = Tensor::f_from_slice(&mine)?;
        let size = [(world * mine.len()) as i64];
        let into = Tensor::f_empty(size, (Kind::Int64, Device::Cpu))?;
        let raw = self.start(self.raw, Collective::AllGather, &into, &from)?;
        // SAFETY: made by the shim; freed once it is done, its tensors living until then.
        let waited = unsafe {
            let code = flava_work_wait(raw);
            flava_work_free(raw);
            code
        };
        check(waited).map_err(|error| self.peers.explained(error))?;
        let all = Vec::<i64>::try_from(into)?;
        for (rank, theirs) in all.chunks_exact(mine.len()).enumerate() {
            if *theirs != mine {
                return Err(Error::Process(format!(
                    "process {rank} comes to collective {theirs:?}, this one to {mine:?} (number, kind of \
                     collective, kind of number, numbers)"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{
        super::{peers::meet, together::together},
        *,
    };

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.to_kind(Kind::Double).view(-1).try_into().unwrap()
    }

    #[test]
    fn collectives_are_sums_and_gatherings_of_every_size_and_kind() {
        for world in [1, 2, 3, 4] {
            for kind in [
                Kind::Float,
                Kind::Double,
                Kind::BFloat16,
                Kind::Half,
                Kind::Int,
                Kind::Int64,
            ] {
                let all = together(world, |group| {
                    let own = |count: i64| {
                        let own = Tensor::arange(count, (Kind::Double, Device::Cpu));
                        (own + group.rank() as f64).to_kind(kind)
                    };
                    let mut found = Vec::new();
                    for count in [0, 1, 5] {
                        let sum = own(count);
                        group.sum(&sum).unwrap().wait().unwrap();
                        let all = Tensor::zeros([count * world as i64], (kind, Device::Cpu));
                        group.all_gather(&all, &own(count)).unwrap().wait().unwrap();
                        let part = Tensor::zeros([count], (kind, Device::Cpu));
                        let whole = own(count * world as i64);
                        group.reduce_scatter(&part, &whole).unwrap().wait().unwrap();
                        let said = own(count);
                        group.broadcast(&said).unwrap().wait().unwrap();
                        found.push([sum, all, part, said].map(|tensor| numbers(&tensor)));
                    }
                    found
                });
                let ranks = (world * (world - 1) / 2) as f64;
                for (rank, found) in all.into_iter().enumerate() {
                    for (count, [sum, all, part, said]) in [0, 1, 5].into_iter().zip(found) {
                        let sum_at = |place: usize| (place * world) as f64 + ranks;
                        assert!(sum.into_iter().eq((0..count).map(sum_at)));
                        let gathered = |r: usize| (0..count).map(move |i| (i + r) as f64);
                        assert!(all.into_iter().eq((0..world).flat_map(gathered)));
                        assert!(
                            part.into_iter()
                                .eq((0..count).map(|i| sum_at(rank * count + i)))
                        );
                        assert!(said.into_iter().eq(gathered(0)));
                    }
                }
            }
        }
    }

    /// Several under way at once, waited for in another order: each has its own sum, the same bits in
    /// all processes.
    #[test]
    fn collectives_under_way_may_be_waited_for_in_any_order() {
        let all = together(3, |group| {
            let own = |number: i64| {
                let numbers = Tensor::arange(1000 + number, (Kind::Float, Device::Cpu));
                (numbers * 0.37 + group.rank() as f64 + number as f64).sin()
            };
            let tensors: Vec<Tensor> = (0..6).map(own).collect();
            let works: Vec<Work> = tensors.iter().map(|t| group.sum(t).unwrap()).collect();
            works
                .into_iter()
                .rev()
                .for_each(|work| work.wait().unwrap());
            let one = own(7);
            group.sum(&one).unwrap().wait().unwrap();
            let of = |tensor: &Tensor| numbers(tensor);
            (tensors.iter().map(of).collect::<Vec<_>>(), of(&one))
        });
        assert!(all.iter().all(|of_process| *of_process == all[0]));
        let expected: f64 = (0..3)
            .map(|rank| (0.37 + f64::from(rank) + 5.0).sin())
            .sum();
        assert!((all[0].0[5][1] - expected).abs() < 1e-5);
    }

    /// A process that comes to another collective is named before it ends all.
    #[test]
    fn collectives_that_differ_are_found_where_they_are_compared() {
        for (number, different) in [("count", 4), ("kind", 5)] {
            let (_store, peers) = meet(2);
            let errors: Vec<String> = thread::scope(|scope| {
                let act = |peers: Peers| {
                    scope.spawn(move || {
                        let group = Group::compared(&peers, true).unwrap();
                        let kind = match peers.place().rank {
                            1 if number == "kind" => Kind::Double,
                            _ => Kind::Float,
                        };
                        let count = if peers.leads() { 5 } else { different };
                        let tensor = Tensor::zeros([count], (kind, Device::Cpu));
                        let error = group.sum(&tensor).map(drop).unwrap_err().to_string();
                        peers.part().unwrap();
                        error
                    })
                };
                let threads: Vec<_> = peers.into_iter().map(act).collect();
                let joined = threads.into_iter().map(|thread| thread.join().unwrap());
                joined.collect()
            });
            for (rank, error) in errors.iter().enumerate() {
                let other = format!("process {} comes to collective", 1 - rank);
                assert!(error.contains(&other), "{number}: {error}");
            }
        }
    }

    /// Where there are no GPUs, no NCCL either, and the message says what to do.
    #[test]
    fn nccl_that_is_not_there_is_an_error() {
        if tch::Cuda::device_count() > 0 {
            return;
        }
        for error in together(2, |group| group.peers().open_nccl(0).unwrap_err()) {
            let error = error.to_string();
            assert!(error.contains("without FLAVA_COLLECTIVES=nccl"), "{error}");
        }
    }
}
