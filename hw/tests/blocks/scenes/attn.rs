//! Parts of attention.

use super::{Scene, float, packed, scene};
use fastcar_arch::config::AccelConfig;
use fastcar_hw::attn::{
    Agreement, Exchange, Lines, QueryBuffer, ScaleBytes, Score, Shape, SpanWalk, Totals, Turn, ValueDrain,
    ValueScales,
};
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    [exchanges(), values(), bytes()].into_iter().flatten().collect()
}

fn exchanges() -> Vec<Scene> {
    let exchange = Exchange::new(2, 1).and_then(|block| block.module());
    let totals = Totals::new(2, 1).and_then(|block| block.module());
    let lines = Lines::new(2, 4).and_then(|block| block.module());
    let words: Vec<u128> = (0..32).map(|word| (0xb00 + word) << 48 | (0xa00 + word)).collect();
    vec![
        scene("attn/exchange", "`attn_exchange`: two channels that share a head have 5 and 9.", exchange, 4)
            .held("head_i", 0)
            .input("in_valid_i", &[0, 0, 1])
            .given("in_i", &[0, 0, 9 << 17 | 5])
            .part("in_i", 0..17, Some("in_valid_i"))
            .part("in_i", 17..34, Some("in_valid_i"))
            .shown(&["out_valid_o"])
            .part("out_o", 0..17, Some("out_valid_o"))
            .part("out_o", 17..34, Some("out_valid_o")),
        scene("attn/exchange", "`attn_totals`: their sums of weights are 3 and 4.", totals, 4)
            .held("head_i", 0)
            .input("in_valid_i", &[0, 0, 1])
            .wide("in_i", &[0, 0, 4 << 40 | 3])
            .part("in_i", 0..40, Some("in_valid_i"))
            .part("in_i", 40..80, Some("in_valid_i"))
            .shown(&["out_valid_o"])
            .part("out_o", 0..40, Some("out_valid_o"))
            .part("out_o", 40..80, Some("out_valid_o")),
        scene("attn/lines", "a round of two channels; then group 0 of the second channel's line, four words, is asked for.", lines, 39)
            .input("word_valid_i", &[1; 32])
            .wide("words_i", &words)
            .part("words_i", 0..48, Some("word_valid_i"))
            .part("words_i", 48..96, Some("word_valid_i"))
            .shown(&["whole_o"])
            .at("ask_channel_i", 34, 1)
            .shown(&["ask_channel_i"])
            .part("group_o", 0..48, None)
            .part("group_o", 48..96, None)
            .without(2..31),
        scene("attn/turn", "a product is armed, then a phase, then a product: each has its turn when the one before is over.", Turn.module(), 8)
            .input("product_i", &[1, 0, 1])
            .input("phase_i", &[0, 1])
            .input("product_over_i", &[0, 0, 0, 1])
            .input("phase_over_i", &[0, 0, 0, 0, 0, 1])
            .shown(&["product_turn_o", "phase_turn_o"]),
    ]
}

fn values() -> Vec<Scene> {
    let tiny = AccelConfig::preset("tiny").unwrap();
    let answer = Cluster::new(&tiny).unwrap().drain_latency() as usize;
    let drain = ValueDrain::new(&tiny).and_then(|drain| drain.module());
    let scales = Shape::of(&tiny).and_then(ValueScales::new).and_then(|scales| scales.module());
    vec![
        scene(
            "attn/score",
            "windows that stand for 1 and 3, with a factor of 1.",
            Score.module(),
            4 + Score::LATENCY as usize,
        )
        .input("valid_i", &[1, 1])
        .with("acc_i", "valid_i", &[1 << 28, 3 << 28])
        .with("base_i", "valid_i", &[254, 254])
        .held("factor_i", float(1.0))
        .shown(&["valid_o"])
        .counts("fixed_o", "valid_o")
        .without(3..Score::LATENCY as usize),
        scene(
            "attn/value_drain",
            "the sum of byte 1 in word 3 is asked for; the cluster answers with aa and bb in bytes 0 and 1.",
            drain,
            8,
        )
        .input("request_valid_i", &[1])
        .with("request_address_i", "request_valid_i", &[3])
        .with("request_byte_i", "request_valid_i", &[1])
        .shown(&["value_valid_o"])
        .counts("value_address_o", "value_valid_o")
        .at("value_valid_i", answer, 1)
        .wide("value_sum_i", &[0xbb << 48 | 0xaa; 8])
        .shown(&["value_valid_i"])
        .part("value_sum_i", 0..48, Some("value_valid_i"))
        .part("value_sum_i", 48..96, Some("value_valid_i"))
        .shown(&["sum_valid_o"])
        .counts("sum_o", "sum_valid_o"),
        scene(
            "attn/value_scales",
            "bytes of three parts, of which the second one's token is not attended to; part 1 is read.",
            scales,
            7,
        )
        .input("start_i", &[1])
        .input("valid_i", &[1, 1, 1])
        .with("scale_i", "valid_i", &[0x70, 0x7f, 0x7a])
        .with("attended_i", "valid_i", &[1, 0, 1])
        .shown(&["largest_o"])
        .input("read_address_i", &[0, 0, 0, 1])
        .shown(&["read_o"]),
    ]
}

fn bytes() -> Vec<Scene> {
    let tiny = AccelConfig::preset("tiny").unwrap();
    let bytes = ScaleBytes::new(&tiny).and_then(|block| block.module());
    let agreement = Agreement::new(&tiny).and_then(|block| block.module());
    let queries = QueryBuffer::new(&tiny).and_then(|block| block.module());
    let walk = SpanWalk::new(&tiny).and_then(|block| block.module());
    // No older blocks.
    let none = packed(&[(1, 0), (1, 1), (1, 1)]);
    // Keys of the own block, whose tokens 0 and 1 are attended to.
    let span = packed(&[(1, 0), (1, 0), (1, 1), (5, 0), (5, 1), (32, 3)]);
    let beats = [0x7f_60_71_75_72_70, 0, 0, 0, 0xc5_c4_c3_c2_c1_c0];
    vec![
        scene(
            "attn/scale_bytes",
            "a block of heads of two parts: four beats of its keys' bytes, four of its values'. Then a token every two cycles, whose bytes are asked for part by part.",
            bytes,
            15,
        )
        .input("open_i", &[1])
        .input("valid_i", &[0, 1, 1, 1, 1, 1, 1, 1, 1])
        .with("half_i", "valid_i", &[0, 0, 0, 0, 0, 1, 1, 1, 1])
        .with("word_i", "valid_i", &[0, 0, 1, 2, 3, 0, 1, 2, 3])
        .wide("data_i", &[&[0][..], &beats].concat())
        .part("data_i", 0..48, Some("valid_i"))
        .held("last_part_i", 1)
        .input("next_i", &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1])
        .shown(&["largest_o"])
        .input("part_i", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5])
        .shown(&["key_o", "value_o"])
        .without(2..4),
        scene(
            "attn/agreement",
            "one channel sends a scale, then a word of a pass, later its sum of weights; they are asked for.",
            agreement,
            10,
        )
        .input("words_valid_i", &[1, 1])
        .with("words_first_i", "words_valid_i", &[1])
        .with("words_i", "words_valid_i", &[0x70, 0x1234])
        .shown(&["largest_valid_o"])
        .counts("largest_first_o", "largest_valid_o")
        .counts("largest_o", "largest_valid_o")
        .input("totals_valid_i", &[0, 0, 0, 1])
        .with("totals_i", "totals_valid_i", &[0, 0, 0, 0x5a])
        .held("ask_round_i", 0)
        .held("ask_pass_i", 0)
        .shown(&["tokens_o", "scale_o", "none_o", "nan_o", "total_o"]),
        scene(
            "attn/query_buffer",
            "a block of column 0 comes for row 0 of the first head, then another in its place; four of its elements are shown.",
            queries,
            5,
        )
        .input("query_valid_i", &[0, 1, 1])
        .given("query_i", &[0, 0xa3_a2_a1_a0, 0xb3_b2_b1_b0])
        .part("query_i", 0..32, Some("query_valid_i"))
        .held("bank_i", 0)
        .held("row_i", 0)
        .part("act_o", 0..32, None),
        scene(
            "attn/span_walk",
            "keys of a head of one block. No older ones; of the own one two beats of their scale bytes, two of the values', and two of elements for each of two tokens.",
            walk,
            14,
        )
        .input("phase_valid_i", &[1])
        .held("phase_i", 0)
        .input("main_span_valid_i", &[1, 1, 1])
        .wide("main_span_data_i", &[none, none, span])
        .shown(&["main_span_ready_o", "valid_o"])
        .input("go_i", &[0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
        .counts("empty_o", "valid_o")
.counts("own_o", "valid_o")
.counts("scale_o", "valid_o")
        .counts("opens_o", "valid_o")
        .counts("half_o", "valid_o")
        .counts("scale_beat_o", "valid_o")
        .counts("beat_o", "valid_o")
        .counts("word_beat_o", "valid_o")
        .counts("ends_word_o", "valid_o")
        .counts("ends_o", "valid_o"),
    ]
}
