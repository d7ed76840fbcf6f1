//! What the pages show blocks doing.

use fastcar_arch::config::AccelConfig;
use fastcar_arch::regs::RegisterMap;
use fastcar_hw::axi::{AxiLite, BurstPort, Control, Handshake, ReadMaster, WriteMaster};
use fastcar_hw::fp::{Adder, Multiplier};
use fastcar_hw::func::{FuncUnit, Function};
use fastcar_hw::pe::DotLane;
use fastcar_hw::prim::{Counter, CreditCounter, DelayLine, Fifo, Fork, Ram, RoundRobin, SkidBuffer, Wider};
use fastcar_hw::rtl::{Block, Module, RamStyle, RtlError};
use std::sync::Arc;

/// A simulation behind a reset: what inputs are given in each cycle (zero when nothing is said), and which ports are shown; values with a valid only when that is set.
pub struct Scene {
    pub block: &'static str,
    pub title: &'static str,
    pub module: Result<Arc<Module>, RtlError>,
    pub cycles: usize,
    pub inputs: Vec<(&'static str, Vec<u64>)>,
    pub rows: Vec<(&'static str, Option<&'static str>)>,
}

/// A scene without inputs and rows.
fn scene(
    block: &'static str,
    title: &'static str,
    module: Result<Arc<Module>, RtlError>,
    cycles: usize,
) -> Scene {
    Scene { block, title, module, cycles, inputs: Vec::new(), rows: Vec::new() }
}

impl Scene {
    /// An input that is not shown.
    fn given(mut self, port: &'static str, values: &[u64]) -> Self {
        self.inputs.push((port, values.to_vec()));
        self
    }

    /// An input in every cycle.
    fn always(self, port: &'static str, value: u64) -> Self {
        let values = vec![value; self.cycles];
        self.given(port, &values).shown(&[port])
    }

    fn input(self, port: &'static str, values: &[u64]) -> Self {
        self.given(port, values).shown(&[port])
    }

    /// An input that counts while another is set.
    fn with(self, port: &'static str, valid: &'static str, values: &[u64]) -> Self {
        let mut scene = self.given(port, values);
        scene.rows.push((port, Some(valid)));
        scene
    }

    /// Outputs, and inputs that were given before.
    fn shown(mut self, ports: &[&'static str]) -> Self {
        self.rows.extend(ports.iter().map(|port| (*port, None)));
        self
    }

    /// An output that counts while another is set.
    fn counts(mut self, port: &'static str, valid: &'static str) -> Self {
        self.rows.push((port, Some(valid)));
        self
    }

    /// A stream in.
    fn stream(self, valid: &[u64], data: &[u64]) -> Self {
        self.input("in_valid_i", valid).with("in_data_i", "in_valid_i", data)
    }
}

/// All scenes.
pub fn scenes() -> Vec<Scene> {
    [streams(), small(), arithmetic(), axi()].into_iter().flatten().collect()
}

fn streams() -> Vec<Scene> {
    let fifo = |style| Fifo::new(8, 4, style).and_then(|fifo| fifo.module());
    let queue = |title, style| {
        scene("prim/fifo", title, fifo(style), 9)
            .stream(&[1, 1, 1, 1, 1], &[0xa0, 0xa1, 0xa2, 0xa3, 0xa4])
            .shown(&["in_ready_o", "out_valid_o"])
            .counts("out_data_o", "out_valid_o")
            .input("out_ready_i", &[0, 0, 0, 0, 1, 1, 1, 1, 1])
            .shown(&["count_o"])
    };
    let skid = SkidBuffer::new(8).and_then(|skid| skid.module());
    let wider = Wider::new(8, 4).and_then(|wider| wider.module());
    let fork = Fork::new(8, 2).and_then(|fork| fork.module());
    vec![
        queue(
            "four words deep, in distributed memory; the fifth word waits for room.",
            RamStyle::Distributed,
        ),
        queue("the same in block RAM.", RamStyle::Block),
        scene("prim/skid", "the consumer stops for two cycles.", skid, 8)
            .stream(&[1, 1, 1, 1, 1, 1], &[0xa0, 0xa1, 0xa2, 0xa3, 0xa3, 0xa3])
            .shown(&["in_ready_o", "out_valid_o"])
            .counts("out_data_o", "out_valid_o")
            .input("out_ready_i", &[1, 1, 0, 0, 1, 1, 1, 1]),
        scene("prim/width", "`wider`, four words to one; a packet of five words.", wider, 8)
            .stream(&[1, 1, 1, 1, 1], &[0xa0, 0xa1, 0xa2, 0xa3, 0xa4])
            .input("in_last_i", &[0, 0, 0, 0, 1])
            .always("out_ready_i", 1)
            .shown(&["in_ready_o", "out_valid_o"])
            .counts("out_data_o", "out_valid_o")
            .counts("out_keep_o", "out_valid_o")
            .counts("out_last_o", "out_valid_o"),
        scene("prim/fork", "`fork`: the second consumer takes its word later.", fork, 6)
            .stream(&[1, 1, 1, 1], &[0xa0, 0xa0, 0xa0, 0xa1])
            .shown(&["in_ready_o"])
            .always("out0_ready_i", 1)
            .shown(&["out0_valid_o"])
            .input("out1_ready_i", &[0, 0, 1, 1, 1, 1])
            .shown(&["out1_valid_o"]),
    ]
}

fn small() -> Vec<Scene> {
    let delay = DelayLine::new(8, 3).and_then(|delay| delay.module());
    let credit = CreditCounter::new(2).and_then(|credit| credit.module());
    let arbiter = RoundRobin::new(3).and_then(|arbiter| arbiter.module());
    let counter = Counter::new(3).and_then(|counter| counter.module());
    let ram = Ram::new(8, 16, RamStyle::Block, 2).and_then(|ram| ram.module());
    vec![
        scene("prim/delay", "three cycles.", delay, 7)
            .input("data_i", &[0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6])
            .shown(&["data_o"]),
        scene("prim/credit", "two credits.", credit, 8)
            .input("take_i", &[1, 1, 1, 0, 0, 1])
            .input("give_i", &[0, 0, 0, 1, 0, 1, 1])
            .shown(&["available_o", "count_o"]),
        scene("prim/arbiter", "three users; the first grant waits for a cycle.", arbiter, 7)
            .input("request_i", &[7, 7, 7, 7, 5, 4])
            .input("take_i", &[0, 1, 1, 1, 1, 1])
            .shown(&["valid_o", "grant_o", "index_o"]),
        scene("prim/counter", "from 0 to 2.", counter, 8)
            .input("step_i", &[1, 1, 0, 1, 1, 1])
            .shown(&["count_o", "last_o"]),
        scene(
            "prim/ram",
            "latency 2; a read in the cycle of a write to its address gives the old word.",
            ram,
            8,
        )
        .input("write_enable_i", &[1, 1])
        .with("write_address_i", "write_enable_i", &[3, 3])
        .with("write_data_i", "write_enable_i", &[0xa0, 0xa1])
        .input("read_enable_i", &[0, 1, 1])
        .with("read_address_i", "read_enable_i", &[0, 3, 3])
        .shown(&["read_data_o"]),
    ]
}

fn arithmetic() -> Vec<Scene> {
    let bits = |value: f32| u64::from(value.to_bits());
    let dot = DotLane::new(4).and_then(|lane| lane.module());
    let unit = FuncUnit::new(&[Function::Sigmoid, Function::Phi]).and_then(|unit| unit.module());
    vec![
        scene("fp/adder", "1 + 2, then 1 - 2.", Adder.module(), 9)
            .input("valid_i", &[1, 1])
            .input("subtract_i", &[0, 1])
            .with("a_i", "valid_i", &[bits(1.0), bits(1.0)])
            .with("b_i", "valid_i", &[bits(2.0), bits(2.0)])
            .shown(&["valid_o"])
            .counts("sum_o", "valid_o"),
        scene("fp/multiplier", "3 x 2, then 3 x 0.5.", Multiplier.module(), 7)
            .input("valid_i", &[1, 1])
            .with("a_i", "valid_i", &[bits(3.0), bits(3.0)])
            .with("b_i", "valid_i", &[bits(2.0), bits(0.5)])
            .shown(&["valid_o"])
            .counts("product_o", "valid_o"),
        scene("pe/dot_lane", "four lanes: 1 x 1 four times, then 1 x 1 + 2 x 2 + 3 x 3 + 4 x 4.", dot, 7)
            .input("valid_i", &[1, 1])
            .with("act_i", "valid_i", &[0x0101_0101, 0x0403_0201])
            .with("weight_i", "valid_i", &[0x0101_0101, 0x0403_0201])
            .shown(&["valid_o"])
            .counts("dot_o", "valid_o"),
        scene("func/unit", "sigmoid and normal distribution function of 0.", unit, 13)
            .input("valid_i", &[1, 1])
            .with("function_i", "valid_i", &[0, 1])
            .with("x_i", "valid_i", &[0, 0])
            .shown(&["valid_o"])
            .counts("y_o", "valid_o"),
    ]
}

fn axi() -> Vec<Scene> {
    let lite = AxiLite::new(12).and_then(|lite| lite.module());
    let config = AccelConfig::preset("tiny").unwrap();
    let control = Control::new(&config, Handshake::Chain).module();
    let ctrl = u64::from(RegisterMap::new(&config).get("CTRL").unwrap().offset);
    let port = BurstPort::new(16, 20, 8, 4).unwrap();
    // Two beats at local beat 0x40.
    let request = 1 << port.address_bits() | 0x40;
    vec![
        scene("axi/lite", "a write whose data comes after its address, and a read.", lite, 9)
            .input("axi_awvalid_i", &[1])
            .with("axi_awaddr_i", "axi_awvalid_i", &[0x10])
            .input("axi_wvalid_i", &[0, 1])
            .with("axi_wdata_i", "axi_wvalid_i", &[0, 0xabcd])
            .given("axi_wstrb_i", &[0, 15])
            .shown(&["write_o"])
            .counts("write_addr_o", "write_o")
            .counts("write_data_o", "write_o")
            .always("axi_bready_i", 1)
            .shown(&["axi_bvalid_o"])
            .input("axi_arvalid_i", &[0, 1])
            .with("axi_araddr_i", "axi_arvalid_i", &[0, 0x14])
            .shown(&["read_o"])
            .counts("read_addr_o", "read_o")
            .given("read_data_i", &[0, 0, 0, 0x1234])
            .always("axi_rready_i", 1)
            .shown(&["axi_rvalid_o"])
            .counts("axi_rdata_o", "axi_rvalid_o"),
        scene("axi/control", "`ap_start` is written.", control, 7)
            .input("axi_awvalid_i", &[1])
            .with("axi_awaddr_i", "axi_awvalid_i", &[ctrl])
            .input("axi_wvalid_i", &[1])
            .with("axi_wdata_i", "axi_wvalid_i", &[1])
            .given("axi_wstrb_i", &[15])
            .always("axi_bready_i", 1)
            .shown(&["axi_bvalid_o", "start_o"]),
        scene("axi/read", "a burst of two beats.", ReadMaster::new(port).module(), 9)
            .input("req_valid_i", &[1])
            .with("req_data_i", "req_valid_i", &[request])
            .shown(&["req_ready_o"])
            .given("base_i", &[0x10_0000; 9])
            .shown(&["axi_arvalid_o"])
            .counts("axi_araddr_o", "axi_arvalid_o")
            .counts("axi_arlen_o", "axi_arvalid_o")
            .always("axi_arready_i", 1)
            .input("axi_rvalid_i", &[0, 0, 0, 0, 1, 1])
            .with("axi_rdata_i", "axi_rvalid_i", &[0, 0, 0, 0, 0xa0, 0xa1])
            .given("axi_rlast_i", &[0, 0, 0, 0, 0, 1])
            .shown(&["beat_valid_o"])
            .counts("beat_data_o", "beat_valid_o")
            .counts("beat_last_o", "beat_valid_o")
            .shown(&["under_way_o"]),
        scene("axi/write", "a burst of two beats.", WriteMaster::new(port).module(), 10)
            .input("req_valid_i", &[1])
            .given("req_data_i", &[request])
            .input("data_valid_i", &[1, 1, 1])
            .with("data_data_i", "data_valid_i", &[0xa0, 0xa0, 0xa1])
            .shown(&["data_ready_o"])
            .given("base_i", &[0x10_0000; 10])
            .shown(&["axi_awvalid_o"])
            .counts("axi_awaddr_o", "axi_awvalid_o")
            .always("axi_awready_i", 1)
            .shown(&["axi_wvalid_o"])
            .counts("axi_wdata_o", "axi_wvalid_o")
            .counts("axi_wlast_o", "axi_wvalid_o")
            .always("axi_wready_i", 1)
            .input("axi_bvalid_i", &[0, 0, 0, 0, 0, 0, 1])
            .shown(&["ack_valid_o", "under_way_o"]),
    ]
}
