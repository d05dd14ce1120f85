//! `flava-eval retrieve`: captions of one's own for images, and images for captions.

use flava_model::runtime::distributed::Peers;

use super::OwnRun;
use crate::{
    Plan, Result,
    args::RetrieveArgs,
    plan::{OwnData, OwnTask, method},
    run,
};

/// Ranks images and captions; there is nothing to answer.
pub fn retrieve(args: &RetrieveArgs, peers: &Peers) -> Result<OwnRun> {
    let mut method = method("retrieval");
    if let Some(rerank) = args.rerank {
        method.insert("rerank".into(), i64::from(rerank).into());
    }
    let task = OwnTask::new(&OwnData {
        name: args.own.name.as_ref(),
        method,
        splits: vec![("--pairs", "test", &args.pairs)],
        columns: &args.own.columns,
    })?;
    let plan = Plan::of_own(&task, &args.own)?;
    if args.own.how.dry_run {
        return Ok(OwnRun::planned(plan));
    }
    let outcome = run(&plan, peers)?;
    Ok(OwnRun {
        measured: Some((plan, outcome)),
        answered: None,
    })
}
