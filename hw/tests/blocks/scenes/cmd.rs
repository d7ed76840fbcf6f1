//! Commands on their way.

use super::{Scene, scene};
use fastcar_hw::cmd::Ranges;
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    let ranges = Ranges::new(8, 4, 4).and_then(|block| block.module());
    vec![
        scene(
            "cmd/ranges",
            "a range from 4 to 7 with number 9; 6 and 7 overlap with it, 8 and 9 do not.",
            ranges,
            6,
        )
        .input("push_i", &[1])
        .with("push_start_i", "push_i", &[4])
        .with("push_end_i", "push_i", &[8])
        .with("push_number_i", "push_i", &[9])
        .input("start_i", &[0, 6, 8])
        .input("end_i", &[0, 8, 10])
        .shown(&["found_o"])
        .counts("number_o", "found_o"),
    ]
}
