//! Linear probes: the metric on the held-out rows over the penalty.

use serde_json::Value;

use crate::report::{
    figures::{Curve, CurveMark, CurvePoint, MarkKind, Series},
    number::{count, percent, short},
    section::{Figure, Section},
    table::Grid,
    view::{Item, Study},
};

/// A penalty that was tried.
struct Try {
    penalty: f64,
    score: Option<f64>,
    converged: bool,
    iterations: u64,
    is_chosen: bool,
    is_edge: bool,
}

pub(super) fn probes_part(study: &Study) -> Option<Section> {
    let figures: Vec<Figure> = study.entries().filter_map(figure).collect();
    if figures.is_empty() {
        return None;
    }
    let mut section = Section::new("probes", "Linear probes: the search for the penalty");
    section.say(
        "Each probe's penalty is chosen on held-out training rows. A choice at the edge of what \
         was tried, or fits that did not converge, would put the number in doubt.",
    );
    section.figures(figures, study.options.most_figures);
    Some(section)
}

fn figure(item: Item) -> Option<Figure> {
    let details = &item.entry.record.details;
    let chosen = details.get("penalty").and_then(Value::as_f64)?;
    let tries = tries(details.get("search")?.as_array()?, chosen);
    if tries.is_empty() {
        return None;
    }
    let by = details.get("chosen_by").and_then(Value::as_str);
    let by = by.unwrap_or("score");
    let title = item.title();
    Some(Figure {
        name: item.figure("probe"),
        title: format!("{title}: {by} on held-out rows"),
        description: told(&tries, chosen),
        drawing: curve(&tries, by).draw(),
        values: values(&tries, &title),
    })
}

fn tries(search: &[Value], chosen: f64) -> Vec<Try> {
    let mut tries: Vec<Try> = search
        .iter()
        .filter_map(|tried| {
            let penalty = tried["penalty"].as_f64()?;
            Some(Try {
                penalty,
                score: tried["score"].as_f64(),
                converged: tried["converged"].as_bool().unwrap_or(true),
                iterations: tried["iterations"].as_u64().unwrap_or(0),
                is_chosen: (penalty / chosen - 1.0).abs() < 1e-9,
                is_edge: false,
            })
        })
        .collect();
    tries.sort_by(|a, b| a.penalty.total_cmp(&b.penalty));
    if let Some(first) = tries.first_mut() {
        first.is_edge = true;
    }
    if let Some(last) = tries.last_mut() {
        last.is_edge = true;
    }
    tries
}

fn told(tries: &[Try], chosen: f64) -> String {
    let unconverged = tries.iter().filter(|tried| !tried.converged).count();
    let is_edge = tries.iter().any(|tried| tried.is_chosen && tried.is_edge);
    let edge = if is_edge {
        "it lies at the edge of what was tried"
    } else {
        "it lies inside what was tried"
    };
    format!(
        "Chosen: {} (filled diamond) of {} penalties; {edge} (hollow squares). {} \
         did not converge (crosses).",
        short(chosen),
        tries.len(),
        count(unconverged, "fit")
    )
}

fn curve(tries: &[Try], by: &str) -> Curve {
    let shown = tries.iter().filter_map(|tried| Some((tried, tried.score?)));
    let points = shown
        .clone()
        .map(|(tried, score)| CurvePoint::new(tried.penalty, score));
    let marks = shown.flat_map(|(tried, score)| {
        let mark = |is: bool, kind| {
            is.then_some(CurveMark {
                x: tried.penalty,
                y: score,
                kind,
            })
        };
        [
            mark(tried.is_edge, MarkKind::Edge),
            mark(!tried.converged, MarkKind::Unconverged),
            mark(tried.is_chosen, MarkKind::Chosen),
        ]
    });
    Curve {
        series: vec![Series {
            name: by.to_owned(),
            points: points.collect(),
        }],
        marks: marks.flatten().collect(),
        x_axis: "penalty".into(),
        y_axis: format!("{by} in percent"),
        log: true,
        percent: true,
    }
}

fn values(tries: &[Try], title: &str) -> Grid {
    let mut grid = Grid::new(format!("{title}: penalties that were tried"))
        .numbers(&["penalty", "score in percent", "iterations"])
        .words("marks");
    for tried in tries {
        let marks = [
            (tried.is_chosen, "chosen"),
            (tried.is_edge, "edge"),
            (!tried.converged, "not converged"),
        ];
        let marks = marks.iter().filter(|(is, _)| *is).map(|(_, word)| *word);
        grid.row(&[
            short(tried.penalty),
            tried.score.map_or_else(|| "–".to_owned(), percent),
            tried.iterations.to_string(),
            marks.collect::<Vec<_>>().join(", "),
        ]);
    }
    grid
}
