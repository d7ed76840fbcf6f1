//! Arithmetic on binary32, and functions.

use super::{Scene, float, scene};
use fastcar_hw::fp::{Adder, Align, FromInteger, FromWindow, Greater, MaxExponent, Multiplier, SquareSum};
use fastcar_hw::func::{Exp2, FuncUnit, Function, MaxInt, ScoreFixed, Store, Table};
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    [numbers(), sums(), functions()].into_iter().flatten().collect()
}

fn numbers() -> Vec<Scene> {
    let most = MaxExponent::new(2).and_then(|most| most.module());
    vec![
        scene("fp/adder", "1 + 2, then 1 - 2.", Adder.module(), 9)
            .input("valid_i", &[1, 1])
            .input("subtract_i", &[0, 1])
            .with("a_i", "valid_i", &[float(1.0), float(1.0)])
            .with("b_i", "valid_i", &[float(2.0), float(2.0)])
            .shown(&["valid_o"])
            .counts("sum_o", "valid_o"),
        scene("fp/multiplier", "3 x 2, then 3 x 0.5.", Multiplier.module(), 7)
            .input("valid_i", &[1, 1])
            .with("a_i", "valid_i", &[float(3.0), float(3.0)])
            .with("b_i", "valid_i", &[float(2.0), float(0.5)])
            .shown(&["valid_o"])
            .counts("product_o", "valid_o"),
        scene("fp/compare", "`fp_greater`: is 1 > 2, is 2 > 1?", Greater.module(), 4)
            .input("valid_i", &[1, 1])
            .with("a_i", "valid_i", &[float(1.0), float(2.0)])
            .with("b_i", "valid_i", &[float(2.0), float(1.0)])
            .shown(&["valid_o"])
            .counts("greater_o", "valid_o"),
        scene("fp/compare", "`fp_max_exponent` of two words: 1 and 8, then 1 and 0.5.", most, 4)
            .input("valid_i", &[1, 1])
            .with("words_i", "valid_i", &[float(8.0) << 32 | float(1.0), float(0.5) << 32 | float(1.0)])
            .shown(&["valid_o"])
            .counts("field_o", "valid_o"),
        scene("fp/align", "1 and 0.5 under the exponent of 1.", Align.module(), 7)
            .input("valid_i", &[1, 1])
            .with("x_i", "valid_i", &[float(1.0), float(0.5)])
            .with("emax_i", "valid_i", &[127, 127])
            .shown(&["valid_o"])
            .counts("aligned_o", "valid_o"),
    ]
}

fn sums() -> Vec<Scene> {
    let integer = FromInteger::new(48).and_then(|convert| convert.module());
    let squares = SquareSum::new(2).and_then(|sum| sum.module());
    vec![
        scene("fp/integer", "3 x 2^1, then 1 x 2^-1.", integer, 9)
            .input("valid_i", &[1, 1])
            .with("value_i", "valid_i", &[3, 1])
            .with("exponent_i", "valid_i", &[1, 0x3ff])
            .shown(&["valid_o"])
            .counts("result_o", "valid_o"),
        scene(
            "fp/window",
            "sums of 1 and 3 under the same base: the second result is three times the first.",
            FromWindow.module(),
            9,
        )
        .input("valid_i", &[1, 1])
        .with("acc_i", "valid_i", &[1, 3])
        .with("base_i", "valid_i", &[254, 254])
        .shown(&["valid_o"])
        .counts("result_o", "valid_o"),
        scene(
            "fp/sums",
            "squares of 1 and 2 in one group and of 3 in the next, two lanes: 14 in units of 2^exponent.",
            squares,
            14,
        )
        .input("valid_i", &[1, 1])
        .input("first_i", &[1, 0])
        .input("last_i", &[0, 1])
        .held("squares_i", 1)
        .held("emax_i", 128)
        .given("words_i", &[float(2.0) << 32 | float(1.0), float(3.0)])
        .part("words_i", 0..32, Some("valid_i"))
        .part("words_i", 32..64, Some("valid_i"))
        .shown(&["valid_o"])
        .counts("sum_o", "valid_o")
        .counts("exponent_o", "valid_o")
        .without(4..8),
    ]
}

fn functions() -> Vec<Scene> {
    let unit = FuncUnit::new(&[Function::Sigmoid, Function::Phi]).and_then(|unit| unit.module());
    let table = Table::new(&[Function::Exp2Neg], Store::Luts).unwrap();
    let half = 1 << (table.in_width() - 1);
    vec![
        scene("func/unit", "sigmoid and normal distribution function of 0.", unit, 13)
            .input("valid_i", &[1, 1])
            .with("function_i", "valid_i", &[0, 1])
            .with("x_i", "valid_i", &[0, 0])
            .shown(&["valid_o"])
            .counts("y_o", "valid_o"),
        scene("func/table", "2^-x of 0 and of a half, in look-up tables.", table.module(), 9)
            .input("valid_i", &[1, 1])
            .with("x_i", "valid_i", &[0, half])
            .shown(&["valid_o"])
            .counts("y_o", "valid_o"),
        scene(
            "func/exp2",
            "the maximum's own weight, and that of a score one less with a scale one lower.",
            Exp2.module(),
            12,
        )
        .input("valid_i", &[1, 1])
        .with("max_i", "valid_i", &[0, 0])
        .with("score_i", "valid_i", &[0, 0xffff_0000])
        .with("extra_i", "valid_i", &[0, 1])
        .shown(&["valid_o"])
        .counts("prob_o", "valid_o")
        .counts("plain_o", "valid_o"),
        scene("func/score", "`score_fixed` of 1.5 and -1.", ScoreFixed.module(), 5)
            .input("valid_i", &[1, 1])
            .with("score_i", "valid_i", &[float(1.5), float(-1.0)])
            .shown(&["valid_o"])
            .counts("fixed_o", "valid_o"),
        scene("func/score", "`max_int` of 1.5 and -1.", MaxInt.module(), 4)
            .input("valid_i", &[1, 1])
            .with("score_i", "valid_i", &[0x1_8000, 0xffff_0000])
            .shown(&["valid_o"])
            .counts("max_o", "valid_o"),
    ]
}
