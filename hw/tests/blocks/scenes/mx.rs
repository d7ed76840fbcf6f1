//! Blocks with a scale.

use super::{Scene, float, scene};
use fastcar_hw::mx::{Dequantiser, HalfUnits, Quantiser};
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    let words = Dequantiser::new(2).and_then(|block| block.module());
    let units = HalfUnits::new(4).and_then(|block| block.module());
    let blocks = Quantiser::new(16).and_then(|block| block.module());
    vec![
        scene("mx/dequantiser", "elements 64 and 1 under two scales.", words, 4)
            .input("valid_i", &[1, 1])
            .with("scale_i", "valid_i", &[127, 128])
            .with("elems_i", "valid_i", &[0x0140, 0x0140])
            .shown(&["valid_o"])
            .part("words_o", 0..32, Some("valid_o"))
            .part("words_o", 32..64, Some("valid_o")),
        scene("mx/half_units", "0.5, 1.5, 3 and 6, then their negatives.", units, 2)
            .input("codes_i", &[0x7531, 0xfdb9])
            .part("units_o", 0..5, None)
            .part("units_o", 5..10, None)
            .part("units_o", 10..15, None)
            .part("units_o", 15..20, None),
        scene("mx/quantiser", "16 lanes: 1 and 0.5 in a block's first words, 0.25 in its last.", blocks, 11)
            .input("valid_i", &[1, 1])
            .given("words_i", &[float(0.5) << 32 | float(1.0), float(0.25)])
            .part("words_i", 0..32, Some("valid_i"))
            .part("words_i", 32..64, Some("valid_i"))
            .shown(&["valid_o"])
            .counts("scale_o", "valid_o")
            .part("elems_o", 0..16, Some("valid_o"))
            .part("elems_o", 128..136, Some("valid_o")),
    ]
}
