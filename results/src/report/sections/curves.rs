//! Scores over what was varied: shots, neighbours and layers.

use std::collections::BTreeMap;

use flava_tasks::{Feature, Tap};
use serde_json::Value;

use crate::report::{
    figures::{Curve, CurvePoint, Series},
    number::{fixed, percent},
    section::{Figure, Section},
    table::Grid,
    view::{Item, Study, View},
};

pub(super) fn curves_part(study: &Study) -> Option<Section> {
    let mut figures: Vec<Figure> = study.entries().filter_map(few_shot).collect();
    figures.extend(study.entries().filter_map(neighbours));
    figures.extend(study.views.iter().flat_map(layers));
    if figures.is_empty() {
        return None;
    }
    let mut section = Section::new("curves", "Scores over shots, neighbours and layers");
    section.figures(figures, study.options.most_figures);
    Some(section)
}

/// A line of one figure and what it is over.
struct Varied<'a> {
    item: Item<'a>,
    name: String,
    title: String,
    /// What the score is over, such as "shots".
    over: &'static str,
    points: Vec<CurvePoint>,
    description: &'static str,
    log: bool,
}

impl Varied<'_> {
    fn figure(self) -> Figure {
        let title = self.title;
        let metric = &self.item.entry.record.main().metric;
        let has_band = self.points.iter().any(|point| point.high > point.low);
        let heads: &[&str] = if has_band {
            &["value in percent", "lowest", "highest"]
        } else {
            &["value in percent"]
        };
        let mut values = Grid::new(format!("{title}: {metric} by {}", self.over));
        values = values.numbers(&[self.over]).numbers(heads);
        for point in &self.points {
            let mut cells = vec![fixed(point.x, 0), percent(point.y)];
            if has_band {
                cells.extend([point.low, point.high].map(percent));
            }
            values.row(&cells);
        }
        let curve = Curve {
            series: vec![Series {
                name: title.clone(),
                points: self.points,
            }],
            marks: Vec::new(),
            x_axis: self.over.into(),
            y_axis: format!("{metric} in percent"),
            log: self.log,
            percent: true,
        };
        Figure {
            name: self.name,
            title: format!("{title}: {metric} by {}", self.over),
            description: self.description.into(),
            drawing: curve.draw(),
            values,
        }
    }
}

/// The points of an object whose keys are numbers, in their order.
fn points(of: &Value, read: impl Fn(f64, &Value) -> Option<CurvePoint>) -> Option<Vec<CurvePoint>> {
    let pairs = of.as_object()?.iter();
    let mut points: Vec<CurvePoint> = pairs
        .filter_map(|(key, value)| read(key.parse().ok()?, value))
        .collect();
    points.sort_by(|a, b| a.x.total_cmp(&b.x));
    (!points.is_empty()).then_some(points)
}

fn few_shot(item: Item) -> Option<Figure> {
    let mut details = item.entry.record.details.iter();
    let (_, by_shots) = details.find(|(name, _)| name.ends_with("_by_shots"))?;
    let read = |x: f64, value: &Value| {
        Some(CurvePoint {
            x,
            y: value["median"].as_f64()?,
            low: value["lowest"].as_f64()?,
            high: value["highest"].as_f64()?,
        })
    };
    let line = Varied {
        item,
        name: item.figure("shots"),
        title: item.title(),
        over: "shots of each class",
        points: points(by_shots, read)?,
        description: "The median over draws of the training rows; the band reaches from the lowest \
                      to the highest draw.",
        log: true,
    };
    Some(line.figure())
}

fn neighbours(item: Item) -> Option<Figure> {
    let by_k = item.entry.record.details.get("accuracy_by_k")?;
    let line = Varied {
        item,
        name: item.figure("neighbours"),
        title: item.title(),
        over: "neighbours",
        points: points(by_k, |x, value| Some(CurvePoint::new(x, value.as_f64()?)))?,
        description: "The accuracy by how many neighbours vote. They were scored on the test rows: \
                      none was chosen by them.",
        log: true,
    };
    Some(line.figure())
}

/// The main score by the layer that was read, where a task was run on several.
fn layers<'a>(view: &'a View<'a>) -> Vec<Figure> {
    let mut by_task: BTreeMap<String, Vec<(u8, Item<'a>)>> = BTreeMap::new();
    for item in view.items() {
        let record = item.entry.record;
        let feature = record.feature.parse::<Feature>();
        if let Ok(Feature {
            tower,
            tap: Tap::Layer(layer),
        }) = feature
        {
            let tower = format!("{tower:?}").to_lowercase();
            let of = format!("{}.{}.{tower}", record.task, record.method);
            by_task.entry(of).or_default().push((layer, item));
        }
    }
    let several = by_task.into_iter().filter(|(_, layers)| layers.len() > 1);
    several
        .filter_map(|(of, layers)| layer_curve(&of, layers))
        .collect()
}

fn layer_curve(of: &str, mut layers: Vec<(u8, Item)>) -> Option<Figure> {
    layers.sort_by_key(|(layer, _)| *layer);
    let points = layers.iter().map(|(layer, item)| {
        let score = item.entry.record.main();
        CurvePoint {
            x: f64::from(*layer),
            y: score.value,
            low: score.ci_low,
            high: score.ci_high,
        }
    });
    let (_, item) = layers.last()?;
    let line = Varied {
        item: *item,
        name: item.figure_named("layers", of),
        title: item.titled(&item.entry.record.task),
        over: "layer",
        points: points.collect(),
        description: "The main score by the block whose CLS state was read, with its 95 % interval.",
        log: false,
    };
    Some(line.figure())
}
