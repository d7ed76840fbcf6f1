//! The last cycles of a module's ports, to be looked at after a failure.

use fastcar_hw::rtl::Bits;
use std::fmt::Write;
use std::io;
use std::path::Path;

/// Cycles that are kept.
const KEPT: u64 = 200;

/// Values of ports, cycle by cycle.
pub(crate) struct Wave {
    /// Name, width, bytes.
    ports: Vec<(String, u32, usize)>,
    /// Cycles one behind the other, in a ring.
    cycles: Vec<u8>,
    bytes: usize,
    /// Cycles that have been.
    count: u64,
}

impl Wave {
    pub(crate) fn new(ports: impl Iterator<Item = (String, u32, usize)>) -> Self {
        let ports: Vec<_> = ports.collect();
        let bytes = ports.iter().map(|port| port.2).sum();
        Self { ports, cycles: vec![0; bytes * KEPT as usize], bytes, count: 0 }
    }

    fn place(&self, cycle: u64) -> usize {
        (cycle % KEPT) as usize * self.bytes
    }

    pub(crate) fn record<'a>(&mut self, values: impl Iterator<Item = &'a [u8]>) {
        let mut at = self.place(self.count);
        for value in values {
            self.cycles[at..at + value.len()].copy_from_slice(value);
            at += value.len();
        }
        self.count += 1;
    }

    /// Writes a value change dump.
    pub(crate) fn write(&self, file: &Path, top: &str) -> io::Result<()> {
        let mut text = format!("$timescale 1ns $end\n$scope module {top} $end\n");
        for (index, (name, width, _)) in self.ports.iter().enumerate() {
            let _ = writeln!(text, "$var wire {width} p{index} {name} $end");
        }
        text.push_str("$upscope $end\n$enddefinitions $end\n");
        for cycle in self.count.saturating_sub(KEPT)..self.count {
            let _ = writeln!(text, "#{cycle}");
            let mut at = self.place(cycle);
            for (index, (_, width, bytes)) in self.ports.iter().enumerate() {
                let bits = Bits::from_bytes(*width, &self.cycles[at..at + bytes]);
                let digits: String =
                    (0..*width).rev().map(|bit| if bits.bit(bit) { '1' } else { '0' }).collect();
                let _ = writeln!(text, "b{digits} p{index}");
                at += bytes;
            }
        }
        let _ = writeln!(text, "#{}", self.count);
        std::fs::write(file, text)
    }
}
