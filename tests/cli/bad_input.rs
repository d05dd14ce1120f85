//! Files that are broken or hostile: one clear message with the place, the right exit status,
//! little memory.

use std::{
    fs::{self, File},
    io::{Cursor, Write},
    path::Path,
};

use flava_model::checkpoint::{Architecture, Checkpoint};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{
    fixtures::{digits, write_data, write_model, write_parquet, write_webdataset},
    program::{Run, flava_eval, flava_eval_limited},
};

/// Address space in kB that is enough for a run and too little for what hostile files claim.
const LIMIT: u64 = 6_000_000;
/// Address space in kB that is hardly more than a program's libraries take.
const LITTLE: u64 = 1_500_000;

/// A folder with a model and data; `spoil` breaks something before mnist and cifar10 are run.
fn run_spoilt(spoil: impl FnOnce(&Path)) -> (TempDir, Run) {
    let folder = tempdir().unwrap();
    write_model(&folder.path().join("model"), Architecture::FlavaModel);
    write_data(&folder.path().join("data"));
    spoil(folder.path());
    let run = flava_eval_limited(
        folder.path(),
        LIMIT,
        &[
            "--model",
            "model",
            "--data",
            "data",
            "--tasks",
            "mnist,cifar10",
            "--allow-mismatch",
            "--threads",
            "2",
            "--out",
            "runs",
        ],
    );
    (folder, run)
}

fn assert_refused(what: &str, code: i32, needles: &[&str], spoil: impl FnOnce(&Path)) {
    let (folder, run) = run_spoilt(spoil);
    assert_eq!(run.code, code, "{what}: {}", run.stderr);
    for needle in needles {
        assert!(
            run.stderr.contains(needle),
            "{what}: {needle:?} is not in {}",
            run.stderr
        );
    }
    let finished = folder.path().join("runs/cifar10.json").exists()
        || folder.path().join("runs/mnist.json").exists();
    assert_eq!(
        finished,
        code == 1,
        "{what}: what can be run is run and kept"
    );
}

#[test]
fn broken_checkpoints_are_refused_by_name() {
    assert_refused("no weights", 2, &["model", "model.safetensors"], |f| {
        fs::remove_file(f.join("model/model.safetensors")).unwrap();
    });
    assert_refused("no config", 2, &["config.json"], |f| {
        fs::remove_file(f.join("model/config.json")).unwrap();
    });
    assert_refused("no tokenizer", 2, &["tokenizer.json", "vocab.txt"], |f| {
        fs::remove_file(f.join("model/tokenizer.json")).unwrap();
        fs::remove_file(f.join("model/vocab.txt")).unwrap();
    });
    let cut = |f: &Path| {
        let file = File::options()
            .write(true)
            .open(f.join("model/model.safetensors"))
            .unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    assert_refused(
        "cut weights",
        2,
        &["model.safetensors", "is no safetensors file"],
        cut,
    );
    let replace = |from: &'static str, to: &'static str| {
        move |f: &Path| {
            let path = f.join("model/config.json");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(path, text.replacen(from, to, 1)).unwrap();
        }
    };
    let wide = replace("\"vocab_size\": 21", "\"vocab_size\": 50");
    assert_refused(
        "another vocabulary",
        2,
        &["word_embeddings.weight is [21, 32], the config says [50, 32]"],
        wide,
    );
    let deep = replace("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 3");
    assert_refused(
        "more blocks",
        2,
        &["lacks flava.multimodal_model.encoder.layer.1."],
        deep,
    );
    assert_refused("not JSON", 2, &["config.json"], replace("{", "<"));
}

#[test]
fn settings_that_would_end_a_library_are_refused() {
    let change = |file: &'static str, change: fn(&mut Value)| {
        move |f: &Path| {
            let path = f.join("model").join(file);
            let mut value: Value =
                serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            change(&mut value);
            fs::write(path, value.to_string()).unwrap();
        }
    };
    let huge = change("config.json", |config| {
        config["image_config"]["image_size"] = 4_800_000.into();
    });
    assert_refused(
        "huge images",
        2,
        &["config.json", "patches of an image of 4800000"],
        huge,
    );
    let undefined = change("tokenizer.json", |tokenizer| {
        let defined = &mut tokenizer["post_processor"]["special_tokens"];
        assert!(defined.as_object_mut().unwrap().remove("[SEP]").is_some());
    });
    assert_refused(
        "a template of an undefined token",
        2,
        &["tokenizer.json", "post_processor"],
        undefined,
    );
}

#[test]
fn broken_data_fails_its_task_and_names_the_place() {
    let mnist = "data/ylecun/mnist/mnist/test-00000-of-00001.parquet";
    let shard = "data/clip-benchmark/wds_vtab-cifar10/test/0.tar";
    let cut = |path: &'static str| {
        move |f: &Path| {
            let file = File::options().write(true).open(f.join(path)).unwrap();
            file.set_len(file.metadata().unwrap().len() * 2 / 3)
                .unwrap();
        }
    };
    assert_refused(
        "cut parquet",
        1,
        &["test-00000-of-00001.parquet", "parquet"],
        cut(mnist),
    );
    assert_refused("cut shard", 1, &["0.tar", "cut off"], cut(shard));
    assert_refused(
        "no column",
        1,
        &["has no column image", "its columns are picture, label"],
        |f| {
            write_parquet(&f.join(mnist), "picture", &digits(60), 50);
        },
    );
    assert_refused("empty split", 1, &["split test is empty"], |f| {
        write_parquet(&f.join(mnist), "image", &[], 50);
    });
    assert_refused(
        "foreign label",
        1,
        &["row 7: label 10 is none of the 10 classes"],
        |f| {
            let mut rows = digits(60);
            rows[7].1 = 10;
            write_parquet(&f.join(mnist), "image", &rows, 50);
        },
    );
    assert_refused("negative label", 1, &["s0000003.cls: label -1"], |f| {
        let mut rows = digits(60);
        rows[3].1 = -1;
        write_webdataset(
            &f.join("data/clip-benchmark/wds_vtab-cifar10/test"),
            &rows,
            60,
        );
    });
    assert_refused("missing shard", 1, &["0.tar"], |f| {
        fs::remove_file(f.join(shard)).unwrap();
    });
    assert_refused(
        "missing data",
        1,
        &[
            "none of ylecun/mnist, clip-benchmark/wds_mnist",
            "is in data or the cache",
        ],
        |f| {
            fs::remove_dir_all(f.join("data/ylecun")).unwrap();
        },
    );
    assert_refused(
        "no image",
        1,
        &["test-00000-of-00001.parquet:5", "is a web page (HTML)"],
        |f| {
            let mut rows = digits(60);
            rows[5].0 = b"<html>not found</html>".to_vec();
            write_parquet(&f.join(mnist), "image", &rows, 50);
        },
    );
}

#[test]
fn a_header_of_two_to_the_sixty_bytes_is_refused() {
    assert_refused(
        "huge header",
        2,
        &["model.safetensors", "is no safetensors file"],
        |f| {
            let mut bytes = (1u64 << 60).to_le_bytes().to_vec();
            bytes.extend(b"{\"a\": 1}");
            fs::write(f.join("model/model.safetensors"), bytes).unwrap();
        },
    );
}

/// A zip file with the members given, as torch.save names them.
fn torch_zip(members: &[(&str, &[u8])], compression: zip::CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive
            .start_file(
                *name,
                zip::write::SimpleFileOptions::default().compression_method(compression),
            )
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn open_pickle(pickle: &[u8]) -> String {
    let folder = tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let file = torch_zip(
        &[("archive/data.pkl", pickle), ("archive/data/0", &[0; 16])],
        zip::CompressionMethod::Stored,
    );
    fs::write(&path, file).unwrap();
    Checkpoint::open(&path).unwrap_err().to_string()
}

#[test]
fn pickles_can_do_nothing_but_describe_tensors() {
    let folder = tempdir().unwrap();
    let trace = folder.path().join("executed");
    let command = format!(
        "cposix\nsystem\n(X\x20\0\0\0touch {:<26}tR.",
        trace.display()
    );
    let message = open_pickle(command.as_bytes());
    assert!(
        message.contains("refuses to load posix.system"),
        "{message}"
    );
    assert!(!trace.exists());
    for (pickle, needle) in [
        (&b"cbuiltins\neval\n."[..], "builtins.eval"),
        (b"\x80\x02c__main__\nModel\n)\x81.", "__main__.Model"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"i__builtin__\nopen\n.", "opcode 0x69"),
        (b"}q\x00X\xff\xff\xff\xffa", "cut off"),
        (b"h\x07.", "a reference to nothing"),
        (b"", "cut off"),
        (b"0.", "takes more than it gave"),
    ] {
        let message = open_pickle(pickle);
        assert!(message.contains(needle), "{needle:?} is not in {message}");
    }
    // A dictionary that contains itself, and one that doubles eighty times.
    assert!(open_pickle(b"}q\x00X\x01\0\0\0ah\x00s.").contains("nested deeper"));
    let mut doubling = b"}q\x00".to_vec();
    for i in 0..80u8 {
        doubling.extend([
            b'}',
            b'q',
            i + 1,
            b'(',
            b'X',
            1,
            0,
            0,
            0,
            b'a',
            b'h',
            i,
            b'X',
            1,
            0,
            0,
            0,
            b'b',
            b'h',
            i,
            b'u',
        ]);
    }
    doubling.push(b'.');
    assert!(open_pickle(&doubling).contains("nested deeper"));
}

/// Files of kilobytes that would cost gigabytes, or time without end, if each mention were
/// followed.
#[test]
fn pickles_that_cost_out_of_proportion_are_refused() {
    let folder = tempdir().unwrap();
    write_model(&folder.path().join("model"), Architecture::FlavaModel);
    fs::remove_file(folder.path().join("model/model.safetensors")).unwrap();
    let text = |text: &[u8]| [b"X", &(text.len() as u32).to_le_bytes()[..], text].concat();
    // Levels of dictionaries, each of which holds the next so many times, with no tensor at their
    // end.
    let nested = |width: usize| {
        let mut pickle = b"\x80\x02}q\x00".to_vec();
        for level in 0..7u8 {
            pickle.extend([b'}', b'q', level + 1, b'(']);
            (0..width).for_each(|i| {
                pickle.extend([&text(i.to_string().as_bytes())[..], &[b'h', level]].concat());
            });
            pickle.push(b'u');
        }
        [&pickle[..], b"."].concat()
    };
    // Tensors that share the name of a storage and a size, and copies of one size.
    let tensor = |i: usize| {
        let name = text(i.to_string().as_bytes());
        [&name[..], b"h\x00(h\x01K\x00h\x02h\x02tR"].concat()
    };
    let wide = |count: usize, key: usize, dimensions: usize| {
        let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00(".to_vec();
        pickle.extend(
            [
                &text(b"storage")[..],
                b"ctorch\nFloatStorage\n",
                &text(&vec![b'0'; key]),
                &text(b"cpu"),
                b"K\x10tQq\x01(",
            ]
            .concat(),
        );
        pickle.extend(
            [
                &b"K\x01".repeat(dimensions)[..],
                b"tq\x02}(",
                &(0..count).flat_map(tensor).collect::<Vec<u8>>(),
                b"u.",
            ]
            .concat(),
        );
        pickle
    };
    let sizes = |count: usize, dimensions: usize| {
        let made = b"h\x00h\x01\x85R".repeat(count);
        [
            b"\x80\x02ctorch\nSize\nq\x00(",
            &b"K\x01".repeat(dimensions)[..],
            b"tq\x01(",
            &made,
            b"t.",
        ]
        .concat()
    };
    for (pickle, needle) in [
        (nested(10), "entries of dictionaries"),
        (nested(14), "entries of dictionaries"),
        (nested(60), "entries of dictionaries"),
        (
            wide(30_000, 1_000_000, 1),
            "a storage whose name has 1000000 bytes",
        ),
        (wide(20_000, 1, 100_000), "a tensor of 100000 dimensions"),
        (sizes(20_000, 1_000_000), "holds no tensors"),
        (
            [&b"\x80\x02"[..], &b"(".repeat(1 << 21), b"."].concat(),
            "more than",
        ),
        // One value that is remembered again and again.
        (
            [&b"\x80\x04N"[..], &b"\x94".repeat(1 << 24), b"."].concat(),
            "more than",
        ),
        // A class of a long name that is made again and again.
        (
            [
                &text(&vec![b'a'; 1 << 20])[..],
                b"q\x00",
                &b"h\x00h\x00\x93".repeat(1 << 16),
                b".",
            ]
            .concat(),
            "a class whose name has",
        ),
        (
            [&b"\x80\x02"[..], &b"]".repeat(1 << 21), b"."].concat(),
            "more than",
        ),
    ] {
        let message = open_pickle(&pickle);
        assert!(message.contains(needle), "{needle}: {message}");
        // As a model, in a program with little memory.
        let weights = torch_zip(
            &[("archive/data.pkl", &pickle), ("archive/data/0", &[0; 16])],
            zip::CompressionMethod::Stored,
        );
        fs::write(folder.path().join("model/pytorch_model.bin"), weights).unwrap();
        let run = flava_eval_limited(
            folder.path(),
            LITTLE,
            &[
                "--model",
                "model",
                "--suite",
                "mini",
                "--tasks",
                "mini-sentence",
            ],
        );
        assert!(
            run.code == 2 && run.stderr.contains(needle),
            "{needle}: {}",
            run.stderr
        );
    }
}

/// A pickle of one tensor: its storage's key, elements and offset, size and stride.
fn tensor_pickle(elements: u32, offset: u32, size: u32, stride: u32) -> Vec<u8> {
    let mut pickle =
        b"}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ".to_vec();
    pickle.extend(elements.to_le_bytes());
    pickle.extend(b"tQJ");
    pickle.extend(offset.to_le_bytes());
    for pair in [size, stride] {
        pickle.extend(b"J");
        pickle.extend(pair.to_le_bytes());
        pickle.push(0x85);
    }
    pickle.extend(b"\x89}tRs.");
    pickle
}

#[test]
fn tensors_that_reach_past_their_storage_are_refused() {
    for (elements, offset, size, stride) in [
        (1 << 30, 0, 1 << 30, 1),
        (4, 3, 2, 1),
        (4, 0, 4, 2),
        (4, 0, 1 << 30, 0),
        (4, 1 << 30, 0, 1),
    ] {
        let message = open_pickle(&tensor_pickle(elements, offset, size, stride));
        assert!(
            message.contains("tensor w") && message.contains("storage"),
            "{message}"
        );
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("good.bin");
    let pickle = tensor_pickle(4, 1, 3, 1);
    fs::write(
        &path,
        torch_zip(
            &[("archive/data.pkl", &pickle), ("archive/data/0", &[0; 16])],
            zip::CompressionMethod::Stored,
        ),
    )
    .unwrap();
    assert_eq!(
        Checkpoint::open(&path).unwrap().tensors()["w"].size(),
        [3],
        "the same pickle with a fitting shape is read"
    );
}

#[test]
fn zip_bombs_and_wrong_archives_are_refused_unread() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let refuse = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Checkpoint::open(&path).unwrap_err().to_string()
    };
    let bomb = torch_zip(
        &[("archive/data.pkl", &vec![b'.'; 1 << 24])],
        zip::CompressionMethod::Deflated,
    );
    assert!(bomb.len() < 1 << 16);
    assert!(refuse(&bomb).contains("is compressed"), "{}", refuse(&bomb));
    let plain = torch_zip(&[("readme.txt", b"hello")], zip::CompressionMethod::Stored);
    assert!(refuse(&plain).contains("0 data.pkl"));
    assert!(refuse(&plain[..plain.len() / 2]).contains("no whole zip"));
    assert!(refuse(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").contains("before version 1.6"));
}

#[test]
fn parquet_files_with_lying_lengths_are_refused() {
    let path = "data/ylecun/mnist/mnist/test-00000-of-00001.parquet";
    let whole = {
        let folder = tempdir().unwrap();
        write_data(&folder.path().join("data"));
        fs::read(folder.path().join(path)).unwrap()
    };
    // The footer's length, then bytes all over the metadata and the first page headers.
    let mut lies: Vec<Vec<u8>> = Vec::new();
    for length in [u32::MAX, 0x7fff_ffff, whole.len() as u32, 0] {
        let mut bytes = whole.clone();
        let at = bytes.len() - 8;
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        lies.push(bytes);
    }
    for (i, at) in [4, 6, 8, 10, 12, 16].into_iter().enumerate() {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x0f - i as u8]);
        lies.push(bytes);
    }
    for (i, bytes) in lies.into_iter().enumerate() {
        assert_refused(
            &format!("lie {i}"),
            1,
            &["test-00000-of-00001.parquet"],
            |f| fs::write(f.join(path), bytes).unwrap(),
        );
    }
}

#[test]
fn a_shard_index_leads_nowhere_else() {
    let folder = tempdir().unwrap();
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&index, r#"{"weight_map": {"a": "../../etc/passwd"}}"#).unwrap();
    let message = Checkpoint::open(&index).unwrap_err().to_string();
    assert!(message.contains("outside its folder"), "{message}");
}

#[test]
fn an_unwritable_folder_is_said_before_anything_is_run() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("taken"), "").unwrap();
    let run = flava_eval(folder.path(), &["--tasks", "all", "--out", "taken/runs"]);
    assert!(
        run.code == 2 && run.stderr.contains("taken/runs"),
        "{}",
        run.stderr
    );
}
