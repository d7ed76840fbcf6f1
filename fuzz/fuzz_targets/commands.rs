//! What decodes encodes back to the same bytes, and program validation never panics.
#![no_main]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa;
use fastcar_arch::program::{Limits, Program};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(commands) = isa::decode(data) else { return };
    assert_eq!(isa::encode(&commands), data);
    let config = AccelConfig::preset("tiny").expect("preset");
    let limits = Limits { slots: 4, positions: 512, ring: 64, tokens: 1024, gates: 8 };
    let _ = Program::new(&config, limits, commands);
});
