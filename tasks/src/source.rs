//! Where a task's rows come from, as its registry row says: repository or folder, format, splits.

use serde::{Deserialize, Serialize};

use crate::{Demand, sources::MiniWorld};

/// A part of the data and how many rows it should have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Its name in the source, such as "validation".
    pub name: String,
    /// A pattern of files with at most one `*`, the folder of a webdataset's shards or of an image
    /// folder, or the file that lists the rows; relative to the source's folder. Formats that know
    /// their files need none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub files: String,
    /// Rows that the complete split has; 0 where nobody knows.
    pub rows: usize,
    /// Captions that they have together, where captions are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<usize>,
}

impl Split {
    /// A path of its source's row, `SPLIT` standing for the split's name.
    pub(crate) fn fill(&self, path: &str) -> String {
        path.replace("SPLIT", &self.name)
    }
}

/// Columns of a parquet file that are read; empty ones are not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Pictures: a struct with `bytes`, or bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Texts that go together as one input, one or two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// Captions of the row's picture: a list, or one of several rows with the same `group`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub captions: String,
    /// An integer below the number of classes, one of `label_names`, or a number for regression.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// What strings in the label column mean, in the order of the classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_names: Vec<String>,
    /// People's answers: a list of strings, or of structs with `answer`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub answers: String,
    /// Ids of the rows; without, they are numbered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Rows with the same value share a picture.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The rows of a split are those where this column has the split's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub split: String,
    /// Whether a row may lack its captions: those of a corpus may, and are left out where they are
    /// drawn.
    #[serde(skip)]
    pub gaps: bool,
}

/// Layouts of the original archives, as torchvision's classes of the same names read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `meta/{train,test}.txt`, `images/CLASS/ID.jpg`.
    Food101,
    /// `annotations/{trainval,test}.txt`, `images/NAME.jpg`.
    OxfordPets,
    /// `setid.mat`, `imagelabels.mat`, `jpg/image_NNNNN.jpg`.
    Flowers102,
    /// `labels/{train,val,test}1.txt`, `images/CLASS/NAME.jpg`.
    Dtd,
    /// `data/variants.txt`, `data/images_variant_{train,val,trainval,test}.txt`,
    /// `data/images/ID.jpg`.
    FgvcAircraft,
    /// `devkit/cars_train_annos.mat`, `cars_test_annos_withlabels.mat`,
    /// `cars_{train,test}/NAME.jpg`.
    StanfordCars,
    /// `GTSRB/Training/NNNNN/*.ppm`, `GTSRB/Final_Test/Images/*.ppm`, `GT-final_test.csv`.
    Gtsrb,
    /// `camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5`.
    Pcam,
    /// `{train,test}_{X,y}.bin`.
    Stl10,
    /// `CLASS/..` folders and the lists `Training_01.txt`, `Testing_01.txt`.
    Sun397,
    /// `fer2013.csv`, `icml_face_data.csv`, or `train.csv`.
    Fer2013,
    /// `{train,valid,test}/{negative,positive}/ID.png`.
    RenderedSst2,
    /// `{train,valid,test}/COUNTRY/ID.jpg`.
    Country211,
    /// `images/{train,val}/*.png`, `scenes/CLEVR_{train,val}_scenes.json`.
    ClevrCounts,
    /// `training/{image_2,label_2}/NNNNNN`, `ImageSets/{train,val,test}.txt`.
    KittiDistance,
    /// `data_batch_*.bin` or the Python pickles of `cifar-10-batches-py`.
    Cifar10,
    /// `train.bin` or the Python pickles of `cifar-100-python`.
    Cifar100,
    /// `CLASS/v_NAME.jpg` middle frames, `ucfTrainTestlist/{classInd,trainlist01,testlist01}.txt`.
    Ucf101,
    /// `{train,val}/SYNSET/*.JPEG`.
    ImageFolder,
    /// `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, also gzipped.
    Mnist,
}

/// In which form the rows lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceFormat {
    /// Hugging Face parquet.
    Parquet {
        /// What is read.
        columns: Columns,
    },
    /// Tar shards in the layout of clip-benchmark: `<split>/<i>.tar`, members `KEY.webp|png|jpg`
    /// with `KEY.cls`, `.txt` (a caption on each line) or `.npy`.
    Webdataset {
        /// Whether the texts are captions and not labels.
        #[serde(default)]
        captions: bool,
    },
    /// An original archive, unpacked.
    Archive {
        /// Whose.
        layout: Layout,
    },
    /// A list of rows (`files`: lines `PATH LABEL`, or the JSON of CoOp's splits) over a folder of
    /// pictures.
    ImageList {
        /// Folder of the pictures.
        images: String,
    },
    /// The official questions and annotations of VQAv2 (`files` names the questions) over folders
    /// of COCO pictures.
    Vqa {
        /// `SPLIT` stands for the split's name.
        annotations: String,
        /// Folder of the pictures, `SPLIT` standing for the split's name.
        images: String,
    },
    /// SNLI-VE's lines (`files`) over a folder of Flickr30K's pictures.
    SnliVe {
        /// Folder of the pictures.
        images: String,
    },
    /// The lines of Hateful Memes (`files`): `{id, img, label, text}`.
    HatefulMemes {},
    /// Karpathy's JSON (`files`) over a folder of pictures.
    Karpathy {
        /// Folder of the pictures.
        images: String,
    },
    /// Drawn by this program.
    Mini {
        /// What is drawn.
        world: MiniWorld,
    },
}

/// Where a task's rows come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `owner/name` on the Hugging Face Hub, and the folder under `--data`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// Git revision that the numbers belong to; empty where none is pinned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The folder under `--data` of data that people have from elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// Form of the rows.
    #[serde(flatten)]
    pub format: SourceFormat,
    /// What to know about it, such as why it cannot supply a protocol's rows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Patterns of further files that the splits need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<String>,
    /// Rows to fit on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<Split>,
    /// Rows to choose settings on; they are fitted on too in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Split>,
    /// Rows to score on.
    pub test: Split,
    /// More rows to score, apart: MNLI's mismatched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_test: Option<Split>,
}

impl Source {
    /// All splits, in the order they are used.
    pub fn splits(&self) -> impl Iterator<Item = &Split> {
        self.train
            .iter()
            .chain(&self.validation)
            .chain([&self.test])
            .chain(&self.second_test)
    }

    /// What records call it.
    pub fn name(&self) -> &str {
        if matches!(self.format, SourceFormat::Mini { .. }) {
            "mini (drawn)"
        } else {
            self.place()
        }
    }

    /// Its folder under `--data`.
    pub fn place(&self) -> &str {
        if self.repo.is_empty() {
            &self.folder
        } else {
            &self.repo
        }
    }

    /// Rows to fit on.
    pub fn fit_rows(&self) -> usize {
        self.train
            .iter()
            .chain(&self.validation)
            .map(|split| split.rows)
            .sum()
    }

    /// Why it cannot supply what a protocol asks for, if it cannot.
    pub fn shortfall(&self, demand: &Demand) -> Option<String> {
        let mut differences = Vec::new();
        if self.splits().any(|split| split.rows == 0) {
            differences.push("a number of rows that is not known".to_owned());
        } else if self.fit_rows() != demand.fit {
            differences.push(format!(
                "{} rows to fit on, not {}",
                self.fit_rows(),
                demand.fit
            ));
        }
        if self.test.rows != demand.test {
            differences.push(format!(
                "{} rows to score, not {}",
                self.test.rows, demand.test
            ));
        }
        if differences.is_empty() {
            return None;
        }
        let note = if self.note.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.note)
        };
        Some(format!(
            "{} has {}{note}",
            self.name(),
            differences.join(" and ")
        ))
    }

    /// What is wrong with the row, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let outside =
            |path: &str| path.starts_with('/') || path.split('/').any(|part| part == "..");
        let inner = match &self.format {
            SourceFormat::Vqa {
                annotations,
                images,
            } => vec![annotations, images],
            SourceFormat::SnliVe { images }
            | SourceFormat::Karpathy { images }
            | SourceFormat::ImageList { images } => vec![images],
            _ => Vec::new(),
        };
        let mut paths = self
            .splits()
            .map(|s| &s.files)
            .chain(&self.extra)
            .chain([&self.repo, &self.folder])
            .chain(inner);
        if let Some(path) = paths.find(|path| outside(path)) {
            return Some(format!("{path:?} leads out of the data folder"));
        }
        if self.splits().any(|split| {
            split.name.contains(['/', '\\'])
                || split.name == ".."
                || split.name.chars().any(char::is_control)
        }) {
            return Some("the name of a split leads out of the data folder".into());
        }
        if let Some(split) = self.splits().find(|split| split.name.len() > 64) {
            return Some(format!(
                "the name of a split has 64 letters at most, not {}",
                split.name.len()
            ));
        }
        let fitted: Vec<&Split> = self.train.iter().chain(&self.validation).collect();
        let mut scored = [&self.test].into_iter().chain(&self.second_test);
        let same = |a: &Split, b: &Split| (&a.name, &a.files) == (&b.name, &b.files);
        if let Some(split) = scored.find(|test| fitted.iter().any(|fit| same(test, fit))) {
            return Some(format!("split {} is fitted on and scored", split.name));
        }
        let drawn = matches!(self.format, SourceFormat::Mini { .. });
        (!drawn && self.repo.is_empty() == self.folder.is_empty())
            .then(|| "a source has either a repo or a folder".into())
    }
}
