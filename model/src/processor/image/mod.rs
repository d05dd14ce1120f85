//! `preprocessor_config.json` and what it asks for: the model's pixels and the codebook's, as
//! FLAVA's image processor in transformers (the slow one) makes them.

mod fields;
mod transform;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Filter, PassOrder};
use crate::{Error, Result};
use fields::{NamedSize, RawSize, moments};

pub use transform::ImageTransform;

/// Largest description.
const MAX_BYTES: u64 = 1 << 20;

/// `preprocessor_config.json`; absent keys take FLAVA's defaults, unknown ones are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageProcessorConfig {
    image_processor_type: String,
    processor_class: String,
    do_resize: bool,
    size: NamedSize,
    resample: Filter,
    do_center_crop: bool,
    crop_size: NamedSize,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    #[serde(deserialize_with = "moments")]
    image_mean: [f32; 3],
    #[serde(deserialize_with = "moments")]
    image_std: [f32; 3],
    codebook_do_resize: bool,
    codebook_size: NamedSize,
    codebook_resample: Filter,
    codebook_do_center_crop: bool,
    codebook_crop_size: NamedSize,
    codebook_do_rescale: bool,
    codebook_rescale_factor: f64,
    codebook_do_map_pixels: bool,
    codebook_do_normalize: bool,
    #[serde(deserialize_with = "moments")]
    codebook_image_mean: [f32; 3],
    #[serde(deserialize_with = "moments")]
    codebook_image_std: [f32; 3],
    /// Patches along one side, for the mask generator.
    pub input_size_patches: usize,
    /// Patches to mask, at most.
    pub total_mask_patches: usize,
    /// Smallest masked block.
    pub mask_group_min_patches: usize,
    /// Largest masked block; all that is left without it.
    pub mask_group_max_patches: Option<usize>,
    /// Smallest ratio of a block's height to its width.
    pub mask_group_min_aspect_ratio: f64,
    /// Largest ratio; the inverse of the smallest without it.
    pub mask_group_max_aspect_ratio: Option<f64>,
}

impl Default for ImageProcessorConfig {
    fn default() -> Self {
        Self {
            image_processor_type: "FlavaImageProcessor".into(),
            processor_class: "FlavaProcessor".into(),
            do_resize: true,
            size: RawSize::Side(224).into(),
            resample: Filter::Bicubic,
            do_center_crop: true,
            crop_size: RawSize::Side(224).into(),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            // CLIP's, from 400 million images of the web.
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            codebook_do_resize: true,
            codebook_size: RawSize::Side(112).into(),
            codebook_resample: Filter::Lanczos,
            codebook_do_center_crop: true,
            codebook_crop_size: RawSize::Side(112).into(),
            codebook_do_rescale: true,
            codebook_rescale_factor: 1.0 / 255.0,
            codebook_do_map_pixels: true,
            codebook_do_normalize: true,
            codebook_image_mean: [0.0; 3],
            codebook_image_std: [1.0; 3],
            input_size_patches: 14,
            total_mask_patches: 75,
            mask_group_min_patches: 16,
            mask_group_max_patches: None,
            mask_group_min_aspect_ratio: 0.3,
            mask_group_max_aspect_ratio: None,
        }
    }
}

impl ImageProcessorConfig {
    /// The defaults for images of `side` pixels in patches of `patch`, with a codebook image to
    /// match.
    pub fn for_size(side: usize, patch: usize) -> Self {
        let (size, codebook) = (
            RawSize::Side(side).into(),
            RawSize::Side(side / patch * 8).into(),
        );
        Self {
            size,
            crop_size: size,
            codebook_size: codebook,
            codebook_crop_size: codebook,
            input_size_patches: side / patch,
            ..Self::default()
        }
    }

    /// The same preparation, to square images of `side` pixels in patches of `patch`.
    #[must_use]
    pub fn with_side(&self, side: usize, patch: usize) -> Self {
        let Self {
            size,
            crop_size,
            codebook_size,
            codebook_crop_size,
            input_size_patches,
            ..
        } = Self::for_size(side, patch);
        Self {
            size,
            crop_size,
            codebook_size,
            codebook_crop_size,
            input_size_patches,
            ..self.clone()
        }
    }

    /// Reads what a folder says of it: `processor_config.json` of transformers 5, whose image
    /// processor stands inside, or `preprocessor_config.json`; None where it has neither.
    ///
    /// # Errors
    /// If both are there and ask for other pixels, since transformers' versions disagree on which
    /// is read.
    pub fn from_directory(directory: &Path) -> Result<Option<Self>> {
        let files =
            ["processor_config.json", "preprocessor_config.json"].map(|name| directory.join(name));
        let mut found: Option<Self> = None;
        for path in files.iter().filter(|path| flava_base::is_there(path)) {
            let Some(config) = Self::from_file(path)? else {
                continue;
            };
            let made = |config: &Self| {
                let order = PassOrder::default();
                (config.transform(order), config.codebook_transform(order))
            };
            match &found {
                Some(first) if made(first) != made(&config) => {
                    return Err(Error::file(
                        path,
                        "and processor_config.json ask for other pixels: remove the one that is not meant",
                    ));
                }
                Some(_) => {}
                None => found = Some(config),
            }
        }
        Ok(found)
    }

    /// Reads `path`; None if it is a processor's description without an image processor in it.
    pub fn from_file(path: &Path) -> Result<Option<Self>> {
        let mut value: Value = flava_base::read_json(path, MAX_BYTES)?;
        let of_processor = path
            .file_name()
            .is_some_and(|name| name == "processor_config.json");
        let value = match value.get_mut("image_processor") {
            Some(inner) => inner.take(),
            None if of_processor => return Ok(None),
            None => value,
        };
        // The path in the message leads to the key.
        let config: Self = serde_json::from_value(value).map_err(|e| Error::file(path, e))?;
        config.check().map_err(|reason| Error::file(path, reason))?;
        Ok(Some(config))
    }

    fn check(&self) -> std::result::Result<(), String> {
        let scales = [
            ("rescale_factor", self.rescale_factor),
            ("codebook_rescale_factor", self.codebook_rescale_factor),
        ];
        self.check_sizes()?;
        let broken = |scale: &f64| !(scale.is_finite() && *scale > 0.0);
        if let Some((name, scale)) = scales.iter().find(|(_, scale)| broken(scale)) {
            return Err(format!("{name} is {scale}"));
        }
        self.check_moments()
    }

    fn check_sizes(&self) -> std::result::Result<(), String> {
        let (model, codebook) = (self.size, self.codebook_size);
        let sizes = [model, self.crop_size, codebook, self.codebook_crop_size];
        let legal = 1..=8192;
        let fits = |s: &NamedSize| legal.contains(&s.height) && legal.contains(&s.width);
        match sizes.iter().find(|size| !fits(size)) {
            None => Ok(()),
            Some(NamedSize { height, width }) => {
                Err(format!("asks for images of {height}x{width} pixels"))
            }
        }
    }

    fn check_moments(&self) -> std::result::Result<(), String> {
        let moments = [
            ("image_mean", self.image_mean, false),
            ("image_std", self.image_std, true),
            ("codebook_image_mean", self.codebook_image_mean, false),
            ("codebook_image_std", self.codebook_image_std, true),
        ];
        for (name, values, divides) in moments {
            let broken = |value: &f32| !value.is_finite() || (divides && *value <= 0.0);
            if let Some(value) = values.into_iter().find(broken) {
                return Err(format!(
                    "{name} is {value}: no pixel could be divided by it"
                ));
            }
        }
        Ok(())
    }

    /// The text of a `preprocessor_config.json` that transformers reads.
    pub fn to_json(&self) -> String {
        format!(
            "{:#}\n",
            serde_json::to_value(self).expect("a config is plain data")
        )
    }

    /// How the model's pixels are made.
    pub fn transform(&self, order: PassOrder) -> ImageTransform {
        ImageTransform {
            size: self.do_resize.then(|| self.size.pair()),
            filter: self.resample,
            crop: self.do_center_crop.then(|| self.crop_size.pair()),
            rescale: self.do_rescale.then_some(self.rescale_factor),
            normalize: self
                .do_normalize
                .then_some((self.image_mean, self.image_std)),
            map_pixels: false,
            order,
        }
    }

    /// How the codebook's pixels are made, from the same original.
    pub fn codebook_transform(&self, order: PassOrder) -> ImageTransform {
        ImageTransform {
            size: self.codebook_do_resize.then(|| self.codebook_size.pair()),
            filter: self.codebook_resample,
            crop: self
                .codebook_do_center_crop
                .then(|| self.codebook_crop_size.pair()),
            rescale: self
                .codebook_do_rescale
                .then_some(self.codebook_rescale_factor),
            normalize: self
                .codebook_do_normalize
                .then_some((self.codebook_image_mean, self.codebook_image_std)),
            map_pixels: self.codebook_do_map_pixels,
            order,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_form_that_files_have() {
        for json in [
            r#"{"size": 96}"#,
            r#"{"size": [96, 96]}"#,
            r#"{"size": {"height": 96, "width": 96}, "feature_extractor_type": "x"}"#,
        ] {
            let config: ImageProcessorConfig = serde_json::from_str(json).unwrap();
            assert_eq!(config.transform(PassOrder::default()).size, Some((96, 96)));
        }
        let error =
            serde_json::from_str::<ImageProcessorConfig>(r#"{"size": {"shortest_edge": 224}}"#)
                .unwrap_err();
        assert!(error.to_string().contains("a size is"), "{error}");
    }

    #[test]
    fn the_pass_order_is_part_of_the_id() {
        let config = ImageProcessorConfig::default();
        let [old, new] =
            [PassOrder::Pillow12, PassOrder::Pillow13].map(|order| config.transform(order).id());
        assert_ne!(old, new);
        assert!(new.starts_with("224x224-bicubic-pillow13-"), "{new}");
    }
}
