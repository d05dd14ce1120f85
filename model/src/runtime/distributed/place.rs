//! Which process of a run this is, as its launcher says in the environment.

use std::env;

use crate::{Error, Result};

/// What names what tensors of GPUs go over.
pub(super) const COLLECTIVES: &str = "FLAVA_COLLECTIVES";

/// Where the processes of a run meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeetingPoint {
    /// Host of the store.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the launcher serves it; else process 0 does.
    pub launcher_serves: bool,
    /// What the keys of this attempt begin with: a restarted one must not read those of the one before.
    pub prefix: String,
}

impl MeetingPoint {
    /// The store, and who keeps it.
    pub(super) fn store_name(&self) -> String {
        let Self { host, port, .. } = self;
        if self.launcher_serves {
            format!("the launcher's store at {host}:{port}")
        } else {
            format!("process 0 on {host}, which keeps the run's store at port {port}")
        }
    }
}

/// One process of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// This one, counted from 0 over all machines.
    pub rank: usize,
    /// All of them.
    pub world: usize,
    /// This one, counted from 0 on its machine.
    pub local_rank: usize,
    /// Those of its machine.
    pub local_world: usize,
    /// Where they meet; none for a process alone, unless `FLAVA_COLLECTIVES` has it go the way of
    /// several, over a group of one: what a GPU needs for it can then be tried with one.
    pub meeting: Option<MeetingPoint>,
}

impl Place {
    /// Whether the store lives as long as the launcher, and not as process 0.
    pub(super) fn launcher_serves(&self) -> bool {
        let meeting = self.meeting.as_ref();
        meeting.is_some_and(|meeting| meeting.launcher_serves)
    }

    /// A process alone.
    pub fn alone() -> Self {
        Self {
            rank: 0,
            world: 1,
            local_rank: 0,
            local_world: 1,
            meeting: None,
        }
    }

    /// What torchrun, our own launcher or a step of Slurm says; else a process alone.
    ///
    /// # Errors
    /// If what they say is not whole, or contradicts itself.
    pub fn of_environment() -> Result<Self> {
        Self::of(&|name| env::var(name).ok())
    }

    /// The same of other variables.
    pub(super) fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let variables = Variables(variable);
        if variables.text("RANK").is_some() || variables.text("WORLD_SIZE").is_some() {
            return of_torchrun(&variables);
        }
        if variables.text("SLURM_STEP_ID").is_some() && is_slurm_step(&variables)? {
            return of_slurm(&variables);
        }
        Ok(Self::alone())
    }

    fn checked(self) -> Result<Self> {
        let fits = self.rank < self.world && self.local_rank < self.local_world;
        if fits && self.local_world <= self.world {
            return Ok(self);
        }
        Err(Error::Process(format!(
            "the launcher says process {} of {}, {} of {} on this machine, which cannot be",
            self.rank, self.world, self.local_rank, self.local_world
        )))
    }
}

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn needed(&self, name: &str) -> Result<String> {
        let none = || Error::Process(format!("{name} is not set: the launcher sets it"));
        self.text(name).ok_or_else(none)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T> {
        let text = self.needed(name)?;
        let none = |_| Error::Process(format!("{name} is {text:?}, which is no number for it"));
        text.parse().map_err(none)
    }
}

/// What keys begin with in an attempt of torchrun's, or of our launcher's.
pub(super) fn prefix_of_attempt(attempt: &str) -> String {
    format!("flava/attempt_{attempt}/")
}

fn of_torchrun(variables: &Variables) -> Result<Place> {
    let world: usize = variables.number("WORLD_SIZE")?;
    let launcher_serves = variables.text("TORCHELASTIC_USE_AGENT_STORE").as_deref() == Some("True");
    let attempt = variables.text("TORCHELASTIC_RESTART_COUNT");
    let attempt = attempt.unwrap_or_else(|| "0".into());
    let meeting = MeetingPoint {
        host: variables.needed("MASTER_ADDR")?,
        port: variables.number("MASTER_PORT")?,
        launcher_serves,
        prefix: prefix_of_attempt(&attempt),
    };
    Place {
        rank: variables.number("RANK")?,
        world,
        local_rank: variables.number("LOCAL_RANK")?,
        local_world: variables.number("LOCAL_WORLD_SIZE")?,
        meeting: (world > 1 || variables.text(COLLECTIVES).is_some()).then_some(meeting),
    }
    .checked()
}

/// Whether srun started this process beside others. A batch script outside srun knows the number of
/// tasks too, but is one process.
fn is_slurm_step(variables: &Variables) -> Result<bool> {
    let name = variables.text("SLURM_JOB_NAME").unwrap_or_default();
    let by_hand = ["bash", "interactive"].contains(&name.as_str());
    let is_step = variables.text("SLURM_STEP_NUM_TASKS").is_some();
    Ok(is_step && !by_hand && variables.number::<usize>("SLURM_STEP_NUM_TASKS")? > 1)
}

fn of_slurm(variables: &Variables) -> Result<Place> {
    let job: u64 = variables.number("SLURM_JOB_ID")?;
    let hosts = variables.text("SLURM_STEP_NODELIST");
    let hosts = hosts.map_or_else(|| variables.needed("SLURM_JOB_NODELIST"), Ok)?;
    let port = match variables.text("MASTER_PORT") {
        Some(_) => variables.number("MASTER_PORT")?,
        None => 15_000 + (job % 10_000) as u16,
    };
    let meeting = MeetingPoint {
        host: variables
            .text("MASTER_ADDR")
            .unwrap_or_else(|| first_host(&hosts)),
        port,
        launcher_serves: false,
        prefix: format!("flava/job_{job}/"),
    };
    let tasks_of_node = variables.needed("SLURM_STEP_TASKS_PER_NODE")?;
    let node = variables.number("SLURM_NODEID")?;
    Place {
        rank: variables.number("SLURM_PROCID")?,
        world: variables.number("SLURM_STEP_NUM_TASKS")?,
        local_rank: variables.number("SLURM_LOCALID")?,
        local_world: tasks_on(&tasks_of_node, node)?,
        meeting: Some(meeting),
    }
    .checked()
}

/// The first of `gnode[10,20-25],x3`: gnode10.
fn first_host(list: &str) -> String {
    let Some((prefix, rest)) = list.split_once('[') else {
        return list.split(',').next().unwrap_or_default().to_owned();
    };
    if let Some((first, _)) = prefix.split_once(',') {
        return first.to_owned();
    }
    let number = rest.split([',', '-', ']']).next().unwrap_or_default();
    format!("{prefix}{number}")
}

/// Tasks of a node in `4(x2),3`: 4, 4 and 3.
fn tasks_on(list: &str, node: usize) -> Result<usize> {
    let wrong = || Error::Process(format!("SLURM_STEP_TASKS_PER_NODE is {list:?}"));
    let mut after = 0;
    for part in list.split(',') {
        let (tasks, times) = match part.split_once("(x") {
            Some((tasks, times)) => (tasks, times.trim_end_matches(')')),
            None => (part, "1"),
        };
        after += times.parse::<usize>().map_err(|_| wrong())?;
        if node < after {
            return tasks.parse().map_err(|_| wrong());
        }
    }
    Err(wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &[(&str, &str)]) -> Result<Place> {
        Place::of(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const TORCHRUN: [(&str, &str); 8] = [
        ("RANK", "3"),
        ("WORLD_SIZE", "4"),
        ("LOCAL_RANK", "1"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("MASTER_ADDR", "node1"),
        ("MASTER_PORT", "29500"),
        ("TORCHELASTIC_USE_AGENT_STORE", "True"),
        ("TORCHELASTIC_RESTART_COUNT", "2"),
    ];

    #[test]
    fn torchrun_says_where_a_process_is() {
        let found = place(&TORCHRUN).unwrap();
        assert_eq!(
            (found.rank, found.world, found.local_rank, found.local_world),
            (3, 4, 1, 2)
        );
        let meeting = found.meeting.unwrap();
        assert!(meeting.launcher_serves && meeting.prefix.ends_with("attempt_2/"));
        for missing in 0..6 {
            let mut some = TORCHRUN.to_vec();
            let (name, _) = some.remove(missing);
            let error = place(&some).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
        let mut one = TORCHRUN.to_vec();
        one.truncate(6);
        one[..4].copy_from_slice(&[
            ("RANK", "0"),
            ("WORLD_SIZE", "1"),
            ("LOCAL_RANK", "0"),
            ("LOCAL_WORLD_SIZE", "1"),
        ]);
        assert_eq!(place(&one).unwrap(), Place::alone());
        one.push((COLLECTIVES, "gloo"));
        assert!(place(&one).unwrap().meeting.is_some());
        let mut wrong = TORCHRUN;
        wrong[0].1 = "4";
        assert!(place(&wrong).unwrap_err().to_string().contains("cannot be"));
    }

    const STEP: [(&str, &str); 10] = [
        ("SLURM_JOB_ID", "1234567"),
        ("SLURM_JOB_NAME", "eval"),
        ("SLURM_STEP_ID", "0"),
        ("SLURM_STEP_NUM_TASKS", "11"),
        ("SLURM_STEP_NODELIST", "gnode[10,20-25],x3"),
        ("SLURM_STEP_TASKS_PER_NODE", "4(x2),3"),
        ("SLURM_NODEID", "2"),
        ("SLURM_PROCID", "9"),
        ("SLURM_LOCALID", "1"),
        ("SLURM_NTASKS", "11"),
    ];

    #[test]
    fn a_step_of_slurm_is_one_and_a_batch_script_is_not() {
        let found = place(&STEP).unwrap();
        assert_eq!(
            (found.rank, found.world, found.local_rank, found.local_world),
            (9, 11, 1, 3)
        );
        let meeting = found.meeting.unwrap();
        assert_eq!((&meeting.host[..], meeting.port), ("gnode10", 19_567));
        let batch: Vec<_> = STEP
            .into_iter()
            .filter(|(name, _)| !name.starts_with("SLURM_STEP"))
            .collect();
        assert_eq!(place(&batch).unwrap(), Place::alone());
        let mut shell = STEP;
        shell[1].1 = "bash";
        assert_eq!(place(&shell).unwrap(), Place::alone());
        assert_eq!(place(&[]).unwrap(), Place::alone());
    }

    #[test]
    fn hosts_are_read_from_slurms_lists() {
        for (list, first) in [
            ("a,b", "a"),
            ("n[1-3]", "n1"),
            ("n[08,11]", "n08"),
            ("x3,n[1-2]", "x3"),
            ("alone", "alone"),
        ] {
            assert_eq!(first_host(list), first);
        }
        assert_eq!(tasks_on("2,1(x3)", 3).unwrap(), 1);
        assert!(tasks_on("2", 1).is_err() && tasks_on("many", 0).is_err());
    }
}
