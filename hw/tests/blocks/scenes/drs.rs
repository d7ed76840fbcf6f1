//! Gates and their decisions.

use super::{Scene, float, packed, scene};
use fastcar_arch::isa::Pred;
use fastcar_hw::drs::{Decisions, Gates, Settle};
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    let decisions = Decisions::new(4, 1).and_then(|block| block.module());
    let settle = Settle::new(4).and_then(|block| block.module());
    let gates = Gates::new(4).and_then(|block| block.module());
    // Number, predicate, gate before, vector command; slots that may replay, and those that have to.
    let host = packed(&[(8, 0), (2, 0), (9, 0), (8, 0), (4, 0xf), (4, 5)]);
    vec![
        scene(
            "drs/decisions",
            "a command for the slots to replay waits for gate 0, which decides for slots 0 and 2.",
            decisions,
            6,
        )
        .held("active_i", 0xf)
        .input("gate_valid_i", &[1])
        .with("gate_i", "gate_valid_i", &[0])
        .input("settle_valid_i", &[0, 0, 0, 1])
        .with("replay_i", "settle_valid_i", &[0, 0, 0, 5])
        .held("pred_0_i", Pred::Replay as u64)
        .held("decision_valid_0_i", 1)
        .shown(&["known_0_o"])
        .counts("slots_0_o", "known_0_o"),
        scene(
            "drs/settle",
            "scores of 2, 0.5, 3 and 1 against a threshold of 1.5: slots above it replay.",
            settle,
            7 + Settle::LATENCY as usize,
        )
        .input("start_i", &[1])
        .held("active_i", 0xf)
        .held("allow_i", 0xf)
        .held("threshold_i", float(1.5))
        .input("score_valid_i", &[0, 1, 1, 1, 1])
        .with("score_slot_i", "score_valid_i", &[0, 0, 1, 2, 3])
        .with("score_i", "score_valid_i", &[0, float(2.0), float(0.5), float(3.0), float(1.0)])
        .input("settle_i", &[0, 0, 0, 0, 1])
        .shown(&["valid_o"])
        .counts("replay_o", "valid_o")
        .without(6..4 + Settle::LATENCY as usize),
        scene("drs/gates", "a `gate_host` that forces slots 0 and 2.", gates, 20)
            .given("push_valid_i", &[1])
            .wide("push_i", &[host])
            .shown(&["push_valid_i"])
            .counts("push_i", "push_valid_i")
            .held("known_i", 1)
            .held("slots_i", 0xf)
            .shown(&["front_valid_o", "busy_o", "settles_o"])
            .counts("number_o", "settles_o")
            .counts("replay_o", "settles_o")
            .shown(&["finished_o"])
            .without(4..11),
    ]
}
