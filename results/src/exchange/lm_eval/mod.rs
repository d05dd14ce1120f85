//! The files of the LM evaluation harness: `results_DATE.json` and `samples_TASK_DATE.jsonl` in a
//! folder for each model.

mod results;
mod samples;

use std::path::PathBuf;

use self::{
    results::{ModelResults, results},
    samples::write_samples,
};
use super::{
    exported::ExportFolder,
    model_name::by_model,
    parts::{Part, parts},
    times::last_date,
};
use crate::Result;

pub(super) fn export(folder: &mut ExportFolder) -> Result<()> {
    for group in by_model(&folder.records) {
        let parts: Vec<Part> = group.records.iter().flat_map(|r| parts(r)).collect();
        // `:` cannot stand in every file name, and the harness has microseconds.
        let date = last_date(&group.records).trim_end_matches('Z');
        let date = format!("{}.000000", date.replace(':', "-"));
        let place = PathBuf::from(sanitised(&group.model.joined("/")));
        let mut hashes = Vec::new();
        for part in &parts {
            let file = place.join(format!("samples_{}_{date}.jsonl", sanitised(&part.name)));
            hashes.push(write_samples(folder, part, &file)?);
        }
        let results = results(&ModelResults {
            model: &group.model,
            records: &group.records,
            parts: &parts,
            hashes: &hashes,
        });
        let file = place.join(format!("results_{date}.json"));
        folder.write(&file, format!("{results:#}\n").as_bytes())?;
    }
    Ok(())
}

/// A name as the harness writes it in files: `__` for each run of what cannot stand there.
fn sanitised(name: &str) -> String {
    let forbidden = |c: char| "\"<>:/|\\?*[]".contains(c);
    let mut clean = String::new();
    let mut inside = false;
    for c in name.chars() {
        if !forbidden(c) {
            clean.push(c);
        } else if !inside {
            clean.push_str("__");
        }
        inside = forbidden(c);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_harnesses() {
        assert_eq!(sanitised("facebook/flava-full"), "facebook__flava-full");
        assert_eq!(sanitised("a:/[b]"), "a__b__");
    }
}
