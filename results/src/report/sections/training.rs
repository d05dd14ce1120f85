//! Curves of training: losses, accuracies, learning rate, gradient norm, speed, and what was
//! measured on the way.

use std::{collections::BTreeMap, path::Path};

use flava_base::{MAX_SETTINGS, is_there, read_text};

use crate::{
    Result,
    report::{
        figures::{Curve, CurvePoint, Series},
        html::{Element, text_element},
        number::{count, cut, fixed, percent, short},
        section::{Block, Figure, Section},
        table::Grid,
        training_log::{TrainingLog, training_logs},
        view::Study,
    },
};

/// Numbers of a log that are no loss.
const NO_LOSS: [&str; 11] = [
    "learning_rate",
    "gradient_norm",
    "seconds_left",
    "peak_memory_mb",
    "skipped_steps",
    "broken_rows",
    "logit_scale",
    "temperature",
    "kl_weight",
    "centre_norm",
    "loss_scale",
];
/// Letters of a recipe.
const RECIPE: usize = 20_000;
/// Lines of a figure.
const LINES: usize = 6;
/// Rows of a figure's values.
const VALUES: usize = 24;

/// The curves of the runs' own folders.
pub(super) fn runs_part(study: &Study) -> Option<Section> {
    let mut figures = Vec::new();
    let mut problems = Vec::new();
    for view in &study.views {
        match training_logs(&view.run.folder) {
            Ok(logs) => figures.extend(logs.iter().flat_map(|log| curves(log, &view.letter))),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if figures.is_empty() && problems.is_empty() {
        return None;
    }
    let mut section = part(figures, study.options.most_figures);
    for problem in problems {
        section.say(problem);
    }
    Some(section)
}

/// The curves of a folder without records; None where it has no logs.
pub(in crate::report) fn training_part(folder: &Path, most: usize) -> Result<Option<Section>> {
    let logs = training_logs(folder)?;
    if logs.is_empty() {
        return Ok(None);
    }
    let figures = logs.iter().flat_map(|log| curves(log, ""));
    let mut section = part(figures.collect(), most);
    let mut grid = Grid::new("Stages")
        .words("stage")
        .numbers(&["steps", "last loss"]);
    for log in &logs {
        let loss = log.train.get("loss").and_then(|points| points.last());
        grid.row(&[
            log_name(log),
            log.last_step.to_string(),
            loss.map_or_else(|| "–".to_owned(), |point| short(point.y)),
        ]);
    }
    section.table(grid);
    section.blocks.extend(recipe(folder)?);
    Ok(Some(section))
}

/// The recipe that a pretraining wrote into its folder, and how it is run again.
fn recipe(folder: &Path) -> Result<Option<Block>> {
    let path = folder.join("recipe.toml");
    if !is_there(&path) {
        return Ok(None);
    }
    let text = read_text(&path, MAX_SETTINGS)?;
    let how = text_element(
        "p",
        "The whole recipe; as a file it gives the same again with ",
    )
    .child(text_element("code", "flava-pretrain run recipe.toml"));
    let text = cut(&text, RECIPE).replace('\t', "    ");
    let lines = text
        .lines()
        .map(|line| Element::new("span").text(line).newline());
    let text = Element::new("pre").child(Element::new("code").children(lines));
    let summary = text_element("summary", "recipe");
    let details = Element::new("details")
        .child(summary)
        .child(how)
        .child(text);
    Ok(Some(Block::Html(details)))
}

fn part(figures: Vec<Figure>, most: usize) -> Section {
    let mut section = Section::new("training", "Training");
    section.note(
        "Each line is what the log tells; where it tells many steps, a point is the mean over \
         some, and the band reaches from the lowest to the highest of them.",
    );
    section.figures(figures, most);
    section
}

fn log_name(log: &TrainingLog) -> String {
    if log.name.is_empty() {
        "training".to_owned()
    } else {
        log.name.clone()
    }
}

/// Lines that belong on one figure.
struct Group<'a> {
    kind: &'static str,
    title: &'static str,
    lines: Vec<(&'a String, &'a Vec<CurvePoint>)>,
    percent: bool,
}

fn curves(log: &TrainingLog, letter: &str) -> Vec<Figure> {
    let chosen = |is: &dyn Fn(&str) -> bool| -> Vec<_> {
        log.train.iter().filter(|(name, _)| is(name)).collect()
    };
    let group = |kind, title, lines, percent| Group {
        kind,
        title,
        lines,
        percent,
    };
    let exactly = |wanted: &'static str| chosen(&move |name| name == wanted);
    let groups = [
        group("loss", "loss", exactly("loss"), false),
        group("losses", "parts of the loss", chosen(&is_part), false),
        group(
            "accuracies",
            "accuracies on the training rows",
            chosen(&|name| name.ends_with("_accuracy")),
            true,
        ),
        group(
            "scores",
            "scores on the way",
            log.evaluation.iter().collect(),
            is_shares(&log.evaluation),
        ),
        group("rate", "learning rate", exactly("learning_rate"), false),
        group("norm", "gradient norm", exactly("gradient_norm"), false),
        group("speed", "rows a second", exactly("rows_per_s"), false),
    ];
    // One part alone is the loss itself.
    let is_told = |group: &Group| group.lines.len() > usize::from(group.kind == "losses");
    let drawn = groups.into_iter().filter(is_told);
    drawn
        .flat_map(|group| figures(log, letter, &group))
        .collect()
}

/// Whether a number is a part of the loss.
fn is_part(name: &str) -> bool {
    !(name == "loss"
        || NO_LOSS.contains(&name)
        || name.ends_with("_accuracy")
        || name.ends_with("_per_s")
        || name.starts_with("share_"))
}

fn is_shares(lines: &BTreeMap<String, Vec<CurvePoint>>) -> bool {
    let mut points = lines.values().flatten();
    points.all(|point| point.y.abs() <= 1.0)
}

fn figures(log: &TrainingLog, letter: &str, group: &Group) -> Vec<Figure> {
    let figures = group.lines.len().div_ceil(LINES).max(1);
    let pieces = group.lines.chunks(group.lines.len().div_ceil(figures));
    let prefix = if letter.is_empty() {
        String::new()
    } else {
        format!("{letter}.")
    };
    let figure = |(index, lines): (usize, &[(&String, &Vec<CurvePoint>)])| {
        let number = if index == 0 {
            String::new()
        } else {
            format!(".{}", index + 1)
        };
        let curve = Curve {
            series: lines
                .iter()
                .map(|(name, points)| Series {
                    name: (*name).clone(),
                    points: (*points).clone(),
                })
                .collect(),
            marks: Vec::new(),
            x_axis: "step".into(),
            y_axis: group.title.into(),
            log: false,
            percent: group.percent,
        };
        let title = format!("{}: {}", log_name(log), group.title);
        Figure {
            name: format!("{prefix}{}.{}{number}", group.kind, log_name(log)),
            description: described(lines, log.last_step),
            drawing: curve.draw(),
            values: values(&title, lines, group.percent),
            title,
        }
    };
    pieces.enumerate().map(figure).collect()
}

fn described(lines: &[(&String, &Vec<CurvePoint>)], steps: usize) -> String {
    let line = |(name, points): &(&String, &Vec<CurvePoint>)| {
        let ends = points.first().zip(points.last());
        let ends = ends.map(|(a, b)| format!("{name} from {} to {}", short(a.y), short(b.y)));
        ends.unwrap_or_default()
    };
    let lines: Vec<String> = lines.iter().map(line).collect();
    format!("{} in {}.", lines.join(", "), count(steps, "step"))
}

/// The values at some steps of all that are drawn.
fn values(title: &str, lines: &[(&String, &Vec<CurvePoint>)], shares: bool) -> Grid {
    let names: Vec<&str> = lines.iter().map(|(name, _)| name.as_str()).collect();
    let mut by_step: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (column, (_, points)) in lines.iter().enumerate() {
        for point in *points {
            let row = by_step.entry(point.x.to_bits()).or_default();
            row.resize(column, "–".to_owned());
            let value = if shares {
                percent(point.y)
            } else {
                short(point.y)
            };
            row.push(value);
        }
    }
    let every = by_step.len().div_ceil(VALUES).max(1);
    let last = by_step.len().saturating_sub(1);
    let shown = by_step.into_iter().enumerate();
    let shown = shown.filter(|(index, _)| index % every == 0 || *index == last);
    let caption = if every > 1 {
        format!("{title}, one point of {every}")
    } else {
        title.to_owned()
    };
    let mut grid = Grid::new(caption).numbers(&["step"]).numbers(&names);
    for (_, (step, mut row)) in shown {
        row.resize(names.len(), "–".to_owned());
        row.insert(0, fixed(f64::from_bits(step), 0));
        grid.row(&row);
    }
    grid
}
