//! A task file as people write it: what is left out is marked as open, and all that is wrong is
//! said at once, each with its line.

use flava_base::{ALSO, did_you_mean};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    Open,
    fill::fill,
    keys::{COLUMNS, IMAGES_FROM, METHOD, METHODS, SOURCE, SPLIT, SPLITS, TASK},
    lines::FileLines,
};
use crate::Task;

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
        for source in self.lines.tables(source) {
            found.extend(self.lines.unknown(source, SOURCE));
            let inner = SPLITS.iter().map(|split| (*split, SPLIT));
            for (key, known) in inner.chain([("columns", COLUMNS), ("images_from", IMAGES_FROM)]) {
                for table in source
                    .get(key)
                    .into_iter()
                    .flat_map(|value| self.lines.tables(value))
                {
                    found.extend(self.lines.unknown(table, known));
                }
            }
        }
        found
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
