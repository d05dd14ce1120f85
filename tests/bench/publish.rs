//! Commits the files of a folder to a data set of the Hub at `HF_ENDPOINT`: publish NAME FOLDER
//! [pr]. Beside Python's `HfApi.create_commit`, which has to ask the same.

use std::{env, path::Path};

use flava_model::hub::{
    RepoId, RepoKind, files_below,
    write::{CommitPlan, Content, HubWriter, Upload, Visibility},
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [name, folder, how @ ..] = &args[..] else {
        anyhow::bail!("usage: publish NAME FOLDER [pr]")
    };
    let folder = Path::new(folder);
    let upload = |path: String| Upload {
        content: Content::File(folder.join(&path)),
        path,
    };
    let writer = HubWriter::from_environment(false);
    let repo = RepoId::parse(RepoKind::Dataset, name)?;
    writer.create(&repo, Visibility::Private)?;
    let plan = CommitPlan {
        summary: "Add results".to_owned(),
        parent: Some(writer.head(&repo)?.oid),
        files: files_below(folder)?.into_iter().map(upload).collect(),
        delete: Vec::new(),
        as_pr: !how.is_empty(),
    };
    println!("{:?}", writer.commit(&repo, &plan)?);
    Ok(())
}
