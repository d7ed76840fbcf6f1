//! Parts of a channel's port.

use super::{Scene, scene};
use fastcar_hw::port::{BeatBuffer, Cutter};
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    let buffer = BeatBuffer::new(8, &[16]).and_then(|block| block.module());
    let cutter = Cutter::new(12, 4, 1).and_then(|block| block.module());
    vec![
        scene(
            "port/buffer",
            "the first beat is taken in the cycle in which it comes, those behind it wait.",
            buffer,
            8,
        )
        .input("in_valid_i", &[1, 1, 1, 1])
        .with("in_data_i", "in_valid_i", &[0xa0, 0xa1, 0xa2, 0xa3])
        .shown(&["out0_valid_o"])
        .counts("out0_data_o", "out0_valid_o")
        .input("out0_ready_i", &[1, 0, 0, 1, 1, 1, 1, 1]),
        scene(
            "port/cutter",
            "eight beats from 0c on, cut at 10 (bursts of 16 beats at most): address, and beats less one.",
            cutter,
            8,
        )
        .input("in_valid_i", &[1])
        .with("in_data_i", "in_valid_i", &[8 << 12 | 0xc])
        .shown(&["in_ready_o", "out_valid_o"])
        .part("out_data_o", 0..12, Some("out_valid_o"))
        .part("out_data_o", 12..16, Some("out_valid_o"))
        .always("out_ready_i", 1),
    ]
}
