//! Examples side by side, as the encoders read them.

use tch::{Device, Kind, Tensor};

use super::Encoding;
use crate::{Error, ImageInputs, Result, TextInputs, runtime::stack_rows};

/// An image's numbers, \[3, height, width\] flattened, and its height and width.
pub type Pixels = (Vec<f32>, (usize, usize));

/// Pixels of images of one size to \[batch, 3, height, width\].
pub fn image_batch<'a>(
    pixels: impl IntoIterator<Item = &'a Pixels>,
    device: Device,
    kind: Kind,
) -> Result<ImageInputs> {
    let pixels: Vec<&Pixels> = pixels.into_iter().collect();
    let Some((_, size)) = pixels.first().copied() else {
        return Err(Error::Input("a batch without images".into()));
    };
    if let Some((_, other)) = pixels.iter().find(|(_, other)| other != size) {
        return Err(Error::Input(format!(
            "images of {size:?} and {other:?} pixels in one batch: the transform leaves sizes as they are"
        )));
    }
    let (height, width) = (size.0 as i64, size.1 as i64);
    let rows: Vec<&[f32]> = pixels.iter().map(|(image, _)| &image[..]).collect();
    let pixel_values = stack_rows(&rows, device, kind)?;
    Ok(ImageInputs::new(pixel_values.f_view([
        pixels.len() as i64,
        3,
        height,
        width,
    ])?))
}

/// Encodings to \[batch, seq\], padded with `pad_id` to the longest; without a mask where none is
/// shorter. The mask stays on the CPU, which asks where the tokens are.
pub fn text_batch<'a>(
    encodings: impl IntoIterator<Item = &'a Encoding>,
    pad_id: i64,
    device: Device,
) -> Result<TextInputs> {
    let encodings: Vec<&Encoding> = encodings.into_iter().collect();
    let lengths = encodings.iter().map(|e| e.input_ids.len());
    let (batch, seq) = (encodings.len(), lengths.max().unwrap_or(0));
    let [mut ids, mut types, mut kept] = [pad_id, 0, 0].map(|fill| vec![fill; batch * seq]);
    for (i, encoding) in encodings.iter().enumerate() {
        let row = i * seq..i * seq + encoding.input_ids.len();
        ids[row.clone()].copy_from_slice(&encoding.input_ids);
        types[row.clone()].copy_from_slice(&encoding.token_type_ids);
        kept[row].fill(1);
    }
    let tensor = |rows: &[i64]| -> Result<Tensor> {
        Ok(Tensor::f_from_slice(rows)?.f_view([batch as i64, seq as i64])?)
    };
    let padded = kept.contains(&0);
    Ok(TextInputs {
        input_ids: tensor(&ids)?.f_to_device(device)?,
        token_type_ids: Some(tensor(&types)?.f_to_device(device)?),
        attention_mask: padded.then(|| tensor(&kept)).transpose()?,
        position_ids: None,
    })
}
