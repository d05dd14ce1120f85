//! Images of several places, numbered through.

use std::{path::Path, sync::Arc};

use super::{
    keys::{Keys, Named},
    shards::shard_keys,
};
use crate::{
    Columns, Error, ImagesFrom, Result,
    sources::{
        corpus::image_folder,
        dataset::{Dataset, ImageOrigin},
        parquet::is_parquet,
        patterns::matching,
        reading::guarded,
        table::TABLE_ENDINGS,
        tabular::{column_of, open_rows},
        webdataset::Webdataset,
    },
};

/// Places of images.
pub(super) struct ImageStore {
    places: Vec<Arc<dyn Dataset>>,
    /// The number of each place's first image.
    starts: Vec<usize>,
}

impl ImageStore {
    /// Opens the places; also what all images are called.
    pub(super) fn open(from: &[ImagesFrom]) -> Result<(Self, Keys)> {
        let mut keys = Keys::default();
        let mut store = Self {
            places: Vec::new(),
            starts: vec![0],
        };
        for place in from {
            guarded(&place.root, || store.add(place, &mut keys))?;
        }
        Ok((store, keys))
    }

    fn add(&mut self, from: &ImagesFrom, keys: &mut Keys) -> Result<()> {
        let start = self.starts[self.starts.len() - 1];
        let number = self.places.len();
        let named = |row: usize| Named {
            from: number,
            image: start + row,
        };
        let ending = from.ending();
        let is_parquet = is_parquet(Path::new(&from.files));
        let images: Arc<dyn Dataset> = if is_parquet || is_table(&ending) {
            let files = matching(&from.root, &from.files)?;
            let key = Columns {
                label: from.key.clone(),
                ..Columns::default()
            };
            let of_rows = column_of(&files, &key, "", is_parquet, &from.root)?;
            for (row, id) in of_rows.iter().enumerate() {
                keys.add_id(id, named(row));
            }
            let columns = Columns {
                image: from.image.clone(),
                ..Columns::default()
            };
            open_rows(&files, &columns, is_parquet, &from.root)?
        } else if ending == "tar" {
            let files = matching(&from.root, &from.files)?;
            let ids = shard_keys(&files, &from.key)?;
            let images = Webdataset::open_shards(files)?;
            for row in 0..images.len() {
                let own = images.id(row);
                match (&ids, own.split_once('/')) {
                    (Some(ids), _) => {
                        let id = ids.get(&own).ok_or_else(|| {
                            let key = &from.key;
                            Error::data(&from.root, format!("{own} has no {key} in its .json"))
                        })?;
                        keys.add_id(id, named(row));
                    }
                    (None, Some((_, sample))) => keys.add_file(sample, named(row)),
                    (None, None) => {}
                }
            }
            Arc::new(images)
        } else {
            let images = image_folder(&from.root.join(&from.files))?;
            for row in 0..images.len() {
                keys.add_file(&images.id(row), named(row));
            }
            Arc::new(images)
        };
        self.starts.push(start + images.len());
        self.places.push(images);
        Ok(())
    }

    fn find(&self, image: usize) -> (&dyn Dataset, usize) {
        let place = self.starts.partition_point(|start| *start <= image) - 1;
        (&*self.places[place], image - self.starts[place])
    }

    pub(super) fn origin(&self, image: usize) -> ImageOrigin {
        let (place, row) = self.find(image);
        place.image_origin(row)
    }

    pub(super) fn read(&self, image: usize) -> Result<Option<Vec<u8>>> {
        let (place, row) = self.find(image);
        Ok(place.get(row)?.image)
    }
}

fn is_table(ending: &str) -> bool {
    TABLE_ENDINGS.contains(&ending)
}
