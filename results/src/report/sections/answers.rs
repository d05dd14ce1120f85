//! Answers by their kind, frequent wrong ones, and numbers that are far off.

use serde_json::Value;

use crate::report::{
    figures::{Forest, ForestRow},
    number::{count, percent, short},
    section::{Figure, Section},
    table::{Grid, first},
    view::{Item, Study},
};

/// The score of rows of one kind.
struct Slice {
    kind: String,
    value: f64,
    low: f64,
    high: f64,
    rows: u64,
}

pub(super) fn answers_part(study: &Study) -> Option<Section> {
    let mut section = Section::new("answers", "Answers by kind, and frequent mistakes");
    let figures = study.entries().filter_map(|item| figure(study, item));
    section.figures(figures.collect(), study.options.most_figures);
    for item in study.entries().take(study.options.most_tasks) {
        wrong(&mut section, &item);
        far_off(&mut section, &item);
    }
    (!section.blocks.is_empty()).then_some(section)
}

fn slices(item: Item) -> Option<Vec<Slice>> {
    let slices = item.entry.record.details.get("slices")?.as_object()?;
    let metric = &item.entry.record.main().metric;
    let slice = |pair: (&String, &Value)| {
        let number = |key: &str| pair.1[key].as_f64();
        Some(Slice {
            kind: pair.0.clone(),
            value: number(metric)?,
            low: number("ci_low")?,
            high: number("ci_high")?,
            rows: pair.1["n"].as_u64()?,
        })
    };
    let mut found: Vec<Slice> = slices.iter().filter_map(slice).collect();
    found.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.kind.cmp(&b.kind)));
    (!found.is_empty()).then_some(found)
}

fn figure(study: &Study, item: Item) -> Option<Figure> {
    let (slices, left) = first(slices(item)?, study.options.most_rows);
    let metric = &item.entry.record.main().metric;
    let title = item.title();
    let rows = slices.iter().map(|slice| ForestRow {
        label: slice.kind.clone(),
        value: slice.value,
        low: slice.low,
        high: slice.high,
        reference: None,
    });
    let forest = Forest {
        rows: rows.collect(),
        line: Some(item.entry.record.main().value),
        axis: format!("{metric} in percent; the dashed line is that of all rows"),
    };
    let mut values = Grid::new(format!("{title}: {metric} by kind, in percent"))
        .words("kind")
        .numbers(&[metric, "low", "high", "rows"])
        .left(left);
    for slice in &slices {
        values.row(&[
            slice.kind.clone(),
            percent(slice.value),
            percent(slice.low),
            percent(slice.high),
            slice.rows.to_string(),
        ]);
    }
    Some(Figure {
        name: item.figure("kinds"),
        title: format!("{title}: {metric} by kind"),
        description:
            "A row for each kind of answer or question, the most frequent first, with its \
                      95 % interval."
                .into(),
        drawing: forest.draw(),
        values,
    })
}

fn wrong(section: &mut Section, item: &Item) {
    let Some(seen) = &item.entry.seen.answers else {
        return;
    };
    section.head(item.title());
    section.say(format!(
        "{} of {} have an answer that nobody gave, {} different ones.",
        seen.wrong,
        count(seen.rows, "row"),
        seen.different
    ));
    let mut grid = Grid::new(format!("{}: frequent wrong answers", item.title()))
        .words("answer")
        .numbers(&["rows"])
        .words("people's most frequent answer there")
        .left(seen.different - seen.frequent.len());
    for answer in &seen.frequent {
        grid.row(&[
            answer.answer.clone(),
            answer.rows.to_string(),
            answer.given.clone(),
        ]);
    }
    section.table(grid);
}

fn far_off(section: &mut Section, item: &Item) {
    let Some(seen) = &item.entry.seen.values else {
        return;
    };
    section.head(item.title());
    section.say(format!(
        "The mean error over {} is {}.",
        count(seen.rows, "row"),
        short(seen.mean_error)
    ));
    let mut grid = Grid::new(format!("{}: rows that are furthest off", item.title()))
        .words("row")
        .numbers(&["predicted", "right", "error"])
        .left(seen.rows - seen.furthest.len());
    for row in &seen.furthest {
        let error = row.predicted - row.gold;
        let numbers = [row.predicted, row.gold, error].map(short);
        let mut cells = vec![row.id.clone()];
        cells.extend(numbers);
        grid.row(&cells);
    }
    section.table(grid);
}
