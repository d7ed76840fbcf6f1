//! Properties of the primitives that hold for every input, at sizes small enough to prove.
//!
//! Each harness drives a block with anything that the rules allow. `reset` is set in the first cycle.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::prim::{CreditCounter, Fifo, Narrower, RoundRobin, SkidBuffer, Wider};
use fastcar_hw::rtl::{Block, RamStyle, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{prove, skipped};

/// What all harnesses begin with: a clock, a reset in the first cycle, a count of cycles.
const HEAD: &str = "module harness(input wire clk,\n";
const RESET: &str = "
    reg started = 0;
    always @(posedge clk) started <= 1;
    wire rst = !started;
";

/// A stream on whose data and `valid` the rule is assumed: what is offered stays.
fn assumed(bus: &str) -> String {
    format!(
        "    always @(posedge clk) if (started && $past(started) && $past({bus}_valid && !{bus}_ready)) begin
        assume({bus}_valid);
        assume({bus}_data == $past({bus}_data));
    end\n"
    )
}

/// The same rule, to be proven.
fn asserted(bus: &str) -> String {
    assumed(bus).replace("assume(", "assert(")
}

/// Follows two of the first words, one behind the other: both come out, once, unchanged, in order.
///
/// `hold` is what the block can hold. The counts of words are wide enough for the cycles that are looked at.
fn in_order(data: u32, hold: u32) -> String {
    format!(
        "
    // Words that went in and came out, as far as it matters.
    reg [3:0] entered = 0, left = 0;
    (* anyconst *) wire [2:0] watched;
    reg [{top}:0] first, second;
    wire in_passes = in_valid && in_ready, out_passes = out_valid && out_ready;
    always @(posedge clk) if (started) begin
        if (in_passes) begin
            entered <= entered + 1;
            if (entered == watched) first <= in_data;
            if (entered == watched + 1) second <= in_data;
        end
        if (out_passes) begin
            left <= left + 1;
            assert(entered > left);
            if (left == watched) assert(out_data == first);
            if (left == watched + 1) assert(out_data == second);
        end
        assert(entered - left <= {hold});
    end
",
        top = data - 1
    )
}

/// A queue between two streams: the rules of streams and the order of words; `ports` are connected beside them.
fn queue_harness(block: &str, hold: u32, declarations: &str, ports: &str, more: &str) -> String {
    let inputs = "    input wire in_valid, input wire [1:0] in_data, input wire out_ready);\n";
    let body = format!(
        "{declarations}    wire in_ready, out_valid;\n    wire [1:0] out_data;
    {block} dut(.clk_i(clk), .rst_i(rst), .in_valid_i(in_valid), .in_data_i(in_data), .in_ready_o(in_ready),
        .out_valid_o(out_valid), .out_data_o(out_data), .out_ready_i(out_ready){ports});\n"
    );
    let order = in_order(2, hold);
    [HEAD, inputs, RESET, &body, &assumed("in"), &asserted("out"), &order, more, "endmodule\n"].concat()
}

#[test]
fn fifo() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let fifo = |depth, style| Fifo::new(2, depth, style);
    for fifo in [
        fifo(1, RamStyle::Distributed)?,
        fifo(3, RamStyle::Distributed)?,
        fifo(3, RamStyle::Distributed)?.registered(),
        fifo(3, RamStyle::Block)?,
    ] {
        let design = emit(&fifo.module()?)?;
        let (depth, width) = (fifo.depth(), fifo.count_width());
        let declarations = format!("    wire [{}:0] count;\n    wire almost;\n", width - 1);
        let ports = ", .count_o(count), .almost_full_o(almost)";
        let more = format!(
            "    always @(posedge clk) if (started) begin
        assert(count == entered - left);
        assert(count <= {depth});
        assert(in_ready == (count < {depth}));
        assert(almost == (count == {depth}));
        assert(!(out_valid && count == 0));
        // A word does not wait for nothing: the oldest is there at the latest in the second cycle.
        if ($past(started) && $past(count) > 0 && !$past(out_passes)) assert(out_valid);
    end\n"
        );
        let harness = queue_harness(design.top(), depth, &declarations, ports, &more);
        prove(&design, &harness, 10, false)?;
    }
    Ok(())
}

#[test]
fn skid_buffer() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let design = emit(&SkidBuffer::new(2)?.module()?)?;
    // Between empty and full a word passes in every cycle in which one is there.
    let more = "    always @(posedge clk) if (started) begin
        assert(out_valid == (entered != left));
        assert(in_ready == (entered - left < 2));
    end\n";
    prove(&design, &queue_harness(design.top(), 2, "", "", more), 12, false)?;
    Ok(())
}

#[test]
fn arbiter() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let users = 4;
    let design = emit(&RoundRobin::new(users)?.module()?)?;
    let harness = format!(
        "{HEAD}    input wire [3:0] request, input wire take);
{RESET}
    wire valid;
    wire [3:0] grant;
    wire [1:0] index;
    {top} dut(.clk_i(clk), .rst_i(rst), .request_i(request), .take_i(take), .valid_o(valid), .grant_o(grant), .index_o(index));
    (* anyconst *) wire [1:0] user;
    // Grants to others that were taken while the user waited.
    reg [2:0] waited = 0;
    always @(posedge clk) if (started) begin
        // Users keep to their side: a request stays until its grant is taken.
        if ($past(started)) assume((request & $past(request & ~(take ? grant : 4'h0))) == $past(request & ~(take ? grant : 4'h0)));
        assert((grant & (grant - 1)) == 0);
        assert((grant & ~request) == 0);
        assert(valid == (request != 0));
        assert((grant != 0) == valid);
        assert(!valid || grant[index]);
        if ($past(started) && $past(valid && !take)) assert(grant == $past(grant));
        if (!request[user] || (take && grant[user])) waited <= 0;
        else if (take && valid) waited <= waited + 1;
        assert(waited < {users});
    end
endmodule
",
        top = design.top()
    );
    prove(&design, &harness, 12, false)?;
    Ok(())
}

#[test]
fn credit_counter() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let design = emit(&CreditCounter::new(3)?.module()?)?;
    let harness = format!(
        "{HEAD}    input wire take, input wire give);
{RESET}
    wire available;
    wire [1:0] count;
    {top} dut(.clk_i(clk), .rst_i(rst), .take_i(take), .give_i(give), .available_o(available), .count_o(count));
    reg [3:0] away = 0;
    always @(posedge clk) if (started) begin
        // The counter and what is away are all there is, whoever asks for whatever.
        away <= away + (take && available) - (give && (away != 0 || (take && available)));
        assert(away + count == 3);
        assert(available == (count != 0));
    end
endmodule
",
        top = design.top()
    );
    // By induction: for all time.
    prove(&design, &harness, 4, true)?;
    Ok(())
}

#[test]
fn width_converters() -> TestResult {
    if skipped() {
        return Ok(());
    }
    // Narrow words go through both converters and come out as they were, packets and all.
    let (wider, narrower) = (Wider::new(2, 3)?.module()?, Narrower::new(2, 3)?.module()?);
    let m = fastcar_hw::rtl::Builder::new("there_and_back");
    let (there, back) = (m.instance("there", &wider)?, m.instance("back", &narrower)?);
    let input = m.stream_in("in", 3);
    there.stream_in("in", input.with_data(input.data.trunc(2)));
    there.set("in_last_i", input.data.bit(2));
    let wide = there.stream_out("out");
    let (keep, last) = (there.get("out_keep_o"), there.get("out_last_o"));
    back.stream_in("in", wide);
    back.set("in_keep_i", keep);
    back.set("in_last_i", last);
    let narrow = back.stream_out("out");
    m.stream_out("out", narrow.with_data(back.get("out_last_o").cat(narrow.data)));
    m.output("wide_valid_o", wide.valid);
    m.output("wide_ready_o", wide.ready.wire());
    m.output("wide_keep_o", keep);
    let lanes = wide.data.chunks(2);
    let kept: Vec<_> = (0..).zip(&lanes).map(|(n, lane)| keep.bit(n).repeat(2) & *lane).collect();
    m.output("wide_data_o", last.cat(m.pack(&kept)));
    let design = emit(&m.finish()?)?;
    let ports = "    input wire in_valid, input wire [2:0] in_data, input wire out_ready);\n";
    let body = format!(
        "    wire in_ready, out_valid, wide_valid, wide_ready;\n    wire [2:0] out_data, wide_keep;\n    wire [6:0] wide_data;
    {} dut(.clk_i(clk), .rst_i(rst), .in_valid_i(in_valid), .in_data_i(in_data), .in_ready_o(in_ready),
        .out_valid_o(out_valid), .out_data_o(out_data), .out_ready_i(out_ready),
        .wide_valid_o(wide_valid), .wide_ready_o(wide_ready), .wide_keep_o(wide_keep), .wide_data_o(wide_data));
    // Words kept: from the first on, at least one; all of them unless the packet ends.
    always @(posedge clk) if (started && wide_valid)
        assert(wide_keep == 3'b111 || (wide_data[6] && (wide_keep == 3'b001 || wide_keep == 3'b011)));\n",
        design.top()
    );
    let rules = [assumed("in"), asserted("out"), asserted("wide")].concat();
    let harness = [HEAD, ports, RESET, &body, &rules, &in_order(3, 5), "endmodule\n"].concat();
    prove(&design, &harness, 10, false)?;
    Ok(())
}
