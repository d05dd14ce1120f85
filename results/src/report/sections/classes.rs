//! Classes: the worst ones, those that are taken for each other, and whether their names stand in
//! the right order.

use crate::report::{
    analysis::ClassesSeen,
    figures::{Bar, Bars, Heat},
    number::{count, fixed, percent},
    section::{Figure, Section},
    table::Grid,
    view::{ClassLabels, Item, Study},
};

pub(super) fn classes_part(study: &Study) -> Option<Section> {
    let mut section = Section::new("classes", "Classes and confusions");
    section.table(class_order(study));
    let mut items: Vec<Item> = study.entries().collect();
    items.retain(|item| {
        item.entry
            .seen
            .classes
            .as_ref()
            .is_some_and(|seen| seen.classes > 1)
    });
    items.sort_by_key(|item| item.entry.record.method != "zero_shot");
    let left = items.len().saturating_sub(study.options.most_figures);
    for item in items.iter().take(study.options.most_figures) {
        if let Some(seen) = &item.entry.seen.classes {
            add(study, &mut section, item, seen);
        }
    }
    if left > 0 {
        section.note(format!("and the classes of {} more", count(left, "task")));
    }
    (!section.blocks.is_empty()).then_some(section)
}

fn add(study: &Study, section: &mut Section, item: &Item, seen: &ClassesSeen) {
    let names = study.class_names(item.entry.record);
    section.head(item.title());
    let mut figures = vec![worst(item, seen, &names)];
    figures.extend(heat(item, seen, &names));
    section.figures(figures, 2);
    let left = seen.pairs.saturating_sub(seen.confused.len());
    let mut grid = Grid::new(format!("{}: most confused pairs", item.title()))
        .words("class")
        .words("taken for")
        .numbers(&["rows", "of its rows", "share in percent"])
        .left(left);
    for pair in &seen.confused {
        grid.row(&[
            names.of(pair.gold),
            names.of(pair.predicted),
            pair.rows.to_string(),
            pair.of.to_string(),
            percent(pair.rows as f64 / pair.of.max(1) as f64),
        ]);
    }
    section.folded("most confused pairs", grid);
}

fn worst(item: &Item, seen: &ClassesSeen, names: &ClassLabels) -> Figure {
    let title = item.title();
    let bars = seen.worst.iter().map(|share| Bar {
        label: names.of(share.class),
        value: share.share(),
    });
    let bars = Bars {
        bars: bars.collect(),
        line: Some(seen.accuracy()),
        axis: "accuracy in percent; the dashed line is that of all rows".into(),
    };
    let mut values = Grid::new(format!("{title}: classes, the worst first"))
        .words("class")
        .numbers(&["right in percent", "right", "rows"])
        .left(seen.classes - seen.worst.len());
    for share in &seen.worst {
        values.row(&[
            names.of(share.class),
            percent(share.share()),
            share.right.to_string(),
            share.rows.to_string(),
        ]);
    }
    let (shown, all) = (seen.worst.len(), seen.classes);
    let description = format!(
        "The {shown} worst of {all} classes by the share of their rows that are right; of all {} \
         rows {} % are.",
        seen.rows,
        percent(seen.accuracy())
    );
    Figure {
        name: item.figure("classes"),
        title: format!("{title}: the worst classes"),
        description,
        drawing: bars.draw(),
        values,
    }
}

fn heat(item: &Item, seen: &ClassesSeen, names: &ClassLabels) -> Option<Figure> {
    let shares = seen.matrix.clone()?;
    let labels: Vec<String> = (0..shares.len())
        .map(|class| names.numbered(class))
        .collect();
    let title = item.title();
    let numbers: Vec<String> = (0..shares.len()).map(|n| n.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let mut values = Grid::new(format!("{title}: percent of a class's rows by answer"))
        .words("class")
        .numbers(&numbers);
    for (label, row) in labels.iter().zip(&shares) {
        let mut cells = vec![label.clone()];
        cells.extend(row.iter().map(|share| fixed(share * 100.0, 1)));
        values.row(&cells);
    }
    let heat = Heat {
        labels,
        shares,
        axis: "predicted class, by its number".into(),
    };
    Some(Figure {
        name: item.figure("confusion"),
        title: format!("{title}: confusion"),
        description: "A row for each class, a column for each answer; the darker, the larger the \
                      share of the class's rows."
            .into(),
        drawing: heat.draw(),
        values,
    })
}

/// Whether the names of zero-shot classes stand in the order of the labels.
fn class_order(study: &Study) -> Grid {
    let mut grid = Grid::new("Zero-shot: names given to other classes at random")
        .words("task")
        .numbers(&["right order", "random orders", "gap", "orders", "as good"])
        .words("verdict");
    for item in study.entries() {
        let Some(order) = item.entry.record.details.get("class_order") else {
            continue;
        };
        let share = |key: &str| order[key].as_f64().map_or_else(|| "–".to_owned(), percent);
        let number = |key: &str| order[key].as_u64().unwrap_or(0);
        let (orders, as_good) = (number("orders"), number("orders_as_good"));
        // As the evaluation itself judges: more would be a coincidence (p > 0.1).
        let verdict = if as_good * 10 > orders {
            "names may be in the wrong order, or the model cannot tell the classes"
        } else {
            "names are in the right order"
        };
        grid.row(&[
            item.title(),
            share("accuracy"),
            share("shuffled"),
            share("gap"),
            orders.to_string(),
            as_good.to_string(),
            verdict.to_owned(),
        ]);
    }
    grid
}
