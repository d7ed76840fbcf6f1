//! The DSP block: the cell that a device has, against the circuit that stands for it everywhere else.

use fastcar_hw::pe::dsp::{AddDsp, MacDsp, ULTRASCALE};
use fastcar_hw::rtl::{Block, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Figures, accept, prove, skipped};

/// What UG579 says about a DSP48E2, as far as the cells here use it: the multiplier, the adder in front of it (D or A, not
/// both) and the adder behind it, with their registers. Everything that they do not set is not there, so that a cell that
/// asks for more is refused.
const DSP48E2: &str = r#"
module DSP48E2 #(
    parameter AMULTSEL = "A", parameter USE_MULT = "MULTIPLY", parameter [47:0] RND = 0,
    parameter ACASCREG = 1, parameter ADREG = 1, parameter ALUMODEREG = 1, parameter AREG = 1, parameter BCASCREG = 1,
    parameter BREG = 1, parameter CARRYINREG = 1, parameter CARRYINSELREG = 1, parameter CREG = 1, parameter DREG = 1,
    parameter INMODEREG = 1, parameter MREG = 1, parameter OPMODEREG = 1, parameter PREG = 1
) (
    input CLK,
    input [29:0] A, ACIN, input [17:0] B, BCIN, input [26:0] D, input [47:0] C, PCIN,
    input CARRYIN, CARRYCASCIN, MULTSIGNIN,
    input [4:0] INMODE, input [8:0] OPMODE, input [3:0] ALUMODE, input [2:0] CARRYINSEL,
    input CEA1, CEA2, CEB1, CEB2, CED, CEAD, CEC, CEM, CEP, CEINMODE, CECTRL, CEALUMODE, CECARRYIN,
    input RSTA, RSTB, RSTC, RSTD, RSTM, RSTP, RSTINMODE, RSTCTRL, RSTALUMODE, RSTALLCARRYIN,
    output reg [47:0] P, output [47:0] PCOUT
);
    reg [29:0] a1, a2; reg [17:0] b1, b2; reg [26:0] d; reg [44:0] m; reg [4:0] inmode; reg [8:0] opmode; reg cin;
    wire [4:0] inmode_now = INMODEREG ? inmode : INMODE;
    wire [8:0] opmode_now = OPMODEREG ? opmode : OPMODE;
    wire [26:0] d_now = DREG ? d : D;
    wire cin_now = CARRYINREG ? cin : CARRYIN;
    wire [26:0] ad = (inmode_now[2] ? d_now : 27'b0) + (inmode_now[1] ? 27'b0 : a2[26:0]);
    wire [26:0] left = (AMULTSEL == "AD") ? ad : a2[26:0];
    reg [47:0] w, x, z;
    always @* begin
        case (opmode_now[8:7]) 2'b00: w = 0; 2'b01: w = P; 2'b10: w = RND; default: w = C; endcase
        case (opmode_now[6:4]) 3'b000: z = 0; 3'b001: z = PCIN; 3'b010: z = P; 3'b011: z = C; default: z = 48'bx; endcase
        // Y is the other half of the product, or nothing.
        case (opmode_now[3:0])
            4'b0000: x = 0;
            4'b0101: x = {{3{m[44]}}, m};
            4'b0011: x = {a2, b2};
            default: x = 48'bx;
        endcase
    end
    always @(posedge CLK) begin
        if (CEA1) a1 <= A;
        if (CEA2) a2 <= (AREG == 2) ? a1 : A;
        if (CEB1) b1 <= B;
        if (CEB2) b2 <= (BREG == 2) ? b1 : B;
        if (CED) d <= D;
        if (CEM) m <= $unsigned($signed({{18{left[26]}}, left}) * $signed({{27{b2[17]}}, b2}));
        if (CEINMODE) inmode <= INMODE;
        if (CECTRL) opmode <= OPMODE;
        if (CECARRYIN) cin <= CARRYIN;
        if (CEP) P <= x + z + w + cin_now;
    end
    assign PCOUT = P;
    // What is taken for granted above.
    always @* begin
        assert (AREG >= 1 && BREG == AREG && ACASCREG == AREG && BCASCREG == BREG);
        assert (CREG == 0 && ADREG == 0 && ALUMODEREG == 0 && CARRYINSELREG == 0 && PREG == 1);
        assert (MREG == (USE_MULT == "MULTIPLY") && ALUMODE == 0 && CARRYINSEL == 0);
        assert (!INMODE[0] && !INMODE[3] && !INMODE[4] && INMODE[1] == INMODE[2] && OPMODE[6:4] <= 3);
        assert (OPMODE[3:0] == 4'b0000 || OPMODE[3:0] == 4'b0101 || OPMODE[3:0] == 4'b0011);
        assert (!RSTA && !RSTB && !RSTC && !RSTD && !RSTM && !RSTP && !RSTINMODE && !RSTCTRL && !RSTALUMODE && !RSTALLCARRYIN);
    end
endmodule
"#;

/// Cycles from anything to the same in both: the longest way through.
const FLUSH: u32 = 6;

/// A text in which a product is its operands side by side: what holds for that holds for every function of them, and a solver
/// has no multiplier to compare.
fn without_product(text: &str) -> String {
    text.replace("$unsigned($signed(", "((").replace(") * $signed(", ") << 18 | 45'h3ffff & (")
}

/// The circuit beside the cell, with the same operands in every cycle.
fn are_the_same(
    block: &impl Block,
    inputs: &[(&str, u32)],
    outputs: &[&str],
    feeds_back: bool,
) -> TestResult {
    let design = emit(&block.module()?)?;
    accept(&design)?;
    let (name, text) = &design.modules()[0];
    let called = |suffix: &str| text.replace(&format!("module {name} "), &format!("module {name}_{suffix} "));
    let (circuit, cell) = (without_product(&called("circuit")), called("cell"));
    let model = without_product(DSP48E2);
    assert!(!model.contains(" * ") && !circuit.contains(" * "), "{model}\n{circuit}");
    let declared: String =
        inputs.iter().map(|(name, width)| format!("(* anyseq *) wire [{}:0] {name};\n", width - 1)).collect();
    let pins = |suffix: &str| -> String {
        let inputs = inputs.iter().map(|(name, _)| format!(", .{name}({name})"));
        inputs.chain(outputs.iter().map(|name| format!(", .{name}({name}{suffix})"))).collect()
    };
    let wires: String = outputs.iter().map(|name| format!("wire [47:0] {name}, {name}_cell;\n")).collect();
    let equal: String = outputs
        .iter()
        .map(|name| format!("if (cycle >= {FLUSH}) assert ({name} == {name}_cell);\n"))
        .collect();
    // A sum that goes on from anything stays so.
    let begins =
        if feeds_back { format!("if (cycle < {FLUSH}) assume (from_i == 0);\n") } else { String::new() };
    let harness = format!(
        "{circuit}\n`define {ULTRASCALE}\n{cell}\n`undef {ULTRASCALE}\n{model}\nmodule harness(input clk_i);\n\
         {declared}{wires}{name}_circuit circuit_u (.clk_i(clk_i){});\n{name}_cell cell_u (.clk_i(clk_i){});\n\
         reg [3:0] cycle = 0;\nalways @(posedge clk_i) if (cycle != 15) cycle <= cycle + 1;\n\
         always @* begin\n{begins}{equal}end\nendmodule\n",
        pins(""),
        pins("_cell")
    );
    Ok(prove(&design, &harness, FLUSH + 7, false)?)
}

/// Every kind of link that a chain has, for all operands and modes, from a known sum on.
#[test]
fn cells_multiply_and_add_as_the_circuits_do() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for (registers, chained, values) in
        [(1, false, true), (2, true, true), (1, false, false), (2, false, false), (2, true, false)]
    {
        let mut inputs = vec![("act_i", 27), ("factor_i", 8)];
        if chained {
            inputs.push(("cascade_i", 48));
        }
        if values {
            inputs.extend([("weight_i", 25), ("axpy_i", 1), ("from_i", 2), ("sum_i", 48)]);
        }
        let block = MacDsp { registers, chained, values };
        are_the_same(&block, &inputs, &["p_o", "cascade_o"], values)?;
        only_a_cell(&block)?;
    }
    let inputs = [("term_i", 48), ("add_i", 1), ("carry_i", 1), ("from_i", 2), ("sum_i", 48)];
    are_the_same(&AddDsp, &inputs, &["p_o"], true)?;
    only_a_cell(&AddDsp)
}

/// No register beside the cell; tables only for its mode.
fn only_a_cell(block: &impl Block) -> TestResult {
    let figures = Figures::of(&block.module()?)?;
    assert_eq!((figures.dsp, figures.ff, figures.srl), (1, 0, 0), "{figures:?}");
    assert!(figures.lut <= 3, "{figures:?}");
    Ok(())
}
