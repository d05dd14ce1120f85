//! How often answers of a confidence are right: bars of accuracy beside the diagonal, and how many
//! rows are in each bin.

use super::frame::{At, Drawing, Scale, tick};

const WIDTH: f64 = 560.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 545.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 232.0;
/// Where the bars of counts stand.
const COUNTS: f64 = 320.0;
const TALLEST: f64 = 44.0;

/// Rows whose confidence lies between two values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ReliabilityBin {
    pub(crate) rows: usize,
    /// Mean confidence of its rows.
    pub(crate) confidence: f64,
    /// Share of its rows that are right.
    pub(crate) accuracy: f64,
}

/// Bins of equal width from 0 to 1.
#[derive(Clone, Debug)]
pub(crate) struct Reliability {
    pub(crate) bins: Vec<ReliabilityBin>,
}

impl Reliability {
    pub(crate) fn draw(&self) -> Drawing {
        let mut drawing = Drawing::new(WIDTH, COUNTS + 28.0);
        let x = Scale::between(0.0, 1.0).onto(LEFT, RIGHT);
        let y = Scale::between(0.0, 1.0).onto(BOTTOM, TOP);
        axes(&mut drawing, &x, &y);
        let count = self.bins.len().max(1) as f64;
        let most = self.bins.iter().map(|bin| bin.rows).max().unwrap_or(0);
        let width = (RIGHT - LEFT) / count;
        for (index, bin) in self.bins.iter().enumerate() {
            if bin.rows == 0 {
                continue;
            }
            let left = LEFT + width * index as f64 + 1.0;
            let top = y.at(bin.accuracy);
            drawing.rect("pale", At::new(left, top), width - 2.0, BOTTOM - top);
            let at = At::new(x.at(bin.confidence), y.at(bin.confidence));
            drawing.diamond("hollow", at, 4.5);
            let tall = (TALLEST * bin.rows as f64 / most as f64).max(1.0);
            drawing.rect("f1", At::new(left, COUNTS - tall), width - 2.0, tall);
        }
        drawing.line("rule", At::new(LEFT, BOTTOM), At::new(RIGHT, TOP));
        drawing
    }
}

fn axes(drawing: &mut Drawing, x: &Scale, y: &Scale) {
    for value in y.ticks(5) {
        let at = y.at(value);
        drawing.line("grid", At::new(LEFT, at), At::new(RIGHT, at));
        drawing.text("te", At::new(LEFT - 6.0, at + 4.5), &tick(value, true));
    }
    for value in x.ticks(5) {
        let at = x.at(value);
        drawing.text("tm", At::new(at, BOTTOM + 17.0), &tick(value, true));
    }
    drawing.line("axis", At::new(LEFT, BOTTOM), At::new(RIGHT, BOTTOM));
    drawing.line("axis", At::new(LEFT, COUNTS), At::new(RIGHT, COUNTS));
    let middle = f64::midpoint(LEFT, RIGHT);
    let names = "across: confidence · up: accuracy (bars), confidence (diamonds)";
    drawing.text("tm", At::new(middle, BOTTOM + 37.0), names);
    drawing.text("tm", At::new(middle, COUNTS + 20.0), "rows of each bin");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_without_rows_are_not_drawn() {
        let bin = ReliabilityBin {
            rows: 4,
            confidence: 0.75,
            accuracy: 0.5,
        };
        let bins = vec![ReliabilityBin::default(), bin];
        let svg = Reliability { bins }.draw().element("f", "t", "d");
        let svg = svg.to_string();
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(!svg.contains("NaN") && svg.contains("class=\"hollow\""));
    }
}
