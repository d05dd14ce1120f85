//! `flava-eval publish`: what its arguments ask for.

use std::path::PathBuf;

use flava_model::hub::write::HubWriter;
use flava_results::{
    Run,
    board::{Board, BoardOptions, rerank},
    csv_table, merge_model_index, model_index_block,
    report::{ReportOptions, report},
};

use super::{
    Ending, LongTable, Publication, PublishOptions, Tables, publish, publish_model_card, table_name,
};
use crate::{Result, args::PublishArgs};

/// Publishes runs, or their scores in a model's card; what is to be said.
///
/// # Errors
/// If they may not be published, or the Hub refuses.
pub fn publish_runs(args: &PublishArgs) -> Result<Vec<String>> {
    let paths: Vec<PathBuf> = args.runs.iter().map(PathBuf::from).collect();
    let runs = Run::read_all(&paths)?;
    let writer = HubWriter::from_environment(args.network.offline);
    let repo = args.repo.as_ref().or(args.model_card.as_ref());
    let options = PublishOptions {
        repo: repo.cloned().unwrap_or_default(),
        dry_run: args.dry_run,
        public: args.public,
        pr: args.pr,
        predictions: args.predictions,
        quiet: args.quiet,
    };
    let publication = if args.model_card.is_some() {
        card(&writer, &runs, &options)?
    } else {
        publish(&writer, &runs, &tables(args, &runs)?, &options)?
    };
    Ok(told(publication, args))
}

fn card(writer: &HubWriter, runs: &[Run], options: &PublishOptions) -> Result<Publication> {
    let records: Vec<_> = runs.iter().flat_map(|run| run.records.clone()).collect();
    let name = options.repo.rsplit('/').next().unwrap_or_default();
    let block = model_index_block(&records, name)?;
    publish_model_card(writer, options, &|old| {
        Ok(merge_model_index(old.unwrap_or_default(), &block)?)
    })
}

fn tables(args: &PublishArgs, runs: &[Run]) -> Result<Tables> {
    let board = Board::read(&args.runs, &BoardOptions::default())?;
    let report = report(runs, &ReportOptions::default())?;
    let mut long: Vec<LongTable> = Vec::new();
    let records: Vec<_> = runs.iter().flat_map(|run| &run.records).collect();
    for record in &records {
        let name = table_name(record);
        if long.iter().any(|table| table.name == name) {
            continue;
        }
        let own = records.iter().filter(|other| table_name(other) == name);
        let own: Vec<_> = own.map(|record| (*record).clone()).collect();
        let csv = csv_table(&own, &[]);
        long.push(LongTable { name, csv });
    }
    Ok(Tables {
        leaderboard: board.wide_csv(),
        long,
        report: Some(report),
        finish: |table| Ok(rerank(&table)?),
    })
}

fn told(publication: Publication, args: &PublishArgs) -> Vec<String> {
    match publication.ending {
        Ending::DryRun => vec![publication.plan],
        Ending::NothingChanged => vec!["nothing changed: everything is there already".into()],
        Ending::Done { url, ignored } => {
            let mut lines = vec![url];
            if !ignored.is_empty() && !args.quiet {
                let files = ignored.join(", ");
                lines.push(format!("left out, as .gitignore has it: {files}"));
            }
            lines
        }
    }
}
