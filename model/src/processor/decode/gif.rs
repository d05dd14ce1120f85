//! The first frame of a GIF on its screen, transparent pixels in their palette's colour.

use std::num::NonZeroU64;

use super::decoded_image::{DecodedImage, MAX_PIXELS, Outcome, checked_size, whole};

pub(super) fn gif(bytes: &[u8]) -> Outcome<DecodedImage> {
    let mut decoder = opened(bytes)?;
    let screen = (usize::from(decoder.width()), usize::from(decoder.height()));
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.next_frame_info().map_err(|e| e.to_string())?;
    let frame = frame.ok_or("it has no frame")?.clone();
    let [left, top, wide, high] =
        [frame.left, frame.top, frame.width, frame.height].map(usize::from);
    let (width, height) = checked_size(
        screen.0.max(left + wide) as u64,
        screen.1.max(top + high) as u64,
    )?;
    let mut buffer = vec![0; decoder.buffer_size()];
    let read = decoder.read_into_buffer(&mut buffer);
    read.map_err(|e| e.to_string())?;
    let mut indices = vec![frame.transparent.unwrap_or(0); width * height];
    for (y, row) in buffer.chunks_exact(wide.max(1)).enumerate().take(high) {
        let at = (top + y) * width + left;
        indices[at..at + wide].copy_from_slice(row);
    }
    let palette = frame.palette.as_ref().or(global.as_ref());
    let colour = |&index: &u8| colour(palette.map(Vec::as_slice), index);
    whole(width, height, indices.iter().flat_map(colour).collect())
}

fn opened(bytes: &[u8]) -> Outcome<gif::Decoder<&[u8]>> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    // The size is checked before anything is decoded.
    let limit = NonZeroU64::new(MAX_PIXELS).unwrap_or(NonZeroU64::MIN);
    options.set_memory_limit(gif::MemoryLimit::Bytes(limit));
    options.read_info(bytes).map_err(|e| e.to_string())
}

fn colour(palette: Option<&[u8]>, index: u8) -> [u8; 3] {
    let Some(palette) = palette else {
        return [index; 3]; // without one, Pillow's is a grey ramp
    };
    let at = usize::from(index) * 3;
    let rgb = palette.get(at..at + 3);
    rgb.map_or([0; 3], |rgb| [rgb[0], rgb[1], rgb[2]])
}
