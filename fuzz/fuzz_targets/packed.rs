//! The packed-model reader never panics, whatever the file.
#![no_main]

use fastcar_host::packed::PackedModel;
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(data).expect("write");
    let _ = PackedModel::open(file.path());
});
