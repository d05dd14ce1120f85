//! An ablation: a forest of its columns for each task, over the seeds.

use std::path::Path;

use crate::{
    AblationCell, ablation,
    report::{
        figures::{Forest, ForestRow},
        number::percent,
        section::{Figure, Section},
        table::Grid,
    },
};

/// The forests of a folder that holds `COLUMN/seed-N/runs`; None of any other.
pub(in crate::report) fn ablation_part(folder: &Path, most: usize) -> Option<Section> {
    let cells = ablation(folder).ok()?;
    let mut tasks: Vec<&str> = cells.iter().map(|cell| cell.task.as_str()).collect();
    tasks.dedup();
    let mut section = Section::new("ablation", "Ablation");
    section.say(
        "Each value is a mean over the seeds that were run. Its interval is of the rows, which are \
         the same for all seeds, and of the seeds (Student).",
    );
    let figures = tasks.into_iter().map(|task| {
        let cells: Vec<&AblationCell> = cells.iter().filter(|cell| cell.task == task).collect();
        figure(task, &cells)
    });
    section.figures(figures.collect(), most);
    Some(section)
}

fn figure(task: &str, cells: &[&AblationCell]) -> Figure {
    let rows = cells.iter().map(|cell| ForestRow {
        label: cell.column.clone(),
        value: cell.value,
        low: cell.ci_low,
        high: cell.ci_high,
        reference: None,
    });
    let metric = cells.first().map_or("", |cell| cell.metric.as_str());
    let forest = Forest {
        rows: rows.collect(),
        line: None,
        axis: format!("{metric} in percent, 95 % interval"),
    };
    let mut values = Grid::new(format!("{task}: {metric} in percent"))
        .words("column")
        .numbers(&["mean", "low", "high", "deviation over seeds", "seeds"]);
    for cell in cells {
        let deviation = cell.over_seeds.map(percent);
        let mut row = vec![cell.column.clone()];
        row.extend([cell.value, cell.ci_low, cell.ci_high].map(percent));
        row.push(deviation.unwrap_or_else(|| "–".to_owned()));
        row.push(cell.seeds.to_string());
        values.row(&row);
    }
    Figure {
        name: format!("ablation.{task}"),
        title: format!("{task}: the columns"),
        description: format!("A row for each column: the mean {metric} with its interval."),
        drawing: forest.draw(),
        values,
    }
}
