//! What was measured, of what, by what, and what is missing.

use std::collections::BTreeSet;

use crate::{
    Record, State, Status,
    report::{
        html::{Element, text_element},
        number::{count, cut},
        paper::verdict,
        section::Section,
        table::{Grid, first},
        view::{Item, Study, View},
    },
    reproduction::Verdict,
};

/// Letters of a fact.
const LETTERS: usize = 400;
/// Values that are listed one by one.
const LISTED: usize = 4;

pub(super) fn head_part(study: &Study) -> Option<Section> {
    if study
        .views
        .iter()
        .all(|view| view.entries.is_empty() && view.run.status.is_empty())
    {
        return None;
    }
    let mut section = Section::new("run", "What was measured");
    let views = study.views.iter().map(|view| {
        let sentence = titled(view, &verdict_sentence(study, view));
        let sentence = text_element("p", sentence).class("verdict");
        Element::new("div").child(sentence).child(facts(view))
    });
    let all = Element::new("div").children(views);
    let is_one = study.views.len() == 1;
    section.html(if is_one { all } else { all.class("figures") });
    missing(study, &mut section);
    Some(section)
}

/// What came out, in a sentence or two.
fn verdict_sentence(study: &Study, view: &View) -> String {
    let measured = view.entries.len();
    let states = |state: State| {
        let all = view.run.status.values();
        all.filter(|status| status.state == state).count()
    };
    let failed = states(State::Failed);
    let open = states(State::Waiting) + states(State::Running);
    let planned = (measured + failed + open).max(view.run.status.len());
    let mut parts = vec![format!("{measured} of {} measured", count(planned, "task"))];
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if open > 0 {
        parts.push(format!("{open} not finished"));
    }
    let mut sentence = parts.join(", ") + ".";
    if let Some(told) = against_the_paper(study, view) {
        sentence += &told;
    }
    let above = |record: &&Record| record.main().ci_low > record.chance;
    let above = view.entries.iter().map(|entry| entry.record).filter(above);
    let above = above.count();
    sentence
        + &format!(" {above} of {measured} main scores lie above chance with their whole interval.")
}

/// How many numbers are the paper's.
fn against_the_paper(study: &Study, view: &View) -> Option<String> {
    let mut verdicts = Vec::new();
    for entry in &view.entries {
        for score in &entry.record.metrics {
            if let Some(cell) = study.paper.cell(entry.record, score) {
                verdicts.push(verdict(entry.record, score, cell));
            }
        }
    }
    if verdicts.is_empty() {
        return None;
    }
    let number = |is: fn(&Verdict) -> bool| verdicts.iter().filter(|one| is(one)).count();
    let close = number(|one| matches!(one, Verdict::Same | Verdict::WithinRows(_)));
    let within = number(|one| matches!(one, Verdict::WithinErrors));
    let off = number(|one| matches!(one, Verdict::Off));
    let not = number(|one| matches!(one, Verdict::NotCompared(_)));
    Some(format!(
        " {} of the paper's {} numbers are there: {close} agree to the rounding or a few rows, \
         {within} within two standard errors, {off} are further off, {not} are not comparable.",
        verdicts.len(),
        study.paper.len(),
    ))
}

fn facts(view: &View) -> Element {
    let records: Vec<&Record> = view.entries.iter().map(|entry| entry.record).collect();
    let told = |name: &'static str, read: &dyn Fn(&Record) -> String| {
        let values: BTreeSet<String> = records.iter().map(|record| read(record)).collect();
        let values = values.into_iter().filter(|value| !value.is_empty());
        let (listed, left) = first(values.collect(), LISTED);
        let more = (left > 0).then(|| format!("and {left} more"));
        let parts: Vec<String> = listed.into_iter().chain(more).collect();
        (name, parts.join("; "))
    };
    let dates = |record: &Record| record.date.get(..10).unwrap_or(&record.date).to_owned();
    let seconds: f64 = records.iter().map(|record| record.seconds).sum();
    let facts = [
        told("checkpoint", &|record| record.model.clone()),
        told("revision", &|record| record.model_revision.clone()),
        told("digest of its weights", &|record| {
            record.model_fingerprint.clone()
        }),
        told("weights from", &|record| record.initialisation.clone()),
        told("program", &program),
        told("data", &data),
        told("protocol", &|record| record.protocol.clone()),
        told("images", &|record| record.transform.clone()),
        told("precision", &|record| record.precision.clone()),
        told("device", &|record| record.device.clone()),
        told("seed", &|record| record.seed.to_string()),
        told("measured on", &dates),
        ("time", format!("{seconds:.1} s in all")),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let pairs = facts.flat_map(|(name, value)| {
        [
            text_element("dt", name),
            text_element("dd", cut(&value, LETTERS)),
        ]
    });
    Element::new("dl").class("facts").children(pairs)
}

fn program(record: &Record) -> String {
    if record.commit.is_empty() {
        record.program.clone()
    } else {
        format!("{} ({})", record.program, record.commit)
    }
}

fn data(record: &Record) -> String {
    if record.data_revision.is_empty() {
        record.data.clone()
    } else {
        format!("{} @ {}", record.data, record.data_revision)
    }
}

/// What is left out, or otherwise than the protocol has it, and why.
fn missing(study: &Study, section: &mut Section) {
    let unseen = study.views.iter().filter_map(|view| unseen(study, view));
    let mut rows: Vec<[String; 3]> = unseen.collect();
    rows.extend(study.views.iter().flat_map(unfinished));
    rows.extend(study.entries().flat_map(|item| told_of(&item)));
    let (rows, left) = first(rows, study.options.most_tasks);
    if rows.is_empty() {
        section.say("Nothing was left out, and nothing departs from the protocol.");
        return;
    }
    let grid = Grid::new("What is left out, and what to know");
    let mut grid = grid.words("task").words("what").words("why").left(left);
    for row in &rows {
        grid.row(row);
    }
    section.table(grid);
}

fn unseen(study: &Study, view: &View) -> Option<[String; 3]> {
    let most = study.options.most_tasks;
    let unseen = view.entries.len().saturating_sub(most);
    let name = titled(view, &count(unseen, "task"));
    let why = format!("only those of the first {most} are");
    (unseen > 0).then(|| [name, "predictions not looked at".to_owned(), why])
}

fn unfinished(view: &View) -> Vec<[String; 3]> {
    let open = view.run.status.iter();
    let open = open.filter(|(_, status)| status.state != State::Done);
    let row = |(name, status): (&String, &Status)| {
        let state = format!("{:?}", status.state).to_lowercase();
        [titled(view, name), state, status.reason.clone()]
    };
    open.map(row).collect()
}

fn told_of(item: &Item) -> Vec<[String; 3]> {
    let record = item.entry.record;
    let skipped = (record.skipped > 0).then(|| count(record.skipped, "broken row"));
    let told = [
        ("departs from the protocol", record.departures.join("; ")),
        ("other data", record.mismatches.join("; ")),
        ("rows left out", skipped.unwrap_or_default()),
        ("to know", record.notes.join("; ")),
        (
            "predictions not read",
            item.entry.problem.clone().unwrap_or_default(),
        ),
    ];
    let told = told.into_iter().filter(|(_, why)| !why.is_empty());
    told.map(|(what, why)| [item.title(), what.to_owned(), why])
        .collect()
}

pub(super) fn titled(view: &View, name: &str) -> String {
    if view.letter.is_empty() {
        name.to_owned()
    } else {
        format!("{}: {name}", view.letter)
    }
}
