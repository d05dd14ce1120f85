//! Archives whose splits are text files, an image on each line.

use std::{collections::HashMap, path::Path};

use super::{
    super::{
        listing::{Listing, Row},
        reading::read_text,
    },
    folders::folders,
    positions::{inner, trains},
};
use crate::{Error, Result};

/// The lines of a list that are not empty, with their numbers from 1.
fn lines(path: &Path) -> Result<Vec<(usize, String)>> {
    let text = read_text(path)?;
    Ok(text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| (i + 1, line.trim().to_owned()))
        .collect())
}

/// The names of a list, one on each line.
fn names_in(path: &Path) -> Result<Vec<String>> {
    let lines = lines(path)?.into_iter();
    Ok(lines.map(|(_, name)| name).collect())
}

/// The place of a name among the classes.
fn class_of(names: &[String], name: &str, list: &Path, line: usize) -> Result<usize> {
    let unknown = || Error::data(list, format!("line {line}: there is no class {name:?}"));
    names
        .iter()
        .position(|known| known == name)
        .ok_or_else(unknown)
}

/// `meta/train.txt`: `apple_pie/1005649`; classes are the sorted names.
pub(super) fn food101(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["food-101"], "meta");
    let list = root.join(format!("meta/{split}.txt"));
    let mut names = names_in(&root.join("meta/classes.txt"))?;
    names.sort();
    let mut rows = Vec::new();
    for (line, path) in lines(&list)? {
        let name = path.split('/').next().unwrap_or_default();
        let class = class_of(&names, name, &list, line)?;
        rows.push(Row::of_file(format!("{path}.jpg"), class));
    }
    Ok(Listing::of_files(&root.join("images"), rows)?.with_class_names(names))
}

/// `annotations/trainval.txt`: `Abyssinian_100 1 1 1`: name, class from 1, species, breed.
pub(super) fn oxford_pets(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["oxford-iiit-pet"], "annotations");
    let list = root.join(format!("annotations/{split}.txt"));
    let mut rows = Vec::new();
    let mut names: HashMap<usize, String> = HashMap::new();
    for (line, text) in lines(&list)? {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let class = words.next().and_then(|class| class.parse::<usize>().ok());
        let class = class.filter(|class| *class > 0).ok_or_else(|| {
            Error::data(&list, format!("line {line}: {text:?} has no class from 1"))
        })?;
        let breed = || name.rsplit_once('_').map_or(name, |(breed, _)| breed);
        let known = names.entry(class - 1);
        known.or_insert_with(|| breed().replace('_', " "));
        rows.push(Row::of_file(format!("{name}.jpg"), class - 1));
    }
    // Where a class has no image, its name and its place among the others are not known.
    let names: Option<Vec<String>> = (0..names.len()).map(|class| names.remove(&class)).collect();
    let names = names.unwrap_or_default();
    Ok(Listing::of_files(&root.join("images"), rows)?.with_class_names(names))
}

/// `labels/train1.txt`: `banded/banded_0002.jpg`; the first of the ten official divisions.
pub(super) fn dtd(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["dtd", "dtd/dtd"], "labels");
    let list = root.join(format!("labels/{split}1.txt"));
    let names = folders(&root.join("images"))?;
    let mut rows = Vec::new();
    for (line, path) in lines(&list)? {
        let name = path.split('/').next().unwrap_or_default();
        let class = class_of(&names, name, &list, line)?;
        rows.push(Row::of_file(path, class));
    }
    Ok(Listing::of_files(&root.join("images"), rows)?.with_class_names(names))
}

/// `data/images_variant_train.txt`: `1025794 707-320`; classes as in `variants.txt`.
pub(super) fn fgvc_aircraft(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["fgvc-aircraft-2013b"], "data");
    let list = root.join(format!("data/images_variant_{split}.txt"));
    let names = names_in(&root.join("data/variants.txt"))?;
    let mut rows = Vec::new();
    for (line, text) in lines(&list)? {
        let (image, variant) = text.split_once(' ').unwrap_or((&text, ""));
        rows.push(Row::of_file(
            format!("{image}.jpg"),
            class_of(&names, variant.trim(), &list, line)?,
        ));
    }
    Ok(Listing::of_files(&root.join("data/images"), rows)?.with_class_names(names))
}

/// `Training_01.txt`: `/a/abbey/sun_aakbdcgfpksytcwj.jpg`; classes as in `ClassName.txt`.
pub(super) fn sun397(root: &Path, split: &str) -> Result<Listing> {
    let root = &inner(root, &["SUN397"], "ClassName.txt");
    let training = trains(root, split)?;
    let list = root.join(if training {
        "Training_01.txt"
    } else {
        "Testing_01.txt"
    });
    let names = names_in(&root.join("ClassName.txt"))?;
    let mut rows = Vec::new();
    for (line, path) in lines(&list)? {
        let name = path.rsplit_once('/').map_or("", |(class, _)| class);
        let class = class_of(&names, name, &list, line)?;
        rows.push(Row::of_file(path.trim_start_matches('/').to_owned(), class));
    }
    // "/a/airplane_cabin" and "/c/church/outdoor" are called by what follows the letter.
    let called = |name: &String| {
        let called = name.splitn(3, '/').nth(2).unwrap_or(name);
        called.replace(['/', '_'], " ")
    };
    let names = names.iter().map(called).collect();
    Ok(Listing::of_files(root, rows)?.with_class_names(names))
}

/// Middle frames `CLASS/v_NAME.jpg` with the official lists:
/// `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`.
pub(super) fn ucf101(root: &Path, split: &str) -> Result<Listing> {
    let lists = inner(root, &[], "ucfTrainTestlist/classInd.txt").join("ucfTrainTestlist");
    let list = lists.join(format!("{split}list01.txt"));
    let names = numbered_names(&lists.join("classInd.txt"))?;
    let frames = ["UCF-101-midframes", "UCF-101"]
        .iter()
        .map(|folder| root.join(folder))
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| root.to_owned());
    let mut rows = Vec::new();
    for (line, text) in lines(&list)? {
        let clip = text.split_whitespace().next().unwrap_or_default();
        let (class, file) = clip
            .split_once('/')
            .ok_or_else(|| Error::data(&list, format!("line {line}: {text:?} names no class")))?;
        let frame = middle_frame(&frames, class, file);
        rows.push(Row::of_file(frame, class_of(&names, class, &list, line)?));
    }
    let called = |name: &String| words(name).replace('_', " ");
    let names = names.iter().map(called).collect();
    Ok(Listing::of_files(&frames, rows)?.with_class_names(names))
}

/// The names of a list of lines `NUMBER NAME`.
fn numbered_names(path: &Path) -> Result<Vec<String>> {
    let name = |(line, text): (usize, String)| {
        let name = text.split_once(' ').map(|(_, name)| name.to_owned());
        name.ok_or_else(|| Error::data(path, format!("line {line}: {text:?} has no name")))
    };
    lines(path)?.into_iter().map(name).collect()
}

/// The image of a clip; some copies write the folders' names word by word.
fn middle_frame(frames: &Path, class: &str, file: &str) -> String {
    let stem = file.strip_suffix(".avi").unwrap_or(file);
    if frames.join(class).is_dir() {
        format!("{class}/{stem}.jpg")
    } else {
        format!("{}/{stem}.jpg", words(class))
    }
}

/// `ApplyEyeMakeup` as `Apply_Eye_Makeup`.
fn words(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c);
    }
    out
}
