//! How long the host takes to launch a run and to see it end, on the wall.
//!
//! `FASTCAR_SIM_MODE=instant FASTCAR_SIM_DEVICES=tiny cargo run --release -p fastcar-icd --example launch -- LIBRARY
//! tiny`, where LIBRARY is `libfastcar_icd.so`, or a loader's `libOpenCL.so.1` with `OCL_ICD_VENDORS` set, and the
//! preset is that of the first device.
#![allow(unsafe_code, reason = "calls of a C interface")]
#![allow(clippy::unwrap_used, reason = "a measurement ends by panicking")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Cl, LIMITS, Rig, copying, step};
use std::time::Instant;

const RUNS: u32 = 20_000;

fn main() {
    let usage = "usage: launch LIBRARY PRESET";
    let library = std::env::args_os().nth(1).expect(usage);
    let rig = Rig::new(Cl::open(&library), &std::env::args().nth(2).expect(usage), 0);
    rig.load(&copying(&rig.config));
    rig.write(rig.buffers[1], 0, &step(&rig.config, 1).to_bytes(LIMITS));
    let mut times: Vec<f64> = (0..RUNS).map(|_| once(&rig)).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[(share * f64::from(RUNS - 1)) as usize];
    let mean = times.iter().sum::<f64>() / f64::from(RUNS);
    let [half, first, last] = [0.5, 0.01, 0.99].map(at);
    println!("launch and finish, us: median {half:.1}, 1 % {first:.1}, 99 % {last:.1}, mean {mean:.1}");
}

fn once(rig: &Rig) -> f64 {
    let begin = Instant::now();
    // SAFETY: live handles, no wait list, no event.
    unsafe {
        let none = (std::ptr::null(), std::ptr::null_mut());
        assert_eq!((rig.cl.clEnqueueTask)(rig.queue, rig.kernel, 0, none.0, none.1), 0);
        assert_eq!((rig.cl.clFinish)(rig.queue), 0);
    }
    begin.elapsed().as_secs_f64() * 1e6
}
