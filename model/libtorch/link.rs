//! Build script of every package that links libtorch: the programs and tests it builds find
//! libtorch where torch-sys found it (`LIBTORCH`, or what `make setup` fetched), with no
//! environment variable.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Where a program looks for libtorch, from its own folder: beside it, in the `lib` beside its `bin`,
/// and from `target/PROFILE` and the folders in it, so that a clone can be moved; then in the torch
/// package of the Python environment that it is installed in. A LIBTORCH of one's own, which it was
/// built with, comes first.
const NEAR: [&str; 4] = [
    "libtorch/lib",
    "../lib",
    "../../third_party/libtorch/torch/lib",
    "../../../third_party/libtorch/torch/lib",
];
/// Versions of Python whose packages are looked into.
const PYTHONS: std::ops::RangeInclusive<u32> = 10..=14;

/// The folder of libtorch's libraries, passed on by torch-sys; also set as this package's rpath.
///
/// CUDA's libraries are not linked: the runtime opens them when a GPU is there.
pub fn libtorch_lib() -> PathBuf {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let lib = env::var("DEP_TCH_LIBTORCH_LIB")
        .expect("torch-sys, a direct dependency, names libtorch's folder");
    let lib = PathBuf::from(lib);
    let in_python = PYTHONS.flat_map(|version| {
        let packages = |kind| format!("../lib/python3.{version}/{kind}-packages/torch/lib");
        ["site", "dist"].map(packages)
    });
    if !is_near(&lib) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
    let is_mac = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "macos");
    let own = if is_mac { "@loader_path" } else { "$ORIGIN" };
    for folder in NEAR.map(str::to_owned).into_iter().chain(in_python) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{own}/{folder}");
    }
    lib
}

/// Whether programs of this build find the folder from their own: what is near needs no path of
/// this machine.
fn is_near(lib: &Path) -> bool {
    let same = |near: PathBuf| {
        let (near, lib) = (near.canonicalize(), lib.canonicalize());
        near.is_ok_and(|near| lib.is_ok_and(|lib| lib == near))
    };
    // OUT_DIR is target/PROFILE/build/PACKAGE/out.
    let out = env::var_os("OUT_DIR").map(PathBuf::from);
    let programs = out.as_deref().and_then(|out| out.ancestors().nth(3));
    programs.is_some_and(|programs| NEAR.iter().any(|folder| same(programs.join(folder))))
}

#[allow(dead_code, reason = "the model's own build script calls libtorch_lib")]
fn main() {
    libtorch_lib();
    // Recipes are embedded by folder: a new file makes their crate again.
    if Path::new("recipes").is_dir() {
        println!("cargo:rerun-if-changed=recipes");
    }
}
