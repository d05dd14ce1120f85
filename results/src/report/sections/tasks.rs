//! The averages, and a row for each number with its interval and the paper's.

use crate::{
    Average, MetricValue, Record, State, averages,
    report::{
        figures::{Forest, ForestRow},
        html::{Element, text_element},
        number::{fixed, percent, points, range},
        options::Sort,
        paper::verdict,
        section::{Figure, Section},
        sections::head::titled,
        table::{Grid, Kind, first},
        view::{Item, Study},
    },
};

/// Standard errors to either side that hold 95 % of a normal distribution.
const TWO_SIDED_95: f64 = 1.96;
/// Rows of the figure.
const DRAWN: usize = 60;
/// Length of an interval's bar.
const BAR: f64 = 90.0;

pub(super) fn averages_part(study: &Study) -> Option<Section> {
    let columns = [
        "average",
        "low",
        "high",
        "numbers there",
        "of",
        "paper",
        "difference",
    ];
    let mut grid = Grid::new("Averages of the paper's groups, in percent");
    grid = grid.words("group").numbers(&columns);
    for view in &study.views {
        for average in averages(&view.run.records) {
            let name = titled(view, average.group);
            grid.row(&average_row(study, name, &average));
        }
    }
    if grid.is_empty() {
        return None;
    }
    let mut section = Section::new("averages", "Averages");
    section.table(grid);
    section.note(
        "An average over fewer numbers would be another number, so none is given where one is \
         missing. The interval is over rows, of which each task has its own; recalls of the same \
         queries vary together. It says nothing of other tasks or other trainings.",
    );
    Some(section)
}

fn average_row(study: &Study, name: String, average: &Average) -> [String; 8] {
    let half = average.standard_error.map(|error| error * TWO_SIDED_95);
    let with = |sign: f64| Some(percent(average.value? + sign * half?));
    let none = || "–".to_owned();
    let paper = study.paper.average(average.group);
    let difference = average
        .value
        .zip(paper)
        .map(|(own, paper)| own - paper / 100.0);
    [
        name,
        average.value.map_or_else(none, percent),
        with(-1.0).unwrap_or_else(none),
        with(1.0).unwrap_or_else(none),
        average.have.to_string(),
        average.of.to_string(),
        paper.map_or_else(none, |paper| fixed(paper, 2)),
        difference.map_or_else(none, points),
    ]
}

/// A number of the table.
struct TaskLine<'a> {
    item: Item<'a>,
    score: &'a MetricValue,
    is_main: bool,
    published: Option<f64>,
}

impl TaskLine<'_> {
    fn record(&self) -> &Record {
        self.item.entry.record
    }

    fn difference(&self) -> Option<f64> {
        Some(self.score.value - self.published?)
    }

    fn metric(&self) -> String {
        if self.score.split == self.record().split {
            self.score.metric.clone()
        } else {
            format!("{} ({})", self.score.metric, self.score.split)
        }
    }
}

pub(super) fn tasks_part(study: &Study) -> Option<Section> {
    let unfinished = unfinished(study);
    let lines = lines(study);
    if lines.is_empty() && unfinished.is_empty() {
        return None;
    }
    let mut section = Section::new("tasks", "Tasks");
    let most = study.options.most_tasks;
    let all = unfinished.len() + lines.len();
    let has_paper = lines.iter().any(|line| line.published.is_some());
    let grid = empty_table(has_paper).sorted(sorted_column(study.options.sort, has_paper));
    let mut grid = grid.left(all.saturating_sub(most));
    for task in unfinished.iter().take(most) {
        grid.row(&task.row(if has_paper { 12 } else { 9 }));
    }
    let room = most.saturating_sub(unfinished.len());
    for line in lines.iter().take(room) {
        grid.cells(row(study, line, has_paper));
    }
    section.table(grid);
    section.note(
        "Scores, intervals and differences are in percent; the bar shows the interval from 0 to \
         100 (correlations from -100 to 100), its long line the score, the short one chance.",
    );
    if has_paper {
        section.note(
            "The paper's values are those of its Table 4, column FLAVA. Same as printed: to its \
             two decimals; N rows apart: so few rows answered otherwise would explain it; SE: \
             standard error over the rows.",
        );
    }
    section.figures(forest(&lines).into_iter().collect(), 1);
    Some(section)
}

/// The column that the order makes rise.
fn sorted_column(sort: Sort, has_paper: bool) -> Option<usize> {
    match sort {
        Sort::Paper => None,
        Sort::Name => Some(0),
        Sort::Score => Some(2),
        Sort::Difference => has_paper.then_some(7),
    }
}

/// Every number, in the order that is asked for.
fn lines<'a>(study: &'a Study) -> Vec<TaskLine<'a>> {
    let of_item = |item: Item<'a>| {
        let scores = item.entry.record.metrics.iter().enumerate();
        scores.map(move |(index, score)| TaskLine {
            item,
            score,
            is_main: index == 0,
            published: study
                .paper
                .cell(item.entry.record, score)
                .map(|cell| cell.value / 100.0),
        })
    };
    let mut lines: Vec<TaskLine> = study.entries().flat_map(of_item).collect();
    match study.options.sort {
        Sort::Paper if study.views.len() > 1 => {
            let position =
                |line: &TaskLine| (study.paper.position(line.record()), line.record().name());
            lines.sort_by_cached_key(position);
        }
        Sort::Paper => {}
        Sort::Name => lines.sort_by_cached_key(|line| line.record().name()),
        Sort::Score => lines.sort_by(|a, b| a.score.value.total_cmp(&b.score.value)),
        Sort::Difference => {
            let key = |line: &TaskLine| line.difference().unwrap_or(f64::INFINITY);
            lines.sort_by(|a, b| key(a).total_cmp(&key(b)));
        }
    }
    lines
}

fn empty_table(has_paper: bool) -> Grid {
    let grid = Grid::new("Every number that was measured")
        .sortable()
        .words("task")
        .words("metric")
        .numbers(&["measured", "95 % interval"])
        .column("drawn", Kind::Other)
        .numbers(&["chance"]);
    let grid = if has_paper {
        grid.numbers(&["paper", "difference"]).words("verdict")
    } else {
        grid
    };
    grid.numbers(&["rows", "left out"]).words("how, or why not")
}

fn row(study: &Study, line: &TaskLine, has_paper: bool) -> Vec<Element> {
    let (record, score) = (line.record(), line.score);
    let cell = |text: String| text_element("td", text);
    let or_none = |text: Option<String>| cell(text.unwrap_or_else(|| "–".to_owned()));
    let chance = line.is_main.then_some(record.chance);
    let mut cells = vec![
        cell(line.item.title()),
        cell(line.metric()),
        cell(percent(score.value)),
        cell(range(score.ci_low, score.ci_high)),
        Element::new("td").child(bar(score, chance)),
        or_none(chance.map(percent)),
    ];
    if has_paper {
        let told = study.paper.cell(record, score);
        let told = told.map(|cell| verdict(record, score, cell).words());
        cells.extend([
            or_none(line.published.map(percent)),
            or_none(line.difference().map(points)),
            or_none(told),
        ]);
    }
    cells.extend([
        cell(score.n.to_string()),
        cell(record.skipped.to_string()),
        cell(format!("{} ({})", record.method, record.feature)),
    ]);
    cells
}

/// The interval as a bar; the numbers stand beside it.
fn bar(score: &MetricValue, chance: Option<f64>) -> Element {
    let low = if score.unit == "correlation" {
        -1.0
    } else {
        0.0
    };
    let at = |value: f64| ((value - low) / (1.0 - low)).clamp(0.0, 1.0) * BAR;
    let line = |class: &str, x: f64, top: f64, bottom: f64| {
        Element::new("path")
            .class(class)
            .attr("d", format!("M{} {top}V{bottom}", fixed(x, 1)))
    };
    let (from, to) = (fixed(at(score.ci_low), 1), fixed(at(score.ci_high), 1));
    let interval = Element::new("path")
        .class("bar0")
        .attr("d", format!("M{from} 7H{to}"));
    let ground = Element::new("path")
        .class("grid")
        .attr("d", format!("M0 7H{BAR}"));
    let mut shapes = vec![ground, interval, line("bar0", at(score.value), 2.0, 12.0)];
    shapes.extend(chance.map(|chance| line("axis", at(chance), 4.0, 10.0)));
    Element::new("svg")
        .class("mini")
        .attr("viewBox", format!("0 0 {BAR} 14"))
        .attr("aria-hidden", "true")
        .children(shapes)
}

/// A task without a record.
struct Unfinished {
    name: String,
    state: String,
    reason: String,
}

impl Unfinished {
    fn row(&self, columns: usize) -> Vec<String> {
        let mut cells = vec!["–".to_owned(); columns];
        cells[0].clone_from(&self.name);
        cells[2].clone_from(&self.state);
        cells[columns - 1].clone_from(&self.reason);
        cells
    }
}

/// Tasks without a record stay in the table with their reason.
fn unfinished(study: &Study) -> Vec<Unfinished> {
    let mut found = Vec::new();
    for view in &study.views {
        for (name, status) in &view.run.status {
            if status.state != State::Done && view.entry(name).is_none() {
                found.push(Unfinished {
                    name: titled(view, name),
                    state: format!("{:?}", status.state).to_lowercase(),
                    reason: status.reason.clone(),
                });
            }
        }
    }
    found
}

/// The main scores with their intervals, the paper's beside them.
fn forest(lines: &[TaskLine]) -> Option<Figure> {
    let main: Vec<&TaskLine> = lines.iter().filter(|line| line.is_main).collect();
    let (main, left) = first(main, DRAWN);
    if main.is_empty() {
        return None;
    }
    let row = |line: &&TaskLine| ForestRow {
        label: line.item.title(),
        value: line.score.value,
        low: line.score.ci_low,
        high: line.score.ci_high,
        reference: line.published,
    };
    let has_paper = main.iter().any(|line| line.published.is_some());
    let [axis, description] = if has_paper {
        [
            "; hollow: the paper's",
            ", the paper's value as a hollow diamond",
        ]
    } else {
        ["", ""]
    };
    let forest = Forest {
        rows: main.iter().map(row).collect(),
        line: None,
        axis: format!("main score in percent, 95 % interval{axis}"),
    };
    Some(Figure {
        name: "tasks".into(),
        title: "Main scores and their intervals".into(),
        description: format!(
            "A row for each task: the score as a point on its 95 % interval{description}."
        ),
        drawing: forest.draw(),
        values: values(&main, left),
    })
}

/// The numbers of the figure.
fn values(main: &[&TaskLine], left: usize) -> Grid {
    let mut values = Grid::new("Main scores in percent")
        .words("task")
        .numbers(&["measured", "low", "high", "paper"])
        .left(left);
    for line in main {
        let (score, paper) = (line.score, line.published.map(percent));
        let name = line.item.title();
        let shown = [score.value, score.ci_low, score.ci_high].map(percent);
        let mut cells = vec![name];
        cells.extend(shown);
        cells.push(paper.unwrap_or_else(|| "–".to_owned()));
        values.row(&cells);
    }
    values
}
