//! What a module has beside expressions: registers, memories, instances, wires that are given later.

use super::bits::Bits;
use super::builder::Builder;
use super::error::{Place, RtlError};
use super::graph::{Module, Node, RegData, WriteData};
use super::index_width;
use super::wire::Wire;
use std::sync::Arc;

/// A register of a module.
#[derive(Clone, Copy, Debug)]
pub struct Reg<'m> {
    pub(crate) q: Wire<'m>,
    pub(crate) index: u32,
}

impl<'m> Reg<'m> {
    fn edit(self, f: impl FnOnce(&mut RegData)) {
        f(&mut self.q.m.state.borrow_mut().regs[self.index as usize]);
    }

    /// Its value in this cycle.
    #[must_use]
    pub fn q(self) -> Wire<'m> {
        self.q
    }

    /// Its value after reset. Only control has one: memories, shift registers and DSP blocks take data registers
    /// in only when these have none.
    #[must_use]
    #[track_caller]
    pub fn reset(self, value: u64) -> Self {
        let width = self.q.width();
        if width < u64::BITS && value >> width != 0 {
            self.q.m.fail(RtlError::Literal { value, width, place: Place::here() });
        }
        self.reset_to(Bits::from_u64(width, value))
    }

    /// Its value after reset, of any width.
    #[must_use]
    #[track_caller]
    pub fn reset_to(self, value: Bits) -> Self {
        let (left, right) = (self.q.width(), value.width());
        if left != right {
            self.q.m.fail(RtlError::Width { op: "reset of a register", left, right, place: Place::here() });
        }
        self.edit(|reg| reg.reset = Some(value));
        self
    }

    /// An attribute for synthesis, such as `use_dsp` = `yes`.
    #[must_use]
    pub fn attribute(self, name: &str, value: &str) -> Self {
        self.edit(|reg| reg.attributes.push((name.into(), value.into())));
        self
    }

    /// Its value in the next cycle.
    #[track_caller]
    pub fn set(self, next: Wire<'m>) {
        self.drive(next, None);
    }

    /// Its value in the next cycle if `enable` is set; otherwise it holds.
    #[track_caller]
    pub fn set_when(self, enable: Wire<'m>, next: Wire<'m>) {
        self.drive(next, Some(enable));
    }

    /// The value that goes with the first condition that is set; it holds if none is.
    #[track_caller]
    pub fn update(self, cases: &[(Wire<'m>, Wire<'m>)]) {
        let m = self.q.m;
        let any = cases.iter().map(|case| case.0).reduce(|a, b| a | b);
        self.drive(m.select(self.q, cases), any);
    }

    #[track_caller]
    fn drive(self, next: Wire<'m>, enable: Option<Wire<'m>>) {
        let (m, place) = (self.q.m, Place::here());
        let next = m.own(next).sized("next value of a register", self.q.width());
        let enable = enable.map(|enable| m.own(enable).sized("enable of a register", 1));
        let mut twice = None;
        self.edit(|reg| {
            twice = reg.next.map(|_| format!("register {}", reg.name));
            reg.next = Some(next.id);
            reg.enable = enable.map(|enable| enable.id);
        });
        if let Some(what) = twice {
            m.fail(RtlError::DrivenTwice { what, place });
        }
    }
}

/// A wire that is read before it has its value.
#[derive(Clone, Copy, Debug)]
pub struct Later<'m> {
    pub(crate) wire: Wire<'m>,
    pub(crate) index: u32,
}

impl<'m> Later<'m> {
    /// The wire.
    #[must_use]
    pub fn wire(self) -> Wire<'m> {
        self.wire
    }

    /// Gives it its value.
    #[track_caller]
    pub fn set(self, value: Wire<'m>) {
        let m = self.wire.m;
        let value = m.own(value).sized("value of a wire", self.wire.width());
        let before = m.state.borrow_mut().laters[self.index as usize].value.replace(value.id);
        if before.is_some() {
            let what = format!("wire {}", m.state.borrow().laters[self.index as usize].name);
            m.fail(RtlError::DrivenTwice { what, place: Place::here() });
        }
    }
}

/// A memory: one write port, any number of reads (each one costs a copy or a port).
///
/// A read sees what was written in cycles before, not in the same. Reads beyond the depth give anything.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'m> {
    pub(crate) m: &'m Builder,
    pub(crate) index: u32,
    pub(crate) width: u32,
    pub(crate) depth: u32,
}

impl<'m> Memory<'m> {
    /// Width that addresses have.
    #[must_use]
    pub fn address_width(self) -> u32 {
        index_width(u64::from(self.depth))
    }

    /// The word at an address, in the same cycle. Block and UltraRAM need it to go straight into a register, see
    /// [`Memory::read_registered`].
    #[must_use]
    #[track_caller]
    pub fn read(self, address: Wire<'m>) -> Wire<'m> {
        let address = self.m.own(address).sized("address of a memory", self.address_width());
        self.m.push(Node::Read { memory: self.index, address: address.id }, self.width)
    }

    /// The word at an address, one cycle later; the register holds while `enable` is not set.
    #[must_use]
    #[track_caller]
    pub fn read_registered(self, name: &str, enable: Wire<'m>, address: Wire<'m>) -> Wire<'m> {
        let reg = self.m.reg(name, self.width);
        reg.set_when(enable, self.read(address));
        reg.q()
    }

    /// The write port.
    #[track_caller]
    pub fn write(self, enable: Wire<'m>, address: Wire<'m>, data: Wire<'m>) {
        let enable = self.m.own(enable).sized("write enable of a memory", 1);
        let address = self.m.own(address).sized("address of a memory", self.address_width());
        let data = self.m.own(data).sized("data of a memory", self.width);
        let write = WriteData { enable: enable.id, address: address.id, data: data.id };
        let before = self.m.state.borrow_mut().memories[self.index as usize].write.replace(write);
        if before.is_some() {
            let what = format!("write port of {}", self.m.state.borrow().memories[self.index as usize].name);
            self.m.fail(RtlError::DrivenTwice { what, place: Place::here() });
        }
    }
}

/// A module within another.
#[derive(Clone, Debug)]
pub struct Instance<'m> {
    pub(crate) m: &'m Builder,
    pub(crate) index: u32,
    pub(crate) module: Arc<Module>,
}

impl<'m> Instance<'m> {
    /// The module that it is one of.
    #[must_use]
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    #[track_caller]
    fn port(&self, name: &str, input: bool) -> Option<usize> {
        let index = self.module.port_index(name, input);
        if index.is_none() {
            let has: Vec<_> =
                self.module.ports.iter().filter(|p| p.input == input).map(|p| p.name.as_str()).collect();
            self.m.fail(RtlError::NoSuchPort {
                module: self.module.name.clone(),
                direction: if input { "input" } else { "output" },
                port: name.into(),
                has: if has.is_empty() { "none".into() } else { has.join(", ") },
                place: Place::here(),
            });
        }
        index
    }

    /// Connects an input.
    #[track_caller]
    pub fn set(&self, name: &str, value: Wire<'m>) {
        let Some(port) = self.port(name, true) else { return };
        let value = self.m.own(value).sized("input of an instance", self.module.ports[port].width);
        let before = self.m.state.borrow_mut().instances[self.index as usize].inputs[port].replace(value.id);
        if before.is_some() {
            self.m.fail(RtlError::DrivenTwice { what: format!("input {name}"), place: Place::here() });
        }
    }

    /// Resets the instance when a wire is set, too.
    #[track_caller]
    pub fn reset_by(&self, when: Wire<'m>) {
        let when = self.m.own(when).sized("reset of an instance", 1);
        let before = self.m.state.borrow_mut().instances[self.index as usize].reset.replace(when.id);
        if before.is_some() {
            let what = format!("reset of an instance of {}", self.module.name);
            self.m.fail(RtlError::DrivenTwice { what, place: Place::here() });
        }
    }

    /// An output.
    #[must_use]
    #[track_caller]
    pub fn get(&self, name: &str) -> Wire<'m> {
        let Some(port) = self.port(name, false) else { return self.m.constant(Bits::zero(1)) };
        self.m.push(Node::Output { instance: self.index, port: port as u32 }, self.module.ports[port].width)
    }
}
