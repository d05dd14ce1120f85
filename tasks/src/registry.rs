//! All tasks: the built-in files and the user's own, in one format.

use std::path::Path;

use serde::Serialize;

use crate::{Error, Method, Result, Task, own::tasks_of};

/// Built-in files and their names.
const BUILT_IN: [(&str, &str); 5] = [
    ("vision.toml", include_str!("../registry/vision.toml")),
    ("glue.toml", include_str!("../registry/glue.toml")),
    (
        "multimodal.toml",
        include_str!("../registry/multimodal.toml"),
    ),
    ("zero_shot.toml", include_str!("../registry/zero_shot.toml")),
    ("mini.toml", include_str!("../registry/mini.toml")),
];

#[derive(Serialize)]
struct TaskFile {
    task: Vec<Task>,
}

/// The tasks by name.
#[derive(Clone, Debug)]
pub struct Registry {
    tasks: Vec<Task>,
}

impl Registry {
    /// The built-in tasks.
    pub fn built_in() -> Result<Self> {
        let mut registry = Self { tasks: Vec::new() };
        for (name, text) in BUILT_IN {
            registry.add(name, text)?;
        }
        Ok(registry)
    }

    /// Adds the tasks of a file in the same format.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let text = flava_base::read_text(path, flava_base::MAX_SETTINGS)?;
        let base = path.parent().filter(|base| !base.as_os_str().is_empty());
        let base = base.unwrap_or(Path::new("."));
        self.add_text(&path.display().to_string(), &text, base)
    }

    fn add(&mut self, file: &str, text: &str) -> Result<()> {
        let broken = |reason: String| Error::TaskFile {
            file: file.to_owned(),
            reason,
        };
        for mut task in tasks_of(text).map_err(broken)? {
            self.share_data(&mut task)
                .map_err(|problem| broken(format!("task {}: {problem}", task.name)))?;
            if let Some(problem) = task.problem() {
                return Err(broken(format!("task {}: {problem}", task.name)));
            }
            for name in task.aliases.iter().chain([&task.name]) {
                if self.get(name).is_some() {
                    return Err(broken(format!(
                        "task {}: the name {name} is taken",
                        task.name
                    )));
                }
            }
            self.tasks.push(task);
        }
        Ok(())
    }

    /// Gives a task the test splits and demands of the one it shares its data with.
    fn share_data(&self, task: &mut Task) -> std::result::Result<(), String> {
        if task.same_data_as.is_empty() {
            return Ok(());
        }
        let name = std::mem::take(&mut task.same_data_as);
        let other = self
            .get(&name)
            .ok_or_else(|| format!("same_data_as names no task: {name}"))?;
        if !task.sources.is_empty() {
            return Err("has sources of its own and same_data_as".into());
        }
        task.sources.clone_from(&other.sources);
        task.sources
            .iter_mut()
            .for_each(|source| (source.train, source.validation) = (None, None));
        let mut demands = other.protocol.clone();
        for demand in demands.flava.iter_mut().chain(&mut demands.clip) {
            demand.fit = 0;
        }
        task.protocol = demands;
        Ok(())
    }

    /// Adds the tasks of a text, whose folders are looked for in `base` too.
    pub fn add_text(&mut self, name: &str, text: &str, base: &Path) -> Result<()> {
        let before = self.tasks.len();
        self.add(name, text)?;
        let added = self.tasks[before..].iter_mut();
        let sources = added.flat_map(|task| &mut task.sources);
        sources.for_each(|source| base.clone_into(&mut source.base));
        Ok(())
    }

    /// All tasks, in the order of the files.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The task of this name or alias.
    pub fn get(&self, name: &str) -> Option<&Task> {
        self.tasks
            .iter()
            .find(|t| t.name == name || t.aliases.iter().any(|a| a == name))
    }
}

impl Task {
    /// The names of the classes that its row tells, in the order of the labels; none where the data
    /// tells them.
    pub fn told_class_names(&self) -> &[String] {
        match &self.method {
            Method::ZeroShot { class_names, .. } if self.class_names.is_empty() => class_names,
            _ => &self.class_names,
        }
    }

    /// This row as a file of its own, to start one from.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(&TaskFile {
            task: vec![self.clone()],
        })
        .expect("a task is plain data")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{Family, Method, Metric, Protocol, SourceFormat, Suite};

    fn paper(registry: &Registry) -> Vec<&Task> {
        registry
            .tasks()
            .iter()
            .filter(|task| task.suite == Suite::Paper)
            .collect()
    }

    #[test]
    fn every_built_in_row_reads_back_from_what_show_prints() {
        for task in Registry::built_in().unwrap().tasks() {
            let mut alone = Registry { tasks: Vec::new() };
            alone.add(&task.name, &task.to_toml()).unwrap();
            assert_eq!(alone.tasks(), std::slice::from_ref(task));
        }
    }

    #[test]
    fn the_paper_has_22_vision_8_language_and_5_multimodal_tasks() {
        let registry = Registry::built_in().unwrap();
        let count = |family| {
            paper(&registry)
                .iter()
                .filter(|task| task.family == family)
                .count()
        };
        assert_eq!(
            [Family::Vision, Family::Text, Family::Multimodal].map(count),
            [22, 8, 5]
        );
        let zero_shot: Vec<&Task> = registry
            .tasks()
            .iter()
            .filter(|task| task.suite == Suite::ZeroShot)
            .collect();
        assert_eq!(zero_shot.len(), 22);
        for task in zero_shot {
            let probe = registry
                .get(task.name.strip_suffix("-zero-shot").unwrap())
                .unwrap();
            assert_eq!(
                (task.classes, task.chance, task.sources.len()),
                (probe.classes, probe.chance, probe.sources.len())
            );
        }
    }

    /// What must hold of every row, so that a number means what its name says.
    #[test]
    fn every_row_is_legal_under_its_protocols() {
        let registry = Registry::built_in().unwrap();
        let mut names = HashSet::new();
        for task in registry.tasks() {
            for name in task.aliases.iter().chain([&task.name]) {
                assert!(names.insert(name.clone()), "{name} occurs twice");
            }
            assert!(
                !task.licence.is_empty()
                    && !task.citation.is_empty()
                    && task.summary.ends_with(['?', '.']),
                "{}",
                task.name
            );
            for protocol in Protocol::ALL {
                let Some(assignment) = task.assign(protocol) else {
                    assert!(
                        protocol == Protocol::Clip && task.family != Family::Vision,
                        "{} has no {}",
                        task.name,
                        protocol.name()
                    );
                    continue;
                };
                assert!(
                    assignment
                        .metrics
                        .iter()
                        .all(|metric| metric.fits(&assignment.method)),
                    "{}",
                    task.name
                );
                let Some(demand) = assignment.demand else {
                    continue;
                };
                assert!(demand.test > 0, "{}", task.name);
                let trains = task.method.trains();
                assert_eq!(demand.fit > 0, trains, "{}", task.name);
            }
            assert!(
                chance_is_right(task),
                "{}: chance {}",
                task.name,
                task.chance
            );
            for source in &task.sources {
                let commit = source.revision.len() == 40
                    && source.revision.bytes().all(|b| b.is_ascii_hexdigit());
                assert!(
                    source.revision.is_empty() || commit,
                    "{}: {} is pinned to {:?}",
                    task.name,
                    source.name(),
                    source.revision
                );
                let retrieval = matches!(task.method, Method::Retrieval { .. });
                let counted = matches!(source.format, SourceFormat::Mini { .. })
                    || source.test.captions.is_some();
                assert!(
                    !retrieval || counted,
                    "{}: captions are not counted",
                    task.name
                );
            }
        }
    }

    /// No metric's chance level is below that of one class of many; those that are corrected for
    /// chance have 0.
    fn chance_is_right(task: &Task) -> bool {
        let rows = task.sources[0].test.rows as f64;
        match task.metrics[0] {
            Metric::Accuracy | Metric::MeanPerClass => {
                task.chance >= 1.0 / task.classes as f64 - 6e-5 && task.chance < 0.6
            }
            Metric::RocAuc => task.chance == 0.5,
            Metric::Matthews | Metric::Pearson | Metric::Spearman => task.chance == 0.0,
            Metric::TextRecall1 | Metric::ImageRecall1 => (task.chance - 1.0 / rows).abs() < 6e-5,
            _ => task.chance > 0.0,
        }
    }

    /// Sets of which some source has the paper's rows, and those of which none is known to.
    #[test]
    fn only_the_known_gaps_have_no_source_with_the_papers_rows() {
        let registry = Registry::built_in().unwrap();
        let lacking = |task: &&&Task| {
            let demand = task.assign(Protocol::Flava).unwrap().demand.unwrap();
            task.sources
                .iter()
                .all(|source| source.shortfall(&demand).is_some())
        };
        let names: Vec<&str> = paper(&registry)
            .iter()
            .filter(lacking)
            .map(|task| task.name.as_str())
            .collect();
        assert_eq!(names, ["caltech101", "eurosat"]);
        let kitti = registry.get("kitti").unwrap();
        assert_eq!(
            kitti.assign(Protocol::Flava).unwrap().protocol,
            Protocol::Clip,
            "its row says that the split is lost"
        );
    }

    #[test]
    fn protocols_differ_where_the_numbers_do() {
        let registry = Registry::built_in().unwrap();
        let main = |name: &str, protocol| {
            registry
                .get(name)
                .unwrap()
                .assign(protocol)
                .unwrap()
                .metrics[0]
        };
        for name in ["aircraft", "pets", "caltech101", "flowers102"] {
            assert_eq!(
                (main(name, Protocol::Flava), main(name, Protocol::Clip)),
                (Metric::Accuracy, Metric::MeanPerClass)
            );
        }
        let pets = registry.get("pets").unwrap();
        let vtab = pets
            .sources
            .iter()
            .find(|source| source.repo.contains("vtab"))
            .unwrap();
        let reason = vtab
            .shortfall(&pets.assign(Protocol::Flava).unwrap().demand.unwrap())
            .unwrap();
        assert!(
            reason.contains("2944 rows to fit on, not 3680")
                && reason.contains("without its validation slice"),
            "{reason}"
        );
        let flowers = registry.get("flowers102").unwrap();
        let swapped = flowers
            .sources
            .iter()
            .find(|source| source.repo == "mteb/oxford-flowers")
            .unwrap();
        assert!(
            swapped
                .shortfall(&flowers.assign(Protocol::Flava).unwrap().demand.unwrap())
                .unwrap()
                .contains("exchanged")
        );
        let published = pets.assign(Protocol::AsPublished).unwrap();
        assert_eq!(
            (published.demand, published.method.feature_name()),
            (None, "image_embedding".to_owned())
        );
    }

    #[test]
    fn bad_rows_are_refused_with_their_place() {
        let good = Registry::built_in()
            .unwrap()
            .get("mnist")
            .unwrap()
            .to_toml();
        for (from, to, needle) in [
            ("classes = 10", "classes = 1", "at least two classes"),
            ("classes = 10", "clases = 10", "clases"),
            ("\"accuracy\"", "\"acuracy\"", "acuracy"),
            ("\"accuracy\"", "\"pearson\"", "no metric of linear_probe"),
            (
                "repo = \"ylecun/mnist\"",
                "repo = \"../mnist\"",
                "leads out",
            ),
            ("repo = \"ylecun/mnist\"", "", "either a repo or a folder"),
            ("name = \"mnist\"", "name = \"Mnist\"", "lower-case"),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            let mut registry = Registry { tasks: Vec::new() };
            let error = registry
                .add("mine.toml", &good.replacen(from, to, 1))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(needle) && error.contains("mine.toml"),
                "{error}"
            );
        }
        let mut registry = Registry::built_in().unwrap();
        assert!(
            registry
                .add("mine.toml", &good)
                .unwrap_err()
                .to_string()
                .contains("taken")
        );
    }
}
