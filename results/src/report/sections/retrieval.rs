//! Retrieval both ways: how far down the right items stand, the worst queries, and some drawn at
//! random.

use crate::report::{
    analysis::{Query, QuerySide, RanksSeen},
    figures::{Curve, CurvePoint, Series},
    gallery::{Shown, gallery},
    number::{percent, short},
    section::{Figure, Section},
    table::Grid,
    view::{Item, Study},
};

/// Worst queries that are shown with their images.
const WORST: usize = 8;
/// What is looked for in each direction.
const TEXTS: &str = "captions for an image";
const IMAGES: &str = "images for a caption";

pub(super) fn retrieval_part(study: &Study) -> Option<Section> {
    let all = study.entries();
    let seen = all.filter_map(|item| Some((item, item.entry.seen.ranks.as_ref()?)));
    let seen: Vec<(Item, &RanksSeen)> = seen.collect();
    if seen.is_empty() {
        return None;
    }
    let mut section = Section::new("retrieval", "Retrieval");
    let most = study.options.most_figures;
    let figures = seen.iter().map(|(item, seen)| figure(item, seen));
    section.figures(figures.collect(), most);
    for (item, seen) in seen.iter().take(most) {
        section.head(item.title());
        for (side, what) in [(&seen.texts, TEXTS), (&seen.images, IMAGES)] {
            add(study, &mut section, item, Direction { side, what });
        }
    }
    Some(section)
}

/// Queries of one direction and what they look for.
struct Direction<'a> {
    side: &'a QuerySide,
    what: &'static str,
}

fn add(study: &Study, section: &mut Section, item: &Item, direction: Direction) {
    let Direction { side, what } = direction;
    section.say(format!(
        "{what}: {}, median rank {}.",
        quantity(side.queries),
        short(side.median_rank)
    ));
    let record = item.entry.record;
    let of_texts = what == TEXTS;
    let worst: Vec<Shown> = side
        .worst
        .iter()
        .take(WORST)
        .map(|q| shown(q, of_texts))
        .collect();
    let drawn: Vec<Shown> = side.drawn.iter().map(|q| shown(q, of_texts)).collect();
    let caption = format!("{what}: the worst queries");
    section.html(gallery(study, record, &caption, &worst));
    let caption = format!(
        "{what}: queries drawn at random (seed {})",
        study.options.seed
    );
    section.html(gallery(study, record, &caption, &drawn));
}

fn shown(query: &Query, of_texts: bool) -> Shown {
    let (number, image) = (query.number, query.image);
    let name = if of_texts {
        format!("image {image}")
    } else {
        format!("caption {number} of image {image}")
    };
    Shown {
        row: image.to_string(),
        name,
        told: format!("best right item at rank {}", query.rank),
    }
}

fn figure(item: &Item, seen: &RanksSeen) -> Figure {
    let title = item.title();
    let series = |side: &QuerySide, name: &str| Series {
        name: name.to_owned(),
        points: side
            .recall
            .iter()
            .map(|at| CurvePoint::new(at.depth as f64, at.share))
            .collect(),
    };
    let curve = Curve {
        series: vec![series(&seen.texts, TEXTS), series(&seen.images, IMAGES)],
        marks: Vec::new(),
        x_axis: "k".into(),
        y_axis: "recall@k in percent".into(),
        log: true,
        percent: true,
    };
    Figure {
        name: item.figure("recall"),
        title: format!("{title}: recall by depth"),
        description: "The share of queries whose right item is among the best k, in both \
                      directions."
            .into(),
        drawing: curve.draw(),
        values: values(&title, seen),
    }
}

fn values(title: &str, seen: &RanksSeen) -> Grid {
    let mut values =
        Grid::new(format!("{title}: recall@k in percent")).numbers(&["k", TEXTS, IMAGES]);
    let depths = if seen.texts.recall.len() > seen.images.recall.len() {
        &seen.texts.recall
    } else {
        &seen.images.recall
    };
    for at in depths {
        let share = |side: &QuerySide| {
            let found = side.recall.iter().find(|other| other.depth == at.depth);
            found.map_or_else(|| "–".to_owned(), |at| percent(at.share))
        };
        values.row(&[
            at.depth.to_string(),
            share(&seen.texts),
            share(&seen.images),
        ]);
    }
    values
}

fn quantity(queries: usize) -> String {
    if queries == 1 {
        "1 query".to_owned()
    } else {
        format!("{queries} queries")
    }
}
