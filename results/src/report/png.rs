//! A figure as PNG, for where SVG is not taken.

use std::{path::Path, sync::Arc};

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

use crate::{Error, Result};

/// Families without serifs, the likeliest first: what stands in for those that a figure names.
const SANS: [&str; 5] = [
    "DejaVu Sans",
    "Liberation Sans",
    "Noto Sans",
    "Arial",
    "Helvetica",
];

/// Draws an SVG document with so many pixels to each of its units.
///
/// # Errors
/// If it is no SVG, this machine has no font to write with, or the picture would be too large.
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>> {
    let broken = |reason: String| Error::file(Path::new("figure"), reason);
    let options = Options {
        fontdb: Arc::new(fonts().ok_or_else(|| {
            broken("cannot be drawn: this machine has no fonts\nhint: write it as svg".into())
        })?),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).map_err(|e| broken(e.to_string()))?;
    let size = tree.size();
    let [width, height] = [size.width(), size.height()].map(|side| (side * scale).ceil() as u32);
    let mut pixmap = Pixmap::new(width, height)
        .ok_or_else(|| broken(format!("is {width} x {height} pixels, which are too many")))?;
    pixmap.fill(resvg::tiny_skia::Color::WHITE);
    resvg::render(
        &tree,
        Transform::from_scale(scale, scale),
        &mut pixmap.as_mut(),
    );
    pixmap.encode_png().map_err(|e| broken(e.to_string()))
}

/// The machine's fonts, one of them for text without serifs.
fn fonts() -> Option<Database> {
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    let families: Vec<String> = fonts
        .faces()
        .flat_map(|face| face.families.iter().map(|(name, _)| name.clone()))
        .collect();
    let known = SANS
        .iter()
        .find(|sans| families.iter().any(|family| family == *sans));
    let family = known.map(|name| (*name).to_owned());
    fonts.set_sans_serif_family(family.or_else(|| families.first().cloned())?);
    Some(fonts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_the_pixels_that_were_asked_for_and_text_where_there_are_fonts() {
        let svg = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 20" width="60" height="20"><style>text{font:13px system-ui,sans-serif;fill:#000}</style><text x="2" y="15">XXXX</text></svg>"#;
        match png(svg, 2.0) {
            Err(error) => assert!(fonts().is_none() && error.to_string().contains("no fonts")),
            Ok(bytes) => {
                let pixmap = Pixmap::decode_png(&bytes).unwrap();
                assert_eq!((pixmap.width(), pixmap.height()), (120, 40));
                let dark = pixmap.pixels().iter().filter(|p| p.red() < 100).count();
                assert!(dark > 50, "{dark}");
            }
        }
        assert!(png("<svg", 1.0).is_err());
    }
}
