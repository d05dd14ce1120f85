//! The tests' Hub as a program, for Python's clients and for `make bench`: hub [--part BYTES]
//! NAME=FOLDER...
//!
//! Names begin with `models/` or `datasets/`. Prints the endpoint, then a line for each request,
//! its body behind a tab where it is JSON; ends with its standard input.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../support/hub_server/mod.rs"]
mod hub_server;

use std::{env, io::Read, path::Path, thread, time::Duration};

use hub_server::{HubServer, Seen, ServedRepo};

fn main() {
    let mut args: Vec<String> = env::args().skip(1).collect();
    let part = args.iter().position(|arg| arg == "--part");
    let part = part.map(|at| args.drain(at..=at + 1).next_back().expect("--part BYTES"));
    let repos = args.iter().map(|arg| {
        let (name, folder) = arg.split_once('=').expect("usage: hub NAME=FOLDER...");
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        (name, ServedRepo::of(Path::new(folder)))
    });
    let server = HubServer::start(repos);
    if let Some(part) = part {
        server.part(part.parse().expect("--part BYTES"));
    }
    println!("{}", server.endpoint());
    thread::spawn(|| {
        let mut rest = Vec::new();
        drop(std::io::stdin().read_to_end(&mut rest));
        std::process::exit(0);
    });
    loop {
        thread::sleep(Duration::from_millis(20));
        for seen in server.take_seen() {
            println!("{}{}", line(&seen), body(&seen));
        }
    }
}

fn line(seen: &Seen) -> String {
    format!("{} {} {}", seen.method, seen.host, seen.path)
}

/// The JSON of a body, or the lines of one, as a list.
fn body(seen: &Seen) -> String {
    let text = String::from_utf8_lossy(&seen.body);
    let lines = text.lines().map(serde_json::from_str);
    let lines: Result<Vec<serde_json::Value>, _> = lines.collect();
    match lines {
        Ok(lines) if !lines.is_empty() => format!("\t{}", serde_json::Value::Array(lines)),
        _ => String::new(),
    }
}
