//! From files to what the encoders read: images decoded and resized as Pillow does it, texts as
//! tokens.

mod batch;
mod decode;
mod image;
mod resize;
mod special;
mod text;
mod tokenizer_files;

pub use batch::{Pixels, image_batch, text_batch};
pub use decode::{DecodedImage, decode};
pub use image::{ImageProcessorConfig, ImageTransform};
pub use resize::{Filter, PassOrder, PixelSize, resize};
pub use text::{Encoding, Text, TextProcessor};
