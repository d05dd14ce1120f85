//! Our tasks and what other tools call their datasets.

use flava_tasks::Registry;

use crate::Record;

/// A dataset that other tools measure on too.
pub(super) struct KnownDataset {
    /// Our task; the zero-shot one has `-zero-shot` behind it.
    pub(super) task: &'static str,
    /// What `CLIP_benchmark` calls it.
    pub(super) key: &'static str,
    /// Its column in the tables of `open_clip`.
    pub(super) column: Option<&'static str>,
    /// Rows of its test split there, which are also datacomp's.
    pub(super) rows: usize,
    /// Whether its column holds the mean over the classes, as datacomp's main metrics do.
    pub(super) per_class: bool,
    /// The task of mteb that is over the same rows.
    pub(super) mteb: Option<&'static str>,
}

const fn set(task: &'static str, key: &'static str, rows: usize) -> KnownDataset {
    KnownDataset {
        task,
        key,
        column: None,
        rows,
        per_class: false,
        mteb: None,
    }
}

impl KnownDataset {
    const fn column(mut self, column: &'static str) -> Self {
        self.column = Some(column);
        self
    }

    const fn per_class(mut self) -> Self {
        self.per_class = true;
        self
    }

    const fn mteb(mut self, name: &'static str) -> Self {
        self.mteb = Some(name);
        self
    }
}

/// Keys of `CLIP_benchmark`, rows and main metrics of datacomp's list of tasks, columns of
/// `open_clip`'s `openclip_results.csv`, tasks of mteb.
pub(super) const DATASETS: [KnownDataset; 23] = [
    set("imagenet", "imagenet1k", 50_000)
        .column("ImageNet 1k")
        .mteb("Imagenet1kZeroShot"),
    set("food101", "food101", 25_250)
        .column("Food-101")
        .mteb("Food101ZeroShot"),
    set("cifar10", "vtab/cifar10", 10_000)
        .column("CIFAR-10")
        .mteb("CIFAR10ZeroShot"),
    set("cifar100", "vtab/cifar100", 10_000)
        .column("CIFAR-100")
        .mteb("CIFAR100ZeroShot"),
    set("cars", "cars", 8_041)
        .column("Stanford Cars")
        .mteb("StanfordCarsZeroShot"),
    set("aircraft", "fgvc_aircraft", 3_333)
        .column("FGVC Aircraft")
        .per_class()
        .mteb("FGVCAircraftZeroShot"),
    set("dtd", "vtab/dtd", 1_880)
        .column("Describable Textures")
        .mteb("DTDZeroShot"),
    set("pets", "vtab/pets", 3_669)
        .column("Oxford-IIIT Pet")
        .per_class()
        .mteb("OxfordPetsZeroShot"),
    set("caltech101", "vtab/caltech101", 6_085)
        .column("Caltech-101")
        .per_class(),
    set("flowers102", "vtab/flowers", 6_149)
        .column("Oxford Flowers-102")
        .per_class(),
    set("mnist", "mnist", 10_000)
        .column("MNIST")
        .mteb("MNISTZeroShot"),
    set("stl10", "stl10", 8_000)
        .column("STL-10")
        .mteb("STL10ZeroShot"),
    set("eurosat", "vtab/eurosat", 5_400).mteb("EuroSATZeroShot"),
    set("gtsrb", "gtsrb", 12_630)
        .column("GTSRB")
        .mteb("GTSRBZeroShot"),
    set("kitti", "vtab/kitti_closest_vehicle_distance", 711).column("KITTI Vehicle Distance"),
    set("pcam", "vtab/pcam", 32_768)
        .column("PatchCamelyon")
        .mteb("PatchCamelyonZeroShot"),
    set("clevr", "vtab/clevr_count_all", 15_000)
        .column("CLEVR Counts")
        .mteb("CLEVRCountZeroShot"),
    set("fer2013", "fer2013", 7_178).mteb("FER2013ZeroShot"),
    set("sun397", "sun397", 108_754),
    set("rendered-sst2", "renderedsst2", 1_821)
        .column("Rendered SST2")
        .mteb("RenderedSST2"),
    set("country211", "country211", 21_100)
        .column("Country211")
        .mteb("Country211ZeroShot"),
    set("flickr30k-retrieval", "flickr30k", 1_000)
        .column("Flickr")
        .mteb("Flickr30kT2IRetrieval"),
    set("coco-retrieval", "mscoco_captions", 5_000).column("MSCOCO"),
];

/// The dataset of one of our tasks.
pub(super) fn dataset_of(task: &str) -> Option<&'static KnownDataset> {
    let base = task.strip_suffix("-zero-shot").unwrap_or(task);
    DATASETS.iter().find(|dataset| dataset.task == base)
}

/// Whether a record's rows are of a repository: it has a revision, or a built-in task names it.
pub(super) fn is_on_the_hub(record: &Record) -> bool {
    let named = || {
        let registry = Registry::built_in();
        registry.is_ok_and(|registry| {
            let mut sources = registry.tasks().iter().flat_map(|task| &task.sources);
            sources.any(|source| source.repo == record.data)
        })
    };
    record.data.contains('/') && (!record.data_revision.is_empty() || named())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_ours_and_twenty_have_a_column() {
        let registry = Registry::built_in().unwrap();
        for dataset in &DATASETS {
            let task = registry.get(dataset.task).unwrap();
            assert_eq!(task.name, dataset.task);
            let zero_shot = registry.get(&format!("{}-zero-shot", dataset.task));
            assert_eq!(
                zero_shot.is_some(),
                !dataset.task.ends_with("-retrieval"),
                "{}",
                dataset.task
            );
        }
        let columns = DATASETS.iter().filter(|dataset| dataset.column.is_some());
        assert_eq!(columns.count(), 20);
    }
}
