//! The tests' Hub as a program, for Python's clients and for `make bench`: hub NAME=FOLDER...
//!
//! Names begin with `models/` or `datasets/`. Prints the endpoint, then a line for each request;
//! ends with its standard input.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../support/hub_server.rs"]
mod hub_server;

use std::{env, io::Read, path::Path, thread, time::Duration};

use hub_server::{HubServer, ServedRepo};

fn main() {
    let repos = env::args().skip(1).map(|arg| {
        let (name, folder) = arg.split_once('=').expect("usage: hub NAME=FOLDER...");
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        (name, ServedRepo::of(Path::new(folder)))
    });
    let server = HubServer::start(repos);
    println!("{}", server.endpoint());
    thread::spawn(|| {
        let mut rest = Vec::new();
        drop(std::io::stdin().read_to_end(&mut rest));
        std::process::exit(0);
    });
    loop {
        thread::sleep(Duration::from_millis(20));
        for seen in server.take_seen() {
            println!("{} {} {}", seen.method, seen.host, seen.path);
        }
    }
}
