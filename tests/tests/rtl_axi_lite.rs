//! The AXI4-Lite port, driven by a master that is as irregular as the rules allow.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::axi::AxiLite;
use fastcar_hw::rtl::{Block, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Gaps, Random, Rtl, accept, skipped};
use std::collections::VecDeque;

const ADDRESS: u32 = 6;

/// A channel on which the master sends: what is offered stays until it is taken.
struct Sender<const N: usize> {
    ports: [&'static str; N],
    limits: [u64; N],
    gaps: Gaps,
    offered: Option<[u64; N]>,
    taken: VecDeque<[u64; N]>,
}

impl<const N: usize> Sender<N> {
    fn new(ports: [&'static str; N], limits: [u64; N], percent: u64) -> Self {
        Self { ports, limits, gaps: Gaps::new(percent), offered: None, taken: VecDeque::new() }
    }

    fn drive(&mut self, dut: &mut Rtl, channel: &str, random: &mut Random) {
        if self.gaps.next(random) && self.offered.is_none() {
            self.offered = Some(self.limits.map(|limit| random.below(limit)));
        }
        dut.set(&format!("axi_{channel}valid_i"), self.offered.is_some());
        let words = self.offered.unwrap_or_else(|| self.limits.map(|limit| random.below(limit)));
        for (port, word) in self.ports.iter().zip(words) {
            dut.set(port, word);
        }
        if dut.is_set(&format!("axi_{channel}ready_o")) {
            self.taken.extend(self.offered.take());
        }
    }
}

/// A channel on which the master receives: what was valid and not taken has to be there still, unchanged.
struct Receiver {
    gaps: Gaps,
    waiting: Option<u64>,
}

impl Receiver {
    fn take(&mut self, dut: &mut Rtl, channel: &str, word: u64, ready: bool) -> Option<u64> {
        let found = dut.is_set(&format!("axi_{channel}valid_o")).then_some(word);
        if self.waiting.is_some() {
            assert_eq!(found, self.waiting, "{channel} in cycle {}", dut.cycle());
        }
        self.waiting = found.filter(|_| !ready);
        found.filter(|_| ready)
    }
}

#[test]
fn accesses_arrive_once_and_in_order() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let module = AxiLite::new(ADDRESS)?.module()?;
    accept(&emit(&module)?)?;
    let mut dut = Rtl::beside_native(&module)?;
    dut.reset();
    let mut random = Random::new(1);
    let mut cover =
        Cover::new(&["address first", "data first", "response stalled", "data stalled", "both ways"]);
    let mut registers = [0u64; 1 << (ADDRESS - 2)];
    let mut aw = Sender::new(["axi_awaddr_i"], [1 << ADDRESS], 60);
    let mut w = Sender::new(["axi_wdata_i", "axi_wstrb_i"], [1 << 32, 16], 60);
    let mut ar = Sender::new(["axi_araddr_i"], [1 << ADDRESS], 70);
    let (mut b, mut r) = (receiver(50), receiver(50));
    let (mut written, mut answered, mut reads) = (0, 0, VecDeque::new());
    let mut answer = None;
    for cycle in 0..8000 {
        let ready = [b.gaps.next(&mut random), r.gaps.next(&mut random)];
        dut.set("axi_bready_i", ready[0]);
        dut.set("axi_rready_i", ready[1]);
        // Only the cycle after a read counts.
        dut.set("read_data_i", answer.take().unwrap_or_else(|| random.below(1 << 32)));
        let before = (aw.taken.len(), w.taken.len());
        aw.drive(&mut dut, "aw", &mut random);
        w.drive(&mut dut, "w", &mut random);
        ar.drive(&mut dut, "ar", &mut random);
        cover.hit("address first", before.0 > before.1);
        cover.hit("data first", before.0 < before.1);

        let response = dut.get("axi_bresp_o");
        answered +=
            u32::from(b.take(&mut dut, "b", response, ready[0]).inspect(|b| assert_eq!(*b, 0)).is_some());
        assert!(answered <= written, "a response before its write, cycle {cycle}");
        let data = dut.get("axi_rdata_o");
        if let Some(data) = r.take(&mut dut, "r", data, ready[1]) {
            assert_eq!(Some(data), reads.pop_front(), "cycle {cycle}");
        }
        cover.hit("response stalled", b.waiting.is_some());
        cover.hit("data stalled", r.waiting.is_some());

        let (write, read) = (dut.is_set("write_o"), dut.is_set("read_o"));
        cover.hit("both ways", write && read);
        if read {
            let [address] = ar.taken.pop_front().unwrap();
            assert_eq!(dut.get("read_addr_o"), address, "cycle {cycle}");
            answer = Some(registers[address as usize / 4]);
            reads.extend(answer);
        }
        if write {
            let ([address], [data, strobe]) = (aw.taken.pop_front().unwrap(), w.taken.pop_front().unwrap());
            let found = ["write_addr_o", "write_data_o", "write_strb_o"].map(|port| dut.get(port));
            assert_eq!(found, [address, data, strobe], "cycle {cycle}");
            let mask =
                (0..4).filter(|byte| strobe >> byte & 1 == 1).fold(0, |mask, byte| mask | 0xff << (8 * byte));
            let register = &mut registers[address as usize / 4];
            *register = *register & !mask | data & mask;
            written += 1;
        }
        // Nothing piles up: at most one access of each kind waits in the port.
        assert!(aw.taken.len() <= 2 && w.taken.len() <= 2 && ar.taken.len() <= 2, "cycle {cycle}");
        dut.tick();
    }
    assert!(written > 1000 && answered > 1000, "{written} writes, {answered} answers");
    cover.assert(100);
    Ok(())
}

fn receiver(percent: u64) -> Receiver {
    Receiver { gaps: Gaps::new(percent), waiting: None }
}
