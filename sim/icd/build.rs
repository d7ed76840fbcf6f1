//! The library has worker threads, so it may never be unloaded; tests find its functions in their own symbols.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rustc-link-arg-tests=-Wl,--export-dynamic");
}
