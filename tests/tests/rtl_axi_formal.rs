//! What holds for the AXI ports whatever the other side does, as long as it keeps to AXI itself: at sizes small enough to prove.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::axi::{AxiLite, BurstPort, ReadMaster, WriteMaster};
use fastcar_hw::rtl::{Block, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{prove, skipped};

/// Cycles of the registers' port that are looked at.
const LITE_DEPTH: u32 = 10;
/// Of the masters: two bursts from the request to their end, and longer than any wait that is fair.
const DEPTH: u32 = 9;

/// Beats of 4 bytes, local addresses of 11 bits (one more than a page), two bursts under way, tags of two bits.
fn small() -> Result<BurstPort, RtlError> {
    BurstPort::new(4, 11, 2, 2)
}

const CLOCKED: &str = "
    reg started = 0;
    always @(posedge clk) started <= 1;
    wire rst = !started;
";

/// What is offered stays until it is taken: `what` is `assume` or `assert`.
fn stays(what: &str, valid: &str, ready: &str, payload: &str) -> String {
    format!(
        "    always @(posedge clk) if (started && $past(started) && $past({valid} && !{ready})) begin
        {what}({valid});
        {what}({payload} == $past({payload}));
    end\n"
    )
}

/// The other side makes up its mind in time.
fn fair(name: &str, waits: &str) -> String {
    format!(
        "    reg [2:0] {name} = 0;
    always @(posedge clk) {name} <= started && ({waits}) ? {name} + 1 : 0;
    always @* assume({name} < 2);\n"
    )
}

const MASTER_PORTS: &str =
    "    input wire [63:0] base, input wire req_valid, input wire [20:0] req_data, input wire a_ready,
    input wire [1:0] resp,";

/// The address channel of either master: requests within 1 KB come in, addresses go out by AXI4's rules, in order.
const ADDRESSES: &str = "
    wire req_ready, a_valid, error_valid;
    wire [63:0] a_addr;
    wire [7:0] a_len;
    wire [2:0] a_size;
    wire [1:0] a_burst, under_way, error_response;
    wire [10:0] error_address;
    wire [7:0] req_len = req_data[18:11];
    wire req_passes = req_valid && req_ready, a_passes = a_valid && a_ready;
    always @* assume(!req_valid || {1'b0, req_data[7:0]} + {1'b0, req_len} < 256);
    // Short enough to end within the cycles that are looked at.
    always @* assume(req_len < 4);
    always @* assume(base[11:0] == 0 && base[63:16] == 0);
    always @(posedge clk) if (started) assume(base == $past(base));

    // Requests taken, and a cycle earlier; addresses sent, bursts ended; one request is watched.
    reg [3:0] asked = 0, taken = 0, sent = 0, ended = 0;
    reg [1:0] lengths [0:7];
    (* anyconst *) wire [3:0] watched;
    reg [20:0] burst;
    wire [63:0] burst_addr = {base[63:12] + burst[10], burst[9:0], 2'b00};
    always @(posedge clk) if (started) begin
        if (req_passes) begin
            asked <= asked + 1;
            lengths[asked[2:0]] <= req_len[1:0];
            if (asked == watched) burst <= req_data;
        end
        taken <= asked;
        if (a_passes) sent <= sent + 1;
        // On the bus two cycles after it was taken, no sooner and no later.
        if ($past(started)) assert(a_valid == (taken != sent));
        if (a_valid) begin
            // No multiple of 1 KB is crossed, so none of 4 KB.
            assert({1'b0, a_addr[9:0]} + {a_len, 2'b11} < 1024);
            assert(a_size == 2 && a_burst == 1 && a_addr[1:0] == 0);
            if (sent == watched) assert(a_addr == burst_addr && a_len == burst[18:11]);
        end
        // Never more than two under way.
        assert(asked - ended <= 2);
        assert(under_way == asked - ended);
    end
";

/// The master within the harness.
fn master(top: &str, channel: &str, ports: &str) -> String {
    format!(
        "    {top} dut(.clk_i(clk), .rst_i(rst), .base_i(base), .req_valid_i(req_valid), .req_data_i(req_data), .req_ready_o(req_ready),
        .axi_{channel}valid_o(a_valid), .axi_{channel}addr_o(a_addr), .axi_{channel}len_o(a_len), .axi_{channel}size_o(a_size),
        .axi_{channel}burst_o(a_burst), .axi_{channel}ready_i(a_ready), .under_way_o(under_way), .clear_i(1'b0),
        .error_valid_o(error_valid), .error_address_o(error_address), .error_response_o(error_response),
        {ports});\n"
    )
}

/// The rules that both masters and their neighbours keep.
fn address_rules() -> String {
    stays("assume", "req_valid", "req_ready", "req_data")
        + &stays("assert", "a_valid", "a_ready", "{a_addr, a_len}")
}

/// Reads: the slave gives beats of bursts whose address it has taken, and RLAST where they end.
const READS: &str = "
    wire r_ready, beat_valid, beat_last;
    wire [31:0] beat_data;
    wire [1:0] beat_tag;
    reg [1:0] at = 0;
    wire r_last = at == lengths[ended[2:0]];
    wire r_passes = r_valid && r_ready;
    always @* assume(!r_valid || (started && sent != ended));
    // What came in the cycle before, and whether anything was wrong with it.
    reg came = 0, came_last, came_watched, bad = 0, watched_bad = 0;
    reg [3:0] came_data;
    always @(posedge clk) if (started) begin
        if (r_passes) begin
            at <= r_last ? 0 : at + 1;
            if (r_last) ended <= ended + 1;
            if (resp[1] && !bad) watched_bad <= ended == watched;
            if (resp[1]) bad <= 1;
        end
        came <= r_passes;
        came_last <= r_last;
        came_watched <= ended == watched;
        came_data <= r_data[3:0];
        assert(r_ready);
        // Every beat comes out once, a cycle later, nothing else does.
        assert(beat_valid == came);
        if (beat_valid) assert(beat_data[3:0] == came_data && beat_last == came_last);
        if (beat_valid && came_watched) assert(beat_tag == burst[20:19]);
        assert(error_valid == bad);
        if (watched_bad) assert(error_address == burst[10:0] && error_response[1]);
        // It refuses only while all that may be are under way or an address waits for the slave.
        if ($past(started) && !req_ready) assert(asked - ended == 2 || asked != sent);
    end
    // Where the slave is fair, something happens.
    reg [3:0] idle = 0;
    always @(posedge clk) begin
        idle <= started && asked != ended && !r_passes ? idle + 1 : 0;
        assert(idle < 5);
    end
";

#[test]
fn read_master() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let design = emit(&ReadMaster::new(small()?).module()?)?;
    let ports = ".axi_rvalid_i(r_valid), .axi_rdata_i(r_data), .axi_rresp_i(resp), .axi_rlast_i(r_last), .axi_rready_o(r_ready),
        .beat_valid_o(beat_valid), .beat_data_o(beat_data), .beat_tag_o(beat_tag), .beat_last_o(beat_last)";
    let harness = [
        "module harness(input wire clk,\n",
        MASTER_PORTS,
        " input wire r_valid, input wire [31:0] r_data);\n",
        CLOCKED,
        ADDRESSES,
        READS,
        &address_rules(),
        &fair("address_waits", "a_valid && !a_ready"),
        &fair("data_waits", "sent != ended && !r_valid"),
        &master(design.top(), "ar", ports),
        "endmodule\n",
    ]
    .concat();
    prove(&design, &harness, DEPTH, false)?;
    Ok(())
}

/// Writes: the slave takes data whenever it likes and acknowledges bursts whose address and data it has.
const WRITES: &str = "
    wire data_ready, w_valid, w_last, b_ready, ack_valid;
    wire [31:0] w_data;
    wire [3:0] w_strb;
    wire [1:0] ack_tag;
    wire w_passes = w_valid && w_ready, b_passes = b_valid && b_ready;
    // Bursts whose data is out, beats of the one under way, all beats in and out.
    reg [3:0] filled = 0;
    reg [1:0] at = 0;
    reg [3:0] entered = 0, left = 0;
    (* anyconst *) wire [3:0] followed;
    reg [7:0] beat;
    always @* assume(!b_valid || (started && sent != ended && filled != ended));
    reg came = 0, came_watched, bad = 0, watched_bad = 0;
    always @(posedge clk) if (started) begin
        if (data_valid && data_ready) begin
            entered <= entered + 1;
            if (entered == followed) beat <= {data[35:32], data[3:0]};
        end
        if (w_valid) begin
            // Nothing before it was asked for; the end where it belongs; data and its bytes together.
            assert(asked != filled && entered != left);
            assert(w_last == (at == lengths[filled[2:0]]));
            if (left == followed) assert({w_strb, w_data[3:0]} == beat);
        end
        if (w_passes) begin
            left <= left + 1;
            at <= w_last ? 0 : at + 1;
            if (w_last) filled <= filled + 1;
        end
        // Taken data is on the bus in the next cycle.
        if ($past(started)) assert(w_valid == (entered != left));
        if (b_passes) begin
            ended <= ended + 1;
            if (resp[1] && !bad) watched_bad <= ended == watched;
            if (resp[1]) bad <= 1;
        end
        came <= b_passes;
        came_watched <= ended == watched;
        assert(b_ready);
        assert(ack_valid == came);
        if (ack_valid && came_watched) assert(ack_tag == burst[20:19]);
        assert(error_valid == bad);
        if (watched_bad) assert(error_address == burst[10:0] && error_response[1]);
        if ($past(started) && !req_ready) assert(asked - ended == 2 || asked != sent);
    end
    // Where slave and source are fair, something happens.
    reg [3:0] idle = 0;
    always @(posedge clk) begin
        idle <= started && asked != ended && !w_passes && !b_passes ? idle + 1 : 0;
        assert(idle < 5);
    end
";

#[test]
fn write_master() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let design = emit(&WriteMaster::new(small()?).module()?)?;
    let ports = ".data_valid_i(data_valid), .data_data_i(data), .data_ready_o(data_ready),
        .axi_wvalid_o(w_valid), .axi_wdata_o(w_data), .axi_wstrb_o(w_strb), .axi_wlast_o(w_last), .axi_wready_i(w_ready),
        .axi_bvalid_i(b_valid), .axi_bresp_i(resp), .axi_bready_o(b_ready), .ack_valid_o(ack_valid), .ack_tag_o(ack_tag)";
    let harness = [
        "module harness(input wire clk,\n",
        MASTER_PORTS,
        " input wire data_valid, input wire [35:0] data, input wire w_ready, input wire b_valid);\n",
        CLOCKED,
        ADDRESSES,
        WRITES,
        &address_rules(),
        &stays("assume", "data_valid", "data_ready", "data"),
        &stays("assert", "w_valid", "w_ready", "{w_data, w_strb, w_last}"),
        &fair("address_waits", "a_valid && !a_ready"),
        &fair("source_waits", "asked != filled && !data_valid"),
        &fair("data_waits", "w_valid && !w_ready"),
        &fair("acknowledgement_waits", "sent != ended && filled != ended && !b_valid"),
        &master(design.top(), "aw", ports),
        "endmodule\n",
    ]
    .concat();
    prove(&design, &harness, DEPTH, false)?;
    Ok(())
}

/// AXI4-Lite: a response for every access and none without, in order; what is offered stays; nobody waits for nothing.
#[test]
fn axi_lite() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let design = emit(&AxiLite::new(3)?.module()?)?;
    let declarations = "module harness(input wire clk,
    input wire awvalid, input wire [2:0] awaddr, input wire wvalid, input wire [31:0] wdata, input wire [3:0] wstrb, input wire bready,
    input wire arvalid, input wire [2:0] araddr, input wire rready, input wire [31:0] read_data);
    wire awready, wready, bvalid, arready, rvalid, write, read;
    wire [1:0] bresp, rresp;
    wire [31:0] rdata, write_data;
    wire [3:0] write_strb;
    wire [2:0] write_addr, read_addr;\n";
    let counts = "
    reg [3:0] aws = 0, ws = 0, writes = 0, bs = 0, ars = 0, reads = 0, rs = 0;
    (* anyconst *) wire [3:0] watched;
    reg [2:0] aw, ar;
    reg [35:0] w;
    reg [31:0] r;
    reg reading = 0;
    always @(posedge clk) if (started) begin
        if (awvalid && awready) begin aws <= aws + 1; if (aws == watched) aw <= awaddr; end
        if (wvalid && wready) begin ws <= ws + 1; if (ws == watched) w <= {wstrb, wdata}; end
        if (arvalid && arready) begin ars <= ars + 1; if (ars == watched) ar <= araddr; end
        if (write) begin
            writes <= writes + 1;
            assert(aws != writes && ws != writes);
            if (writes == watched) assert(write_addr == aw && {write_strb, write_data} == w);
        end
        // A response for each write, after it, and no other.
        if (bvalid) assert(writes != bs);
        if (bvalid && bready) bs <= bs + 1;
        reading <= read;
        if (read) begin
            reads <= reads + 1;
            assert(ars != reads);
            if (reads == watched) assert(read_addr == ar);
        end
        if (reading && reads == watched + 4'd1) r <= read_data;
        if (rvalid) assert(reads != rs);
        if (rvalid && rs == watched) assert(rdata == r);
        if (rvalid && rready) rs <= rs + 1;
        assert(bresp == 0 && rresp == 0);
    end
    reg [3:0] idle_writes = 0, idle_reads = 0;
    always @(posedge clk) begin
        idle_writes <= started && aws != bs && ws != bs && !(bvalid && bready) ? idle_writes + 1 : 0;
        idle_reads <= started && ars != rs && !(rvalid && rready) ? idle_reads + 1 : 0;
        assert(idle_writes < 5 && idle_reads < 6);
    end
";
    let dut = format!(
        "    {} dut(.clk_i(clk), .rst_i(rst), .axi_awvalid_i(awvalid), .axi_awaddr_i(awaddr), .axi_awready_o(awready),
        .axi_wvalid_i(wvalid), .axi_wdata_i(wdata), .axi_wstrb_i(wstrb), .axi_wready_o(wready),
        .axi_bvalid_o(bvalid), .axi_bresp_o(bresp), .axi_bready_i(bready),
        .axi_arvalid_i(arvalid), .axi_araddr_i(araddr), .axi_arready_o(arready),
        .axi_rvalid_o(rvalid), .axi_rdata_o(rdata), .axi_rresp_o(rresp), .axi_rready_i(rready),
        .write_o(write), .write_addr_o(write_addr), .write_data_o(write_data), .write_strb_o(write_strb),
        .read_o(read), .read_addr_o(read_addr), .read_data_i(read_data));\n",
        design.top()
    );
    let harness = [
        declarations,
        CLOCKED,
        counts,
        &stays("assume", "awvalid", "awready", "awaddr"),
        &stays("assume", "wvalid", "wready", "{wdata, wstrb}"),
        &stays("assume", "arvalid", "arready", "araddr"),
        &stays("assert", "bvalid", "bready", "bresp"),
        &stays("assert", "rvalid", "rready", "{rdata, rresp}"),
        &fair("response_waits", "bvalid && !bready"),
        &fair("data_waits", "rvalid && !rready"),
        &dut,
        "endmodule\n",
    ]
    .concat();
    prove(&design, &harness, LITE_DEPTH, false)?;
    Ok(())
}
