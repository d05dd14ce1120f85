//! Compiles the C++ shim against the libtorch that torch-sys found.

#[path = "libtorch/link.rs"]
mod link;

fn main() {
    let lib = link::libtorch_lib();
    let include = lib
        .parent()
        .expect("libtorch/lib has a parent")
        .join("include");
    println!("cargo:rerun-if-changed=csrc");
    let is_clang = lib.join("libomp.dylib").exists();
    let openmp: &[&str] = if is_clang {
        &["-Xpreprocessor", "-fopenmp"]
    } else {
        &["-fopenmp"]
    };
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .opt_level(3) // for loops that become vectors
        .flags(openmp) // libtorch's parallel_for is serial without
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .include("csrc") // what libtorch's header of Gloo asks for
        .define("USE_C10D_GLOO", None)
        .files([
            "csrc/shim.cpp",
            "csrc/attention.cpp",
            "csrc/store.cpp",
            "csrc/group.cpp",
            "csrc/half.cpp",
            "csrc/norm.cpp",
            "csrc/sequences.cpp",
        ])
        .compile("flava_shim");
    println!("cargo:rustc-link-search=native={}", lib.display());
    // The OpenMP runtime that libtorch brings along, so that both share one pool of threads.
    let gomp = if lib.join("libgomp.so.1").exists() {
        "dylib:+verbatim=libgomp.so.1"
    } else if is_clang {
        "omp"
    } else {
        "gomp"
    };
    for library in ["torch_cpu", "c10", gomp] {
        println!("cargo:rustc-link-lib={library}");
    }
}
