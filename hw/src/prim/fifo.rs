//! `fifo`: a queue of words in one clock domain.
//!
//! # Purpose
//!
//! Holds words between a producer and a consumer that do not keep pace.
//!
//! # Interface
//!
//! A *stream* on either side. First word fall-through: the oldest word is on the output as soon as it is valid.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | empties the queue |
//! | `in_valid_i`, `in_data_i`, `in_ready_o` | | 1, width, 1 | words come |
//! | `out_valid_o`, `out_data_o`, `out_ready_i` | | 1, width, 1 | words leave |
//! | `count_o` | out | log2(depth + 1) | words in the queue, those of the output included |
//! | `almost_full_o` | out | 1 | `count_o` is at least `almost` |
//!
//! # Timing
//!
//! One word in and one out per cycle, also when full is left or empty is entered; every control output comes from registers
//! (`in_ready_o` does not depend on `out_ready_i`). A word that goes into an empty queue is on the output after 1 cycle
//! (distributed memory) or 2 cycles (block RAM and UltraRAM, whose word waits in an output register). With [`Fifo::registered`] the word
//! comes from a register also where it comes after 1 cycle.
//!
//! # Numeric contract
//!
//! None: words leave as they came, in order.
//!
//! # Cost
//!
//! The memory, two pointers and a count. Any depth; powers of two spare the pointers a comparison. With block RAM and UltraRAM the
//! word on the output counts as one of the `depth`.
//!
//! # Verification
//!
//! `tests/tests/rtl_primitives/streams.rs::fifos_are_queues`; no loss, duplication, reordering, over- or underflow:
//! `tests/tests/rtl_formal.rs::fifo`.
//!
//! # Example
//!
//! ```
//! use fastcar_hw::{prim::Fifo, rtl::{Block, RamStyle}};
//!
//! let fifo = Fifo::new(512, 32, RamStyle::Block)?.almost_full_at(24)?;
//! assert_eq!(fifo.module()?.name(), "fifo_w512_d32_block_a24");
//! # Ok::<(), fastcar_hw::rtl::RtlError>(())
//! ```

use super::counter::Counter;
use super::{data_width, within};
use crate::rtl::{Block, Builder, Module, RamStyle, Reg, RtlError, Stream, Wire, index_width};
use std::sync::Arc;

/// A queue. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fifo {
    width: u32,
    depth: u32,
    style: RamStyle,
    almost: u32,
    registered: bool,
}

impl Fifo {
    /// A queue of `depth` words. `almost_full_o` says that it is full.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(width: u32, depth: u32, style: RamStyle) -> Result<Self, RtlError> {
        let least = if style == RamStyle::Distributed { 1 } else { 2 };
        let allowed = "1 to 1048576, and at least 2 in block RAM and UltraRAM";
        let depth = within("fifo", "depth", depth, least..=1 << 20, allowed)?;
        Ok(Self { width: data_width("fifo", width)?, depth, style, almost: depth, registered: false })
    }

    /// The same queue, with `almost_full_o` from a number of words on.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn almost_full_at(self, words: u32) -> Result<Self, RtlError> {
        let almost = within("fifo", "almost", words, 1..=self.depth, "1 to the depth")?;
        Ok(Self { almost, ..self })
    }

    /// The same queue with the word on the output in a register, for what has much logic behind it. A word that goes into an empty queue goes
    /// around the memory; block RAM and UltraRAM have such a register anyway.
    #[must_use]
    pub fn registered(self) -> Self {
        Self { registered: self.style == RamStyle::Distributed, ..self }
    }

    /// Number of words.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Width of `count_o`.
    #[must_use]
    pub fn count_width(&self) -> u32 {
        index_width(u64::from(self.depth) + 1)
    }

    /// What a register becomes when there is a word more, and when there is one less. Where much logic is around, that a word leaves comes late in its cycle:
    /// then it only decides whether anything changes.
    fn steps<'m>(&self, reg: Reg<'m>, [push, pop]: [Wire<'m>; 2], [more, less]: [Wire<'m>; 2]) {
        if self.registered {
            reg.set_when(push ^ pop, push.mux(more, less));
        } else {
            reg.update(&[(push & !pop, more), (pop & !push, less)]);
        }
    }

    /// Words in the queue, and whether there are some; goes up with `push` and down with `pop`.
    fn count<'m>(&self, m: &'m Builder, push: Wire<'m>, pop: Wire<'m>) -> Wire<'m> {
        let count = m.reg("count", self.count_width()).reset(0);
        self.steps(count, [push, pop], [count.q() + 1, count.q() - 1]);
        let almost = m.reg("almost_full", 1).reset(0);
        let line = u64::from(self.almost);
        self.steps(almost, [push, pop], [count.q().ge(line - 1), count.q().gt(line)]);
        m.output("count_o", count.q());
        m.output("almost_full_o", almost.q());
        count.q()
    }

    /// Distributed memory: the word at the read pointer is the output, or stands in a register.
    fn shallow(&self, m: &Builder) {
        let input = m.stream_in("in", self.width);
        let pop = m.later("pop", 1);
        let full = m.reg("full", 1).reset(0);
        let filled = m.reg("filled", 1).reset(0);
        input.ready.set(!full.q());
        let push = input.passes().named("push");
        let count = self.count(m, push, pop.wire());
        let step = [push, pop.wire()];
        self.steps(full, step, [count.eq(u64::from(self.depth - 1)), m.lit(1, 0)]);
        self.steps(filled, step, [m.lit(1, 1), count.ne(1)]);
        let data = if self.registered {
            self.ahead(m, (push, input.data), pop.wire(), (count, filled.q()))
        } else {
            self.store(m, push, input.data, pop.wire(), None)
        };
        let output = m.stream("out_ready", filled.q(), data);
        m.stream_out("out", output);
        pop.set(output.passes());
    }

    /// The oldest word in a register: behind it comes the one after it, or, when there is none, what comes in.
    fn ahead<'m>(
        &self,
        m: &'m Builder,
        (push, data): (Wire<'m>, Wire<'m>),
        pop: Wire<'m>,
        (count, filled): (Wire<'m>, Wire<'m>),
    ) -> Wire<'m> {
        let memory = m.memory("memory", self.width, self.depth, self.style);
        memory.write(push, Counter::modulo(self.depth).build(m, "write_address", push).0, data);
        // The address behind that of the word on the output.
        let read = m.reg("read_ahead", memory.address_width()).reset(u64::from(self.depth > 1));
        let zero = m.lit(memory.address_width(), 0);
        read.set_when(pop, read.q().eq(u64::from(self.depth - 1)).mux(zero, read.q() + 1));
        // It is the only one, or there is none.
        let alone = m.reg("alone", 1).reset(1);
        let soon = if self.depth > 2 { count.le(2) } else { m.lit(1, 1) };
        self.steps(alone, [push, pop], [count.eq(0), soon]);
        let word = m.reg("out_data", self.width);
        word.set_when(pop | !filled, alone.q().mux(data, memory.read(read.q())));
        word.q()
    }

    /// A memory whose read takes a cycle: it hands words to an output register.
    fn deep(&self, m: &Builder) {
        let input = m.stream_in("in", self.width);
        let (pop, load) = (m.later("pop", 1), m.later("load", 1));
        let full = m.reg("full", 1).reset(0);
        input.ready.set(!full.q());
        let push = input.passes().named("push");
        let count = self.count(m, push, pop.wire());
        full.update(&[
            (push & !pop.wire(), count.eq(u64::from(self.depth - 1))),
            (pop.wire() & !push, m.lit(1, 0)),
        ]);
        // Words in the memory: all but the one of the output register.
        let (stored, valid) = (m.reg("stored", self.count_width()).reset(0), m.reg("valid", 1).reset(0));
        let waiting = m.reg("waiting", 1).reset(0);
        stored.update(&[(push & !load.wire(), stored.q() + 1), (load.wire() & !push, stored.q() - 1)]);
        waiting.update(&[(push & !load.wire(), m.lit(1, 1)), (load.wire() & !push, stored.q().ne(1))]);
        valid.update(&[(load.wire(), m.lit(1, 1)), (pop.wire(), m.lit(1, 0))]);
        let data = self.store(m, push, input.data, load.wire(), Some(load.wire()));
        let output = m.stream("out_ready", valid.q(), data);
        m.stream_out("out", output);
        pop.set(output.passes());
        load.set(waiting.q() & (!valid.q() | pop.wire()));
    }

    /// The memory with its pointers.
    fn store<'m>(
        &self,
        m: &'m Builder,
        push: Wire<'m>,
        data: Wire<'m>,
        pop: Wire<'m>,
        register: Option<Wire<'m>>,
    ) -> Wire<'m> {
        let memory = m.memory("memory", self.width, self.depth, self.style);
        let address = |name, step| Counter::modulo(self.depth).build(m, name, step).0;
        memory.write(push, address("write_address", push), data);
        let read = address("read_address", pop);
        match register {
            Some(enable) => memory.read_registered("out_data", enable, read),
            None => memory.read(read),
        }
    }
}

impl Block for Fifo {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let mut name = format!("fifo_w{}_d{}_{}", self.width, self.depth, self.style.attribute());
        if self.almost != self.depth {
            name.push_str(&format!("_a{}", self.almost));
        }
        if self.registered {
            name.push_str("_registered");
        }
        let m = Builder::new(name);
        match self.style {
            RamStyle::Distributed => self.shallow(&m),
            RamStyle::Block | RamStyle::Ultra => self.deep(&m),
        }
        m.finish()
    }
}

impl Fifo {
    /// Puts a queue of the given instance name behind a stream.
    ///
    /// # Errors
    /// As [`Block::module`].
    #[track_caller]
    pub fn after<'m>(&self, m: &'m Builder, name: &str, stream: Stream<'m>) -> Result<Stream<'m>, RtlError> {
        let queue = m.instance(name, self)?;
        queue.stream_in("in", stream);
        Ok(queue.stream_out("out"))
    }
}
