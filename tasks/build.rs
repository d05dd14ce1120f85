//! Recipes are embedded by folder: a new file makes this crate again.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=recipes");
}
