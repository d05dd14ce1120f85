//! What is read of an encoder's output, by the feature's name.

use flava_model::{EncoderOutput, Flava, Rows as OutputRows};
use flava_tasks::{Feature, Tap, Tower};
use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Several features of an encoder's output, in f32, on its device.
pub(super) fn read_all(
    flava: &Flava,
    wanted: &[Feature],
    output: &EncoderOutput,
    mask: Option<&Tensor>,
) -> Result<Vec<Tensor>> {
    let feature = |feature: &Feature| read(flava, *feature, output, mask);
    wanted.iter().map(feature).collect()
}

/// A feature of an encoder's output, \[batch, width\].
fn read(
    flava: &Flava,
    feature: Feature,
    output: &EncoderOutput,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let (image, text, multimodal) = flava.encoders();
    let values = match (feature.tap, feature.tower) {
        (Tap::Cls, _) => output.cls(),
        (Tap::Mean, _) => mean_of_others(&output.last_hidden_state, mask)?,
        (Tap::Pooler, Tower::Image) => image.pool(output)?,
        (Tap::Pooler, Tower::Text) => text.pool(output)?,
        (Tap::Pooler, Tower::Multimodal) => multimodal.pool(output)?,
        (Tap::Embedding, Tower::Text) => flava.project_text(output)?,
        (Tap::Embedding, _) => flava.project_image(output)?,
        (Tap::Layer(n), _) => {
            let states = output.cls_of_layers.get(usize::from(n) - 1);
            let none = || Error::Lacking {
                what: "feature",
                reason: format!("there is no {}", feature.name()),
            };
            states.ok_or_else(none)?.shallow_clone()
        }
    };
    Ok(values.f_to_kind(Kind::Float)?)
}

/// Which rows of the output the features need.
pub(super) fn output_rows(wanted: &[Feature]) -> OutputRows {
    if wanted.iter().any(|feature| feature.tap == Tap::Mean) {
        OutputRows::All
    } else {
        OutputRows::Cls
    }
}

/// The text's mask with ones for the rows before it.
pub(super) fn joint_mask(text_mask: &Tensor, output: &EncoderOutput) -> Result<Tensor> {
    let ((batch, seq), (_, all, _)) = (text_mask.size2()?, output.last_hidden_state.size3()?);
    let ones = Tensor::f_ones(
        [batch, (all - seq).max(0)],
        (text_mask.kind(), text_mask.device()),
    )?;
    Ok(Tensor::f_cat(&[&ones, text_mask], 1)?)
}

/// The mean of all states but the first, \[batch, size\]; the mask hides padding.
fn mean_of_others(states: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let (_, seq, _) = states.size3()?;
    let others = states.f_narrow(1, 1, seq - 1)?.f_to_kind(Kind::Float)?;
    let Some(mask) = mask else {
        return Ok(others.f_mean_dim(1, false, Kind::Float)?);
    };
    let mask = mask
        .f_to_device(states.device())?
        .f_narrow(1, 1, seq - 1)?
        .f_unsqueeze(-1)?
        .f_to_kind(Kind::Float)?; // [batch, seq - 1, 1]
    let sum = others
        .f_mul(&mask)?
        .f_sum_dim_intlist(1, false, Kind::Float)?;
    Ok(sum.f_div(
        &mask
            .f_sum_dim_intlist(1, false, Kind::Float)?
            .f_clamp_min(1.0)?,
    )?)
}
