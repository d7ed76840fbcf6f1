//! `vector_lane`: adders, multipliers, a conversion and a function unit, and what comes before each.
//!
//! # Purpose
//!
//! What the vector unit does to a word. Adders and multipliers serve all commands: a command chooses what they take, and the choice stays
//! while any of its words are in the lane.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `load_i`, `accumulate_i`, `add_i`, `rms_i`, `layer_i`, `rope_i`, `matvec_i`, `attn_i`, `change_i`, `compare_i` | in | 1 | which command it is; `accumulate_i` is a load that adds, `change_i` is `delta`, `compare_i` is `gate_delta` |
//! | `delta_i`, `bias_i`, `gate_i`, `pair_i`, `gelu_i`, `onto_i` | in | 1 | `matvec`: a reference is added; a bias; there is a function; it is that of a pair of rows; it is GELU; the result is added to the destination |
//! | `sum_i`, `base_i`, `nan_i`, `fp4_i` | in | 48, 9, 1, 1 | `matvec`, `attn`: a sum of the MAC array, see [`FromWindow`] |
//! | `reference_i` | in | 32 | `matvec`, `delta`: at its addition |
//! | `up_i` | in | 32 | what the gate lets through: `row_o` of the lane above |
//! | `paired_i` | in | 32 | `matvec`: the product that belongs into this lane, of a pair of rows |
//! | `same_i` | in | 1 | `add`: both vectors begin in the same bank |
//! | `odd_first_i` | in | 1 | the group of the part (of two: the first) is in the odd bank |
//! | `two_i` | in | 1 | both banks' words are taken (passes that find mean, exponent and sum of squares) |
//! | `keep_i` | in | 1 | beside the result: the word stays what it was |
//! | `subtract_i` | in | 1 | the first adder subtracts, at its operands |
//! | `even_i`, `odd_i` | in | 32 | words of either bank |
//! | `record_i` | in | 32 | the record's word, beside the bank's |
//! | `mean_i`, `factor_i` | in | 32 | the vector's mean, and what it is multiplied by: its reciprocal root; `attn`: the reciprocal of the weights' sum |
//! | `gamma_i`, `beta_i` | in | 32 | at their operation; `delta`: `beta_i` is what moves the reference; `gate_delta`: `beta_i` is taken from `reference_i` |
//! | `own_i`, `partner_i`, `cos_i`, `sin_i` | in | 32 | `rope`: a word, its partner, cosine and sine |
//! | `first_o`, `second_o` | out | 32 | the bank's words: of the part (of two: the first), and the other bank's |
//! | `first_sum_o`, `second_sum_o` | out | 32 | what the adders give |
//! | `reference_o`, `row_o` | out | 32 | `matvec`: a row's result with its reference, and with its bias |
//! | `product_o` | out | 32 | what the second multiplier gives |
//! | `write_o` | out | 32 | the result, for the vector buffer |
//!
//! # Timing
//!
//! Cycles from the bank's words to `write_o`; the result itself is a cycle before, which is where `keep_i` belongs:
//!
//! | command | cycles |
//! |---|---|
//! | load | 1 |
//! | load that adds | 1 + add |
//! | add | 2 + add: the second vector's words come a cycle later where both lie in the same bank |
//! | rms | 1 + 2 mul |
//! | layer | 1 + 2 add + 2 mul |
//! | rope, from `own_i` | 1 + mul + add |
//! | matvec, from `sum_i` | 1 + convert, with reference and bias an add each, with a function its latency and 2 mul, and an add where the result is added |
//! | attn, from `sum_i` | 1 + convert + function + mul |
//!
//! The bank's words for `matvec` belong to the last addition, or to the result where there is none.
//!
//! `first_sum_o` and `second_sum_o` come an addition after the words; with `delta`, after the word and its reference, and after the
//! reference and what moves it.
//!
//! # Numeric contract
//!
//! [`fastcar_arch::num::fp`]: the operations of section 7 of `docs/numerics.md` in the order written there.
//!
//! # Cost
//!
//! Three adders, two multipliers, a conversion, a function unit, and their choices. The third adder is there because a result may be added
//! to its destination after two additions. Figures: `tests/baselines/rtl/vec_lane.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_vec.rs`, within the unit; `cells_and_depth_are_held`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{rtl::Block, vec::Lane};
//!
//! assert_eq!(Lane.module()?.name(), "vec_lane");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::{FIELD, WORD};
use crate::fp::{Adder, FromWindow, Multiplier};
use crate::func::{FuncUnit, Function, later};
use crate::rtl::{Block, Builder, Instance, Module, RtlError, Wire};
use fastcar_arch::num::window::ACC_BITS;
use std::sync::Arc;

/// A lane. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane;

impl Lane {
    /// Cycles from the bank's words to the result of a load.
    pub(super) const LOAD: u32 = 0;

    /// Cycles from the bank's words to the result of a load that adds.
    pub(super) fn accumulate() -> u32 {
        Adder.latency()
    }

    /// Cycles from the bank's words to the result of an addition.
    pub(super) fn add() -> u32 {
        1 + Adder.latency()
    }

    /// Cycles from the bank's words to the result, RMS.
    pub(super) fn rms() -> u32 {
        2 * Multiplier.latency()
    }

    /// Cycles from the bank's words to the result, layer norm.
    pub(super) fn layer() -> u32 {
        2 * (Adder.latency() + Multiplier.latency())
    }

    /// Cycles from a sum to its row as a number.
    pub(super) fn convert() -> u32 {
        FromWindow.latency()
    }

    /// Cycles from a row with its bias to the epilogue's result.
    pub(super) fn epilogue() -> Result<u32, RtlError> {
        Ok(functions()?.latency() + 2 * Multiplier.latency())
    }

    /// Cycles from a word and its partner to the rotated word.
    pub(super) fn rope() -> u32 {
        Multiplier.latency() + Adder.latency()
    }
}

/// The epilogues' functions.
fn functions() -> Result<FuncUnit, RtlError> {
    FuncUnit::new(&[Function::Sigmoid, Function::Phi])
}

/// Width of a window's base.
pub(super) const BASE: u32 = 9;
/// The bits of 1.
const ONE: u64 = 0x3F80_0000;

fn arithmetic<'m>(
    m: &'m Builder,
    name: &str,
    block: &impl Block,
    a: Wire<'m>,
    b: Wire<'m>,
) -> Result<Instance<'m>, RtlError> {
    let unit = m.instance(name, block)?;
    // The marks that travel beside the words tell which of them count.
    unit.set("valid_i", m.lit(1, 0));
    unit.set("a_i", a);
    unit.set("b_i", b);
    Ok(unit)
}

/// A subnormal number becomes a zero of its sign.
fn flushed<'m>(m: &'m Builder, word: Wire<'m>) -> Wire<'m> {
    let rest = word.trunc(WORD - 1);
    let zero = rest.slice(WORD - 1 - FIELD, FIELD).is_zero();
    word.msb().cat(zero.mux(m.lit(WORD - 1, 0), rest))
}

impl Block for Lane {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("vec_lane");
        let bit = |name: &str| m.input(&format!("{name}_i"), 1);
        let (load, accumulate, add, rms) = (bit("load"), bit("accumulate"), bit("add"), bit("rms"));
        let (layer, rope, matvec, attn) = (bit("layer"), bit("rope"), bit("matvec"), bit("attn"));
        let (delta, bias, gate) = (bit("delta"), bit("bias"), bit("gate"));
        let (pair, gelu, onto) = (bit("pair"), bit("gelu"), bit("onto"));
        let (same, odd_first, two) = (bit("same"), bit("odd_first"), bit("two"));
        let (keep, subtract) = (bit("keep"), bit("subtract"));
        let (change, compare) = (bit("change"), bit("compare"));
        let word = |name: &str| m.input(&format!("{name}_i"), WORD);
        let (even, odd, record) = (word("even"), word("odd"), word("record"));
        let (mean, factor) = (word("mean"), word("factor"));
        let (reference, beta) = (word("reference"), word("beta"));
        let first = odd_first.mux(odd, even).named("first");
        let second = odd_first.mux(even, odd).named("second");
        let converted = converted(&m)?;

        // The multipliers' results are the first adder's operands, and its result is theirs.
        let (product, sum, row) = (m.later("product", WORD), m.later("sum", WORD), m.later("row", WORD));
        let (value, function) = function(&m, row.wire(), gelu)?;
        let left = m.select(first, &[(layer, sum.wire()), (rope, word("own")), (matvec | attn, value)]);
        let by = m.select(factor, &[(rope, word("cos")), (matvec, function)]);
        let scaled = arithmetic(&m, "u_scale", &Multiplier, left, by)?.get("product_o");
        let left = rope.mux(word("partner"), scaled);
        let up = later(&m, "up", word("up"), functions()?.latency() + Multiplier.latency())?;
        let through = gelu.mux(m.lit(WORD, ONE), up);
        let by = m.select(word("gamma"), &[(rope, word("sin")), (matvec, through)]);
        product.set(arithmetic(&m, "u_product", &Multiplier, left, by)?.get("product_o"));

        let source = same.mux(second, m.register("second_1", second));
        let held = m.register("first_1", first);
        let left = m.one_hot(&[
            (layer | accumulate | change, first),
            (rope, scaled),
            (add, held),
            (matvec | compare, reference),
        ]);
        let right = m.one_hot(&[
            (layer, mean),
            (rope, product.wire()),
            (add, source),
            (accumulate | change, record),
            (matvec, converted),
            (compare, beta),
        ]);
        let adder = arithmetic(&m, "u_sum", &Adder, left, right)?;
        adder.set("subtract_i", subtract);
        sum.set(adder.get("sum_o"));
        let with_reference = delta.mux(sum.wire(), converted).named("with_reference");
        let left = m.select(product.wire(), &[(two, second), (matvec, with_reference), (change, reference)]);
        let adder = arithmetic(&m, "u_shift", &Adder, left, two.mux(mean, beta))?;
        adder.set("subtract_i", two);
        let shifted = adder.get("sum_o");
        row.set(bias.mux(shifted, with_reference));

        let passed = gate.mux(product.wire(), row.wire());
        let passed = pair.mux(word("paired"), passed).named("passed");
        let adder = arithmetic(&m, "u_onto", &Adder, first, passed)?;
        adder.set("subtract_i", m.lit(1, 0));
        let result = m.select(
            sum.wire(),
            &[
                (load, flushed(&m, record)),
                (rms, product.wire()),
                (layer, shifted),
                (attn, scaled),
                (matvec, onto.mux(adder.get("sum_o"), passed)),
            ],
        );
        let old = later(&m, "was", add.mux(held, first), Adder.latency())?;
        let was = (load | (matvec & !onto)).mux(first, old);
        m.output("first_o", first);
        m.output("second_o", second);
        m.output("first_sum_o", sum.wire());
        m.output("second_sum_o", shifted);
        m.output("reference_o", with_reference);
        m.output("row_o", row.wire());
        m.output("product_o", product.wire());
        m.output("write_o", m.register("write", keep.mux(was, result)));
        m.finish()
    }
}

/// A sum of the MAC array as a number.
fn converted(m: &Builder) -> Result<Wire<'_>, RtlError> {
    let convert = m.instance("u_convert", &FromWindow)?;
    convert.set("valid_i", m.lit(1, 0));
    convert.set("acc_i", m.input("sum_i", ACC_BITS));
    convert.set("base_i", m.input("base_i", BASE));
    convert.set("nan_i", m.input("nan_i", 1));
    convert.set("fp4_i", m.input("fp4_i", 1));
    Ok(convert.get("result_o"))
}

/// A row's result beside its function.
fn function<'m>(m: &'m Builder, row: Wire<'m>, gelu: Wire<'m>) -> Result<(Wire<'m>, Wire<'m>), RtlError> {
    let functions = functions()?;
    let unit = m.instance("u_function", &functions)?;
    unit.set("valid_i", m.lit(1, 0));
    unit.set("function_i", gelu);
    unit.set("x_i", row);
    Ok((later(m, "value", row, functions.latency())?, unit.get("y_o")))
}
