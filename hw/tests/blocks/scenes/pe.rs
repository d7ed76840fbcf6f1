//! Multipliers and sums of the MAC array.

use super::{Scene, scene};
use fastcar_hw::pe::dsp::{AddDsp, MEMORY, MacDsp, SAME};
use fastcar_hw::pe::{Accumulators, BlockDot, DotLane, DotShape, WindowTerm};
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    [dots(), sums()].into_iter().flatten().collect()
}

fn dots() -> Vec<Scene> {
    let dot = DotLane::new(4).and_then(|lane| lane.module());
    let shape = DotShape { bytes: 32, pairs: 1, passes: 1, code_multipliers: 0, value_words: 32 };
    let blocks = BlockDot::new(shape).and_then(|dot| dot.module());
    let mac = MacDsp { registers: 1, chained: true, values: false };
    vec![
        scene("pe/dot_lane", "four lanes: 1 x 1 four times, then 1 x 1 + 2 x 2 + 3 x 3 + 4 x 4.", dot, 7)
            .input("valid_i", &[1, 1])
            .with("act_i", "valid_i", &[0x0101_0101, 0x0403_0201])
            .with("weight_i", "valid_i", &[0x0101_0101, 0x0403_0201])
            .shown(&["valid_o"])
            .counts("dot_o", "valid_o"),
        scene(
            "pe/block_dot",
            "beats of a block of MXINT8: 1 x 1 + 2 x 1, then 1 x 3 + 2 x 4 in column 0.",
            blocks,
            12,
        )
        .input("valid_i", &[1, 1])
        .given("beat_i", &[0x0101, 0x0403])
        .part("beat_i", 0..16, Some("valid_i"))
        .given("act_i", &[0x0201, 0x0201])
        .part("act_i", 0..16, Some("valid_i"))
        .shown(&["valid_o"])
        .part("sum_o", 0..21, Some("valid_o")),
        scene(
            "pe/dsp",
            "`mac_dsp` with one operand register: 3 x 5, then 3 x 6, on top of the block before.",
            mac.module(),
            6,
        )
        .input("act_i", &[3, 3])
        .input("factor_i", &[5, 6])
        .always("cascade_i", 0x100)
        .shown(&["p_o"]),
    ]
}

fn sums() -> Vec<Scene> {
    let memory = Accumulators::new(1, 1, 16, 16).and_then(|sums| sums.module());
    let term = WindowTerm::new(21).and_then(|term| term.module());
    vec![
        scene("pe/dsp", "`add_dsp`: 5 to a word of a memory, then 1 to the same.", AddDsp.module(), 5)
            .input("add_i", &[1, 1])
            .with("term_i", "add_i", &[5, 1])
            .input("from_i", &[MEMORY, SAME])
            .input("sum_i", &[0, 0x100])
            .shown(&["p_o"]),
        scene(
            "pe/accumulators",
            "5 begins the sum of a word, 3 is added to it; the word is asked for three cycles after.",
            memory,
            8,
        )
        .input("valid_i", &[1, 1])
        .held("enable_i", 1)
        .with("address_i", "valid_i", &[2, 2])
        .input("first_i", &[1])
        .with("term_i", "valid_i", &[5, 3])
        .shown(&["added_valid_o"])
        .counts("added_o", "added_valid_o")
        .input("drain_valid_i", &[0, 0, 0, 0, 1])
        .with("drain_address_i", "drain_valid_i", &[0, 0, 0, 0, 2])
        .shown(&["valid_o"])
        .counts("sum_o", "valid_o"),
        scene(
            "pe/window_term",
            "64 at the base, then 2^4 below it: the scales come a cycle before the sums.",
            term,
            6,
        )
        .input("weight_scale_i", &[127, 127])
        .input("left_i", &[127, 131])
        .input("valid_i", &[0, 1, 1])
        .with("sum_i", "valid_i", &[0, 64, 64])
        .shown(&["valid_o"])
        .counts("term_o", "valid_o")
        .counts("carry_o", "valid_o"),
    ]
}
