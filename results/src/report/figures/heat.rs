//! A matrix of shares, darker where there is more.

use super::frame::{At, Drawing};
use crate::report::number::{cut_inside, fixed};

const WIDTH: f64 = 560.0;
const LEFT: f64 = 150.0;
const TOP: f64 = 26.0;
/// The largest side of a cell.
const MOST: f64 = 34.0;
/// Shades of the style sheet, `h0` for none.
const SHADES: f64 = 8.0;
/// With no more rows the cells show their shares.
const SHOWN: usize = 12;

/// Rows of shares; a row is of one class, each number the share of its rows that went to a column.
#[derive(Clone, Debug)]
pub(crate) struct Heat {
    pub(crate) labels: Vec<String>,
    pub(crate) shares: Vec<Vec<f64>>,
    pub(crate) axis: String,
}

impl Heat {
    pub(crate) fn draw(&self) -> Drawing {
        let count = self.labels.len().max(1) as f64;
        let side = ((WIDTH - LEFT - 10.0) / count).min(MOST);
        let bottom = TOP + side * count;
        let mut drawing = Drawing::new(WIDTH, bottom + 24.0);
        for (index, label) in self.labels.iter().enumerate() {
            let middle = side * (index as f64 + 0.5);
            let label = cut_inside(label, 20);
            drawing.text("te", At::new(LEFT - 6.0, TOP + middle + 4.0), &label);
            if index % 2 == 0 || side > 20.0 {
                let number = At::new(LEFT + middle, TOP - 7.0);
                drawing.text("tm", number, &index.to_string());
            }
        }
        for (row, shares) in self.shares.iter().enumerate() {
            for (column, share) in shares.iter().enumerate() {
                let at = At::new(LEFT + side * column as f64, TOP + side * row as f64);
                self.cell(&mut drawing, *share, at, side);
            }
        }
        let middle = LEFT + side * count / 2.0;
        drawing.text("tm", At::new(middle, bottom + 17.0), &self.axis);
        drawing
    }

    fn cell(&self, drawing: &mut Drawing, share: f64, at: At, side: f64) {
        if share <= 0.0 {
            return;
        }
        let shade = (share * SHADES).ceil().clamp(1.0, SHADES);
        let class = format!("h{shade:.0}");
        drawing.rect(&class, at, side - 1.0, side - 1.0);
        if self.labels.len() <= SHOWN {
            let class = if shade > 4.0 { "tm inv" } else { "tm cell" };
            let middle = At::new(at.x + side / 2.0, at.y + side / 2.0 + 4.0);
            drawing.text(class, middle, &fixed(share * 100.0, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_shaded_by_their_share() {
        let heat = Heat {
            labels: vec!["a".into(), "b".into()],
            shares: vec![vec![1.0, 0.0], vec![0.25, 0.75]],
            axis: "predicted".into(),
        };
        let svg = heat.draw().element("f", "t", "d").to_string();
        assert_eq!(svg.matches("<rect").count(), 3);
        for part in [
            "class=\"h8\"",
            "class=\"h2\"",
            "class=\"h6\"",
            ">75<",
            ">a<",
        ] {
            assert!(svg.contains(part), "{part}");
        }
    }
}
