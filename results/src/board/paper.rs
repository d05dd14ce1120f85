//! The columns of the paper's Table 4 as rows of a board.

use flava_tasks::Registry;

use super::entry::{Entry, Measured, Member, Origin};
use crate::{MetricValue, Published, Record, Result, published};

/// A row for each column of the table.
pub(super) fn paper() -> Result<Vec<Entry>> {
    let registry = Registry::built_in()?;
    let mut entries: Vec<Entry> = Vec::new();
    let is_number = |cell: &Published| cell.table == "Table 4" && !cell.task.starts_with("average");
    for cell in published().into_iter().filter(is_number) {
        let model = format!("{} (paper)", cell.column);
        let known = entries.iter().position(|entry| entry.model == model);
        let position = known.unwrap_or_else(|| {
            entries.push(row(&model));
            entries.len() - 1
        });
        add(&mut entries[position], &registry, &cell);
    }
    Ok(entries)
}

fn row(model: &str) -> Entry {
    Entry {
        model: model.to_owned(),
        protocol: "flava".into(),
        precision: String::new(),
        origin: Origin::Published,
        members: vec![Member {
            fingerprint: String::new(),
            records: Vec::new(),
        }],
    }
}

fn add(entry: &mut Entry, registry: &Registry, cell: &Published) {
    let score = MetricValue {
        metric: cell.metric.clone(),
        value: cell.value / 100.0,
        higher_is_better: true,
        ..MetricValue::default()
    };
    // The table names Hateful Memes without its split.
    let task = registry
        .get(&cell.task)
        .map_or(&cell.task, |task| &task.name);
    let model = entry.model.clone();
    let records = &mut entry.members[0].records;
    let known = records.iter_mut().find(|known| known.record.task == *task);
    if let Some(known) = known {
        known.record.metrics.push(score);
        return;
    }
    records.push(Measured {
        record: Record {
            task: task.clone(),
            protocol: entry.protocol.clone(),
            model,
            metrics: vec![score],
            publishable: true,
            ..Record::default()
        },
        folder: None,
        from: cell.table.clone(),
    });
}
