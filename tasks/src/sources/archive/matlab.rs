//! Archives whose labels are in MATLAB files.

use std::path::Path;

use super::{
    super::{
        listing::{Listing, Row},
        reading::guarded,
    },
    mat_bounds,
    positions::{inner, trains},
};
use crate::{Error, Result};

/// Largest MATLAB file: those of the archives have a megabyte.
const MAX_MAT: u64 = 64 << 20;

/// A MATLAB file of version 5 to 7.
fn mat(path: &Path) -> Result<matrw::MatFile> {
    mat_bounds::check(&flava_base::read(path, MAX_MAT)?)
        .map_err(|reason| Error::data(path, format!("is no MATLAB file that is read: {reason}")))?;
    guarded(path, || {
        matrw::load_matfile(&path.to_string_lossy())
            .map_err(|e| Error::data(path, format!("is no MATLAB file: {e:?}")))
    })
}

fn variable<'a>(
    file: &'a matrw::MatFile,
    path: &Path,
    name: &str,
) -> Result<&'a matrw::MatVariable> {
    let missing = || Error::data(path, format!("has no variable {name}"));
    if file.contains(name) {
        Ok(&file[name])
    } else {
        Err(missing())
    }
}

/// Number of elements, and an element's text: matrw keeps texts as arrays of characters.
fn count(variable: &matrw::MatVariable) -> usize {
    variable.dim().iter().product()
}

fn text(variable: &matrw::MatVariable) -> Option<String> {
    Some(variable.to_vec_char()?.into_iter().collect())
}

/// A variable's numbers, of whichever type it stores them in.
fn floats(variable: &matrw::MatVariable) -> Option<Vec<f64>> {
    use matrw::MatlabType as T;
    Some(match variable.numeric_type()? {
        T::U8(values) => values.iter().copied().map(f64::from).collect(),
        T::U16(values) => values.iter().copied().map(f64::from).collect(),
        T::U32(values) => values.iter().copied().map(f64::from).collect(),
        T::I16(values) => values.iter().copied().map(f64::from).collect(),
        T::I32(values) => values.iter().copied().map(f64::from).collect(),
        T::U64(values) => values.iter().map(|value| *value as f64).collect(),
        T::I64(values) => values.iter().map(|value| *value as f64).collect(),
        T::F64(values) => values.clone(),
        _ => return None,
    })
}

/// A variable's numbers, if all of them count something.
fn numbers(file: &matrw::MatFile, path: &Path, name: &str) -> Result<Vec<usize>> {
    let values = floats(variable(file, path, name)?)
        .ok_or_else(|| Error::data(path, format!("{name} has no numbers")))?;
    let count = |(index, value): (usize, f64)| {
        let counts = value >= 0.0 && value.fract() == 0.0;
        counts
            .then_some(value as usize)
            .ok_or_else(|| Error::data(path, format!("{name}({}) is {value}, no count", index + 1)))
    };
    values.into_iter().enumerate().map(count).collect()
}

/// `setid.mat` names the images of a split, `imagelabels.mat` the class of each image; both
/// count from 1.
pub(super) fn flowers102(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["flowers-102"], "setid.mat");
    let (sets, labels) = (root.join("setid.mat"), root.join("imagelabels.mat"));
    let variable = set_of(root, split)?;
    let classes = numbers(&mat(&labels)?, &labels, "labels")?;
    let row = |image: usize| {
        let class = image
            .checked_sub(1)
            .and_then(|position| classes.get(position));
        let class = class
            .filter(|class| **class > 0)
            .ok_or_else(|| Error::data(&labels, format!("has no label for image {image}")))?;
        Ok(Row::of_file(format!("image_{image:05}.jpg"), class - 1))
    };
    let images = numbers(&mat(&sets)?, &sets, variable)?.into_iter();
    let rows = images.map(row).collect::<Result<_>>()?;
    Listing::of_files(&root.join("jpg"), rows)
}

/// The variable with the images of a split.
fn set_of(root: &Path, split: &str) -> Result<&'static str> {
    match split {
        "train" => Ok("trnid"),
        "val" | "validation" => Ok("valid"),
        "test" => Ok("tstid"),
        other => {
            let reason = format!("has no split {other:?}, only train, val and test");
            Err(Error::data(root, reason))
        }
    }
}

/// `devkit/cars_train_annos.mat` and `cars_test_annos_withlabels.mat`: an array of structs with
/// `fname` and `class` from 1.
pub(super) fn stanford_cars(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["stanford_cars"], "devkit");
    let (file, folder) = if trains(root, split)? {
        ("devkit/cars_train_annos.mat", "cars_train")
    } else {
        ("cars_test_annos_withlabels.mat", "cars_test")
    };
    let file = root.join(file);
    let annotations = mat(&file)?;
    let annotations = variable(&annotations, &file, "annotations")?;
    let row = |index| car(&file, annotations, index);
    let rows = guarded(&file, || (0..count(annotations)).map(row).collect())?;
    let meta = root.join("devkit/cars_meta.mat");
    let names = if meta.exists() {
        class_names(&meta)?
    } else {
        Vec::new()
    };
    Ok(Listing::of_files(&root.join(folder), rows)?.with_class_names(names))
}

fn car(file: &Path, annotations: &matrw::MatVariable, index: usize) -> Result<Row> {
    let entry = &annotations[index];
    let name = text(&entry["fname"]);
    let class = floats(&entry["class"])
        .and_then(|class| class.first().copied())
        .filter(|class| *class >= 1.0 && class.fract() == 0.0);
    let (Some(name), Some(class)) = (name, class) else {
        let reason = format!("annotations({}) has no fname or class", index + 1);
        return Err(Error::data(file, reason));
    };
    Ok(Row::of_file(name, class as usize - 1))
}

fn class_names(path: &Path) -> Result<Vec<String>> {
    let file = mat(path)?;
    let names = variable(&file, path, "class_names")?;
    let name = |index: usize| {
        text(&names[index])
            .ok_or_else(|| Error::data(path, format!("class_names({}) is no text", index + 1)))
    };
    guarded(path, || (0..count(names)).map(name).collect())
}
