//! Zero-shot classification (CLIP's protocol): the class whose prompts' mean embedding is nearest to the picture's.

use flava_model::processor::Text;
use flava_tasks::Predictions;
use serde_json::Map;
use tch::Tensor;

use super::{Answer, Splits};
use crate::{Result, features::Extractor};

pub(super) fn run(templates: &[String], class_names: &[String], splits: &Splits, extractor: &Extractor) -> Result<Answer> {
    let classes = class_embeddings(templates, class_names, extractor)?; // [classes, projection]
    let pictures = extractor.image_embeddings(&splits.test)?;
    let scores = pictures.values.f_matmul(&classes.f_transpose(0, 1)?)?; // [rows, classes]
    let predicted: Vec<i64> = scores.f_argmax(1, false)?.try_into()?;
    let gold = pictures.classes()?;
    Ok(Answer {
        predictions: Predictions::Classes {
            ids: pictures.ids,
            predicted: predicted.into_iter().map(|class| class as usize).collect(),
            gold,
            clusters: None,
        },
        skipped: pictures.skipped,
        train_rows: 0,
        details: Map::from_iter([("prompts_per_class".to_owned(), templates.len().into())]),
    })
}

/// The mean of each class's prompt embeddings, brought to unit length again: \[classes, projection\].
fn class_embeddings(templates: &[String], class_names: &[String], extractor: &Extractor) -> Result<Tensor> {
    let prompts: Vec<String> = class_names.iter().flat_map(|name| templates.iter().map(move |t| t.replace("{c}", name))).collect();
    let texts: Vec<Text> = prompts.iter().map(|p| Text::Single(p)).collect();
    let embeddings = extractor.text_embeddings(&texts, "prompts")?; // [classes * templates, projection]
    let (count, width) = (class_names.len() as i64, embeddings.size()[1]);
    let means = embeddings.f_view([count, templates.len() as i64, width])?.f_mean_dim(1, false, None)?; // [classes, projection]
    let norms = means.f_norm_scalaropt_dim(2.0, [-1], true)?.f_clamp_min(1e-12)?;
    Ok(means.f_div(&norms)?)
}
