//! Lines over a scale, with a band around each and marks on points.

use super::frame::{At, Drawing, Scale, tick};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 545.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 240.0;
/// Lines that are told apart by colour, dashes and name.
const STYLES: usize = 6;

/// A point of a line, and its interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurvePoint {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl CurvePoint {
    /// Without an interval.
    pub(crate) fn new(x: f64, y: f64) -> Self {
        Self {
            x,
            y,
            low: y,
            high: y,
        }
    }
}

/// A line and its name.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<CurvePoint>,
}

/// What a marked point is; each has a shape of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkKind {
    /// A filled diamond.
    Chosen,
    /// A cross.
    Unconverged,
    /// A hollow square.
    Edge,
}

/// A mark on a point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurveMark {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) kind: MarkKind,
}

/// Lines over a scale.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) series: Vec<Series>,
    pub(crate) marks: Vec<CurveMark>,
    pub(crate) x_axis: String,
    pub(crate) y_axis: String,
    /// Whether the lower scale is one of powers of ten.
    pub(crate) log: bool,
    /// Whether the values are shares, shown in percent.
    pub(crate) percent: bool,
}

impl Curve {
    pub(crate) fn draw(&self) -> Drawing {
        let names = if self.series.len() > 1 {
            18.0 * self.series.len() as f64
        } else {
            0.0
        };
        let mut drawing = Drawing::new(WIDTH, HEIGHT - 12.0 + names);
        let x = self.x_scale();
        let y = self.y_scale();
        self.axes(&mut drawing, &x, &y);
        for (index, series) in self.series.iter().enumerate() {
            draw_series(&mut drawing, series, index % STYLES, [&x, &y]);
        }
        for mark in &self.marks {
            draw_mark(&mut drawing, mark, At::new(x.at(mark.x), y.at(mark.y)));
        }
        if self.series.len() > 1 {
            self.names(&mut drawing);
        }
        drawing
    }

    fn x_scale(&self) -> Scale {
        let values = self.points().map(|point| point.x);
        Scale::around(values, self.log).onto(LEFT, RIGHT)
    }

    fn y_scale(&self) -> Scale {
        let values = self
            .points()
            .flat_map(|point| [point.low, point.y, point.high]);
        let scale = Scale::around(values, false).onto(BOTTOM, TOP);
        if self.percent {
            scale.within(-1.0, 1.0)
        } else {
            scale
        }
    }

    fn points(&self) -> impl Iterator<Item = CurvePoint> + '_ {
        let all = self.series.iter().flat_map(|series| &series.points);
        all.copied().filter(|point| point.y.is_finite())
    }

    fn axes(&self, drawing: &mut Drawing, x: &Scale, y: &Scale) {
        for value in y.ticks(5) {
            let at = y.at(value);
            drawing.line("grid", At::new(LEFT, at), At::new(RIGHT, at));
            let text = tick(value, self.percent);
            drawing.text("te", At::new(LEFT - 6.0, at + 4.5), &text);
        }
        let is_whole = self.points().all(|point| point.x.fract() == 0.0);
        let ticks = x.ticks(6).into_iter();
        for value in ticks.filter(|tick| !is_whole || tick.fract() == 0.0) {
            let at = x.at(value);
            drawing.line("axis", At::new(at, BOTTOM), At::new(at, BOTTOM + 4.0));
            drawing.text("tm", At::new(at, BOTTOM + 18.0), &tick(value, false));
        }
        drawing.line("axis", At::new(LEFT, BOTTOM), At::new(RIGHT, BOTTOM));
        let middle = f64::midpoint(LEFT, RIGHT);
        let axes = format!("across: {} · up: {}", self.x_axis, self.y_axis);
        drawing.text("tm", At::new(middle, BOTTOM + 38.0), &axes);
    }

    /// The lines' names, each beside a piece of its line.
    fn names(&self, drawing: &mut Drawing) {
        for (index, series) in self.series.iter().enumerate() {
            let y = BOTTOM + 58.0 + 18.0 * index as f64;
            let style = index % STYLES;
            let line = format!("l{style}");
            drawing.line(&line, At::new(LEFT, y - 4.0), At::new(LEFT + 40.0, y - 4.0));
            drawing.text("t", At::new(LEFT + 48.0, y), &series.name);
        }
    }
}

fn draw_series(drawing: &mut Drawing, series: &Series, style: usize, [x, y]: [&Scale; 2]) {
    let points: Vec<CurvePoint> = series.points.clone();
    let points = points.into_iter().filter(|point| point.y.is_finite());
    let points: Vec<CurvePoint> = points.collect();
    let at = |point: &CurvePoint, value: f64| At::new(x.at(point.x), y.at(value));
    if points.iter().any(|point| point.high > point.low) {
        let upper = points.iter().map(|point| at(point, point.high));
        let lower = points.iter().rev().map(|point| at(point, point.low));
        let around: Vec<At> = upper.chain(lower).collect();
        drawing.path(&format!("b{style}"), &around, true);
    }
    let through: Vec<At> = points.iter().map(|point| at(point, point.y)).collect();
    drawing.path(&format!("l{style}"), &through, false);
    if through.len() <= 24 {
        for at in through {
            drawing.dot(&format!("f{style}"), at, 3.0);
        }
    }
}

fn draw_mark(drawing: &mut Drawing, mark: &CurveMark, at: At) {
    let corner = |x: f64, y: f64| At::new(at.x + x, at.y + y);
    match mark.kind {
        MarkKind::Chosen => drawing.diamond("chosen", at, 7.0),
        MarkKind::Unconverged => {
            drawing.line("cross", corner(-5.0, -5.0), corner(5.0, 5.0));
            drawing.line("cross", corner(-5.0, 5.0), corner(5.0, -5.0));
        }
        MarkKind::Edge => drawing.rect("hollow", corner(-6.0, -6.0), 12.0, 12.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_bands_and_marks_are_drawn() {
        let point = |x: f64, y: f64| CurvePoint {
            low: y - 0.1,
            high: y + 0.1,
            ..CurvePoint::new(x, y)
        };
        let series = |name: &str| Series {
            name: name.into(),
            points: vec![point(1.0, 0.2), point(10.0, 0.4), point(100.0, f64::NAN)],
        };
        let mark = |kind| CurveMark {
            x: 10.0,
            y: 0.4,
            kind,
        };
        let kinds = [MarkKind::Chosen, MarkKind::Unconverged, MarkKind::Edge];
        let curve = Curve {
            series: vec![series("a"), series("b")],
            marks: kinds.map(mark).into(),
            x_axis: "k".into(),
            y_axis: "accuracy".into(),
            log: true,
            percent: true,
        };
        let svg = curve.draw().element("f", "t", "d").to_string();
        for class in ["l0", "l1", "b0", "b1", "chosen", "cross", "hollow"] {
            assert!(svg.contains(&format!("class=\"{class}\"")), "{class}");
        }
        assert!(svg.contains(">a<") && !svg.contains("NaN"));
    }
}
