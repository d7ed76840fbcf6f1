//! Parts of the MAC array.

use super::{Scene, scene};
use fastcar_arch::config::AccelConfig;
use fastcar_hw::array::Drain;
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    let tiny = AccelConfig::preset("tiny").unwrap();
    let answer = Cluster::new(&tiny).unwrap().drain_latency() as usize;
    let drain = Drain::new(&tiny).and_then(|drain| drain.module());
    vec![
        scene(
            "array/drain",
            "row 0 of word 3 is asked for, of column 1; the cluster answers with aa and bb.",
            drain,
            9,
        )
        .input("request_valid_i", &[1])
        .with("request_column_i", "request_valid_i", &[1])
        .with("request_word_i", "request_valid_i", &[3])
        .shown(&["drain_valid_o"])
        .counts("drain_address_o", "drain_valid_o")
        .at("drain_valid_i", answer, 1)
        .wide("drain_sum_i", &[0xbb << 48 | 0xaa; 9])
        .shown(&["drain_valid_i"])
        .part("drain_sum_i", 0..48, Some("drain_valid_i"))
        .part("drain_sum_i", 48..96, Some("drain_valid_i"))
        .shown(&["row_valid_o"])
        .counts("row_o", "row_valid_o"),
    ]
}
