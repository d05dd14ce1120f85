//! Build script of every package that links libtorch: the programs and tests it builds find
//! libtorch where torch-sys found it (`LIBTORCH`, or what `make setup` fetched), with no
//! environment variable.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Where a program looks for what `make setup` fetched, from its own folder: beside the program, and
/// from `target/PROFILE` and the folders in it, so that a clone can be moved.
const BESIDE: [&str; 3] = [
    "libtorch/lib",
    "../../third_party/libtorch/torch/lib",
    "../../../third_party/libtorch/torch/lib",
];

/// The folder of libtorch's libraries, passed on by torch-sys; also set as this package's rpath.
///
/// CUDA's libraries are not linked: the runtime opens them when a GPU is there.
pub fn libtorch_lib() -> PathBuf {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let lib = env::var("DEP_TCH_LIBTORCH_LIB")
        .expect("torch-sys, a direct dependency, names libtorch's folder");
    if Path::new(&lib).ends_with("third_party/libtorch/torch/lib") {
        for folder in BESIDE {
            println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{folder}");
        }
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    PathBuf::from(lib)
}

#[allow(dead_code, reason = "the model's own build script calls libtorch_lib")]
fn main() {
    libtorch_lib();
    // Recipes are embedded by folder: a new file makes their crate again.
    if Path::new("recipes").is_dir() {
        println!("cargo:rerun-if-changed=recipes");
    }
}
