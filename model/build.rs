//! Compiles the C++ shim against the libtorch that torch-sys found.

#[path = "libtorch/link.rs"]
mod link;

fn main() {
    let lib = link::libtorch_lib();
    let include = lib.parent().expect("libtorch/lib has a parent").join("include");
    println!("cargo:rerun-if-changed=csrc/shim.cpp");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .opt_level(1)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("csrc/shim.cpp")
        .compile("flava_shim");
    println!("cargo:rustc-link-search=native={}", lib.display());
    for library in ["torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib={library}");
    }
}
