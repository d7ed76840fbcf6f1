//! Running a module in Rust, cycle by cycle.

use super::bits::Bits;
use super::error::{Place, RtlError};
use super::graph::{Id, InstanceData, Module, Node, RESET};
use smallvec::SmallVec;
use std::sync::Arc;

/// A module that runs: values are what the Verilog gives, with zeros where Verilog has unknowns (registers and memories
/// before their first value, reads beyond a memory's depth).
///
/// Meant for trying things out; Verilator is faster and is the reference.
#[derive(Clone, Debug)]
pub struct Simulator {
    module: Arc<Module>,
    flat: Flat,
    /// Slots of the input ports; the items of the top come first.
    inputs: Vec<Option<usize>>,
    values: Vec<Bits>,
    memories: Vec<Vec<Bits>>,
    reset: bool,
    settled: bool,
}

/// A module with all that it is made of, in one list.
#[derive(Clone, Debug, Default)]
struct Flat {
    slots: Vec<Slot>,
    order: Vec<u32>,
    regs: Vec<FlatReg>,
    memories: Vec<FlatMemory>,
}

#[derive(Clone, Debug)]
struct Slot {
    kind: Kind,
    width: u32,
    operands: SmallVec<[u32; 3]>,
    label: u32,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Keeps its value: constants, registers, inputs of the top.
    Held(Bits),
    Copy,
    Read(u32),
    Node(Node),
}

#[derive(Clone, Debug)]
struct FlatReg {
    slot: u32,
    next: u32,
    enable: Option<u32>,
    reset: Option<Bits>,
    /// What resets it beside the reset of the top.
    resets: SmallVec<[u32; 1]>,
}

#[derive(Clone, Debug)]
struct FlatMemory {
    width: u32,
    depth: u32,
    contents: Vec<Bits>,
    write: Option<[u32; 3]>,
}

impl Simulator {
    /// A module at power-up.
    ///
    /// # Errors
    /// [`RtlError::Loop`] where a value depends on itself.
    pub fn new(module: &Arc<Module>) -> Result<Self, RtlError> {
        let flat = Flat::new(module)?;
        let values = flat
            .slots
            .iter()
            .map(|slot| match &slot.kind {
                Kind::Held(bits) => bits.clone(),
                _ => Bits::zero(slot.width),
            })
            .collect();
        let memories = flat
            .memories
            .iter()
            .map(|memory| match memory.contents.as_slice() {
                [] => vec![Bits::zero(memory.width); memory.depth as usize],
                contents => contents.to_vec(),
            })
            .collect();
        let slot = |port: u32| module.items.iter().position(|item| item.node == Node::Input(port));
        let inputs = (0..module.ports.len() as u32).map(slot).collect();
        Ok(Self { module: Arc::clone(module), flat, inputs, values, memories, reset: false, settled: false })
    }

    /// Sets an input, `rst_i` included.
    ///
    /// # Errors
    /// [`RtlError::NoSuchPort`], [`RtlError::Width`].
    #[track_caller]
    pub fn set(&mut self, port: &str, value: Bits) -> Result<(), RtlError> {
        let place = Place::here();
        let check = |left: u32| match value.width() {
            right if right == left => Ok(()),
            right => Err(RtlError::Width { op: "value of a port", left, right, place }),
        };
        if port == RESET && self.module.has_reset() {
            check(1)?;
            self.set_reset(value.any());
            return Ok(());
        }
        let index = self.module.port_index(port, true).ok_or_else(|| self.no_port(port, true, place))?;
        check(self.module.ports[index].width)?;
        self.set_input(index, &value);
        Ok(())
    }

    /// Sets the reset; a module without one does not mind.
    pub(crate) fn set_reset(&mut self, value: bool) {
        self.settled &= self.reset == value;
        self.reset = value;
    }

    /// Sets an input of the right width by its port's number.
    pub(crate) fn set_input(&mut self, port: usize, value: &Bits) {
        if let Some(slot) = self.inputs[port]
            && self.values[slot] != *value
        {
            self.values[slot].clone_from(value);
            self.settled = false;
        }
    }

    /// An output by its port's number.
    pub(crate) fn output(&mut self, port: usize) -> Bits {
        self.settle();
        self.module.outputs[port].map_or_else(|| Bits::zero(1), |slot| self.values[slot as usize].clone())
    }

    /// An output in this cycle.
    ///
    /// # Errors
    /// [`RtlError::NoSuchPort`].
    #[track_caller]
    pub fn get(&mut self, port: &str) -> Result<Bits, RtlError> {
        let place = Place::here();
        let index = self.module.port_index(port, false).ok_or_else(|| self.no_port(port, false, place))?;
        Ok(self.output(index))
    }

    fn no_port(&self, port: &str, input: bool, place: Place) -> RtlError {
        let has: Vec<_> =
            self.module.ports.iter().filter(|p| p.input == input).map(|p| p.name.as_str()).collect();
        RtlError::NoSuchPort {
            module: self.module.name.clone(),
            direction: if input { "input" } else { "output" },
            port: port.into(),
            has: if has.is_empty() { "none".into() } else { has.join(", ") },
            place,
        }
    }

    fn settle(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        for &index in &self.flat.order {
            let slot = &self.flat.slots[index as usize];
            let operand = |n: usize| &self.values[slot.operands[n] as usize];
            let value = match &slot.kind {
                Kind::Held(_) => continue,
                Kind::Copy => operand(0).clone(),
                Kind::Read(memory) => {
                    let at = operand(0).to_u64().and_then(|at| usize::try_from(at).ok());
                    let word = at.and_then(|at| self.memories[*memory as usize].get(at));
                    word.cloned().unwrap_or_else(|| Bits::zero(slot.width))
                }
                Kind::Node(node) => {
                    let operands: SmallVec<[&Bits; 4]> =
                        slot.operands.iter().map(|&operand| &self.values[operand as usize]).collect();
                    node.value(slot.width, &operands).unwrap_or_else(|| Bits::zero(slot.width))
                }
            };
            self.values[index as usize] = value;
        }
    }

    /// A rising edge of the clock.
    pub fn tick(&mut self) {
        self.settle();
        let values = &self.values;
        let next: Vec<Option<Bits>> = self
            .flat
            .regs
            .iter()
            .map(|reg| match (&reg.reset, reg.enable) {
                (Some(reset), _) if self.reset || reg.resets.iter().any(|at| values[*at as usize].any()) => {
                    Some(reset.clone())
                }
                (_, Some(enable)) if !values[enable as usize].any() => None,
                _ => Some(values[reg.next as usize].clone()),
            })
            .collect();
        for (memory, words) in self.flat.memories.iter().zip(&mut self.memories) {
            let Some([enable, address, data]) = memory.write else { continue };
            let at = values[address as usize].to_u64().and_then(|at| usize::try_from(at).ok());
            if values[enable as usize].any()
                && let Some(word) = at.and_then(|at| words.get_mut(at))
            {
                word.clone_from(&values[data as usize]);
            }
        }
        for (reg, next) in self.flat.regs.iter().zip(next) {
            if let Some(next) = next {
                self.values[reg.slot as usize] = next;
            }
        }
        self.settled = false;
    }
}

impl Flat {
    fn new(top: &Arc<Module>) -> Result<Self, RtlError> {
        let mut flat = Self::default();
        let mut labels = Vec::new();
        flat.add(top, None, &SmallVec::new(), &mut labels, top.name());
        flat.sort(&labels, top.name())?;
        Ok(flat)
    }

    /// Adds a module; `outer` is the instance that it is and where the items of the module around it begin, `resets` is what resets that.
    fn add(
        &mut self,
        module: &Module,
        outer: Option<(&InstanceData, u32)>,
        resets: &SmallVec<[u32; 1]>,
        labels: &mut Vec<String>,
        path: &str,
    ) -> u32 {
        let base = self.slots.len() as u32;
        let (regs, memories) = (self.regs.len(), self.memories.len() as u32);
        let label = labels.len() as u32;
        labels.push(path.to_string());
        for item in &module.items {
            let (kind, operands) = inner_kind(item.node.clone(), item.width, base, memories, outer);
            self.slots.push(Slot { kind, width: item.width, operands, label });
        }
        for reg in &module.regs {
            let enable = reg.enable.map(|id| base + id);
            let next = base + reg.next.unwrap_or_default();
            let (reset, resets) = (reg.reset.clone(), resets.clone());
            self.regs.push(FlatReg { slot: base, next, enable, reset, resets });
        }
        for memory in &module.memories {
            let write = memory.write.as_ref().map(|w| [w.enable, w.address, w.data].map(|id| base + id));
            let contents = memory.contents.clone();
            self.memories.push(FlatMemory { width: memory.width, depth: memory.depth, contents, write });
        }
        let inner: Vec<u32> = module
            .instances
            .iter()
            .map(|one| {
                let own = one.reset.iter().map(|id| base + id);
                let resets = resets.iter().copied().chain(own).collect();
                let path = format!("{path}.{}", one.name);
                self.add(&one.module, Some((one, base)), &resets, labels, &path)
            })
            .collect();
        self.connect(module, base, regs, &inner);
        base
    }

    /// Fills in what is known only when all of a module is there: slots of registers, wires given later, outputs of
    /// instances.
    fn connect(&mut self, module: &Module, base: u32, regs: usize, inner: &[u32]) {
        for (slot, item) in (base..).zip(&module.items) {
            let from = match item.node {
                Node::Reg(reg) => {
                    self.regs[regs + reg as usize].slot = slot;
                    continue;
                }
                Node::Later(later) => module.laters[later as usize].value.map(|id| base + id),
                Node::Output { instance, port } => {
                    let output = module.instances[instance as usize].module.outputs[port as usize];
                    output.map(|id| inner[instance as usize] + id)
                }
                _ => continue,
            };
            self.slots[slot as usize].operands = from.into_iter().collect();
        }
    }

    /// Finds an order in which every slot comes after what it is computed from.
    fn sort(&mut self, labels: &[String], top: &str) -> Result<(), RtlError> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.slots.len()];
        for start in 0..self.slots.len() as u32 {
            let mut stack = vec![(start, 0)];
            while let Some((slot, next)) = stack.pop() {
                let at = slot as usize;
                if marks[at] == Mark::Done {
                    continue;
                }
                marks[at] = Mark::Open;
                let Some(&operand) = self.slots[at].operands.get(next) else {
                    marks[at] = Mark::Done;
                    self.order.push(slot);
                    continue;
                };
                stack.push((slot, next + 1));
                match marks[operand as usize] {
                    Mark::Done => {}
                    Mark::New => stack.push((operand, 0)),
                    Mark::Open => {
                        let from = stack.iter().position(|entry| entry.0 == operand).unwrap_or(0);
                        let mut path: Vec<_> = stack[from..]
                            .iter()
                            .map(|e| labels[self.slots[e.0 as usize].label as usize].as_str())
                            .collect();
                        path.dedup();
                        return Err(RtlError::Loop { module: top.into(), path: path.join(", ") });
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a node is in the list, and what it is computed from; wires given later and outputs of instances follow.
fn inner_kind(
    node: Node,
    width: u32,
    base: u32,
    memories: u32,
    outer: Option<(&InstanceData, u32)>,
) -> (Kind, SmallVec<[u32; 3]>) {
    let operands = |node: &Node| node.operands().into_iter().map(|id: Id| base + id).collect();
    match node {
        Node::Const(bits) => (Kind::Held(bits), SmallVec::new()),
        Node::Reg(_) => (Kind::Held(Bits::zero(width)), SmallVec::new()),
        Node::Input(port) => match outer {
            None => (Kind::Held(Bits::zero(width)), SmallVec::new()),
            Some((instance, base)) => {
                (Kind::Copy, instance.inputs[port as usize].iter().map(|id| base + id).collect())
            }
        },
        Node::Later(_) | Node::Output { .. } => (Kind::Copy, SmallVec::new()),
        Node::Read { memory, .. } => (Kind::Read(memories + memory), operands(&node)),
        _ => {
            let operands = operands(&node);
            (Kind::Node(node), operands)
        }
    }
}
