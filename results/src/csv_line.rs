//! A line of CSV.

/// Fields as a line, its end included.
pub fn csv_line(fields: impl IntoIterator<Item = String>) -> String {
    let mut line = Vec::new();
    csv::Writer::from_writer(&mut line)
        .write_record(fields.into_iter().map(String::into_bytes))
        .expect("writing to memory");
    String::from_utf8_lossy(&line).into_owned()
}
