//! The keys that task files have.

/// Keys of a task.
pub(super) const TASK: &[&str] = &[
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
pub(super) const SOURCE: &[&str] = &[
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
    "images_from",
];
/// Keys of a split.
pub(super) const SPLIT: &[&str] = &["name", "files", "rows", "captions", "only", "without"];
/// Keys of what is read of a table.
pub(super) const COLUMNS: &[&str] = &[
    "image",
    "image_key",
    "texts",
    "captions",
    "label",
    "label_names",
    "answers",
    "id",
    "group",
    "split",
];
/// Keys of a place of images.
pub(super) const IMAGES_FROM: &[&str] = &["repo", "revision", "folder", "files", "key", "image"];
/// Keys of a method.
pub(super) const METHOD: &[&str] = &[
    "kind",
    "feature",
    "templates",
    "class_names",
    "prompts",
    "rerank",
];
/// The splits of a source.
pub(super) const SPLITS: [&str; 4] = ["train", "validation", "test", "second_test"];
/// Methods, as they are written.
pub(super) const METHODS: [&str; 6] = [
    "linear_probe",
    "knn",
    "few_shot",
    "zero_shot",
    "retrieval",
    "fine_tune",
];
