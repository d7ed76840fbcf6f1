//! Walks over memory.

use super::{Scene, scene};
use fastcar_hw::rtl::Block;
use fastcar_hw::walk::Turns;

pub fn scenes() -> Vec<Scene> {
    let turns = Turns::new(8, 8).and_then(|block| block.module());
    vec![
        scene(
            "walk/turns",
            "a product, then attention, whose job waits until nothing of weights is left.",
            turns,
            9,
        )
        .input("push_valid_i", &[1, 1])
        .with("push_i", "push_valid_i", &[0, 1])
        .shown(&["turn_weights_o", "turn_heads_o"])
        .input("leaves_i", &[0, 0, 1, 1])
        .input("weights_valid_i", &[0, 0, 1])
        .with("weights_data_i", "weights_valid_i", &[0, 0, 0xa0])
        .input("heads_valid_i", &[0, 0, 0, 1])
        .with("heads_data_i", "heads_valid_i", &[0, 0, 0, 0xb0])
        .shown(&["weights_job_valid_o"])
        .counts("weights_job_data_o", "weights_job_valid_o")
        .held("weights_job_ready_i", 1)
        .input("weights_idle_i", &[1, 1, 1, 1, 0, 0, 1, 1, 1])
        .shown(&["heads_job_valid_o"])
        .counts("heads_job_data_o", "heads_job_valid_o")
        .held("heads_job_ready_i", 1),
    ]
}
