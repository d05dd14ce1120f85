//! Where the keys of a file stand.

use flava_base::did_you_mean;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Where things stand in a file.
pub(super) struct FileLines<'a> {
    pub(super) text: &'a str,
}

impl<'a> FileLines<'a> {
    pub(super) fn of(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    /// The tables of a list of tables, each with the line it begins in.
    pub(super) fn items<'d>(
        &self,
        list: &'d Spanned<DeValue<'a>>,
    ) -> Vec<(usize, Option<&'d DeTable<'a>>)> {
        let DeValue::Array(all) = list.get_ref() else {
            return Vec::new();
        };
        let item = |value: &'d Spanned<DeValue<'a>>| {
            let table = match value.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => None,
            };
            (self.of(value.span().start), table)
        };
        all.iter().map(item).collect()
    }

    /// The tables of a list, or the one that stands for it.
    pub(super) fn tables<'d>(&self, value: &'d Spanned<DeValue<'a>>) -> Vec<&'d DeTable<'a>> {
        match value.get_ref() {
            DeValue::Table(table) => vec![table],
            _ => self
                .items(value)
                .into_iter()
                .filter_map(|(_, table)| table)
                .collect(),
        }
    }

    /// The keys of a table that are none of the known ones.
    pub(super) fn unknown(&self, table: &DeTable, known: &[&str]) -> Vec<String> {
        let strange = |(key, _): (&Spanned<std::borrow::Cow<str>>, _)| {
            let name = key.get_ref();
            (!known.contains(&name.as_ref())).then(|| {
                let near = did_you_mean(name, known, 1).replace("\nhint: ", "; ");
                format!(
                    "line {}: there is no key {name:?}{near}",
                    self.of(key.span().start)
                )
            })
        };
        table.iter().filter_map(strange).collect()
    }
}
