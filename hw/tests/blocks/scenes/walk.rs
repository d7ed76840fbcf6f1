//! Walks over memory.

use super::{Scene, packed, scene};
use fastcar_arch::config::AccelConfig;
use fastcar_hw::rtl::Block;
use fastcar_hw::walk::{Turns, WeightSizes, WeightWalker};

pub fn scenes() -> Vec<Scene> {
    let tiny = AccelConfig::preset("tiny").unwrap();
    let (walker, sizes) = (WeightWalker::new(&tiny).unwrap(), WeightSizes::new(&tiny));
    let first_run = walker.latency() as usize;
    let product = |address, blocks, rounds: u128| {
        let matrix = [(sizes.common.address, address), (16, blocks), (sizes.granules, 0), (1, 0)];
        packed(&[&matrix[..], &[(sizes.rounds, rounds - 1)]].concat())
    };
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
        scene(
            "walk/weights",
            "a product of two rounds over 3 blocks at beat 100, and one of one round over 1 block at beat 200, which is taken with the last round before it.",
            walker.module(),
            first_run + 6,
        )
        .input("job_valid_i", &[1, 1, 1])
        .wide("job_data_i", &[product(0x100, 3, 2), product(0x200, 1, 1), product(0x200, 1, 1)])
        .part("job_data_i", 0..sizes.common.address, Some("job_valid_i"))
        .shown(&["job_ready_o"])
        .always("go_i", 1)
        .shown(&["run_valid_o"])
        .counts("run_address_o", "run_valid_o")
        .counts("run_length_o", "run_valid_o"),
    ]
}
