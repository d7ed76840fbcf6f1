//! The last cycles of a module's ports, to be looked at after a failure.

use fastcar_hw::rtl::Bits;
use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::path::Path;

/// Cycles that are kept.
const KEPT: usize = 200;

/// Values of ports, cycle by cycle.
pub(super) struct Wave {
    ports: Vec<(String, u32)>,
    cycles: VecDeque<Vec<Bits>>,
    first: u64,
}

impl Wave {
    pub(super) fn new(ports: impl Iterator<Item = (String, u32)>) -> Self {
        Self { ports: ports.collect(), cycles: VecDeque::with_capacity(KEPT), first: 0 }
    }

    pub(super) fn record(&mut self, values: impl Iterator<Item = Bits>) {
        let mut cycle = Vec::new();
        if self.cycles.len() == KEPT {
            cycle = self.cycles.pop_front().unwrap_or_default();
            cycle.clear();
            self.first += 1;
        }
        cycle.extend(values);
        self.cycles.push_back(cycle);
    }

    /// Writes a value change dump.
    pub(super) fn write(&self, file: &Path, top: &str) -> io::Result<()> {
        let mut text = format!("$timescale 1ns $end\n$scope module {top} $end\n");
        for (index, (name, width)) in self.ports.iter().enumerate() {
            let _ = writeln!(text, "$var wire {width} p{index} {name} $end");
        }
        text.push_str("$upscope $end\n$enddefinitions $end\n");
        for (cycle, values) in (self.first..).zip(&self.cycles) {
            let _ = writeln!(text, "#{cycle}");
            for (index, bits) in values.iter().enumerate() {
                let digits: String =
                    (0..bits.width()).rev().map(|bit| if bits.bit(bit) { '1' } else { '0' }).collect();
                let _ = writeln!(text, "b{digits} p{index}");
            }
        }
        let _ = writeln!(text, "#{}", self.first + self.cycles.len() as u64);
        std::fs::write(file, text)
    }
}
