//! How near an image is to some texts, by the embeddings of a checkpoint.
//!
//!     cargo run --example similarity -- MODEL IMAGE TEXT..

use std::{env, error::Error, fs, path::Path};

use flava_model::{
    LoadOptions, Pretrained,
    processor::{PassOrder, Text, decode, image_batch, text_batch},
};
use tch::Tensor;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [model, image, texts @ ..] = args.as_slice() else {
        return Err("similarity MODEL IMAGE TEXT..".into());
    };
    let model = Pretrained::open(Path::new(model), LoadOptions::default())?;
    let options = model.options;
    let transform = model.image.transform(PassOrder::default());
    let pixels = [transform.apply(&decode(&fs::read(image)?)?)];
    let pixels = image_batch(&pixels, options.device, options.precision.kind())?;
    let image = model.flava()?.encode_image(&pixels)?;
    let image = model.flava()?.project_image(&image)?; // [1, projection], of unit length
    let inputs: Vec<Text> = texts.iter().map(|text| Text::Single(text)).collect();
    let encodings = model.text.encode(&inputs, 77)?;
    let tokens = text_batch(&encodings, model.text.pad_id(), options.device)?;
    let embedded = model.flava()?.encode_text(&tokens)?;
    let embedded: Tensor = model.flava()?.project_text(&embedded)?; // [texts, projection]
    let cosines = embedded.f_matmul(&image.f_transpose(0, 1)?)?;
    let cosines: Vec<f32> = cosines.f_flatten(0, -1)?.try_into()?;
    for (text, cosine) in texts.iter().zip(cosines) {
        println!("{cosine:.3} {text}");
    }
    Ok(())
}
