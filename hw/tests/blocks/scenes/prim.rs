//! Queues, counters, memories.

use super::{Scene, scene};
use fastcar_hw::prim::{Counter, CreditCounter, DelayLine, Fifo, Fork, Ram, RoundRobin, SkidBuffer, Wider};
use fastcar_hw::rtl::{Block, RamStyle};

pub fn scenes() -> Vec<Scene> {
    [streams(), small()].into_iter().flatten().collect()
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
