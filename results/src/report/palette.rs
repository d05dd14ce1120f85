//! The colours of the page and its figures, light and dark. Every one that carries text or meaning
//! stands out from its ground by 4.5 at least (WCAG 1.4.3); a test measures it.

/// The rules of the figures, with names in the place of colours.
const FIGURES: &str = include_str!("figures/figure.css");
/// The rules of the page.
const PAGE: &str = include_str!("style.css");

/// A colour's name and what it is in light and in dark.
#[derive(Clone, Copy)]
struct Colour {
    name: &'static str,
    light: &'static str,
    dark: &'static str,
}

const fn colour(name: &'static str, light: &'static str, dark: &'static str) -> Colour {
    Colour { name, light, dark }
}

const COLOURS: [Colour; 10] = [
    colour("bg", "#ffffff", "#14171a"),
    colour("soft", "#f3f5f7", "#1f2429"),
    colour("ink", "#1a1d21", "#e6e9ec"),
    colour("muted", "#55606b", "#a9b3bd"),
    colour("line", "#d0d7de", "#3d464f"),
    colour("c0", "#0b5fa5", "#6cb6ff"),
    colour("c1", "#a3430a", "#f0a070"),
    colour("c2", "#1a6f30", "#6fce83"),
    colour("c3", "#7445c9", "#c5a3ff"),
    colour("c4", "#7d5400", "#e3c04f"),
];

/// The style sheet of the page: light, dark where the reader's system is, and light on paper.
pub(super) fn page_style() -> String {
    let set = |dark: bool| {
        let value = |colour: &Colour| {
            let value = if dark { colour.dark } else { colour.light };
            format!("--{}:{value};", colour.name)
        };
        COLOURS.iter().map(value).collect::<String>()
    };
    let (light, dark) = (set(false), set(true));
    format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{PAGE}{FIGURES}"
    )
}

/// The style sheet of a figure that stands alone: its colours are written out, since not every
/// program that draws SVG knows variables.
pub(super) fn figure_style() -> String {
    let with = |rules: String, colour: &Colour| {
        rules.replace(&format!("var(--{})", colour.name), colour.light)
    };
    COLOURS.iter().fold(FIGURES.to_owned(), with)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(hex: &str) -> [f64; 3] {
        [1, 3, 5].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0)
    }

    fn luminance(colour: [f64; 3]) -> f64 {
        let linear = |c: f64| {
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        let [r, g, b] = colour.map(linear);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn everything_stands_out_from_its_ground() {
        for dark in [false, true] {
            let of = |name: &str| {
                let found = COLOURS.iter().find(|colour| colour.name == name).unwrap();
                channels(if dark { found.dark } else { found.light })
            };
            for name in ["ink", "muted", "c0", "c1", "c2", "c3", "c4"] {
                for ground in ["bg", "soft"] {
                    let found = contrast(of(name), of(ground));
                    assert!(found >= 4.5, "{name} on {ground}, dark {dark}: {found}");
                }
            }
            let over = |opacity: f64| {
                let (top, ground) = (of("c0"), of("bg"));
                [0, 1, 2].map(|i| top[i] * opacity + ground[i] * (1.0 - opacity))
            };
            let shown = [
                contrast(of("ink"), over(0.38)),
                contrast(of("bg"), over(0.86)),
            ];
            assert!(shown.iter().all(|found| *found >= 4.5), "{dark}: {shown:?}");
        }
    }

    #[test]
    fn a_figure_alone_has_its_colours_written_out() {
        let style = figure_style();
        assert!(style.contains("#0b5fa5") && !style.contains("var("));
        assert!(page_style().contains("prefers-color-scheme:dark"));
    }
}
