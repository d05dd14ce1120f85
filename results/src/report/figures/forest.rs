//! Values with their intervals, a row each.

use super::frame::{At, Drawing, Scale, tick};
use crate::report::number::cut_inside;

const WIDTH: f64 = 560.0;
const ROW: f64 = 24.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 545.0;
const TOP: f64 = 8.0;
const LETTERS: usize = 25;

/// A value and its interval.
#[derive(Clone, Debug)]
pub(crate) struct ForestRow {
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Something to compare with, such as the published value.
    pub(crate) reference: Option<f64>,
}

/// Values with their intervals, shares or differences of shares.
#[derive(Clone, Debug)]
pub(crate) struct Forest {
    pub(crate) rows: Vec<ForestRow>,
    /// A line through all rows, such as that of no difference.
    pub(crate) line: Option<f64>,
    pub(crate) axis: String,
}

impl Forest {
    pub(crate) fn draw(&self) -> Drawing {
        let bottom = TOP + ROW * self.rows.len() as f64;
        let mut drawing = Drawing::new(WIDTH, bottom + 38.0);
        let scale = self.scale();
        for value in scale.ticks(5) {
            let x = scale.at(value);
            drawing.line("grid", At::new(x, TOP), At::new(x, bottom));
            drawing.text("tm", At::new(x, bottom + 15.0), &tick(value, true));
        }
        if let Some(line) = self.line {
            let x = scale.at(line);
            drawing.line("rule", At::new(x, TOP), At::new(x, bottom));
        }
        let middle = f64::midpoint(LEFT, RIGHT);
        drawing.text("tm", At::new(middle, bottom + 32.0), &self.axis);
        for (index, row) in self.rows.iter().enumerate() {
            draw_row(&mut drawing, row, &scale, TOP + ROW * (index as f64 + 0.5));
        }
        drawing
    }

    fn scale(&self) -> Scale {
        let ends = self.rows.iter().flat_map(|row| {
            let reference = row.reference.unwrap_or(row.value);
            [row.low, row.high, row.value, reference]
        });
        Scale::around(ends.chain(self.line), false).onto(LEFT, RIGHT)
    }
}

fn draw_row(drawing: &mut Drawing, row: &ForestRow, scale: &Scale, y: f64) {
    let label = cut_inside(&row.label, LETTERS);
    drawing.text("te", At::new(LEFT - 8.0, y + 4.5), &label);
    let (low, high) = (scale.at(row.low), scale.at(row.high));
    drawing.line("bar0", At::new(low, y), At::new(high, y));
    for x in [low, high] {
        drawing.line("bar0", At::new(x, y - 4.0), At::new(x, y + 4.0));
    }
    drawing.dot("f0", At::new(scale.at(row.value), y), 4.0);
    if let Some(reference) = row.reference {
        drawing.diamond("hollow", At::new(scale.at(reference), y), 5.5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_interval_and_the_line_is_drawn() {
        let row = |value: f64| ForestRow {
            label: "<task>".into(),
            value,
            low: value - 0.1,
            high: value + 0.1,
            reference: Some(0.5),
        };
        let forest = Forest {
            rows: vec![row(0.2), row(-0.1)],
            line: Some(0.0),
            axis: "points".into(),
        };
        let svg = forest.draw().element("f", "t", "d").to_string();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert_eq!(svg.matches("class=\"hollow\"").count(), 2);
        assert_eq!(svg.matches("class=\"rule\"").count(), 1);
        assert!(svg.contains("&lt;task&gt;") && !svg.contains("NaN"));
    }
}
