//! Parts of the MAC array.

use super::{Scene, packed, scene};
use fastcar_arch::config::AccelConfig;
use fastcar_hw::array::{Drain, Finder, Mapping, Operands, Sequencer};
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    let tiny = AccelConfig::preset("tiny").unwrap();
    let answer = Cluster::new(&tiny).unwrap().drain_latency() as usize;
    let drain = Drain::new(&tiny).and_then(|drain| drain.module());
    let granules = Mapping::new(&tiny).granule_bits();
    let sequencer = Sequencer::new(&tiny, 8).and_then(|block| block.module());
    // Its number, of all slots, with no gate before it and nobody to fill its operand; sixteen rows in a chunk.
    let command = |number, note| {
        let fields = [(8, number), (2, 0), (1, 0), (8, 0), (1, 0), (8, 0), (1, 0), (granules, 1), (8, note)];
        packed(&fields)
    };
    let finder = Finder::new(&tiny).module();
    let operands = Operands::new(&tiny).unwrap();
    let header = operands.header();
    // One pass, in which column 0 takes part.
    let header = packed(&[(header.last_pass, 0), (header.last_block, 1), (header.columns[0], 1)]);
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
        scene(
            "array/mapping",
            "slots 0, 1 and 3 on two columns, one after the other.",
            Mapping::new(&tiny).module(),
            5,
        )
        .always("compact_i", 1)
        .always("slots_i", 0b1011)
        .always("granules_i", 1)
        .shown(&["round_o", "counts_o", "places_o"]),
        scene(
            "array/operands",
            "two blocks with an operand for column 0 each, used one after the other.",
            operands.module(),
            9,
        )
        .input("in_valid_i", &[1, 1, 1, 1])
        .given("in_header_i", &[1, 0, 1])
        .wide("in_data_i", &[header, 0xa0, header, 0xb0])
        .shown(&["in_header_i"])
        .counts("in_data_i", "in_valid_i")
        .shown(&["front_valid_o"])
        .counts("front_o", "front_valid_o")
        .shown(&["front_whole_o"])
        .input("take_i", &[0, 0, 0, 0, 1, 0, 1])
        .input("last_i", &[0, 0, 0, 0, 1, 0, 1])
        .part("act_o", 0..264, None),
        scene(
            "array/finder",
            "32 blocks for slots 0 and 1, of columns 0 and 1: block 2 is active in both, block 17 in slot 1.",
            finder,
            16,
        )
        .input("product_i", &[0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
        .held("last_block_i", 31)
        .held("slots_i", 3)
        .held("columns_i", 0x21)
        .shown(&["look_o"])
        .given("look_i", &[0, 0x300, 0x20])
        .given("block_masks_i", &[&[0x300; 4][..], &[0x20; 12]].concat())
        .shown(&["ready_o"])
        .counts("none_o", "ready_o")
        .shown(&["block_valid_o"])
        .counts("block_o", "block_valid_o")
        .counts("block_slots_o", "block_valid_o")
        .counts("block_counts_o", "block_valid_o")
        .counts("block_last_o", "block_valid_o")
        .input("block_ready_i", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1])
        .input("done_i", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        scene(
            "array/sequencer",
            "two commands for slots 0 and 1: each has one product, and leaves when the array is through with it.",
            sequencer,
            16,
        )
        .input("push_valid_i", &[1, 1])
        .wide("push_i", &[command(1, 0xa0), command(2, 0xb0)])
        .part("push_i", 0..8, Some("push_valid_i"))
        .held("known_i", 1)
        .held("slots_i", 3)
        .shown(&["product_valid_o"])
        .counts("product_slots_o", "product_valid_o")
        .counts("product_word_o", "product_valid_o")
        .counts("product_note_o", "product_valid_o")
        .input("through_i", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1])
        .shown(&["pop_o", "finished_o", "front_valid_o"])
        .counts("front_o", "front_valid_o")
        .shown(&["idle_o"]),
    ]
}
