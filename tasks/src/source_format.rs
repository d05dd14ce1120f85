//! In which form the rows of a source lie.

use serde::{Deserialize, Serialize};

use crate::sources::MiniWorld;

/// Columns of a table or a parquet file that are read; empty ones are not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Images: in parquet a struct with `bytes`, or bytes; in a table paths.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// What rows call their image, where it is one of the source's `images_from`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_key: String,
    /// Texts that go together as one input, one or two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// Captions of the row's image: a list, or one of several rows with the same `group`. In a table
    /// a `*` stands for the numbers of several columns.
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
    /// Rows with the same value share an image.
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

impl Columns {
    /// The names of all columns that are read.
    pub(crate) fn read(&self) -> Vec<&str> {
        let c = self;
        let one = [
            &c.image,
            &c.image_key,
            &c.captions,
            &c.label,
            &c.answers,
            &c.id,
            &c.group,
            &c.split,
        ];
        let all = one.into_iter().chain(&c.texts).map(String::as_str);
        all.filter(|name| !name.is_empty()).collect()
    }
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
    /// CSV, TSV, JSON lines or JSON lists, as the endings of `files` say.
    Table {
        /// What is read.
        #[serde(default)]
        columns: Columns,
        /// The folder that images are named from; without, the table's own.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        images: String,
    },
    /// Told by the files themselves when they are opened first: the row of a task of one's own need
    /// not say it.
    Auto {
        /// What is read, where the files leave a choice.
        #[serde(default)]
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
    /// images.
    ImageList {
        /// Folder of the images.
        images: String,
    },
    /// The official questions and annotations of VQAv2 (`files` names the questions) over folders
    /// of COCO images.
    Vqa {
        /// `SPLIT` stands for the split's name.
        annotations: String,
        /// Folder of the images, `SPLIT` standing for the split's name.
        images: String,
    },
    /// SNLI-VE's lines (`files`) over a folder of Flickr30K's images.
    SnliVe {
        /// Folder of the images.
        images: String,
    },
    /// The lines of Hateful Memes (`files`): `{id, img, label, text}`.
    HatefulMemes {},
    /// Karpathy's JSON (`files`) over a folder of images.
    Karpathy {
        /// Folder of the images.
        images: String,
    },
    /// Drawn by this program.
    Mini {
        /// What is drawn.
        world: MiniWorld,
    },
}
