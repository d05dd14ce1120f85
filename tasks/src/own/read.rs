//! A task file as people write it: what is left out is marked as open, and all that is wrong is
//! said at once, each with its line.

use flava_base::{ALSO, did_you_mean};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::Open;
use crate::{SourceFormat, Task};

/// Keys of a task.
const TASK: &[&str] = &[
    "name",
    "aliases",
    "version",
    "suite",
    "family",
    "summary",
    "classes",
    "class_names",
    "metrics",
    "chance",
    "licence",
    "license",
    "citation",
    "note",
    "method",
    "same_data_as",
    "protocol",
    "submission",
    "source",
];
/// Keys of a source, of whatever format.
const SOURCE: &[&str] = &[
    "repo",
    "revision",
    "folder",
    "format",
    "note",
    "extra",
    "train",
    "validation",
    "test",
    "second_test",
    "columns",
    "captions",
    "layout",
    "images",
    "annotations",
    "world",
    "config",
];
/// Keys of a split.
const SPLIT: &[&str] = &["name", "files", "rows", "captions", "only", "without"];
/// Keys of what is read of a table.
const COLUMNS: &[&str] = &[
    "image",
    "texts",
    "captions",
    "label",
    "label_names",
    "answers",
    "id",
    "group",
    "split",
];
/// Keys of a method.
const METHOD: &[&str] = &[
    "kind",
    "feature",
    "templates",
    "class_names",
    "prompts",
    "rerank",
];
/// The splits of a source.
const SPLITS: [&str; 4] = ["train", "validation", "test", "second_test"];
/// Methods, as they are written.
const METHODS: [&str; 6] = [
    "linear_probe",
    "knn",
    "few_shot",
    "zero_shot",
    "retrieval",
    "fine_tune",
];

/// The tasks of a file.
///
/// # Errors
/// All that is wrong with it, a line each.
pub fn tasks_of(text: &str) -> Result<Vec<Task>, String> {
    let spans = DeTable::parse(text).map_err(|e| e.to_string().trim().to_owned())?;
    let table: Table = toml::from_str(text).map_err(|e| e.to_string().trim().to_owned())?;
    let lines = FileLines { text };
    let mut problems = lines.unknown(spans.get_ref(), &["task"]);
    let (rows, places) = match (table.get("task"), spans.get_ref().get("task")) {
        (Some(Value::Array(rows)), Some(place)) => (rows, lines.items(place)),
        (Some(_), _) => return Err("each task stands under a line [[task]]".into()),
        (None, _) => {
            problems.push(
                "holds no task: each stands under a line [[task]], with name, source and method"
                    .into(),
            );
            return Err(problems.join(ALSO));
        }
    };
    let mut tasks = Vec::new();
    for (row, place) in rows.iter().zip(places) {
        let Value::Table(row) = row else {
            problems.push("each task stands under a line [[task]]".into());
            continue;
        };
        match (TaskRow {
            lines: &lines,
            place,
        })
        .task(row)
        {
            Ok(task) => tasks.push(task),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(tasks)
    } else {
        Err(problems.join(ALSO))
    }
}

/// Where things stand in a file.
struct FileLines<'a> {
    text: &'a str,
}

impl<'a> FileLines<'a> {
    fn of(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    /// The tables of a list of tables, each with the line it begins in.
    fn items<'d>(&self, list: &'d Spanned<DeValue<'a>>) -> Vec<(usize, Option<&'d DeTable<'a>>)> {
        let DeValue::Array(all) = list.get_ref() else {
            return Vec::new();
        };
        let item = |value: &'d Spanned<DeValue<'a>>| {
            let table = match value.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => None,
            };
            (self.of(value.span().start), table)
        };
        all.iter().map(item).collect()
    }

    /// The keys of a table that are none of the known ones.
    fn unknown(&self, table: &DeTable, known: &[&str]) -> Vec<String> {
        let strange = |(key, _): (&Spanned<std::borrow::Cow<str>>, _)| {
            let name = key.get_ref();
            (!known.contains(&name.as_ref())).then(|| {
                let near = did_you_mean(name, known, 1).replace("\nhint: ", "; ");
                format!(
                    "line {}: there is no key {name:?}{near}",
                    self.of(key.span().start)
                )
            })
        };
        table.iter().filter_map(strange).collect()
    }
}

/// A task's row in its file.
struct TaskRow<'l, 'a, 'd> {
    lines: &'l FileLines<'a>,
    place: (usize, Option<&'d DeTable<'a>>),
}

impl TaskRow<'_, '_, '_> {
    fn task(&self, row: &Table) -> Result<Task, Vec<String>> {
        let mut problems = self.unknown_keys();
        let mut row = row.clone();
        let of_own = matches!(row.get("suite"), None | Some(Value::String(_)))
            && row
                .get("suite")
                .is_none_or(|suite| suite.as_str() == Some("own"));
        let open = if of_own {
            let lacking = self.lacking(&row);
            let may_go_on = lacking.is_empty() && problems.is_empty();
            problems.extend(lacking);
            if may_go_on {
                fill(&mut row)
            } else {
                return Err(problems);
            }
        } else {
            Open::default()
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let line = self.place.0;
        let task: Result<Task, _> = row.try_into();
        match task {
            Ok(task) => Ok(Task { open, ..task }),
            Err(error) => {
                let told = error.to_string();
                Err(vec![format!("line {line}: {}", told.trim())])
            }
        }
    }

    /// What a task cannot do without.
    fn lacking(&self, row: &Table) -> Vec<String> {
        let line = self.place.0;
        let needed = [
            ("name", "name = \"reviews\"".to_owned()),
            (
                "source",
                "source = { train = \"train.csv\", test = \"test.csv\" }".to_owned(),
            ),
            (
                "method",
                format!(
                    "method = \"linear_probe\" (there are {})",
                    METHODS.join(", ")
                ),
            ),
        ];
        let is_there = |key: &str| {
            row.contains_key(key) || key == "source" && row.contains_key("same_data_as")
        };
        let lacking = needed.into_iter().filter(|(key, _)| !is_there(key));
        lacking
            .map(|(key, example)| format!("line {line}: the task lacks {key}, such as {example}"))
            .collect()
    }

    fn unknown_method(&self, kind: &Spanned<DeValue>) -> Option<String> {
        let DeValue::String(name) = kind.get_ref() else {
            return None;
        };
        let name = name.replace('-', "_");
        (!METHODS.contains(&name.as_str())).then(|| {
            let line = self.lines.of(kind.span().start);
            let near = did_you_mean(&name, &METHODS, 1).replace("\nhint: ", "; ");
            let known = METHODS.join(", ");
            format!("line {line}: there is no method {name:?}, only {known}{near}")
        })
    }

    fn unknown_keys(&self) -> Vec<String> {
        let (_, Some(table)) = self.place else {
            return Vec::new();
        };
        let mut found = self.lines.unknown(table, TASK);
        let kind = match table.get("method").map(Spanned::get_ref) {
            Some(DeValue::Table(method)) => {
                found.extend(self.lines.unknown(method, METHOD));
                method.get("kind")
            }
            _ => table.get("method"),
        };
        found.extend(kind.and_then(|kind| self.unknown_method(kind)));
        let Some(source) = table.get("source") else {
            return found;
        };
        let sources: Vec<&DeTable> = match source.get_ref() {
            DeValue::Table(table) => vec![table],
            DeValue::Array(_) => {
                let items = self.lines.items(source).into_iter();
                items.filter_map(|(_, table)| table).collect()
            }
            _ => Vec::new(),
        };
        for source in sources {
            found.extend(self.lines.unknown(source, SOURCE));
            let inner = SPLITS.iter().map(|split| (*split, SPLIT));
            for (key, known) in inner.chain([("columns", COLUMNS)]) {
                if let Some(DeValue::Table(table)) = source.get(key).map(Spanned::get_ref) {
                    found.extend(self.lines.unknown(table, known));
                }
            }
        }
        found
    }
}

/// Fills in what a short row leaves out, and says what of it the data must tell.
fn fill(row: &mut Table) -> Open {
    let mut put = |key: &str, value: Value| _ = row.entry(key).or_insert(value);
    put("suite", "own".into());
    put("version", 1.into());
    put("summary", String::new().into());
    put("citation", "none".into());
    if let Some(licence) = row.remove("license") {
        row.entry("licence").or_insert(licence);
    }
    row.entry("licence").or_insert("not told".into());
    let mut open = Open {
        metrics: !row.contains_key("metrics"),
        chance: !row.contains_key("chance"),
        ..Open::default()
    };
    row.entry("metrics").or_insert(Value::Array(Vec::new()));
    row.entry("chance").or_insert(0.0.into());
    if let Some(Value::String(kind)) = row.get("method") {
        let kind = kind.replace('-', "_");
        let method = Table::from_iter([("kind".to_owned(), Value::String(kind))]);
        row.insert("method".into(), Value::Table(method));
    }
    let mut has_classes = row.contains_key("classes");
    has_classes |= !open.metrics && !scores_classes(row);
    if let Some(Value::Table(method)) = row.get_mut("method") {
        let kind = method.get("kind").and_then(Value::as_str);
        let kind = kind.unwrap_or("").to_owned();
        let reads = !["zero_shot", "retrieval"].contains(&kind.as_str());
        if reads && !method.contains_key("feature") {
            open.feature = true;
            method.insert("feature".into(), "image_cls".into());
        }
        // Retrieval has no classes.
        has_classes |= kind == "retrieval";
    }
    open.classes = !has_classes;
    open.family = !row.contains_key("family");
    row.entry("family").or_insert("vision".into());
    if let Some(source) = row.remove("source") {
        let mut sources = match source {
            Value::Array(all) => all,
            one => vec![one],
        };
        for source in &mut sources {
            if let Value::Table(source) = source {
                open.files |= fill_source(source);
            }
        }
        row.insert("source".into(), Value::Array(sources));
    }
    open
}

/// Whether a metric of a row is one of classes.
fn scores_classes(row: &Table) -> bool {
    const VALUES: [&str; 4] = [
        "pearson",
        "spearman",
        "vqa_accuracy",
        "vqa_accuracy_lenient",
    ];
    let metrics = row.get("metrics").and_then(Value::as_array);
    let of_values = |metric: &Value| metric.as_str().is_some_and(|name| VALUES.contains(&name));
    metrics.is_none_or(|metrics| !metrics.iter().all(of_values))
}

/// Fills in a source; whether its files must tell something.
fn fill_source(source: &mut Table) -> bool {
    let mut open = false;
    if !source.contains_key("repo") && !source.contains_key("folder") {
        source.insert("folder".into(), ".".into());
    }
    for split in SPLITS {
        if let Some(Value::String(files)) = source.get(split) {
            let table = Table::from_iter([
                ("name".to_owned(), Value::String(split.to_owned())),
                ("files".to_owned(), Value::String(files.clone())),
            ]);
            source.insert(split.into(), Value::Table(table));
        } else if let Some(Value::Table(table)) = source.get_mut(split) {
            table.entry("name").or_insert(split.into());
        }
    }
    if !source.contains_key("test") {
        // An empty name is that of a split that is to be found.
        let test = Table::from_iter([("name".to_owned(), Value::String(String::new()))]);
        source.insert("test".into(), Value::Table(test));
        open = true;
    }
    if !source.contains_key("format") {
        source.insert("format".into(), "auto".into());
        open = true;
    }
    open | (source.get("format").and_then(Value::as_str) == Some("table")
        && !source.contains_key("columns"))
}

/// Whether a source's form is not told.
pub(super) fn is_open(format: &SourceFormat) -> bool {
    match format {
        SourceFormat::Auto { .. } => true,
        SourceFormat::Table { columns, .. } => columns.read().is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    #[test]
    fn the_known_keys_are_those_that_tasks_have() {
        for task in Registry::built_in().unwrap().tasks() {
            tasks_of(&task.to_toml()).unwrap_or_else(|e| panic!("{}: {e}", task.name));
        }
    }

    /// The keys that serde takes, told by its own error.
    #[test]
    fn the_keys_that_are_offered_are_those_that_there_are() {
        let keys = |text: &str| {
            let error = toml::from_str::<Task>(text).unwrap_err().to_string();
            let (_, list) = error.split_once("`zzz`, expected ").unwrap();
            let list = list.split(['\n', ';']).next().unwrap();
            let quoted = list.split('`').skip(1).step_by(2);
            let mut keys: Vec<String> = quoted.map(str::to_owned).collect();
            keys.sort();
            keys
        };
        let sorted = |known: &[&str]| {
            let mut known: Vec<String> = known.iter().map(|key| (*key).to_owned()).collect();
            known.sort();
            known
        };
        let mut tasks = sorted(TASK);
        tasks.retain(|key| key != "license");
        assert_eq!(keys("zzz = 1"), tasks);
        let split = "[[source]]\nformat = \"archive\"\nlayout = \"mnist\"\ntest = { zzz = 1 }";
        assert_eq!(keys(split), sorted(SPLIT));
        let columns =
            "[[source]]\nformat = \"parquet\"\ncolumns = { zzz = 1 }\ntest = { name = \"test\" }";
        assert_eq!(keys(columns), sorted(COLUMNS));
    }

    #[test]
    fn an_empty_task_is_told_all_that_it_lacks() {
        let error = tasks_of("[[task]]\n").unwrap_err();
        for key in ["name", "source", "method"] {
            assert!(
                error.contains(&format!("line 1: the task lacks {key}")),
                "{error}"
            );
        }
        let error = tasks_of("[[task]]\nname = \"x\"\nsorce = 1\n\nmetod = \"knn\"\n").unwrap_err();
        assert!(
            error.contains("line 3: there is no key \"sorce\"; did you mean source?")
                && error.contains("line 5: there is no key \"metod\"; did you mean method?"),
            "{error}"
        );
        assert!(tasks_of("").unwrap_err().contains("[[task]]"));
    }

    #[test]
    fn four_lines_are_a_task() {
        let text = "[[task]]\nname = \"reviews\"\nsource = { train = \"a.csv\", test = \"b.csv\" }\nmethod = \"fine-tune\"\n";
        let tasks = tasks_of(text).unwrap();
        assert!(tasks[0].open.classes && tasks[0].open.metrics && tasks[0].open.files);
        assert_eq!(tasks[0].sources[0].test.files, "b.csv");
    }
}
