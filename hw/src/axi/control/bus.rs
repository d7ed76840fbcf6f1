//! Reads and writes of registers, one word each.

use crate::axi::AxiLite;
use crate::rtl::{Builder, Instance, RtlError, Wire, index_width};
use fastcar_arch::regs::MAP_BYTES;

/// Bytes of a word.
const WORD: u32 = 4;

/// The port, and what it does in this cycle.
pub(super) struct Bus<'m> {
    pub m: &'m Builder,
    port: Instance<'m>,
    write: Wire<'m>,
    write_word: Wire<'m>,
    data: Wire<'m>,
    mask: Wire<'m>,
    read: Wire<'m>,
    read_word: Wire<'m>,
}

impl<'m> Bus<'m> {
    pub fn new(m: &'m Builder) -> Result<Self, RtlError> {
        let lite = AxiLite::new(index_width(MAP_BYTES.into()))?;
        let port = m.instance("port", &lite)?;
        for pin in port.module().ports().iter().filter(|pin| pin.name.starts_with("axi_")) {
            if pin.input {
                port.set(&pin.name, m.input(&pin.name, pin.width));
            } else {
                m.output(&pin.name, port.get(&pin.name));
            }
        }
        // A register between the port and the many registers that may be written.
        let word = |address: Wire<'m>| address.slice(WORD.ilog2(), address.width() - WORD.ilog2());
        let mask: Vec<_> = port.get("write_strb_o").bits().iter().map(|byte| byte.repeat(8)).collect();
        Ok(Self {
            m,
            write: m.register_valid("write", port.get("write_o")),
            write_word: m.register("write_word", word(port.get("write_addr_o"))),
            data: m.register("write_data", port.get("write_data_o")),
            mask: m.register("write_mask", m.pack(&mask)),
            read: port.get("read_o"),
            read_word: word(port.get("read_addr_o")),
            port,
        })
    }

    /// Whether the word at an offset is written.
    pub fn writes(&self, offset: u32) -> Wire<'m> {
        self.write & self.write_word.eq(u64::from(offset / WORD))
    }

    /// Whether it is read.
    pub fn reads(&self, offset: u32) -> Wire<'m> {
        self.read & self.read_word.eq(u64::from(offset / WORD))
    }

    /// Whether a one is written to a bit of the word at an offset.
    pub fn writes_one(&self, offset: u32, bit: u32) -> Wire<'m> {
        self.writes(offset) & self.mask.bit(bit) & self.data.bit(bit)
    }

    /// Bits from `low` on of a word, as they are after the write: bytes without strobe stay.
    pub fn written(&self, old: Wire<'m>, low: u32) -> Wire<'m> {
        let (data, mask) = (self.data.slice(low, old.width()), self.mask.slice(low, old.width()));
        (old & !mask) | (data & mask)
    }

    /// Answers reads with the map's words.
    pub fn answer(self, words: &[Wire<'m>]) {
        let answer = self.m.reg("answer", 8 * WORD);
        answer.set_when(self.read, self.read_word.choose(words));
        self.port.set("read_data_i", answer.q());
    }
}
