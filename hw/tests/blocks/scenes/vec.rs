//! Parts of the vector unit.

use super::{Scene, float, scene};
use fastcar_arch::config::AccelConfig;
use fastcar_hw::rtl::Block;
use fastcar_hw::vec::{Lane, LineExponents, Op, Records, Rotation, Scalar, Sequence, Shape, VectorBuffer};

/// The groups of a line, with four lanes.
const GROUPS: [u64; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

pub fn scenes() -> Vec<Scene> {
    let shape = Shape::new(4, 4, 64, 64, 1024).unwrap();
    let tiny = AccelConfig::preset("tiny").unwrap();
    let records = Records::of(&tiny, 1).and_then(|records| records.module());
    vec![
        scene("vec/buffer", "a line of eight groups is written; group 0 is read in the cycle of its write and after, group 1 beside it.", VectorBuffer::new(shape).module(), 9)
            .input("write_valid_i", &[1; 8])
            .with("write_group_i", "write_valid_i", &GROUPS)
            .given("write_words_i", &GROUPS.map(|group| 0xa0 + group))
            .part("write_words_i", 0..32, Some("write_valid_i"))
            .input("even_row_i", &[0, 0, 0, 1, 1, 2, 2, 3, 3])
            .part("even_o", 0..32, None)
            .input("odd_row_i", &[0, 0, 0, 0, 1, 1, 2, 2, 3])
            .part("odd_o", 0..32, None),
        exponents(shape),
        scene("vec/records", "a row of 16 bytes in groups of four; the second one waits for a cycle.", records, 6)
            .input("row_valid_i", &[1; 5])
            .wide("row_data_i", &[0xa3a3_a3a3_a2a2_a2a2_a1a1_a1a1_a0a0_a0a0; 5])
            .shown(&["row_ready_o", "group_valid_o"])
            .counts("group_data_o", "group_valid_o")
            .input("group_ready_i", &[1, 0, 1, 1, 1]),
        scene("vec/scalar", "the sum 8 of four words: mean 2, reciprocal root of 2.", Scalar.module(), 28)
            .input("valid_i", &[1])
            .with("sum_i", "valid_i", &[8])
            .held("inv_words_i", float(0.25))
            .shown(&["number_valid_o"])
            .counts("number_o", "number_valid_o")
            .shown(&["mean_valid_o"])
            .counts("mean_o", "mean_valid_o")
            .shown(&["root_valid_o"])
            .counts("root_o", "root_valid_o")
            .without(11..24),

        scene("vec/rotation", "a head of 16 words, half of which is two chunks; groups 0 and 3 are read.", Rotation::new(shape).module(), 8)
            .input("head_write_i", &[1; 4])
            .with("head_row_i", "head_write_i", &[0, 1, 2, 3])
            .given("head_words_i", &[0xa0, 0xa1, 0xa2, 0xa3])
            .part("head_words_i", 0..32, Some("head_write_i"))
            .held("half_i", 2)
            .input("group_i", &[0, 0, 0, 0, 0, 3])
            .part("own_o", 0..32, None)
            .part("partner_o", 0..32, None)
            .shown(&["first_o"]),
        scene("vec/lane", "a load that adds: a record's 1 to the 2 of the vector buffer.", Lane.module(), 9)
            .held("accumulate_i", 1)
            .input("record_i", &[0, float(1.0)])
            .input("even_i", &[0, float(2.0)])
            .shown(&["write_o"])
            .without(3..6),
        scene("vec/sequence", "two vectors of a line are added: eight groups of four words.", Sequence::new(shape).module(), 12)
            .held("op_i", Op::Add as u64)
            .held("lines_i", 1)
            .input("start_i", &[0, 1])
            .shown(&["main_o"])
            .counts("index_o", "main_o")
            .counts("first_o", "main_o")
            .counts("last_o", "main_o")
            .shown(&["issued_o"]),
    ]
}

/// The exponent of a line that has just been written.
fn exponents(shape: Shape) -> Scene {
    let scan = 7 + shape.exponents_late() as usize;
    let words = GROUPS.map(|group| float(if group == 7 { 8.0 } else { 1.0 }));
    scene(
        "vec/exponents",
        "a line of 1 and, in its last group, 8 is looked at as early as it may be.",
        LineExponents::new(shape).module(),
        scan + 8,
    )
    .input("write_valid_i", &[1; 8])
    .with("write_group_i", "write_valid_i", &GROUPS)
    .given("write_words_i", &words)
    .part("write_words_i", 0..32, Some("write_valid_i"))
    .at("scan_i", scan, 1)
    .held("scan_lines_i", 1)
    .shown(&["scan_i", "largest_o"])
    .without(2..6)
}
