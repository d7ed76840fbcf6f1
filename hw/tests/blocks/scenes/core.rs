//! What lies between the units.

use super::{Scene, scene};
use fastcar_arch::config::AccelConfig;
use fastcar_hw::core::{Activations, Commits, Masks, Parts, Progress, RecordRows, Segments};
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    let tiny = AccelConfig::preset("tiny").unwrap();
    let progress = Progress::new(2, &["product"]).and_then(|block| block.module());
    let rows = RecordRows::new(1, 2).and_then(|block| block.module());
    let segments = Segments::new(8, 2, 1).and_then(|block| block.module());
    let commits = Commits::new(&tiny).and_then(|block| block.module());
    let masks = Masks::new(&tiny, &["look"], &["queue"]).and_then(|block| block.module());
    let blocks: Vec<u64> = (0..16).collect();
    let parts = Parts::new(2).and_then(|block| block.module());
    vec![
        scene(
            "core/progress",
            "a product waits for command 0 of the vector unit, which runs for slots 0 and 1.",
            progress,
            7,
        )
        .input("begins_i", &[0, 1])
        .with("slots_i", "begins_i", &[0, 3])
        .input("done_i", &[0, 0, 0, 1, 0, 1])
        .shown(&["finished_o"])
        .held("product_valid_i", 1)
        .shown(&["product_missing_o"]),
        scene(
            "core/record_rows",
            "two channels of one byte; the second one's beat comes a cycle later.",
            rows,
            11,
        )
        .input("beat0_valid_i", &[1])
        .with("beat0_data_i", "beat0_valid_i", &[0x1a0])
        .input("beat1_valid_i", &[0, 1])
        .with("beat1_data_i", "beat1_valid_i", &[0, 0x1b0])
        .held("need_i", 3)
        .shown(&["row_valid_o"])
        .counts("row_data_o", "row_valid_o")
        .always("row_ready_i", 1)
        .shown(&["free0_o", "free1_o"])
        .without(2..4),
        scene(
            "core/segments",
            "two runs; the port of channel 1 takes its first one two cycles later.",
            segments,
            9,
        )
        .shown(&["go_o"])
        .input("run_valid_i", &[0, 1, 1])
        .with("run_i", "run_valid_i", &[0, 0xa0, 0xa1])
        .shown(&["segment0_valid_o"])
        .counts("segment0_data_o", "segment0_valid_o")
        .held("segment0_ready_i", 1)
        .shown(&["segment1_valid_o"])
        .counts("segment1_data_o", "segment1_valid_o")
        .input("segment1_ready_i", &[0, 0, 0, 0, 0, 0, 0, 0, 1, 1]),
        scene(
            "core/activations",
            "block 2 of slot 1 is written and asked for in the next cycle.",
            Activations::new(&tiny).module(),
            5,
        )
        .input("write_valid_i", &[1])
        .with("write_slot_i", "write_valid_i", &[1])
        .with("write_block_i", "write_valid_i", &[2])
        .with("write_scale_i", "write_valid_i", &[0x7f])
        .with("write_elems_i", "write_valid_i", &[0xa0])
        .given("write_first_i", &[2])
        .input("array_slot_i", &[0, 1])
        .input("array_block_i", &[0, 2])
        .given("array_first_i", &[0, 2])
        .shown(&["array_scale_o", "array_elems_o", "array_largest_o"]),
        scene(
            "core/parts",
            "a command for slots 0 and 1: its second part begins in the cycle behind the one that says that the first is issued.",
            parts,
            12,
        )
        .input("command_valid_i", &[1; 8])
            .held("known_i", 1)
        .held("slots_i", 3)
        .held("streamed_i", 1)
        .held("placed_i", 1)
        .held("room_i", 1)
        .held("free_i", 1)
        .held("among_i", 3)
        .held("summed_i", 1)
        .shown(&["begin_o", "slot_o", "first_o"])
        .input("issued_i", &[0, 0, 0, 0, 1, 0, 0, 1])
        .input("done_i", &[0, 0, 0, 0, 0, 0, 1, 0, 0, 1])
        .shown(&["leaves_o", "idle_o"]),
        scene(
            "core/commits",
            "two parts write 40 beats each; the second one's result is there before its addresses. The next one's 80 have room when one of them is acknowledged.",
            commits,
            14,
        )
        .input("part_valid_i", &[1, 1])
        .input("beats_i", &[&[40; 2][..], &[80; 12]].concat())
        .held("part_writes_i", 1)
        .given("part_last_i", &[0, 1])
        .given("part_ends_i", &[0, 1])
        .input("result_i", &[0, 0, 0, 0, 1, 1])
        .input("addressed_i", &[0, 0, 1, 0, 0, 0, 1])
        .held("addressed_channels_i", 1)
        .held("addressed_beats_i", 40)
        .shown(&["commit_valid_o"])
        .counts("commit_beats0_o", "commit_valid_o")
        .counts("commit_closes_o", "commit_valid_o")
        .input("acknowledged_i", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
        .shown(&["room_o"])
        .held("oldest_valid_i", 1)
        .held("oldest_known_i", 1)
        .held("oldest_writes_i", 1)
        .shown(&["writer_done_o"]),
        scene(
            "core/masks",
            "a `delta` of 16 blocks for slot 0, of which blocks 0, 2 and 15 are active. Another unit asks for its masks.",
            masks,
            22,
        )
        .input("begins_i", &[1])
        .at("last_block_i", 0, 15)
        .at("slots_i", 0, 1)
        .input("mask_valid_i", &[&[0][..], &[1; 16]].concat())
        .with("block_i", "mask_valid_i", &[&[0][..], &blocks].concat())
        .with("mask_i", "mask_valid_i", &[&[0, 1, 0, 1][..], &[0; 12], &[1]].concat())
        .held("look_i", 0)
        .part("look_o", 0..16, None)
        .shown(&["count_valid_o"])
        .counts("count_o", "count_valid_o")
        .shown(&["ends_o"])
        .counts("ends_union_o", "ends_o")
        .input("finished_i", &[&[0; 17][..], &[1; 5]].concat())
        .held("queue_number_i", 0)
        .shown(&["queue_groups_o", "queue_all_o"])
        .without(5..15),
    ]
}
