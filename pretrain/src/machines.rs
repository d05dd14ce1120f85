//! Machines that a training is only planned for: what their GPUs and networks are taken to reach.

use std::str::FromStr;

/// GPUs of a machine.
pub(crate) const OF_A_MACHINE: usize = 8;
/// Share of a network's speed that exchanges reach.
const SHARE_OF_NETWORK: f64 = 0.85;

/// A GPU, by its makers' numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gpu {
    name: &'static str,
    /// Bytes.
    pub(crate) memory: f64,
    /// bf16 operations a second, of dense products.
    pub(crate) flops: f64,
    /// Bytes a second that all-reduce moves within a machine, as nccl-tests count them.
    pub(crate) bus: f64,
}

const GPUS: [Gpu; 5] = [
    Gpu {
        name: "h100-80gb",
        memory: 80e9,
        flops: 989e12,
        bus: 370e9,
    },
    Gpu {
        name: "h200-141gb",
        memory: 141e9,
        flops: 989e12,
        bus: 370e9,
    },
    Gpu {
        name: "a100-40gb",
        memory: 40e9,
        flops: 312e12,
        bus: 235e9,
    },
    Gpu {
        name: "a100-80gb",
        memory: 80e9,
        flops: 312e12,
        bus: 235e9,
    },
    Gpu {
        name: "l40s-48gb",
        memory: 48e9,
        flops: 362e12,
        bus: 20e9,
    },
];

impl FromStr for Gpu {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = GPUS.iter().map(|gpu| gpu.name).collect();
        let known = GPUS.into_iter().find(|gpu| gpu.name == text);
        known.ok_or_else(|| format!("it is one of {}", names.join(", ")))
    }
}

impl Gpu {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// The network between machines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkSpeed {
    /// Bytes a second that leave a machine.
    of_machine: f64,
}

impl FromStr for NetworkSpeed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it is Gbit/s of a GPU (400gb) or of a machine (200gb/node)".to_owned();
        let (speed, cards) = match text.strip_suffix("/node") {
            Some(speed) => (speed, 1.0),
            None => (text, OF_A_MACHINE as f64),
        };
        let gigabits: f64 = speed
            .strip_suffix("gb")
            .and_then(|number| number.parse().ok())
            .ok_or_else(wrong)?;
        if !(gigabits > 0.0 && gigabits.is_finite()) {
            return Err(wrong());
        }
        Ok(Self {
            of_machine: gigabits * cards * 1e9 / 8.0,
        })
    }
}

impl NetworkSpeed {
    /// Bytes a second that exchanges of so many GPUs move.
    pub(crate) fn bus(self, gpu: &Gpu, processes: usize) -> f64 {
        if processes <= OF_A_MACHINE {
            gpu.bus
        } else {
            gpu.bus.min(self.of_machine * SHARE_OF_NETWORK)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_named_by_what_they_have() {
        let gpu: Gpu = "h100-80gb".parse().unwrap();
        let wide: NetworkSpeed = "400gb".parse().unwrap();
        let narrow: NetworkSpeed = "200gb/node".parse().unwrap();
        assert_eq!(wide.bus(&gpu, 8), 370e9);
        assert_eq!(wide.bus(&gpu, 64), 340e9);
        assert_eq!((narrow.bus(&gpu, 64) / 1e8).round(), 213.0);
        assert!("v100".parse::<Gpu>().unwrap_err().contains("h100-80gb"));
        for wrong in ["fast", "0gb", "-1gb", "400", "infgb"] {
            assert!(wrong.parse::<NetworkSpeed>().is_err(), "{wrong}");
        }
    }
}
