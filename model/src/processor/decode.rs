//! Picture files to RGB bytes, as Pillow's `convert("RGB")` gives them.
//!
//! Kept from Pillow: alpha is dropped, not blended; 16-bit grey is cut at 255 while 16-bit colour keeps its high byte;
//! CMYK JPEGs are taken as inverted; a GIF's first frame alone, transparent pixels in their palette's colour. Orientation
//! tags are not followed. JPEGs are decoded by mozjpeg, whose bytes are libjpeg-turbo's and so Pillow's.

use std::{
    cell::Cell,
    io::{self, BufRead, Cursor, Read},
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader};

use crate::{Error, Result};

/// Most pixels of a picture, Pillow's own bound against decompression bombs.
const MAX_PIXELS: u64 = 178_956_970;

/// An RGB picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Rows of pixels, three bytes each.
    pub rgb: Vec<u8>,
}

/// Decodes a JPEG, PNG, WebP, GIF, BMP, TIFF or PPM file. Whatever is in it, the answer is a picture or an error.
pub fn decode(bytes: &[u8]) -> Result<Picture> {
    let format = image::guess_format(bytes).map_err(|_| Error::Image("is no picture of a known format".into()))?;
    // libjpeg reports errors by unwinding out of its C code, and no decoder is free of mistakes.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_format(bytes, format)));
    let picture = decoded.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
        Err(message.unwrap_or_else(|| "the decoder gave up".into()))
    });
    let name = format.extensions_str()[0];
    picture.map_err(|reason| Error::Image(format!("broken {name} picture: {reason}")))
}

type Outcome<T> = std::result::Result<T, String>;

fn decode_format(bytes: &[u8], format: ImageFormat) -> Outcome<Picture> {
    match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Gif => gif(bytes),
        ImageFormat::Tiff => tiff(bytes),
        ImageFormat::Bmp => bmp(bytes),
        ImageFormat::Png | ImageFormat::WebP | ImageFormat::Pnm => other(bytes, format),
        _ => Err("this format is not read".into()),
    }
}

fn checked_size(width: u64, height: u64) -> Outcome<(usize, usize)> {
    match width.checked_mul(height) {
        Some(0) => Err(format!("it has {width}x{height} pixels")),
        Some(pixels) if pixels <= MAX_PIXELS => Ok((width as usize, height as usize)),
        _ => Err(format!("it claims {width}x{height} pixels, more than {MAX_PIXELS}")),
    }
}

fn jpeg(bytes: &[u8]) -> Outcome<Picture> {
    let ended = Cell::new(false);
    let reader = Whole { rest: bytes, ended: &ended };
    let decoder = mozjpeg::Decompress::new_reader(reader).map_err(|e| e.to_string())?;
    let (width, height) = checked_size(decoder.width() as u64, decoder.height() as u64)?;
    let components = decoder.components().len();
    let space = if components == 4 { mozjpeg::ColorSpace::JCS_CMYK } else { mozjpeg::ColorSpace::JCS_RGB };
    let mut started = decoder.to_colorspace(space).map_err(|e| e.to_string())?;
    let pixels: Vec<u8> = if components == 4 {
        let cmyk: Vec<[u8; 4]> = started.read_scanlines().map_err(|e| e.to_string())?;
        cmyk.iter().flat_map(|&[c, m, y, k]| cmyk_to_rgb([!c, !m, !y, !k])).collect()
    } else {
        let rgb: Vec<[u8; 3]> = started.read_scanlines().map_err(|e| e.to_string())?;
        rgb.into_flattened()
    };
    if ended.get() {
        return Err("it is cut off".into());
    }
    whole(width, height, pixels)
}

/// Bytes that remember whether more was asked for than there is: libjpeg fills what is cut off with grey and goes on.
struct Whole<'a> {
    rest: &'a [u8],
    ended: &'a Cell<bool>,
}

impl BufRead for Whole<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ended.set(self.ended.get() || self.rest.is_empty());
        Ok(self.rest)
    }

    fn consume(&mut self, count: usize) {
        self.rest = &self.rest[count.min(self.rest.len())..];
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.rest.read(buffer)
    }
}

/// The conversion of Pillow: black scales what the other inks leave.
fn cmyk_to_rgb([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let light = 255 - u32::from(k);
    [c, m, y].map(|ink| {
        let product = u32::from(ink) * light + 128;
        (light - (((product >> 8) + product) >> 8)) as u8
    })
}

fn whole(width: usize, height: usize, rgb: Vec<u8>) -> Outcome<Picture> {
    if rgb.len() == width * height * 3 { Ok(Picture { width, height, rgb }) } else { Err("it is cut off".into()) }
}

fn other(bytes: &[u8], format: ImageFormat) -> Outcome<Picture> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.no_limits(); // the size is checked below, before anything is decoded
    let decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    checked_size(width.into(), height.into())?;
    let original = decoder.original_color_type();
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    whole(width as usize, height as usize, rgb(image, original)?)
}

fn rgb(image: DynamicImage, original: ExtendedColorType) -> Outcome<Vec<u8>> {
    Ok(match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageRgba8(image) => image.pixels().flat_map(|p| [p[0], p[1], p[2]]).collect(),
        DynamicImage::ImageLuma8(image) => image.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageLumaA8(image) => image.pixels().flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageLuma16(image) => image.pixels().flat_map(|p| [p[0].min(255) as u8; 3]).collect(),
        // A transparent colour makes grey of grey with alpha here, but not for Pillow.
        DynamicImage::ImageLumaA16(image) if original == ExtendedColorType::L16 => {
            image.pixels().flat_map(|p| [p[0].min(255) as u8; 3]).collect()
        }
        DynamicImage::ImageLumaA16(image) => image.pixels().flat_map(|p| [(p[0] >> 8) as u8; 3]).collect(),
        DynamicImage::ImageRgb16(image) => image.into_raw().iter().map(|v| (v >> 8) as u8).collect(),
        DynamicImage::ImageRgba16(image) => image.pixels().flat_map(|p| [p[0], p[1], p[2]].map(|v| (v >> 8) as u8)).collect(),
        _ => return Err(format!("pixels of kind {original:?} are not read")),
    })
}

/// Pillow cuts what it makes of fewer than eight bits down to a whole number, the decoder rounds it.
fn bmp(bytes: &[u8]) -> Outcome<Picture> {
    let mut picture = other(bytes, ImageFormat::Bmp)?;
    let word = |at: usize| bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let (bits, compression) = (word(28) & 0xffff, word(30));
    if bits == 16 {
        let masks = if compression == 3 { [word(54), word(58), word(62)] } else { [0x7c00, 0x3e0, 0x1f] };
        let highest = masks.map(|mask| (1u32 << mask.count_ones().clamp(1, 8)) - 1);
        for pixel in picture.rgb.chunks_exact_mut(3) {
            for (value, highest) in pixel.iter_mut().zip(highest) {
                *value = ((u32::from(*value) * highest + 127) / 255 * 255 / highest) as u8;
            }
        }
    }
    Ok(picture)
}

fn gif(bytes: &[u8]) -> Outcome<Picture> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    let mut decoder = options.read_info(bytes).map_err(|e| e.to_string())?;
    let screen = (decoder.width(), decoder.height());
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.read_next_frame().map_err(|e| e.to_string())?.ok_or("it has no frame")?;
    let (left, top, wide) = (usize::from(frame.left), usize::from(frame.top), usize::from(frame.width));
    let (width, height) = checked_size(
        screen.0.max(frame.left.saturating_add(frame.width)).into(),
        screen.1.max(frame.top.saturating_add(frame.height)).into(),
    )?;
    let mut indices = vec![frame.transparent.unwrap_or(0); width * height];
    for (y, row) in frame.buffer.chunks_exact(wide.max(1)).enumerate() {
        let at = (top + y) * width + left;
        indices[at..at + wide].copy_from_slice(row);
    }
    let palette = frame.palette.as_ref().or(global.as_ref());
    let colour = |&index: &u8| match palette.and_then(|p| p.get(usize::from(index) * 3..usize::from(index) * 3 + 3)) {
        Some(rgb) => [rgb[0], rgb[1], rgb[2]],
        None => [index; 3], // Pillow's palettes start as a grey ramp
    };
    whole(width, height, indices.iter().flat_map(colour).collect())
}

/// TIFF's tag numbers.
const PHOTOMETRIC: u16 = 262;

fn tiff(bytes: &[u8]) -> Outcome<Picture> {
    use tiff::{ColorType, decoder::Decoder, tags::Tag};
    let open = |bytes| Decoder::new(Cursor::new(bytes)).map_err(|e| e.to_string());
    let mut decoder = open(bytes)?;
    let (width, height) = decoder.dimensions().map_err(|e| e.to_string())?;
    let size = checked_size(width.into(), height.into())?;
    let photometric = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation).map_err(|e| e.to_string())?;
    if photometric == Some(3) {
        let map = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(|e| e.to_string())?;
        return palette_tiff(bytes, size, &map);
    }
    match decoder.colortype().map_err(|e| e.to_string())? {
        ColorType::CMYK(8) => {
            let samples = samples(decoder)?;
            let pixels = samples.chunks_exact(4).flat_map(|p| cmyk_to_rgb([p[0], p[1], p[2], p[3]]));
            whole(size.0, size.1, pixels.collect())
        }
        // Samples beyond the colours, such as an alpha that the file does not call one, are dropped.
        ColorType::GrayA(8) | ColorType::Multiband { bit_depth: 8, num_samples: 2 } if photometric == Some(1) => {
            whole(size.0, size.1, samples(decoder)?.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect())
        }
        ColorType::Multiband { bit_depth: 8, num_samples } if photometric == Some(2) && num_samples > 3 => {
            whole(size.0, size.1, samples(decoder)?.chunks_exact(num_samples.into()).flat_map(|p| [p[0], p[1], p[2]]).collect())
        }
        _ => other(bytes, ImageFormat::Tiff),
    }
}

fn samples<R: Read + std::io::Seek>(mut decoder: tiff::decoder::Decoder<R>) -> Outcome<Vec<u8>> {
    match decoder.read_image().map_err(|e| e.to_string())? {
        tiff::decoder::DecodingResult::U8(samples) => Ok(samples),
        _ => Err("samples of more than 8 bits are not read in this colour model".into()),
    }
}

/// The decoder knows no palettes: it is given the file as a grey picture, whose values are the indices.
fn palette_tiff(bytes: &[u8], (width, height): (usize, usize), map: &[u16]) -> Outcome<Picture> {
    let mut grey = bytes.to_vec();
    let at = tag_value(&grey, PHOTOMETRIC).ok_or("its directory is cut off")?;
    let black_is_zero = if grey.starts_with(b"MM") { [0, 1] } else { [1, 0] };
    grey[at..at + 2].copy_from_slice(&black_is_zero);
    let indices = samples(tiff::decoder::Decoder::new(Cursor::new(&grey)).map_err(|e| e.to_string())?)?;
    let colours = map.len() / 3;
    let colour = |&index: &u8| [0, 1, 2].map(|c| map.get(c * colours + usize::from(index)).map_or(0, |v| (v >> 8) as u8));
    whole(width, height, indices.iter().flat_map(colour).collect())
}

/// Where the value of `tag` lies in the first directory of a classic TIFF file.
fn tag_value(bytes: &[u8], tag: u16) -> Option<usize> {
    let big = bytes.starts_with(b"MM");
    let word = |at: usize| {
        let pair = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let start: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    let start = if big { u32::from_be_bytes(start) } else { u32::from_le_bytes(start) } as usize;
    let entries = (0..usize::from(word(start)?)).map(|i| start + 2 + 12 * i);
    let entry = entries.into_iter().find(|&at| word(at) == Some(tag))?;
    (entry + 10 <= bytes.len()).then_some(entry + 8)
}
