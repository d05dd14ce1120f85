//! Horizontal bars of shares, a row each.

use super::frame::{At, Drawing, Scale, tick};
use crate::report::number::{cut_inside, percent};

const WIDTH: f64 = 560.0;
const ROW: f64 = 22.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 500.0;
const TOP: f64 = 8.0;
const LETTERS: usize = 25;

/// A share and what it is of.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
}

/// Bars of shares from 0 to 1.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    pub(crate) bars: Vec<Bar>,
    /// A line through all bars, such as the mean.
    pub(crate) line: Option<f64>,
    pub(crate) axis: String,
}

impl Bars {
    pub(crate) fn draw(&self) -> Drawing {
        let bottom = TOP + ROW * self.bars.len() as f64;
        let mut drawing = Drawing::new(WIDTH, bottom + 38.0);
        let scale = Scale::between(0.0, 1.0).onto(LEFT, RIGHT);
        for value in scale.ticks(5) {
            let x = scale.at(value);
            drawing.line("grid", At::new(x, TOP), At::new(x, bottom));
            drawing.text("tm", At::new(x, bottom + 15.0), &tick(value, true));
        }
        let middle = f64::midpoint(LEFT, RIGHT);
        drawing.text("tm", At::new(middle, bottom + 32.0), &self.axis);
        for (index, bar) in self.bars.iter().enumerate() {
            let y = TOP + ROW * index as f64;
            let label = cut_inside(&bar.label, LETTERS);
            drawing.text("te", At::new(LEFT - 8.0, y + 15.5), &label);
            let width = scale.at(bar.value) - LEFT;
            drawing.rect("f0", At::new(LEFT, y + 4.0), width, ROW - 8.0);
        }
        if let Some(line) = self.line {
            let x = scale.at(line);
            drawing.line("rule", At::new(x, TOP), At::new(x, bottom));
        }
        for (index, bar) in self.bars.iter().enumerate() {
            let at = At::new(scale.at(bar.value) + 5.0, TOP + ROW * index as f64 + 15.5);
            drawing.text("t", at, &percent(bar.value));
        }
        drawing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let bar = |value: f64| Bar {
            label: "a name that is much too long for its place".into(),
            value,
        };
        let bars = Bars {
            bars: vec![bar(0.0), bar(1.0)],
            line: Some(0.5),
            axis: "accuracy".into(),
        };
        let svg = bars.draw().element("f", "t", "d").to_string();
        assert!(svg.contains("width=\"0\"") && svg.contains("width=\"310\""));
        assert!(svg.contains("…") && svg.contains(">100.00<"));
    }
}
