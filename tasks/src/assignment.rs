//! What a task is under a protocol.

use crate::{Demand, Feature, Method, Metric, Protocol, Source, Task};

/// A task under a protocol: what is run and what is asked of the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Whose rules; what records say.
    pub protocol: Protocol,
    /// What the data must have; None where the source's own rows are taken.
    pub demand: Option<Demand>,
    /// How it is run.
    pub method: Method,
    /// The main metric first.
    pub metrics: Vec<Metric>,
}

impl Assignment {
    /// Why a source cannot supply what is asked for, if it cannot.
    pub fn shortfall(&self, source: &Source) -> Option<String> {
        source.shortfall(self.demand.as_ref()?)
    }

    /// Puts the protocol's feature and main metric in the place of the row's.
    fn follow_protocol(&mut self) {
        // The numbers that are published for these sources as they are (clip-benchmark's) are over
        // projected features.
        let published = self.protocol == Protocol::AsPublished;
        if published && self.method.feature() == Some(Feature::IMAGE_CLS) {
            self.method.set_feature(Feature::IMAGE_EMBEDDING);
        }
        let Some(demand) = &self.demand else {
            return;
        };
        if let Some(feature) = demand.feature {
            self.method.set_feature(feature);
        }
        if let Some(main) = demand.metric {
            self.metrics.retain(|metric| *metric != main);
            self.metrics.insert(0, main);
        }
    }
}

impl Task {
    /// What is run under `protocol`; None if the protocol does not know the task.
    pub fn assign(&self, protocol: Protocol) -> Option<Assignment> {
        let demand = match protocol {
            Protocol::Flava if !self.protocol.is_empty() => Some(self.protocol.flava.clone()?),
            Protocol::Clip if !self.protocol.is_empty() => Some(self.protocol.clip.clone()?),
            _ => None,
        };
        let other = demand.as_ref().and_then(|demand| demand.runs);
        if let Some(other) = other.filter(|other| *other != protocol) {
            return self.assign(other);
        }
        let mut assignment = Assignment {
            protocol,
            demand,
            method: self.method.clone(),
            metrics: self.metrics.clone(),
        };
        assignment.follow_protocol();
        Some(assignment)
    }
}
