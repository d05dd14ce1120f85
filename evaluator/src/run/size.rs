//! How large what a task reads is, and what it costs.

use flava_model::flops;
use flava_tasks::{Family, Method, Metric, Tower};

use crate::features::Extractor;

/// The encoders that a method reads.
pub(super) struct Size {
    /// Their parameters, projections included.
    pub(super) parameters: u64,
    /// Operations of a forward pass over one row.
    pub(super) flops_per_row: f64,
}

impl Size {
    /// Of the encoders that a method reads of a model.
    pub(super) fn of(method: &Method, extractor: &Extractor) -> Size {
        let model = extractor.model;
        let (config, tokens) = (&model.config, extractor.max_tokens());
        let (parts, flops_per_row): (&[&str], f64) = match (method, tower(method)) {
            (Method::ZeroShot { .. }, _) => (&EMBEDDED, flops::one_image(config)),
            (Method::Retrieval { .. }, None) => {
                let both = flops::one_image(config) + flops::one_text(config, tokens);
                (&EMBEDDED, both)
            }
            (_, Some(Tower::Image)) => (&["image_model"], flops::one_image(config)),
            (_, Some(Tower::Text)) => (&["text_model"], flops::one_text(config, tokens)),
            (_, Some(Tower::Multimodal) | None) => (&JOINT, flops::one_pair(config, tokens)),
        };
        let of_part = |part: &&str| model.parameters.get(*part).copied().unwrap_or_default();
        Self {
            parameters: parts.iter().map(of_part).sum(),
            flops_per_row,
        }
    }
}

/// What embeddings of both kinds take.
const EMBEDDED: [&str; 4] = [
    "image_model",
    "text_model",
    "image_projection",
    "text_projection",
];
/// What the multimodal encoder's states take.
const JOINT: [&str; 5] = [
    "image_model",
    "text_model",
    "multimodal_model",
    "image_to_mm_projection",
    "text_to_mm_projection",
];

/// The last encoder that is read; a matching head reads the multimodal one.
fn tower(method: &Method) -> Option<Tower> {
    match method {
        Method::Retrieval { rerank: Some(_) } => Some(Tower::Multimodal),
        _ => method.feature().map(|feature| feature.tower),
    }
}

/// The Hub's name of such tasks; it has none for a class of an image and a text.
pub(super) fn hub_task(method: &Method, family: Family, metric: Metric) -> &'static str {
    match (method, family) {
        _ if metric == Metric::VqaAccuracy => "visual-question-answering",
        (Method::ZeroShot { .. }, _) => "zero-shot-image-classification",
        (Method::Retrieval { .. }, _) => "text-retrieval",
        (_, Family::Vision | Family::Multimodal) => "image-classification",
        (_, Family::Text) => "text-classification",
    }
}
