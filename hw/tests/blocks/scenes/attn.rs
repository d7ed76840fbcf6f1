//! Parts of attention.

use super::{Scene, scene};
use fastcar_hw::attn::{Exchange, Lines, Totals, Turn};
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
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
