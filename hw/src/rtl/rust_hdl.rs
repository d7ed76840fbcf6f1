//! Modules as blocks of the crate `rust-hdl`.
//!
//! A [`Circuit`] stands in a `rust-hdl` design as any other block does: it is simulated, checked (`check_all`) and printed
//! with it. [`Pin`] is its port: a signal whose width is known at run time, which `#[hdl_gen]` takes like its own.

use super::bits::Bits;
use super::design::emit;
use super::error::RtlError;
use super::graph::{CLOCK, Module, RESET};
use super::sim::Simulator;
use rust_hdl_core::ast::Wrapper;
use rust_hdl_core::prelude::*;
use rust_hdl_core::signal::get_signal_id;
use std::sync::Arc;

/// A signal of a width that is known at run time, as a port of a `rust-hdl` block.
#[derive(Clone, Debug)]
pub struct Pin {
    /// Its value after the next update.
    pub next: Bits,
    value: Bits,
    input: bool,
    changed: bool,
    connected: bool,
    id: usize,
}

impl Pin {
    /// A port of a width.
    #[must_use]
    pub fn new(width: u32, input: bool) -> Self {
        let zero = Bits::zero(width);
        Self { next: zero.clone(), value: zero, input, changed: false, connected: false, id: get_signal_id() }
    }

    /// Its value: of an input what came with the last update, of an output what it will have, as `rust-hdl` has it.
    #[must_use]
    pub fn val(&self) -> Bits {
        if self.input { self.value.clone() } else { self.next.clone() }
    }
}

impl Atom for Pin {
    fn bits(&self) -> usize {
        self.value.width() as usize
    }

    fn connected(&self) -> bool {
        self.connected
    }

    fn changed(&self) -> bool {
        self.changed
    }

    fn kind(&self) -> AtomKind {
        if self.input { AtomKind::InputParameter } else { AtomKind::OutputParameter }
    }

    fn descriptor(&self) -> TypeDescriptor {
        TypeDescriptor { name: format!("Pin<{}>", self.bits()), kind: TypeKind::Bits(self.bits()) }
    }

    fn vcd(&self) -> VCDValue {
        let digits = (0..self.value.width()).rev().map(|bit| self.value.bit(bit).into());
        VCDValue::Vector(digits.collect())
    }

    fn id(&self) -> usize {
        self.id
    }

    /// `rust-hdl` asks for the text of constants only; a port has none.
    fn verilog(&self) -> VerilogLiteral {
        VerilogLiteral::from(0u32)
    }

    fn constraints(&self) -> Vec<PinConstraint> {
        Vec::new()
    }
}

impl Logic for Pin {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.connected = true;
    }
}

impl Block for Pin {
    fn connect_all(&mut self) {}

    fn update_all(&mut self) {
        self.changed = self.value != self.next;
        if self.changed {
            self.value.clone_from(&self.next);
        }
    }

    fn has_changed(&self) -> bool {
        self.changed
    }

    fn accept(&self, name: &str, probe: &mut dyn Probe) {
        probe.visit_atom(name, self);
    }
}

/// A module as a `rust-hdl` block.
#[derive(Clone, Debug)]
pub struct Circuit {
    /// The clock.
    pub clk_i: Signal<In, Clock>,
    /// The reset; without effect on a module that has none.
    pub rst_i: Signal<In, Bit>,
    /// The module's ports in their order: `circuit.pin[n]`.
    pub pin: Vec<Pin>,
    module: Arc<Module>,
    simulator: Simulator,
    text: Wrapper,
}

impl Circuit {
    /// A module as a block.
    ///
    /// # Errors
    /// As [`emit`] and [`Simulator::new`].
    pub fn new(module: &Arc<Module>) -> Result<Self, RtlError> {
        let design = emit(module)?;
        let mut pins = Vec::new();
        for (implicit, name) in [(module.is_clocked(), CLOCK), (module.has_reset(), RESET)] {
            if implicit {
                pins.push(format!(".{name}({name})"));
            }
        }
        pins.extend((0..).zip(module.ports()).map(|(n, port)| format!(".{}(pin${n})", port.name)));
        let code = format!("{} inner({});", module.name(), pins.join(", "));
        let cores = design.modules().iter().map(|(_, text)| text.as_str()).collect();
        Ok(Self {
            clk_i: Signal::default(),
            rst_i: Signal::default(),
            pin: module.ports().iter().map(|port| Pin::new(port.width, port.input)).collect(),
            module: Arc::clone(module),
            simulator: Simulator::new(module)?,
            text: Wrapper { code, cores },
        })
    }

    /// Number of a port, for `pin`.
    #[must_use]
    pub fn pin_number(&self, name: &str) -> Option<usize> {
        self.module.ports().iter().position(|port| port.name == name)
    }
}

impl Logic for Circuit {
    fn update(&mut self) {
        // What is sampled on an edge is what the simulator was given before it.
        if self.clk_i.pos_edge() {
            self.simulator.tick();
        }
        self.simulator.set_reset(self.rst_i.val());
        for (index, pin) in self.pin.iter_mut().enumerate() {
            if pin.input {
                self.simulator.set_input(index, &pin.value);
            }
        }
        for (index, pin) in self.pin.iter_mut().enumerate() {
            if !pin.input {
                pin.next = self.simulator.output(index);
            }
        }
    }

    fn connect(&mut self) {
        self.pin.iter_mut().filter(|pin| !pin.input).for_each(Logic::connect);
    }

    fn hdl(&self) -> Verilog {
        Verilog::Wrapper(self.text.clone())
    }
}

impl Block for Circuit {
    fn connect_all(&mut self) {
        self.connect();
    }

    fn update_all(&mut self) {
        self.update();
        self.clk_i.update_all();
        self.rst_i.update_all();
        self.pin.update_all();
    }

    fn has_changed(&self) -> bool {
        self.clk_i.has_changed() || self.rst_i.has_changed() || self.pin.has_changed()
    }

    fn accept(&self, name: &str, probe: &mut dyn Probe) {
        probe.visit_start_scope(name, self);
        self.clk_i.accept(CLOCK, probe);
        self.rst_i.accept(RESET, probe);
        self.pin.accept("pin", probe);
        probe.visit_end_scope(name, self);
    }
}
