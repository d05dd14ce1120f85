//! What must be the same in all processes before the first step.

use super::{run::Run, setup::Trainer};
use crate::{Error, Learner};

impl<L: Learner> Run<'_, L> {
    /// Whether all processes go on from the same, with the same weights.
    ///
    /// # Errors
    /// Which of them has something else.
    pub(super) fn agree(&mut self) -> Result<(), Error> {
        let own = self.own();
        let text: Vec<&str> = own.iter().map(|(_, text)| text.as_str()).collect();
        let all = self
            .trainer
            .group
            .gather_bytes(text.join("\n").as_bytes())?;
        for (rank, theirs) in all.iter().enumerate() {
            let [of_leader, theirs] = [&all[0], theirs].map(|text| String::from_utf8_lossy(text));
            let pairs = of_leader.lines().zip(theirs.lines());
            let other = pairs
                .zip(&own)
                .find(|((of_leader, theirs), _)| of_leader != theirs);
            if let Some(((of_leader, theirs), (what, _))) = other {
                return Err(Error::OtherProcess {
                    rank,
                    what,
                    reason: format!("{theirs}, not {of_leader}"),
                });
            }
        }
        self.parallel.agree_on_weights()
    }

    /// What is compared, and what it says here.
    fn own(&self) -> [(&'static str, String); 7] {
        let Trainer { key, device, .. } = self.trainer;
        let device = if device.is_cuda() { "GPU" } else { "CPU" };
        let (state, precision) = (&self.state, self.trainer.precision.name());
        let sharding = format!("{:?}", self.sharding);
        [
            ("program", env!("CARGO_PKG_VERSION").to_owned()),
            ("settings, weights or data", (*key).to_owned()),
            (
                "saved states, so that the folder is not shared",
                format!("step {}", state.step),
            ),
            ("devices", device.to_owned()),
            ("precision", precision.to_owned()),
            ("rows at once", state.micro_batch.to_string()),
            ("sharding", sharding),
        ]
    }
}
