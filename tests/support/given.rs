//! Tables of numbers as other programs write them, and as the program stores its own.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

/// A table of numbers.
#[derive(Clone)]
pub struct Table {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Table {
    pub fn width(&self) -> usize {
        self.shape[1..].iter().product()
    }

    fn bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// Its rows in another order.
    pub fn picked(&self, order: &[usize]) -> Self {
        let width = self.width();
        let row = |&row: &usize| self.values[row * width..(row + 1) * width].to_vec();
        let mut shape = self.shape.clone();
        shape[0] = order.len();
        Self {
            shape,
            values: order.iter().flat_map(row).collect(),
        }
    }

    pub fn write_safetensors(&self, path: &Path, ids: Option<&[String]>) {
        let bytes = self.bytes();
        let view = TensorView::new(Dtype::F32, self.shape.clone(), &bytes).unwrap();
        write_tensor(path, "features", view, ids);
    }

    pub fn write_npy(&self, path: &Path) {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        write_npy(
            path,
            "'<f4'",
            &format!("({})", shape.join(", ")),
            &self.bytes(),
        );
    }
}

pub fn write_tensor(path: &Path, name: &str, view: TensorView, ids: Option<&[String]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let metadata = ids.map(|ids| HashMap::from([("ids".to_owned(), json!(ids).to_string())]));
    fs::write(
        path,
        safetensors::serialize([(name, view)], metadata).unwrap(),
    )
    .unwrap();
}

pub fn write_npy(path: &Path, kind: &str, shape: &str, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut head = format!("{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}");
    head.extend(std::iter::repeat_n(' ', 63 - (head.len() + 10) % 64));
    head.push('\n');
    let length = (head.len() as u16).to_le_bytes();
    let file = [b"\x93NUMPY\x01\x00", &length[..], head.as_bytes(), bytes].concat();
    fs::write(path, file).unwrap();
}

/// What the embedded model gave, from the folder where it is stored.
pub struct Stored(BTreeMap<(String, String, usize), Table>);

impl Stored {
    pub fn read(cache: &Path) -> Self {
        let mut found = BTreeMap::new();
        for folder in fs::read_dir(cache.join("features")).unwrap() {
            let folder = folder.unwrap().path();
            let about = fs::read_to_string(folder.join("about.json")).unwrap();
            let about: Value = serde_json::from_str(&about).unwrap();
            let bytes = fs::read(folder.join("000000.safetensors")).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let view = tensors.tensor("values").unwrap();
            let numbers = view.data().chunks_exact(4);
            let table = Table {
                shape: view.shape().to_vec(),
                values: numbers
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
            };
            let text = |name: &str| about[name].as_str().unwrap().to_owned();
            let rows = about["rows"].as_u64().unwrap() as usize;
            found.insert((text("feature"), text("name"), rows), table);
        }
        Self(found)
    }

    pub fn get(&self, feature: &str, name: &str, rows: usize) -> Table {
        let key = (feature.to_owned(), name.to_owned(), rows);
        let known = || self.0.keys().collect::<Vec<_>>();
        self.0
            .get(&key)
            .unwrap_or_else(|| panic!("{key:?} of {:?}", known()))
            .clone()
    }
}
