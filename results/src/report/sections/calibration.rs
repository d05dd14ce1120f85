//! Whether confidence says how often an answer is right, and which wrong answers were the surest.

use crate::report::{
    analysis::Calibration,
    figures::Reliability,
    gallery::{Shown, gallery},
    number::{fixed, percent, short},
    section::{Figure, Section},
    table::Grid,
    view::{Item, Study},
};

/// Surest wrong answers that are shown of a task.
const WRONG: usize = 8;

pub(super) fn calibration_part(study: &Study) -> Option<Section> {
    let all = study.entries();
    let seen = all.filter_map(|item| Some((item, item.entry.seen.calibration.as_ref()?)));
    let seen: Vec<(Item, &Calibration)> = seen.collect();
    if seen.is_empty() {
        return None;
    }
    let most = study.options.most_figures;
    let mut section = Section::new("calibration", "Confidence");
    section.say(
        "Confidence is the answer's share of the exponentials of the stored numbers (softmax). The \
         expected calibration error is the mean gap between confidence and accuracy over 15 bins \
         of equal width, weighted by their rows. Numbers of zero-shot classification are cosines, \
         which have no scale: they are divided by the temperature that fits a sample of these same \
         rows best, which makes their error small.",
    );
    section.table(errors(&seen, study.options.most_tasks));
    let figures = seen.iter().map(|(item, seen)| figure(item, seen));
    section.figures(figures.collect(), most);
    for (item, seen) in seen.iter().take(most) {
        let rows = surest(study, item, seen);
        let caption = format!("{}: surest wrong answers", item.title());
        section.html(gallery(study, item.entry.record, &caption, &rows));
    }
    Some(section)
}

/// The error of each task.
fn errors(seen: &[(Item, &Calibration)], most: usize) -> Grid {
    let mut grid = Grid::new("Calibration, in percent")
        .sortable()
        .words("task")
        .numbers(&[
            "expected error (15 equal bins)",
            "mean confidence",
            "accuracy",
            "temperature",
        ])
        .left(seen.len().saturating_sub(most));
    for (item, seen) in seen.iter().take(most) {
        let temperature = seen.temperature.map(short);
        grid.row(&[
            item.title(),
            percent(seen.error),
            percent(seen.confidence),
            percent(seen.accuracy),
            temperature.unwrap_or_else(|| "–".to_owned()),
        ]);
    }
    grid
}

fn figure(item: &Item, seen: &Calibration) -> Figure {
    let title = item.title();
    let mut values = Grid::new(format!("{title}: bins of confidence, in percent"))
        .words("confidence from, to")
        .numbers(&["rows", "mean confidence", "accuracy", "gap"]);
    let width = 100.0 / seen.bins.len() as f64;
    for (index, bin) in seen.bins.iter().enumerate() {
        let (from, to) = (width * index as f64, width * (index + 1) as f64);
        let shown = |value: f64| {
            if bin.rows == 0 {
                "–".to_owned()
            } else {
                percent(value)
            }
        };
        values.row(&[
            format!("{}, {}", fixed(from, 1), fixed(to, 1)),
            bin.rows.to_string(),
            shown(bin.confidence),
            shown(bin.accuracy),
            shown(bin.accuracy - bin.confidence),
        ]);
    }
    let drawing = Reliability {
        bins: seen.bins.clone(),
    };
    Figure {
        name: item.figure("reliability"),
        title: format!("{title}: reliability"),
        description: format!(
            "Accuracy of the answers by their confidence in 15 equal bins; on the dashed line \
             confidence is right. Expected error {} %.",
            percent(seen.error)
        ),
        drawing: drawing.draw(),
        values,
    }
}

fn surest(study: &Study, item: &Item, seen: &Calibration) -> Vec<Shown> {
    let names = study.class_names(item.entry.record);
    let shown = seen.surest_wrong.iter().take(WRONG).map(|row| Shown {
        row: row.id.clone(),
        name: row.id.clone(),
        told: format!(
            "{} taken for {}, {} % sure",
            names.of(row.gold),
            names.of(row.predicted),
            percent(row.confidence)
        ),
    });
    shown.collect()
}
