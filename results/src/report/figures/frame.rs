//! What all figures share: a canvas with a title and a description, scales, axes and texts.

use crate::report::{
    html::{Element, text_element},
    number::{fixed, short},
    palette::figure_style,
};

/// Names of elements must be those of SVG.
const NAMESPACE: &str = "http://www.w3.org/2000/svg";

/// A figure's shapes on a canvas.
#[derive(Clone, Debug)]
pub(crate) struct Drawing {
    pub(crate) width: f64,
    pub(crate) height: f64,
    shapes: Vec<Element>,
}

impl Drawing {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            shapes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, shape: Element) {
        self.shapes.push(shape);
    }

    /// A straight line.
    pub(super) fn line(&mut self, class: &str, from: At, to: At) {
        let line = Element::new("line")
            .class(class)
            .attr("x1", place(from.x))
            .attr("y1", place(from.y))
            .attr("x2", place(to.x))
            .attr("y2", place(to.y));
        self.add(line);
    }

    /// A rectangle from its upper left corner.
    pub(super) fn rect(&mut self, class: &str, corner: At, width: f64, height: f64) {
        let rect = Element::new("rect")
            .class(class)
            .attr("x", place(corner.x))
            .attr("y", place(corner.y))
            .attr("width", place(width.max(0.0)))
            .attr("height", place(height.max(0.0)));
        self.add(rect);
    }

    /// A path through points; `close` makes a surface of it.
    pub(super) fn path(&mut self, class: &str, through: &[At], close: bool) {
        let mut steps = String::new();
        for (index, at) in through.iter().enumerate() {
            steps.push(if index == 0 { 'M' } else { 'L' });
            steps.push_str(&place(at.x));
            steps.push(' ');
            steps.push_str(&place(at.y));
        }
        if close {
            steps.push('Z');
        }
        self.add(Element::new("path").class(class).attr("d", steps));
    }

    /// A text that begins, is centred or ends at a point, as its class says.
    pub(super) fn text(&mut self, class: &str, at: At, text: &str) {
        let text = text_element("text", text)
            .class(class)
            .attr("x", place(at.x))
            .attr("y", place(at.y));
        self.add(text);
    }

    /// A disc.
    pub(super) fn dot(&mut self, class: &str, at: At, radius: f64) {
        let dot = Element::new("circle")
            .class(class)
            .attr("cx", place(at.x))
            .attr("cy", place(at.y))
            .attr("r", place(radius));
        self.add(dot);
    }

    /// A square that stands on a corner.
    pub(super) fn diamond(&mut self, class: &str, at: At, radius: f64) {
        let corners = [(0.0, -radius), (radius, 0.0), (0.0, radius), (-radius, 0.0)];
        let corners = corners.map(|(x, y)| At::new(at.x + x, at.y + y));
        self.path(class, &corners, true);
    }

    /// The drawing as an element that names and describes itself.
    pub(crate) fn element(&self, id: &str, title: &str, description: &str) -> Element {
        let (title_id, description_id) = (format!("{id}-t"), format!("{id}-d"));
        Element::new("svg")
            .attr(
                "viewBox",
                format!("0 0 {} {}", place(self.width), place(self.height)),
            )
            .attr("role", "img")
            .attr("aria-labelledby", format!("{title_id} {description_id}"))
            .child(text_element("title", title).attr("id", title_id))
            .child(text_element("desc", description).attr("id", description_id))
            .children(self.shapes.iter().cloned())
    }
}

/// The drawing as a document with its own colours.
pub(crate) fn standalone(drawing: &Drawing, id: &str, title: &str, description: &str) -> String {
    let mut inside = vec![
        text_element("title", title).attr("id", format!("{id}-t")),
        text_element("desc", description).attr("id", format!("{id}-d")),
        Element::new("style").verbatim(&figure_style()),
    ];
    inside.extend(drawing.shapes.iter().cloned());
    let (width, height) = (place(drawing.width), place(drawing.height));
    let svg = Element::new("svg")
        .attr("xmlns", NAMESPACE)
        .attr("viewBox", format!("0 0 {width} {height}"))
        .attr("width", width)
        .attr("height", height)
        .attr("role", "img")
        .attr("aria-labelledby", format!("{id}-t {id}-d"))
        .children(inside);
    format!("{svg}\n")
}

/// A point of the canvas.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) x: f64,
    pub(super) y: f64,
}

impl At {
    pub(super) fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }
}

/// A length with one decimal.
pub(super) fn place(value: f64) -> String {
    let text = fixed(value, 1);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// From values to places on the canvas.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// A scale that holds all values, with a little room; of one value alone something around it.
    pub(super) fn around(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let usable = |value: &f64| value.is_finite() && (!log || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(usable) {
            let value = if log { value.log10() } else { value };
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let room = if high > low { (high - low) * 0.05 } else { 0.5 };
        Self {
            low: low - room,
            high: high + room,
            from: 0.0,
            to: 1.0,
            log,
        }
    }

    pub(super) fn between(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            from: 0.0,
            to: 1.0,
            log: false,
        }
    }

    /// No wider than these ends.
    pub(super) fn within(mut self, low: f64, high: f64) -> Self {
        if !self.log {
            self.low = self.low.max(low);
            self.high = self.high.min(high).max(self.low + 1e-9);
        }
        self
    }

    /// Onto this stretch of the canvas.
    pub(super) fn onto(mut self, from: f64, to: f64) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.log {
            value.max(f64::MIN_POSITIVE).log10()
        } else {
            value
        };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// Round values inside, about `wanted` of them.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<f64> {
        let step = if self.log {
            ((self.high - self.low) / wanted as f64).ceil().max(1.0)
        } else {
            round_step((self.high - self.low) / wanted as f64)
        };
        let (first, last) = ((self.low / step).ceil(), (self.high / step).floor());
        let count = (last - first).max(-1.0) as i64;
        let values = (0..=count).map(|index| (first + index as f64) * step);
        let values = values.take(50);
        if self.log {
            self.steps_between(values.collect())
        } else {
            values.collect()
        }
    }

    /// The powers of ten, with 2 and 5 times each where there are few.
    fn steps_between(&self, powers: Vec<f64>) -> Vec<f64> {
        if powers.len() > 2 {
            return powers.into_iter().map(|power| 10f64.powf(power)).collect();
        }
        let from = self.low.floor() as i32;
        let decades = (from..=self.high.ceil() as i32).take(4);
        let values = decades.flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10f64.powi(power)));
        let is_inside = |value: &f64| (self.low..=self.high).contains(&value.log10());
        values.filter(is_inside).collect()
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(f64::MIN_POSITIVE).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let fits = |step: &f64| *step >= least * 0.999_999;
    steps.into_iter().find(fits).unwrap_or(power * 10.0)
}

/// A tick as text: a share in percent, or any number.
pub(super) fn tick(value: f64, percent: bool) -> String {
    if percent {
        short((value * 1e4).round() / 100.0)
    } else {
        short((value * 1e9).round() / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_hold_their_values_and_ticks_are_round() {
        let scale = Scale::around([0.2, 0.9].into_iter(), false).onto(0.0, 100.0);
        assert!(scale.at(0.2) > 0.0 && scale.at(0.9) < 100.0 && scale.at(7.0) == 100.0);
        let ticks: Vec<String> = scale.ticks(4).iter().map(|t| tick(*t, true)).collect();
        assert_eq!(ticks, ["20", "40", "60", "80"]);
        let log = Scale::around([1e-6, 1e6].into_iter(), true);
        assert!(log.ticks(4).contains(&1.0));
        let few = Scale::around([5.0, 16.0].into_iter(), true);
        assert_eq!(few.ticks(4), [5.0, 10.0]);
        assert_eq!(
            Scale::around(std::iter::empty(), false).ticks(2),
            [0.0, 1.0]
        );
        assert_eq!(place(-0.01), "0");
    }

    #[test]
    fn a_figure_alone_is_a_document() {
        let mut drawing = Drawing::new(10.0, 5.0);
        drawing.text("t", At::new(1.0, 2.0), "<b>");
        let svg = standalone(&drawing, "x", "T", "D");
        assert!(svg.starts_with("<svg xmlns=") && svg.contains("&lt;b&gt;"));
        assert!(!drawing.element("x", "T", "D").to_string().contains("xmlns"));
    }
}
