//! `flava-eval`: measures a FLAVA checkpoint.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use flava_base::{Start, at_start, escaped, listen, say, say_error};
use flava_evaluator::{
    Outcome, OwnRun, Plan,
    args::{
        CacheArgs, Command, CompareArgs, EmbedArgs, EvalArgs, ExportArgs, FetchArgs, HowArgs,
        LeaderboardArgs, OwnRunArgs, PrintArgs, PublishArgs, ReportArgs, RunArgs, RunsArgs,
        ScoreArgs, TasksArgs, TasksCommand, VerifyArgs,
    },
    cache, compare,
    console::{DONE, INTERRUPTED, PARTLY, at_once, ended, help, in_processes, parse, print},
    dry_run, embed, fetch, leaderboard, probe,
    publish::publish_runs,
    report, retrieve, run, score, verify, zero_shot,
};
use flava_model::runtime::distributed::{Company, Peers};
use flava_results::{Published, Run, export, left_out_text, list_runs, published, runs_text};
use flava_tasks::{Protocol, Registry, Task};

at_start!(before_libtorch);

fn before_libtorch(start: &Start) {
    at_once(start, needs_no_tensor, act);
}

fn needs_no_tensor(args: &EvalArgs) -> bool {
    use Command::{Compare, Help, Leaderboard, Runs, Tasks};
    let command = args.command.as_ref();
    command.is_some_and(|it| {
        matches!(
            it,
            Tasks(_) | Runs(_) | Compare(_) | Leaderboard(_) | Help(_)
        )
    })
}

fn main() -> ExitCode {
    ended(act(&parse())).into()
}

fn act(args: &EvalArgs) -> Result<u8> {
    match &args.command {
        Some(Command::ZeroShot(args)) => own(&args.own, |peers| zero_shot(args, peers)),
        Some(Command::Probe(args)) => own(&args.own, |peers| probe(args, peers)),
        Some(Command::Retrieve(args)) => own(&args.own, |peers| retrieve(args, peers)),
        Some(Command::Tasks(args)) => tasks(args),
        Some(Command::Fetch(args)) => fetch_files(args),
        Some(Command::Verify(args)) => verify_data(args),
        Some(Command::Score(args)) => score_predictions(args),
        Some(Command::Runs(args)) => show_runs(args),
        Some(Command::Compare(args)) => compare_runs(args),
        Some(Command::Leaderboard(args)) => show_leaderboard(args),
        Some(Command::Report(args)) => write_report(args),
        Some(Command::Publish(args)) => publish_results(args),
        Some(Command::Export(args)) => export_run(args),
        Some(Command::Cache(args)) => stored_features(args),
        Some(Command::Embed(args)) => write_features(args),
        Some(Command::Help(asked)) => help(asked, EvalArgs::command()).map_err(Into::into),
        None => evaluate(&args.run),
    }
}

fn write_features(args: &EmbedArgs) -> Result<u8> {
    say(&embed(args)?.told());
    Ok(DONE)
}

fn evaluate(args: &RunArgs) -> Result<u8> {
    let how = &args.how;
    if how.dry_run {
        return say_plan(&Plan::new(args)?);
    }
    listen();
    in_processes(how.processes, Company::Sharing, |peers| {
        let plan = Plan::new(args)?;
        let outcome = run(&plan, peers)?;
        if peers.leads() {
            tell(&outcome, how, &plan);
        }
        Ok(code_of(&outcome))
    })
}

/// Runs a task of one's own, and answers for rows without labels.
fn own(
    args: &OwnRunArgs,
    act: impl FnOnce(&Peers) -> flava_evaluator::Result<OwnRun>,
) -> Result<u8> {
    let how = &args.how;
    listen();
    in_processes(how.processes, Company::Sharing, |peers| {
        let OwnRun { measured, answered } = act(peers)?;
        let mut code = DONE;
        if let Some((plan, outcome)) = measured {
            if how.dry_run {
                return say_plan(&plan);
            }
            if peers.leads() {
                tell(&outcome, how, &plan);
            }
            code = code_of(&outcome);
        }
        if let Some(answered) = answered {
            say(&answered.told());
        }
        Ok(code)
    })
}

fn say_plan(plan: &Plan) -> Result<u8> {
    let (lines, ready) = dry_run(plan)?;
    for line in &lines {
        print(&escaped(line));
    }
    Ok(if ready { DONE } else { PARTLY })
}

fn code_of(outcome: &Outcome) -> u8 {
    if outcome.interrupted {
        INTERRUPTED
    } else if outcome.failures.is_empty() {
        DONE
    } else {
        PARTLY
    }
}

fn tell(outcome: &Outcome, args: &HowArgs, plan: &Plan) {
    let asked = args.print;
    if !asked.is_for_people() || !outcome.records.is_empty() {
        print_results(outcome, asked);
    }
    for (task, error) in &outcome.failures {
        say_error(&format!("task {task}: {error}"));
    }
    if outcome.interrupted {
        say("interrupted: the same command goes on from here");
    }
    if !plan.settings.quiet {
        say(&format!(
            "{} of {} tasks done; results in {}",
            outcome.records.len(),
            outcome.planned,
            outcome.out.display()
        ));
    }
}

fn print_results(outcome: &Outcome, asked: PrintArgs) {
    print(&outcome.text(asked));
    if !asked.is_for_people() {
        return;
    }
    let averages = flava_results::averages(&outcome.records);
    if !averages.is_empty() {
        print(&flava_results::averages_text(&averages));
    }
    for note in &outcome.notes {
        print(&escaped(&format!("note: {note}")));
    }
}

fn fetch_files(args: &FetchArgs) -> Result<u8> {
    let fetched = fetch(args)?;
    if args.dry_run && args.quiet {
        print(&fetched.plan);
    }
    for (task, error) in &fetched.failures {
        say_error(&format!("task {task}: {error}"));
    }
    Ok(if fetched.failures.is_empty() {
        DONE
    } else {
        PARTLY
    })
}

fn verify_data(args: &VerifyArgs) -> Result<u8> {
    let verified = verify(args)?;
    print(&if args.json {
        serde_json::to_string_pretty(&verified)?
    } else {
        verified.table()
    });
    Ok(if verified.is_good() { DONE } else { PARTLY })
}

fn score_predictions(args: &ScoreArgs) -> Result<u8> {
    let scores = score(args)?;
    if args.json {
        print(&serde_json::to_string_pretty(&scores)?);
        return Ok(DONE);
    }
    let percent = |value: f64| format!("{:.2}", value * 100.0);
    let rows = scores.iter().map(|score| {
        let interval = format!("{} to {}", percent(score.ci_low), percent(score.ci_high));
        vec![
            score.metric.clone(),
            percent(score.value),
            interval,
            score.interval.clone(),
            score.n.to_string(),
        ]
    });
    print(&flava_results::rows_table(
        &["metric", "score", "95 % interval", "of kind", "n"],
        rows,
        1..3,
    ));
    Ok(DONE)
}

fn show_runs(args: &RunsArgs) -> Result<u8> {
    let runs = if args.folder.exists() {
        list_runs(&args.folder)?
    } else {
        Vec::new()
    };
    if args.json {
        print(&serde_json::to_string_pretty(&runs)?);
    } else if runs.is_empty() {
        say(&format!("no runs in {}", args.folder.display()));
    } else {
        print(&runs_text(&runs));
    }
    Ok(DONE)
}

fn compare_runs(args: &CompareArgs) -> Result<u8> {
    let comparison = compare(args)?;
    print(&if args.json {
        serde_json::to_string_pretty(&comparison)?
    } else {
        comparison.table()
    });
    Ok(DONE)
}

fn show_leaderboard(args: &LeaderboardArgs) -> Result<u8> {
    let text = leaderboard(args)?;
    print(text.trim_end());
    Ok(DONE)
}

fn write_report(args: &ReportArgs) -> Result<u8> {
    if let Some(text) = report(args)? {
        print(&text);
    }
    Ok(DONE)
}

fn publish_results(args: &PublishArgs) -> Result<u8> {
    for line in publish_runs(args)? {
        print(&line);
    }
    Ok(DONE)
}

fn export_run(args: &ExportArgs) -> Result<u8> {
    let exported = export(&Run::read(&args.run)?, args.format, &args.out)?;
    for file in &exported.files {
        print(&file.display().to_string());
    }
    if !exported.left_out.is_empty() {
        say(&left_out_text(&exported.left_out));
    }
    Ok(DONE)
}

fn stored_features(args: &CacheArgs) -> Result<u8> {
    print(&cache(&args.command)?);
    Ok(DONE)
}

fn tasks(args: &TasksArgs) -> Result<u8> {
    let mut registry = Registry::built_in()?;
    for file in &args.task_file {
        registry.add_file(file)?;
    }
    match &args.command {
        Some(TasksCommand::Show { name }) => {
            for task in flava_tasks::select(&registry, name, flava_tasks::Suite::Paper)? {
                print(&show(task));
            }
            return Ok(DONE);
        }
        Some(TasksCommand::New { kind }) => {
            print(kind.text().trim_end());
            return Ok(DONE);
        }
        None => {}
    }
    let tasks = registry.tasks().iter().filter(|task| is_listed(task, args));
    let tasks: Vec<&Task> = tasks.collect();
    if args.json {
        print(&serde_json::to_string_pretty(&tasks)?);
        return Ok(DONE);
    }
    print(&flava_results::rows_table(
        &[
            "task", "aliases", "suite", "family", "method", "train", "test", "question",
        ],
        tasks.into_iter().map(listed),
        5..7,
    ));
    Ok(DONE)
}

/// A task's line in the list, with the rows that the protocol asks for, else those of its first
/// source.
fn listed(task: &Task) -> Vec<String> {
    let demand = task.assign(Protocol::Flava).and_then(|task| task.demand);
    let (fit, test) = match (&demand, task.sources.first()) {
        (Some(demand), _) => (demand.fit, demand.test),
        (None, Some(source)) => (source.fit_rows(), source.test.rows),
        (None, None) => (0, 0),
    };
    let count = |rows: usize| match rows {
        0 => "-".to_owned(),
        _ => rows.to_string(),
    };
    vec![
        task.name.clone(),
        task.aliases.join(", "),
        task.suite.name().into(),
        task.family.name().into(),
        task.method.name().into(),
        count(fit),
        count(test),
        task.summary.clone(),
    ]
}

fn is_listed(task: &Task, args: &TasksArgs) -> bool {
    let family = args.family.as_deref();
    family.is_none_or(|family| family == task.family.name())
        && args.suite.is_none_or(|suite| task.suite == suite.into())
}

/// A task's row as a file to start one from, with the paper's numbers as comments.
fn show(task: &Task) -> String {
    let mut lines: Vec<String> = Vec::new();
    for row in &published() {
        let is_named = row.task == task.name || task.aliases.contains(&row.task);
        if is_named && ["FLAVA", "CLIP (400M)"].contains(&row.column.as_str()) {
            lines.push(published_line(row));
        }
    }
    if lines.is_empty() {
        lines.push("# published: no number in the paper".into());
    }
    lines.push(task.to_toml());
    lines.join("\n").trim_end().to_owned()
}

fn published_line(row: &Published) -> String {
    let slip = if row.printed.is_empty() {
        String::new()
    } else {
        format!(" (printed {})", row.printed)
    };
    let note = if row.note.is_empty() {
        String::new()
    } else {
        format!("; {}", row.note)
    };
    format!(
        "# published: {} {} of {}: {}{slip}{note}",
        row.table, row.metric, row.column, row.value
    )
}
