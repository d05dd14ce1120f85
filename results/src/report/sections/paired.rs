//! Other runs against the first: paired differences, and the rows that changed.

use flava_tasks::metrics::Test;

use crate::{
    ComparedTask, Flips, RunsCompared, compare_runs,
    report::{
        figures::{Forest, ForestRow},
        html::{Element, text_element},
        number::{count, cut, percent, points, probability},
        section::{Figure, Section},
        table::{Grid, first},
        view::{Study, View},
    },
};

/// With a smaller probability two runs differ.
const DIFFERS: f64 = 0.05;
/// Letters of an id.
const LETTERS: usize = 80;
/// Rows of the figure.
const DRAWN: usize = 60;

/// Two runs by their letters, and what comparing them gave.
struct Pair<'a> {
    letters: [&'a str; 2],
    found: RunsCompared,
}

pub(super) fn paired_part(study: &Study) -> Option<Section> {
    let (one, others) = study.views.split_first()?;
    if others.is_empty() {
        return None;
    }
    let mut section = Section::new("paired", "Differences between the runs");
    section.note(
        "Differences are paired: over the same rows. p is the probability of such a difference \
         between models that are as good as each other (McNemar's exact test for right and wrong, \
         Student's for rows that share images, else the paired bootstrap), p of all the same \
         corrected for the number of tasks (Holm).",
    );
    for other in others {
        add(study, &mut section, [one, other]);
    }
    Some(section)
}

fn add(study: &Study, section: &mut Section, views: [&View; 2]) {
    let [one, other] = views;
    let mut found = compare_runs(one.run, other.run);
    found.tasks.sort_by_cached_key(|task| {
        let place = one.entries.iter().position(|entry| entry.name == task.name);
        place.unwrap_or(usize::MAX)
    });
    found.left_out.sort_by(|a, b| a.name.cmp(&b.name));
    let pair = Pair {
        letters: [&one.letter, &other.letter],
        found,
    };
    let [a, b] = pair.letters;
    section.head(format!("{b} against {a}"));
    section.say(pair.sentence());
    section.figures(pair.figure().into_iter().collect(), 1);
    section.table(pair.table(study.options.most_tasks));
    section.table(pair.left_out(study.options.most_rows));
    for task in pair.found.tasks.iter().take(study.options.most_tasks) {
        if let Some(flips) = flips(task, study.options.most_rows) {
            section.html(flips);
        }
    }
}

impl Pair<'_> {
    fn sentence(&self) -> String {
        let [a, b] = self.letters;
        let all = &self.found.tasks;
        if all.is_empty() {
            return "No task of both runs can be compared.".to_owned();
        }
        let number = |is: fn(&ComparedTask) -> bool| all.iter().filter(|task| is(task)).count();
        let better = number(|task| differs(task) && task.difference.value > 0.0);
        let worse = number(|task| differs(task) && task.difference.value < 0.0);
        let rest = all.iter().filter(|task| !differs(task)).count();
        format!(
            "Of {} that can be compared, {b} is better than {a} on {better} and worse on {worse}; \
             on {rest} the difference could be chance.",
            count(all.len(), "task")
        )
    }

    fn figure(&self) -> Option<Figure> {
        let [a, b] = self.letters;
        let (tasks, left) = first(self.found.tasks.iter().collect(), DRAWN);
        if tasks.is_empty() {
            return None;
        }
        let row = |task: &&ComparedTask| ForestRow {
            label: task.name.clone(),
            value: task.difference.value,
            low: task.difference.ci_low,
            high: task.difference.ci_high,
            reference: None,
        };
        let forest = Forest {
            rows: tasks.iter().map(row).collect(),
            line: Some(0.0),
            axis: format!("{b} less {a} in points, 95 % interval"),
        };
        let mut values = Grid::new(format!("{b} less {a} in points"))
            .words("task")
            .numbers(&["difference", "low", "high"])
            .left(left);
        for task in &tasks {
            let shown = &task.difference;
            let shown = [shown.value, shown.ci_low, shown.ci_high].map(points);
            let mut cells = vec![task.name.clone()];
            cells.extend(shown);
            values.row(&cells);
        }
        Some(Figure {
            name: format!("paired.{a}.{b}"),
            title: format!("{b} less {a}"),
            description: "A row for each task: the paired difference on its 95 % interval; the \
                          dashed line is no difference."
                .into(),
            drawing: forest.draw(),
            values,
        })
    }

    fn table(&self, most: usize) -> Grid {
        let [a, b] = self.letters;
        let mut grid = Grid::new(format!("{b} less {a}, in percent and points"))
            .sortable()
            .words("task")
            .words("metric")
            .numbers(&[a, b, "difference", "low", "high", "p", "p of all"])
            .words("test")
            .numbers(&["rows fixed", "rows broken"])
            .words("verdict")
            .left(self.found.tasks.len().saturating_sub(most));
        for task in self.found.tasks.iter().take(most) {
            grid.row(&table_row(task));
        }
        grid
    }

    fn left_out(&self, most: usize) -> Grid {
        let (shown, left) = first(self.found.left_out.iter().collect(), most);
        let mut grid = Grid::new("Not compared")
            .words("task")
            .words("why")
            .left(left);
        for one in shown {
            grid.row(&[one.name.clone(), one.reason.clone()]);
        }
        grid
    }
}

/// Whether chance alone would hardly give the difference.
fn differs(task: &ComparedTask) -> bool {
    task.p_corrected < DIFFERS
}

fn table_row(task: &ComparedTask) -> [String; 13] {
    let difference = &task.difference;
    let test = match difference.test {
        Test::Mcnemar => "McNemar",
        Test::PairedT => "Student",
        Test::PairedBootstrap => "bootstrap",
    };
    let number = |read: fn(&Flips) -> usize| {
        let flips = task.flips.as_ref();
        flips.map_or_else(|| "–".to_owned(), |flips| read(flips).to_string())
    };
    let verdict = match differs(task) {
        true if difference.value > 0.0 => "better",
        true => "worse",
        false => "could be chance",
    };
    [
        task.name.clone(),
        task.metric.clone(),
        percent(task.first),
        percent(task.second),
        points(difference.value),
        points(difference.ci_low),
        points(difference.ci_high),
        probability(difference.p),
        probability(task.p_corrected),
        test.to_owned(),
        number(|flips| flips.fixed.len()),
        number(|flips| flips.broken.len()),
        verdict.to_owned(),
    ]
}

/// The ids of the rows that changed.
fn flips(task: &ComparedTask, most: usize) -> Option<Element> {
    let flips = task.flips.as_ref()?;
    if flips.fixed.is_empty() && flips.broken.is_empty() {
        return None;
    }
    let list = |word: &'static str, ids: &[String]| {
        let left = ids.len().saturating_sub(most);
        let more = (left > 0).then(|| format!("and {left} more"));
        let parts: Vec<String> = ids
            .iter()
            .take(most)
            .map(|id| cut(id, LETTERS))
            .chain(more)
            .collect();
        [
            text_element("dt", word),
            text_element("dd", parts.join(", ")),
        ]
    };
    let all = list("fixed", &flips.fixed)
        .into_iter()
        .chain(list("broken", &flips.broken));
    let summary = format!(
        "{}: {} fixed, {} broken",
        task.name,
        count(flips.fixed.len(), "row"),
        count(flips.broken.len(), "row")
    );
    let list = Element::new("dl").class("facts").children(all);
    Some(
        Element::new("details")
            .child(text_element("summary", summary))
            .child(list),
    )
}
