//! The parts of a report, each made of a [`Study`](super::view::Study).

mod ablation;
mod answers;
mod calibration;
mod classes;
mod curves;
mod head;
mod paired;
mod probes;
mod provenance;
mod retrieval;
mod tasks;
mod training;

use super::{section::Section, view::Study};

pub(super) use self::{ablation::ablation_part, provenance::records_json, training::training_part};

/// All parts that there is something to say in, in order.
pub(super) fn sections(study: &Study) -> Vec<Section> {
    let parts: [fn(&Study) -> Option<Section>; 12] = [
        head::head_part,
        tasks::averages_part,
        tasks::tasks_part,
        probes::probes_part,
        paired::paired_part,
        classes::classes_part,
        calibration::calibration_part,
        retrieval::retrieval_part,
        answers::answers_part,
        curves::curves_part,
        training::runs_part,
        provenance::provenance_part,
    ];
    parts.iter().filter_map(|part| part(study)).collect()
}
