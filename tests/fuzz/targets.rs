//! What is read from disk, each with files to spoil and the way in that the programs take.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use flava_base::{replace_folder, verify_folder};
use flava_model::{
    LoadOptions, Pretrained,
    checkpoint::{Architecture, Checkpoint, read_tensors},
    processor::{Text, TextProcessor, decode},
};
use flava_results::PlannedTask;
use flava_tasks::{
    Dataset, Predictions, Recipe, Registry, Source, SourceFormat, Task, predictions::Foreign,
    sources::Corpus,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{
    fixtures::{digit, digits, write_arrow, write_model, write_parquet, write_tar},
    recipes::write_tiny_recipe,
    sources::{archives, with_images, write_source},
};

/// Something that reads a file, and the file.
pub struct Target {
    pub name: String,
    pub file: PathBuf,
    /// Whether faults of text are tried too.
    pub text: bool,
    /// Whether the file knows its own digest: what is accepted must then be what was written.
    pub sealed: bool,
    /// What was read, in short, or why it was not.
    pub read: Box<dyn Fn() -> Result<String, String>>,
}

#[derive(Default)]
pub struct Targets {
    pub all: Vec<Target>,
}

const SENTENCE: &str = "a photo of a red cat and two blue dogs, 1234 é";
/// Rows of a split that are looked at.
const ROWS: usize = 100;

fn short(parts: impl AsRef<[u8]>) -> String {
    Sha256::digest(parts)
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn text_of(error: impl ToString) -> String {
    error.to_string()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, fs::read(from).unwrap()).unwrap();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    flava_base::walk(folder)
        .unwrap()
        .into_iter()
        .map(|file| folder.join(file))
        .collect()
}

fn ending(file: &Path) -> String {
    file.extension().map_or_else(
        || "raw".into(),
        |ending| ending.to_string_lossy().into_owned(),
    )
}

/// All rows of a dataset in short, pictures decoded.
fn rows(dataset: &dyn Dataset) -> Result<String, String> {
    let mut all = format!(
        "{} {:?} {:?}",
        dataset.len(),
        dataset.class_names(),
        dataset.notes()
    );
    for row in 0..dataset.len().min(ROWS) {
        let example = dataset.get(row).map_err(text_of)?;
        let image = example
            .image
            .as_ref()
            .map(|bytes| decode(bytes).map_or_else(|e| e.to_string(), |image| short(&image.rgb)));
        let (slice, cluster) = (dataset.slice(row), dataset.cluster(row));
        write!(
            all,
            "{} {:?} {:?} {image:?} {slice:?} {cluster} ",
            example.id, example.texts, example.label
        )
        .unwrap();
    }
    Ok(short(all))
}

impl Targets {
    fn add(
        &mut self,
        name: impl Into<String>,
        file: &Path,
        text: bool,
        read: impl Fn(&Path) -> Result<String, String> + 'static,
    ) {
        let at = file.to_owned();
        self.all.push(Target {
            name: name.into(),
            file: file.to_owned(),
            text,
            sealed: false,
            read: Box::new(move || read(&at)),
        });
    }

    fn sealed(
        &mut self,
        name: &str,
        file: &Path,
        text: bool,
        read: impl Fn(&Path) -> Result<String, String> + 'static,
    ) {
        self.add(name, file, text, read);
        self.all.last_mut().unwrap().sealed = true;
    }

    pub fn images(&mut self, folder: &Path) {
        let read = |file: &Path| {
            let image = decode(&fs::read(file).unwrap()).map_err(text_of)?;
            Ok(format!(
                "{}x{} {}",
                image.width,
                image.height,
                short(&image.rgb)
            ))
        };
        for file in files(&golden().join("pillow"))
            .into_iter()
            .filter(|file| ending(file) != "json")
        {
            let copied = folder.join(file.file_name().unwrap());
            copy(&file, &copied);
            self.add(format!("picture/{}", ending(&file)), &copied, false, read);
        }
    }

    pub fn weights(&mut self, folder: &Path) {
        let read = |file: &Path| {
            let checkpoint = Checkpoint::open(file).map_err(text_of)?;
            for tensor in checkpoint.tensors().values() {
                let _values = tensor.to_tensor().map_err(text_of)?;
            }
            Ok(checkpoint.fingerprint())
        };
        for (name, from) in [
            ("safetensors", "base/model.safetensors"),
            ("pickle", "base/pytorch_model.bin"),
        ] {
            let file = folder.join(from);
            copy(&golden().join(from), &file);
            self.add(format!("weights/{name}"), &file, false, read);
        }
        let index = folder.join("shards/model.safetensors.index.json");
        let shard = "model-00001-of-00001.safetensors";
        copy(
            &golden().join("whole/model.safetensors"),
            &index.with_file_name(shard),
        );
        let whole = Checkpoint::open(&index.with_file_name(shard)).unwrap();
        let map: BTreeMap<&String, &str> =
            whole.tensors().keys().map(|name| (name, shard)).collect();
        fs::write(
            &index,
            json!({ "metadata": {}, "weight_map": map }).to_string(),
        )
        .unwrap();
        self.add("weights/index", &index, true, read);
        let state = folder.join("optimiser.safetensors");
        copy(&golden().join("whole/model.safetensors"), &state);
        self.add("weights/state", &state, false, |file| {
            let tensors = read_tensors(file).map_err(text_of)?;
            Ok(format!(
                "{:?}",
                tensors
                    .iter()
                    .map(|(name, tensor)| (name, tensor.size()))
                    .collect::<Vec<_>>()
            ))
        });
    }

    pub fn model(&mut self, folder: &Path) {
        let model = folder.join("model");
        write_model(&model, Architecture::FlavaForPreTraining);
        let read = |file: &Path| {
            let model = Pretrained::open(file.parent().unwrap(), LoadOptions::default())
                .map_err(text_of)?;
            let ids = model
                .text
                .encode(&[Text::Single(SENTENCE), Text::Single("")], 40)
                .map_err(text_of)?;
            Ok(format!("{} {ids:?} {:?}", model.identity(), model.notes))
        };
        for name in flava_base::walk(&model).unwrap() {
            let name = name.to_string_lossy().into_owned();
            let other = folder.join(format!("model-{name}"));
            copy(&model, &other);
            if [
                "vocab.txt",
                "tokenizer_config.json",
                "special_tokens_map.json",
            ]
            .contains(&&*name)
            {
                let _there = fs::remove_file(other.join("tokenizer.json"));
            }
            self.add(
                format!("model/{name}"),
                &other.join(&name),
                !name.ends_with("safetensors"),
                read,
            );
        }
        let tokenizers = files(&golden().join("processor"))
            .into_iter()
            .filter(|file| ["json", "txt"].contains(&&*ending(file)));
        for file in
            tokenizers.filter(|file| TextProcessor::from_directory(file.parent().unwrap()).is_ok())
        {
            let of = file.parent().unwrap();
            let name = file.strip_prefix(golden()).unwrap().display().to_string();
            let other = folder.join(name.replace('/', "-"));
            copy(of, &other);
            self.add(
                "model/processor",
                &other.join(file.file_name().unwrap()),
                true,
                |file| {
                    let text =
                        TextProcessor::from_directory(file.parent().unwrap()).map_err(text_of)?;
                    Ok(format!(
                        "{:?}",
                        text.encode(&[Text::Single(SENTENCE)], 60)
                            .map_err(text_of)?
                    ))
                },
            );
        }
    }

    pub fn sources(&mut self, folder: &Path) {
        let registry: &'static Registry = Box::leak(Box::new(Registry::built_in().unwrap()));
        let mut seen = Vec::new();
        for task in registry.tasks() {
            for source in &task.sources {
                // One source of a form is enough, but every archive has a layout of its own.
                let form = format!("{:?}", source.format);
                if matches!(
                    source.format,
                    SourceFormat::Mini { .. } | SourceFormat::ImageList { .. }
                ) || seen.contains(&form)
                {
                    continue;
                }
                seen.push(form);
                self.source(&folder.join(seen.len().to_string()), task, source);
            }
        }
    }

    fn source(&mut self, data: &Path, task: &'static Task, source: &'static Source) {
        let root = data.join(source.data_folder());
        if matches!(source.format, SourceFormat::Archive { .. }) {
            copy(&archives().join(source.data_folder()), &root);
        } else {
            write_source(data, task, source);
        }
        let source: &'static Source = Box::leak(Box::new(with_images(data, source)));
        let joined = if source.images_from.is_empty() {
            ""
        } else {
            "joined-"
        };
        let kind = format!("{:?}", source.format)
            .split([' ', '{'])
            .next()
            .unwrap()
            .to_lowercase();
        let mut images = 0;
        let places = source.images_from.iter().map(|from| from.root.clone());
        let places: BTreeSet<PathBuf> = places.chain([root.clone()]).collect();
        for file in places.iter().flat_map(|place| files(place)) {
            let is_image = flava_base::is_image(&file.to_string_lossy());
            images += usize::from(is_image);
            if is_image && images > 1 {
                continue;
            }
            let text = ["txt", "csv", "json", "jsonl", "tsv"].contains(&&*ending(&file));
            let root = root.clone();
            self.add(
                format!("source/{joined}{kind}/{}", ending(&file)),
                &file,
                text,
                move |_| {
                    let mut all = String::new();
                    for split in source.splits() {
                        let opened = task.open_split(source, split, &root, 0).map_err(text_of)?;
                        all += &rows(&*opened.dataset)?;
                    }
                    Ok(short(all))
                },
            );
        }
    }

    pub fn corpora(&mut self, folder: &Path) {
        for row in 0..6 {
            fs::create_dir_all(folder.join("pictures")).unwrap();
            fs::write(folder.join(format!("pictures/{row}.png")), digit(row, row)).unwrap();
        }
        let line = |row: usize| {
            json!({ "file": format!("pictures/{row}.png"), "caption": format!("thing {row}") })
                .to_string()
                + "\n"
        };
        fs::write(
            folder.join("pairs.jsonl"),
            (0..6).map(line).collect::<String>(),
        )
        .unwrap();
        let list: Vec<String> = (0..6).map(line).collect();
        fs::write(folder.join("pairs.json"), format!("[{}]", list.join(","))).unwrap();
        let field = |row: usize| format!("pictures/{row}.png,\"thing \"\"{row}\"\", small\"\r\n");
        let fields: String = (0..6).map(field).collect();
        fs::write(
            folder.join("pairs.csv"),
            format!("file,caption\r\n{fields}"),
        )
        .unwrap();
        fs::write(
            folder.join("lines.txt"),
            (0..80)
                .map(|row| format!("line {row} of words é\n"))
                .collect::<String>(),
        )
        .unwrap();
        let caption = |row: usize| {
            json!({ "caption": format!("thing {row}") })
                .to_string()
                .into_bytes()
        };
        let members: Vec<(String, Vec<u8>)> = (0..6)
            .flat_map(|row| {
                [
                    (format!("k{row}.png"), digit(row, row)),
                    (format!("k{row}.json"), caption(row)),
                ]
            })
            .collect();
        write_tar(
            &folder.join("shard.tar"),
            &members
                .iter()
                .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
                .collect::<Vec<_>>(),
        );
        write_parquet(&folder.join("rows.parquet"), "image", &digits(20), 7);
        write_arrow(&folder.join("rows.arrow"), "image", &digits(20), 7);
        for (name, corpus, text) in [
            (
                "lines.txt",
                json!({ "format": "text", "files": "lines.txt" }),
                true,
            ),
            (
                "pairs.jsonl",
                json!({ "format": "jsonl", "files": "pairs.jsonl", "image": "file", "text": "caption" }),
                true,
            ),
            (
                "pairs.csv",
                json!({ "format": "table", "files": "pairs.csv" }),
                true,
            ),
            (
                "pairs.json",
                json!({ "format": "table", "files": "pairs.json", "image": "file", "text": "caption" }),
                true,
            ),
            (
                "shard.tar",
                json!({ "format": "webdataset", "files": "shard.tar" }),
                false,
            ),
            (
                "rows.parquet",
                json!({ "format": "parquet", "files": "rows.parquet", "image": "image" }),
                false,
            ),
            (
                "rows.arrow",
                json!({ "format": "parquet", "files": "rows.arrow", "image": "image" }),
                false,
            ),
        ] {
            let corpus: Corpus = serde_json::from_value(corpus).unwrap();
            let root = folder.to_owned();
            self.add(
                format!("corpus/{}", ending(Path::new(name))),
                &folder.join(name),
                text,
                move |_| rows(&*corpus.open(&root, 0).map_err(text_of)?),
            );
        }
    }

    pub fn settings(&mut self, folder: &Path) {
        let registry = Registry::built_in().unwrap();
        for name in ["cifar10", "vqav2", "glue-rte"] {
            let file = folder.join(format!("{name}.toml"));
            let own = Task {
                name: "own".into(),
                aliases: Vec::new(),
                ..registry.get(name).unwrap().clone()
            };
            fs::write(&file, own.to_toml()).unwrap();
            self.add("settings/task", &file, true, |file| {
                let mut registry = Registry::built_in().unwrap();
                registry.add_file(file).map_err(text_of)?;
                Ok(short(
                    registry
                        .tasks()
                        .iter()
                        .map(Task::to_toml)
                        .collect::<String>(),
                ))
            });
        }
        let given = folder.join("given/source.json");
        fs::create_dir_all(given.parent().unwrap()).unwrap();
        let source = json!({ "name": "clip", "revision": "1", "transform": "224", "parameters": 9, "flops_per_row": 1e9, "note": "" });
        fs::write(&given, source.to_string()).unwrap();
        self.add("settings/given", &given, true, |file| {
            let folder = flava_evaluator::GivenFolder::open(file.parent().unwrap());
            Ok(format!("{:?}", folder.map_err(text_of)?.source()))
        });
        let task = registry.get("mini-groups-tuned").unwrap().clone();
        for name in ["vqav2", "text", "mini-groups-tuned"] {
            let file = folder.join(format!("tuning-{name}.toml"));
            copy(
                &Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tasks/recipes/{name}.toml")),
                &file,
            );
            let task = task.clone();
            self.add("settings/tuning", &file, true, move |file| {
                Ok(format!(
                    "{:?}",
                    Recipe::of(&task, Some(file), &[]).map_err(text_of)?.0
                ))
            });
        }
        let pretraining = |file: &Path| {
            let recipe =
                flava_pretrain::Recipe::open(&file.to_string_lossy(), &[]).map_err(text_of)?;
            recipe.config(100).map_err(text_of)?;
            recipe.to_toml().map_err(text_of)
        };
        let file = folder.join("base.toml");
        fs::write(&file, flava_pretrain::Recipe::text("flava-base").unwrap()).unwrap();
        self.add("settings/pretraining", &file, true, pretraining);
        let tiny = write_tiny_recipe(folder, "");
        self.add("settings/pretraining", &tiny, true, pretraining);
    }

    pub fn results(&mut self, folder: &Path) {
        let foreign = |file: &Path| {
            Ok(short(format!(
                "{:?}",
                Foreign::read(file).map_err(text_of)?
            )))
        };
        let numbers: String = (0..50)
            .map(|row| format!("{row},\"[{}, -0.3]\"\n", f64::from(row) * 0.1))
            .collect();
        let words: String = (0..50).map(|row| format!("{row},yes\n")).collect();
        let list: Vec<_> = (0..50)
            .map(|row| json!({ "question_id": row, "answer": "yes" }))
            .collect();
        let lines: String = (0..50)
            .map(|row| {
                json!({ "id": row, "logits": [0.1, 0.2 * f64::from(row)] }).to_string() + "\n"
            })
            .collect();
        for (name, content) in [
            ("a.csv", format!("id,logits\n{numbers}")),
            (
                "b.tsv",
                format!("question_id,answer\n{words}").replace(',', "\t"),
            ),
            ("c.json", json!(list).to_string()),
            ("d.jsonl", lines),
        ] {
            let file = folder.join(name);
            fs::write(&file, content).unwrap();
            self.add(
                format!("results/foreign-{}", ending(&file)),
                &file,
                true,
                foreign,
            );
        }
    }

    /// A whole run's folder, made by the program itself.
    pub fn runs(&mut self, folder: &Path) {
        let run = crate::support::program::flava_eval(
            folder,
            &[
                "--tasks",
                "mini-sentence,mini-retrieval",
                "--limit",
                "60",
                "--out",
                "runs",
            ],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        for task in ["mini-sentence", "mini-retrieval"] {
            let file = folder.join(format!("{task}.parquet"));
            copy(
                &folder.join(format!("runs/predictions/{task}.parquet")),
                &file,
            );
            self.sealed(
                "results/predictions",
                &file,
                false,
                |file| match Predictions::read(file).map_err(text_of)? {
                    Some(read) => Ok(short(format!("{read:?}"))),
                    None => Err("no predictions of ours".into()),
                },
            );
        }
        let file = folder.join("foreign.parquet");
        copy(
            &folder.join("runs/predictions/mini-sentence.parquet"),
            &file,
        );
        self.add("results/foreign-parquet", &file, false, |file| {
            Ok(short(format!(
                "{:?}",
                Foreign::read(file).map_err(text_of)?
            )))
        });
        let tasks = ["mini-sentence", "mini-retrieval"].map(|name| PlannedTask {
            name: name.into(),
            suite: "mini".into(),
        });
        for name in [
            "mini-sentence.json",
            "plan.json",
            "status.json",
            "journal.jsonl",
        ] {
            let other = folder.join(format!("runs-{name}"));
            copy(&folder.join("runs"), &other);
            let tasks = tasks.clone();
            // A damaged record is told of and left out: what is there must be what was written.
            let read = move |file: &Path| {
                let at = file.parent().unwrap();
                let records = flava_results::read_records(at).map_err(text_of)?;
                flava_results::RunFolder::open(at, &json!({}), &tasks).map_err(text_of)?;
                if records.len() < tasks.len() {
                    Err("left out".into())
                } else {
                    Ok(short(flava_results::csv_table(&records, &[])))
                }
            };
            if name == "mini-sentence.json" {
                self.sealed("results/record", &other.join(name), true, read);
            } else {
                self.add(format!("results/{name}"), &other.join(name), true, read);
            }
        }
    }

    /// A folder in which training stands, as both trainers write it.
    pub fn states(&mut self, folder: &Path) {
        let state = folder.join("last");
        replace_folder(&state, |part| {
            copy(
                &golden().join("whole/model.safetensors"),
                &part.join("model.safetensors"),
            );
            copy(
                &golden().join("whole/config.json"),
                &part.join("config.json"),
            );
            fs::write(
                part.join("training_state.json"),
                json!({ "step": 40, "best": 0.5 }).to_string(),
            )
            .unwrap();
            Ok::<(), flava_model::Error>(())
        })
        .unwrap();
        for name in [
            "model.safetensors",
            "config.json",
            "training_state.json",
            "manifest.json",
        ] {
            let other = folder.join(format!("last-{name}"));
            copy(&state, &other);
            let of = other.clone();
            self.sealed(
                "state",
                &other.join(name),
                name.ends_with("json"),
                move |_| {
                    verify_folder(&of).map_err(text_of)?;
                    let held: String = ["model.safetensors", "config.json", "training_state.json"]
                        .map(|name| short(fs::read(of.join(name)).unwrap()))
                        .concat();
                    Ok(held)
                },
            );
        }
    }
}
