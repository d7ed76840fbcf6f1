//! `mac_dsp`, `add_dsp`: what one DSP block of an UltraScale+ device does.
//!
//! # Purpose
//!
//! A DSP block multiplies, adds, and holds its sum, but a synthesis tool finds that only in some ways of writing it: not where a
//! sum goes from block to block in one mode and to a memory in another. So these two modules are written twice: as a circuit, which
//! simulation and other devices use, and as the cell itself ([`Builder::primitive`]) where [`ULTRASCALE`] is defined.
//!
//! [`MacDsp`] multiplies and adds up along a chain (*dot mode*), or into words of a memory (*axpy mode*). [`AddDsp`] adds a term to
//! a word of a memory.
//!
//! # Interface
//!
//! No `valid`: both work in every cycle. `from_i` says what is added to: [`NOTHING`], [`DOT`] (the block before, or the constant
//! [`LOW_BIAS`] in the first block), [`SAME`] (the block's own sum, that of the cycle before) or [`MEMORY`] (`sum_i`).
//!
//! | port of `mac_dsp` | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `act_i` | in | 27 | signed operand of dot mode |
//! | `factor_i` | in | 8 | signed factor |
//! | `cascade_i` | in | 48 | sum of the block before (not in the first one) |
//! | `weight_i`, `axpy_i` | in | 25, 1 | unsigned operand in place of the other one (axpy mode, with `values`) |
//! | `from_i`, `sum_i` | in | 2, 48 | with `values`; without, dot mode is the only one |
//! | `p_o`, `cascade_o` | out | 48 | the sum, for wires and for the next block |
//!
//! | port of `add_dsp` | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `term_i`, `add_i` | in | 48, 1 | signed term, and whether there is one |
//! | `carry_i` | in | 1 | added too |
//! | `from_i`, `sum_i` | in | 2, 48 | as above |
//! | `p_o` | out | 48 | the sum |
//!
//! # Timing
//!
//! `mac_dsp`: operands taken on edge `e` are in the sum sampled on edge `e +` [`MacDsp::latency`]: one or two registers, one behind the
//! multiplier, one behind the adder. With two, `weight_i` and `axpy_i` come one cycle after the others. `from_i` comes one cycle
//! before the sum is made, `sum_i` in the very cycle, without a register. `add_dsp`: operands and `from_i` one cycle before,
//! `sum_i` in the very cycle; latency 2.
//!
//! # Numeric contract
//!
//! Exact modulo 2^48.
//!
//! # Cost
//!
//! A DSP48E2, and nothing else.
//!
//! # Verification
//!
//! `tests/tests/rtl_mac.rs`: the cell, by a model of it as UG579 describes it, against the circuit; no table or register beside the
//! cell in synthesis.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::pe::dsp::MacDsp;
//!
//! let second = MacDsp { registers: 2, chained: true, values: false };
//! assert_eq!(second.latency(), 4);
//! ```

use crate::rtl::{Block, Builder, Module, RtlError, Wire};
use fastcar_arch::num::softmax::PROB_FRAC_BITS;
use std::sync::Arc;

/// The macro under which the cells themselves are used.
pub const ULTRASCALE: &str = "FASTCAR_ULTRASCALE";
/// Bits of a sum.
pub const SUM_BITS: u32 = 48;
/// Bits of the wide operand.
pub const ACT_BITS: u32 = 27;
/// Bits of a factor.
pub const FACTOR_BITS: u32 = 8;
/// Bits of the multiplier's narrow side.
const MULTIPLIER_BITS: u32 = 18;
/// Bits of a softmax weight: 2^24 stands for 1, which is one of them.
pub const WEIGHT_BITS: u32 = PROB_FRAC_BITS + 1;
/// Bits between two columns' sums in one block.
pub const APART: u32 = 18;
/// What the first block of a chain begins with in dot mode: half the range of the low sum, so that it takes nothing from the high.
pub const LOW_BIAS: u64 = 1 << (APART - 1);

/// The sum begins.
pub const NOTHING: u64 = 0;
/// It goes on from the block before.
pub const DOT: u64 = 1;
/// It goes on from the cycle before.
pub const SAME: u64 = 2;
/// It goes on from a memory's word.
pub const MEMORY: u64 = 3;

/// A product, and its way into a sum. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacDsp {
    /// Registers before the multiplier: 1 or 2.
    pub registers: u32,
    /// Whether there is a block before it.
    pub chained: bool,
    /// Whether it has an axpy mode.
    pub values: bool,
}

impl MacDsp {
    /// Cycles from the operands to the sum.
    #[must_use]
    pub fn latency(&self) -> u32 {
        self.registers + 2
    }

    fn name(&self) -> String {
        let mark = |bit: bool, name: &'static str| if bit { name } else { "" };
        format!(
            "mac_dsp_r{}{}{}",
            self.registers,
            mark(self.chained, "_chained"),
            mark(self.values, "_values")
        )
    }

    /// The cell. Operation modes are W, Z, Y, X: 01 and 01 are the product's halves, W 10 is the constant.
    fn cell(&self) -> String {
        let bit = u32::from;
        let opmode = match (self.values, self.chained) {
            (true, true) => "{3'b000, from_i, 4'b0101}".into(),
            (true, false) => {
                "{~from_i[1] & from_i[0], 2'b00, from_i[1], from_i[1] & from_i[0], 4'b0101}".into()
            }
            (false, chained) => format!("9'b{}0_00{}_0101", bit(!chained), bit(chained)),
        };
        let values = if self.values {
            format!(
                ".D({{{}'b0, weight_i}}), .INMODE({{2'b00, axpy_i, axpy_i, 1'b0}}), .C(sum_i)",
                ACT_BITS - WEIGHT_BITS
            )
        } else {
            ".D(27'b0), .INMODE(5'b0), .C(48'b0)".into()
        };
        let (registers, two, by_mode) = (self.registers, bit(self.registers == 2), bit(self.values));
        let operand = if self.values { "AD" } else { "A" };
        let parameters = format!(
            ".AMULTSEL(\"{operand}\"), .ADREG(0), .ALUMODEREG(0), .AREG({registers}), .ACASCREG({registers}), \
             .BREG({registers}), .BCASCREG({registers}), .CARRYINREG(0), .CARRYINSELREG(0), .CREG(0), \
             .DREG({by_mode}), .INMODEREG({by_mode}), .MREG(1), .OPMODEREG({by_mode}), .PREG(1), .RND(48'd{LOW_BIAS})"
        );
        let pins = format!(
            ".A({{{{3{{act_i[26]}}}}, act_i}}), .B({{{{10{{factor_i[7]}}}}, factor_i}}), {values}, .OPMODE({opmode}), \
             .PCIN({}), .P(p_o), .PCOUT(cascade_o), .CEA1(1'b{two}), .CEB1(1'b{two}), .CEM(1'b1), .CED(1'b{by_mode}), \
             .CEINMODE(1'b{by_mode})",
            if self.chained { "cascade_i" } else { "48'b0" }
        );
        cell(&parameters, &pins, by_mode)
    }
}

/// A cell with what is the same in both uses. Parameters without a value have the cell's own: direct inputs, one sum of 48 bits.
fn cell(parameters: &str, pins: &str, opmode_register: u32) -> String {
    let rest = [
        "ACIN(30'b0)",
        "BCIN(18'b0)",
        "ALUMODE(4'b0)",
        "CARRYINSEL(3'b0)",
        "CARRYCASCIN(1'b0)",
        "MULTSIGNIN(1'b0)",
        "CEA2(1'b1)",
        "CEB2(1'b1)",
        "CEP(1'b1)",
        "CEAD(1'b0)",
        "CEALUMODE(1'b0)",
        "CEC(1'b0)",
        "RSTA(1'b0)",
        "RSTB(1'b0)",
        "RSTC(1'b0)",
        "RSTD(1'b0)",
        "RSTM(1'b0)",
        "RSTP(1'b0)",
        "RSTALLCARRYIN(1'b0)",
        "RSTALUMODE(1'b0)",
        "RSTCTRL(1'b0)",
        "RSTINMODE(1'b0)",
    ];
    let rest: String = rest.iter().map(|pin| format!(", .{pin}")).collect();
    // A multiplier has no carry of its own.
    let carry = if pins.contains(".CARRYIN(") { "" } else { ", .CARRYIN(1'b0), .CECARRYIN(1'b0)" };
    let clock = format!(".CLK(clk_i), .CECTRL(1'b{opmode_register})");
    format!("    DSP48E2 #({parameters}) u_dsp (\n        {clock}, {pins}{carry}{rest}\n    );\n")
}

impl Block for MacDsp {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let stages = |name: &str, value: Wire<'_>| {
            (0..self.registers).fold(m.own(value), |value, n| m.register(&format!("{name}_{n}"), value))
        };
        let act = stages("act", m.input("act_i", ACT_BITS));
        let factor = stages("factor", m.input("factor_i", FACTOR_BITS));
        let before = if self.chained { m.input("cascade_i", SUM_BITS) } else { m.lit(SUM_BITS, LOW_BIAS) };
        let p = m.reg("p", SUM_BITS);
        let (operand, onto) = if self.values {
            let weight = m.register("weight", m.input("weight_i", WEIGHT_BITS)).zext(ACT_BITS);
            let operand = m.register("axpy", m.input("axpy_i", 1)).mux(weight, act);
            let from = m.register("from", m.input("from_i", 2));
            (operand, from.choose(&[m.lit(SUM_BITS, 0), before, p.q(), m.input("sum_i", SUM_BITS)]))
        } else {
            (act, before)
        };
        let product = m.register("product", operand.mul_signed(factor.sext(MULTIPLIER_BITS)));
        p.set(product.sext(SUM_BITS) + onto);
        m.output("p_o", p.q());
        m.output("cascade_o", p.q());
        m.primitive(ULTRASCALE, self.cell());
        m.finish()
    }
}

/// A term's way into a word of a memory. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddDsp;

impl AddDsp {
    /// Cycles from the term to the sum.
    #[must_use]
    pub fn latency(&self) -> u32 {
        2
    }

    /// The cell, without its multiplier: X is the two operands side by side.
    fn cell() -> String {
        let parameters = ".USE_MULT(\"NONE\"), .ADREG(0), .ALUMODEREG(0), .AREG(1), .ACASCREG(1), .BREG(1), \
             .BCASCREG(1), .CARRYINREG(1), .CARRYINSELREG(0), .CREG(0), .DREG(0), .INMODEREG(0), .MREG(0), \
             .OPMODEREG(1), .PREG(1)";
        let pins = ".A(term_i[47:18]), .B(term_i[17:0]), .C(sum_i), .D(27'b0), .INMODE(5'b0), .CARRYIN(carry_i), \
             .CECARRYIN(1'b1), .OPMODE({3'b000, from_i, 2'b00, add_i, add_i}), .PCIN(48'b0), .P(p_o), .CEA1(1'b0), \
             .CEB1(1'b0), .CEM(1'b0), .CED(1'b0), .CEINMODE(1'b0)";
        cell(parameters, pins, 1)
    }
}

impl Block for AddDsp {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new("add_dsp");
        let term = m.register("term", m.input("term_i", SUM_BITS));
        let [add, carry] = ["add", "carry"].map(|name| m.register(name, m.input(&format!("{name}_i"), 1)));
        let from = m.register("from", m.input("from_i", 2));
        let memory = m.input("sum_i", SUM_BITS);
        let p = m.reg("p", SUM_BITS);
        let onto = from.bit(1).repeat(SUM_BITS) & from.bit(0).mux(memory, p.q());
        p.set(onto + (term & add.repeat(SUM_BITS)) + carry.zext(SUM_BITS));
        m.output("p_o", p.q());
        m.primitive(ULTRASCALE, Self::cell());
        m.finish()
    }
}
