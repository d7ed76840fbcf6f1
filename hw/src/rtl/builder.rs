//! Putting a module together.

use super::bits::Bits;
use super::error::{Place, RtlError};
use super::graph::{
    Binary, CLOCK, Id, InstanceData, Item, LaterData, MemoryData, Module, Node, Port, Primitive, RESET,
    RamStyle, RegData,
};
use super::names::is_identifier;
use super::parts::{Instance, Later, Memory, Reg};
use super::wire::Wire;
use super::{Block, MAX_WIDTH};
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// A module that is being put together.
///
/// Nothing here panics or returns an error at once: whatever is wrong is noted with its place, and [`Builder::finish`]
/// returns the first.
#[derive(Debug)]
pub struct Builder {
    pub(crate) state: RefCell<Module>,
    errors: RefCell<Vec<RtlError>>,
}

impl Builder {
    /// A module of a name; the name tells the configuration (`fifo_w8_d16`).
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let state = RefCell::new(Module { name: name.into(), ..Module::default() });
        Self { state, errors: RefCell::default() }
    }

    pub(crate) fn fail(&self, error: RtlError) {
        self.errors.borrow_mut().push(error);
    }

    pub(crate) fn name(&self) -> String {
        self.state.borrow().name.clone()
    }

    /// A width that can be; what cannot is noted.
    #[track_caller]
    pub(crate) fn checked_width(&self, width: u64) -> u32 {
        if width == 0 || width > u64::from(MAX_WIDTH) {
            self.fail(RtlError::NoSuchWidth { asked: width, place: Place::here() });
            return 1;
        }
        width as u32
    }

    /// Adds a node; operations on constants become constants.
    pub(crate) fn push(&self, node: Node, width: u32) -> Wire<'_> {
        let mut state = self.state.borrow_mut();
        let folded = state.folded(&node, width);
        let id = state.items.len() as Id;
        state.items.push(Item { node: folded.unwrap_or(node), width, name: None });
        Wire::new(self, id, width)
    }

    /// An input port.
    #[track_caller]
    pub fn input(&self, name: &str, width: u32) -> Wire<'_> {
        let width = self.checked_width(u64::from(width));
        let port = {
            let mut state = self.state.borrow_mut();
            state.ports.push(Port { name: name.into(), width, input: true });
            state.outputs.push(None);
            state.ports.len() as u32 - 1
        };
        self.push(Node::Input(port), width)
    }

    /// An output port.
    #[track_caller]
    pub fn output(&self, name: &str, value: Wire<'_>) {
        let value = self.own(value);
        let mut state = self.state.borrow_mut();
        state.ports.push(Port { name: name.into(), width: value.width(), input: false });
        state.outputs.push(Some(value.id));
    }

    /// A constant; it has to fit the width.
    #[track_caller]
    pub fn lit(&self, width: u32, value: u64) -> Wire<'_> {
        let width = self.checked_width(u64::from(width));
        if width < u64::BITS && value >> width != 0 {
            self.fail(RtlError::Literal { value, width, place: Place::here() });
        }
        self.constant(Bits::from_u64(width, value))
    }

    /// A constant of any width.
    #[track_caller]
    pub fn constant(&self, bits: Bits) -> Wire<'_> {
        let width = self.checked_width(u64::from(bits.width()));
        self.push(Node::Const(bits), width)
    }

    /// A register. It takes its next value from [`Reg::set`] or one of its kin.
    #[track_caller]
    pub fn reg(&self, name: &str, width: u32) -> Reg<'_> {
        let width = self.checked_width(u64::from(width));
        let index = {
            let mut state = self.state.borrow_mut();
            state.regs.push(RegData {
                name: name.into(),
                width,
                next: None,
                enable: None,
                reset: None,
                attributes: Vec::new(),
            });
            state.regs.len() as u32 - 1
        };
        Reg { q: self.push(Node::Reg(index), width), index }
    }

    /// A value one cycle later, without reset: for data.
    #[track_caller]
    pub fn register(&self, name: &str, value: Wire<'_>) -> Wire<'_> {
        let value = self.own(value);
        let reg = self.reg(name, value.width());
        reg.set(value);
        reg.q()
    }

    /// A bit one cycle later, zero after reset: for `valid` and its like.
    #[track_caller]
    pub fn register_valid(&self, name: &str, value: Wire<'_>) -> Wire<'_> {
        let value = self.own(value);
        let reg = self.reg(name, value.width()).reset(0);
        reg.set(value);
        reg.q()
    }

    /// A wire that is read before it is given its value with [`Later::set`].
    #[track_caller]
    pub fn later(&self, name: &str, width: u32) -> Later<'_> {
        let width = self.checked_width(u64::from(width));
        let index = {
            let mut state = self.state.borrow_mut();
            state.laters.push(LaterData { name: name.into(), value: None });
            state.laters.len() as u32 - 1
        };
        Later { wire: self.push(Node::Later(index), width), index }
    }

    /// A memory of `depth` words, which begins with anything.
    #[track_caller]
    pub fn memory(&self, name: &str, width: u32, depth: u32, style: RamStyle) -> Memory<'_> {
        self.add_memory(name, width, depth, style, Vec::new())
    }

    /// A table that is never written.
    #[track_caller]
    pub fn table(&self, name: &str, width: u32, style: RamStyle, contents: Vec<Bits>) -> Memory<'_> {
        for word in contents.iter().filter(|word| word.width() != width) {
            let place = Place::here();
            self.fail(RtlError::Width { op: "table with words", left: width, right: word.width(), place });
        }
        self.add_memory(name, width, contents.len() as u32, style, contents)
    }

    #[track_caller]
    fn add_memory(
        &self,
        name: &str,
        width: u32,
        depth: u32,
        style: RamStyle,
        contents: Vec<Bits>,
    ) -> Memory<'_> {
        let width = self.checked_width(u64::from(width));
        if depth == 0 {
            self.fail(RtlError::Empty { op: "memory", place: Place::here() });
        }
        let mut state = self.state.borrow_mut();
        state.memories.push(MemoryData { name: name.into(), width, depth, style, contents, write: None });
        Memory { m: self, index: state.memories.len() as u32 - 1, width, depth }
    }

    /// The module as an instance of a device's own cell, in Verilog, for tools that define the macro; for all others, and
    /// for simulation, it is what is built here. The text uses the ports' names and has to do the same.
    pub fn primitive(&self, when: &'static str, text: impl Into<String>) {
        self.state.borrow_mut().primitive = Some(Primitive { when, text: text.into() });
    }

    /// Another module within this one. Clock and reset are connected as they are; see [`Instance::reset_by`].
    ///
    /// # Errors
    /// What is wrong with the other module.
    pub fn instance(&self, name: &str, block: &impl Block) -> Result<Instance<'_>, RtlError> {
        let module = block.module()?;
        let inputs = vec![None; module.ports.len()];
        let mut state = self.state.borrow_mut();
        state.instances.push(InstanceData {
            name: name.into(),
            module: Arc::clone(&module),
            inputs,
            reset: None,
        });
        Ok(Instance { m: self, index: state.instances.len() as u32 - 1, module })
    }

    /// The wire, if it is of this module; another module's is noted and replaced by zeros.
    #[track_caller]
    pub(crate) fn own<'m>(&'m self, wire: Wire<'_>) -> Wire<'m> {
        if std::ptr::eq(self, wire.m) {
            return Wire::new(self, wire.id, wire.width());
        }
        self.fail(RtlError::Foreign { module: self.name(), other: wire.m.name(), place: Place::here() });
        self.push(Node::Const(Bits::zero(wire.width())), wire.width())
    }

    /// The module.
    ///
    /// # Errors
    /// The first thing that was wrong: an operation, a name, a register without a value, an open input.
    pub fn finish(self) -> Result<Arc<Module>, RtlError> {
        if let Some(first) = self.errors.into_inner().into_iter().next() {
            return Err(first);
        }
        let mut module = self.state.into_inner();
        let child = |f: fn(&Module) -> bool| module.instances.iter().any(|instance| f(&instance.module));
        let clocked = !module.regs.is_empty()
            || module.memories.iter().any(|memory| memory.write.is_some())
            || child(Module::is_clocked);
        let resettable = module.regs.iter().any(|reg| reg.reset.is_some()) || child(Module::has_reset);
        (module.clocked, module.resettable) = (clocked, resettable);
        module.check_driven()?;
        module.settle_names()?;
        Ok(Arc::new(module))
    }
}

impl Module {
    /// The constant that a node comes to, if it does.
    fn folded(&self, node: &Node, width: u32) -> Option<Node> {
        let value = |id: Id| match &self.items[id as usize].node {
            Node::Const(bits) => Some(bits),
            _ => None,
        };
        // Comparisons that the width decides; lint objects to them.
        if let Node::Binary(op @ (Binary::Lt | Binary::Le), a, b) = node {
            let never = value(*a).is_some_and(Bits::all) || value(*b).is_some_and(|b| !b.any());
            let always = value(*a).is_some_and(|a| !a.any()) || value(*b).is_some_and(Bits::all);
            match op {
                Binary::Lt if never => return Some(Node::Const(Bits::bit_of(false))),
                Binary::Le if always => return Some(Node::Const(Bits::bit_of(true))),
                _ => {}
            }
        }
        let values: Option<Vec<&Bits>> = node.operands().into_iter().map(value).collect();
        let values = values.filter(|values| !values.is_empty())?;
        node.value(width, &values).map(Node::Const)
    }

    fn check_driven(&self) -> Result<(), RtlError> {
        let undriven = |what: String| RtlError::Undriven { module: self.name.clone(), what };
        if let Some(reg) = self.regs.iter().find(|reg| reg.next.is_none()) {
            return Err(undriven(format!("register {}", reg.name)));
        }
        if let Some(later) = self.laters.iter().find(|later| later.value.is_none()) {
            return Err(undriven(format!("wire {}", later.name)));
        }
        for instance in &self.instances {
            let open =
                instance.module.ports.iter().zip(&instance.inputs).find(|(p, id)| p.input && id.is_none());
            if let Some((port, _)) = open {
                return Err(undriven(format!("input {} of instance {}", port.name, instance.name)));
            }
        }
        Ok(())
    }

    /// Checks all names and makes those of wires differ, in order of creation.
    fn settle_names(&mut self) -> Result<(), RtlError> {
        let mut taken: HashSet<String> = HashSet::new();
        let declared = std::iter::once(&self.name)
            .chain(self.ports.iter().map(|port| &port.name))
            .chain(self.regs.iter().map(|reg| &reg.name))
            .chain(self.memories.iter().map(|memory| &memory.name))
            .chain(self.instances.iter().map(|instance| &instance.name))
            .chain(self.laters.iter().map(|later| &later.name));
        for name in declared {
            if !is_identifier(name) {
                return Err(RtlError::Name { module: self.name.clone(), name: name.clone() });
            }
            let implicit = (name == CLOCK && self.clocked) || (name == RESET && self.resettable);
            if implicit || !taken.insert(name.clone()) {
                return Err(RtlError::NameTwice { module: self.name.clone(), name: name.clone() });
            }
        }
        for name in self.items.iter_mut().filter_map(|item| item.name.as_mut()) {
            if !is_identifier(name) {
                return Err(RtlError::Name { module: self.name.clone(), name: name.clone() });
            }
            let base = name.clone();
            let mut count = 1;
            while [CLOCK, RESET].contains(&name.as_str()) || !taken.insert(name.clone()) {
                count += 1;
                *name = format!("{base}_{count}");
            }
        }
        Ok(())
    }
}
