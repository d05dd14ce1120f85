//! Tables that are not as they should be: one message with file, row and column.

use std::{fs, path::Path};

use tempfile::{TempDir, tempdir};

use crate::support::program::flava_eval;

fn lab(files: &[(&str, &[u8])]) -> TempDir {
    let lab = tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(lab.path().join(name), bytes).unwrap();
    }
    lab
}

/// A table of many rows, of which one line is another.
fn with_line(number: usize, line: &str) -> Vec<u8> {
    let row = |row: usize| match row {
        _ if row == number => line.to_owned(),
        0 => "text,label".to_owned(),
        _ => format!("film {row},{}", ["good", "bad"][row % 2]),
    };
    (0..1200)
        .map(row)
        .collect::<Vec<_>>()
        .join("\n")
        .into_bytes()
}

fn error(folder: &Path, args: &[&str]) -> String {
    let args = [&["probe", "--quiet", "--train"], args].concat();
    let run = flava_eval(folder, &args);
    assert_ne!(run.code, 0, "{}", run.stdout);
    assert_eq!(
        run.stderr
            .lines()
            .filter(|line| line.starts_with("error"))
            .count(),
        1
    );
    run.stderr
}

#[test]
fn a_broken_table_is_told_by_file_row_and_column() {
    let many: String = (0..120_000)
        .map(|row| format!("film {row},c{}\n", row / 2))
        .collect();
    let cases: Vec<(&str, Vec<u8>, Vec<&str>)> = vec![
        (
            "a.csv",
            b"a great film,1\na bad one,0\n".to_vec(),
            vec!["\"a great film\"", "first line of names", "--column"],
        ),
        (
            "b.csv",
            with_line(1017, "a film, with a comma,good"),
            vec!["b.csv", "row 1017", "3 fields for 2"],
        ),
        (
            "c.csv",
            with_line(1100, "\"a film,good"),
            vec!["row 1100", "column text", "never closed"],
        ),
        ("d.csv", with_line(5, "a\0film,good"), vec!["row 5", "NUL"]),
        (
            "e.csv",
            with_line(7, ",good"),
            vec!["row 7", "column text", "empty"],
        ),
        ("f.csv", with_line(7, "a film,"), vec!["row 7", "no label"]),
        (
            "g.csv",
            [b"text,label\n".to_vec(), many.into_bytes()].concat(),
            vec!["60000 classes"],
        ),
        (
            "h.csv",
            b"\xff\xfet\0e\0x\0t\0".to_vec(),
            vec!["UTF-16", "UTF-8"],
        ),
        (
            "i.csv",
            b"text,label\ncaf\xe9,1\nx,0\n".to_vec(),
            vec!["row 1", "column text", "no UTF-8"],
        ),
        (
            "j.csv",
            b"image,label\n../x.png,a\n".to_vec(),
            vec!["row 1", "column image", "outside"],
        ),
        (
            "k.csv",
            b"image,label\nx.png,a\ny.png,b\n".to_vec(),
            vec!["row 1", "column image", "\"x.png\"", "2 of 2"],
        ),
        (
            "l.csv",
            b"image,label\nhttps://x.y/z.png,a\n".to_vec(),
            vec!["row 1", "address"],
        ),
        (
            "m.csv",
            b"text,label,label\nx,a,b\n".to_vec(),
            vec!["two columns", "\"label\""],
        ),
        (
            "n.csv",
            b"text,class,target\nx,a,b\n".to_vec(),
            vec!["\"class\"", "\"target\"", "say which"],
        ),
        ("o.csv", Vec::new(), vec!["o.csv", "empty"]),
        (
            "p.json",
            b"{\"text\": {\"0\": \"x\"}, \"label\": {\"0\": 1}}".to_vec(),
            vec!["orient=\"records\""],
        ),
        (
            "q.jsonl",
            b"{\"text\": \"x\", \"label\": 1}\n{\"text\": \"y\"}\n".to_vec(),
            vec!["row 2", "label"],
        ),
        (
            "r.jsonl",
            b"{\"text\": \"x\", \"label\": 1}\n{\"text\": \n".to_vec(),
            vec!["row 2", "no JSON"],
        ),
        (
            "s.csv",
            b"id,text,label\n1,x,a\n1,y,b\n".to_vec(),
            vec!["row 2", "\"1\"", "row 1"],
        ),
        ("t.xlsx", b"PK\x03\x04".to_vec(), vec!["t.xlsx", "csv"]),
    ];
    for (name, bytes, needles) in cases {
        let lab = lab(&[(name, &bytes)]);
        let told = error(lab.path(), &[name]);
        for needle in needles {
            assert!(told.contains(needle), "{name}: no {needle:?} in {told}");
        }
    }
}

#[test]
fn a_label_that_was_not_learned_is_told() {
    let test = b"text,label\nfilm 1,good\nfilm 2,other\n";
    let lab = lab(&[
        ("train.csv", &with_line(0, "text,label")),
        ("test.csv", test),
    ]);
    let told = error(lab.path(), &["train.csv", "--test", "test.csv"]);
    for needle in ["test.csv", "row 2", "\"other\"", "bad, good"] {
        assert!(told.contains(needle), "{told}");
    }
    let told = error(lab.path(), &["train.csv", "--test", "gone.csv"]);
    assert!(
        told.contains("--test gone.csv: there is no such file"),
        "{told}"
    );
    let told = error(lab.path(), &["train.csv", "--column", "label=lable"]);
    assert!(
        told.contains("no column \"lable\"") && told.contains("did you mean label?"),
        "{told}"
    );
}
