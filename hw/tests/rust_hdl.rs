//! Modules as blocks of `rust-hdl`: an `#[hdl_gen]` circuit around one, simulated, checked and printed by that crate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::prim::Fifo;
use fastcar_hw::rtl::{Bits, Block as _, Circuit, Pin, RamStyle, Simulator};
use rust_hdl_core::prelude::*;

/// A queue and the ports around it: structure by `rust-hdl`, width and depth at run time.
#[derive(LogicBlock)]
struct Around {
    pub clk_i: Signal<In, Clock>,
    pub rst_i: Signal<In, Bit>,
    pub valid_i: Pin,
    pub data_i: Pin,
    pub ready_i: Pin,
    pub valid_o: Pin,
    pub data_o: Pin,
    queue: Circuit,
}

// Numbers of the queue's ports: in_valid_i, in_data_i, in_ready_o, count_o, almost_full_o, out_valid_o, out_data_o, out_ready_i.
impl Logic for Around {
    #[hdl_gen]
    fn update(&mut self) {
        self.queue.clk_i.next = self.clk_i.val();
        self.queue.rst_i.next = self.rst_i.val();
        self.queue.pin[0].next = self.valid_i.val();
        self.queue.pin[1].next = self.data_i.val();
        self.queue.pin[7].next = self.ready_i.val();
        self.valid_o.next = self.queue.pin[5].val();
        self.data_o.next = self.queue.pin[6].val();
    }
}

/// Until nothing changes, as the crate's own simulation does it.
fn settle(uut: &mut Around) {
    for _ in 0..20 {
        uut.update_all();
        if !uut.has_changed() {
            return;
        }
    }
    panic!("the circuit does not settle");
}

fn around(module: &std::sync::Arc<fastcar_hw::rtl::Module>, width: u32) -> Around {
    let queue = Circuit::new(module).unwrap();
    let names = ["in_valid_i", "in_data_i", "out_ready_i", "out_valid_o", "out_data_o"];
    assert_eq!(names.map(|name| queue.pin_number(name)), [0, 1, 7, 5, 6].map(Some));
    Around {
        clk_i: Signal::default(),
        rst_i: Signal::default(),
        valid_i: Pin::new(1, true),
        data_i: Pin::new(width, true),
        ready_i: Pin::new(1, true),
        valid_o: Pin::new(1, false),
        data_o: Pin::new(width, false),
        queue,
    }
}

#[test]
fn a_module_within_hdl_gen_is_the_module() {
    for (width, depth) in [(8, 3), (130, 5)] {
        let module = Fifo::new(width, depth, RamStyle::Distributed).unwrap().module().unwrap();
        let mut alone = Simulator::new(&module).unwrap();
        let mut uut = around(&module, width);
        uut.connect_all();
        let mut words = 0;
        for cycle in 0..500u64 {
            // Gaps on either side that do not keep step with each other.
            let (reset, valid, ready) = (cycle < 2, cycle % 7 < 4, cycle % 5 < 2 || cycle > 300);
            let data = Bits::from_u64(64, cycle.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .sext(width.max(64))
                .slice(0, width);
            for (name, bits) in [("rst_i", Bits::bit_of(reset)), ("in_valid_i", Bits::bit_of(valid))] {
                alone.set(name, bits).unwrap();
            }
            alone.set("in_data_i", data.clone()).unwrap();
            alone.set("out_ready_i", Bits::bit_of(ready)).unwrap();
            uut.rst_i.next = reset;
            uut.valid_i.next = Bits::bit_of(valid);
            uut.data_i.next = data;
            uut.ready_i.next = Bits::bit_of(ready);
            settle(&mut uut);
            assert_eq!(uut.valid_o.val(), alone.get("out_valid_o").unwrap(), "cycle {cycle}");
            assert_eq!(uut.data_o.val(), alone.get("out_data_o").unwrap(), "cycle {cycle}");
            words += u32::from(uut.valid_o.val().any() && ready);
            alone.tick();
            for level in [true, false] {
                uut.clk_i.next = Clock { clk: level };
                settle(&mut uut);
            }
        }
        assert!(words > 100, "only {words} words came through");
    }
}

#[test]
fn rust_hdl_checks_and_prints_it() {
    let module = Fifo::new(8, 3, RamStyle::Distributed).unwrap().module().unwrap();
    let mut uut = around(&module, 8);
    assert!(matches!(check_all(&uut), Err(error) if format!("{error:?}").contains("OpenSignal")));
    uut.connect_all();
    for pin in [&mut uut.valid_i, &mut uut.data_i, &mut uut.ready_i] {
        pin.connect();
    }
    uut.clk_i.connect();
    uut.rst_i.connect();
    check_all(&uut).unwrap();
    let text = generate_verilog(&uut);
    assert!(text.contains("module fifo_w8_d3_distributed ("), "{text}");
    assert!(text.contains(".in_data_i(pin$1)"), "{text}");
}
