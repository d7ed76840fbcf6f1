//! The `fastcar` command.
fn main() {}
