//! Lets the OpenCL binding find the simulator's platform in test programs that it is linked into.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-tests=-Wl,--export-dynamic");
}
