//! A module as Verilog-2005.
//!
//! Every expression has, taken by itself, the width of its node and no sign, so that its value does not depend on what
//! stands around it: operands are extended in so many words, signed operations stand in `$unsigned(...)`.

use super::bits::Bits;
use super::graph::{
    Binary, CLOCK, Id, InstanceData, MemoryData, Module, Node, RESET, RamStyle, RegData, Unary,
};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

/// Longest expression that is written in place; longer ones get a wire.
const LONGEST: usize = 100;

/// The text of a module, without what it is made of.
pub(crate) fn module_text(module: &Module) -> String {
    Printer::new(module).print()
}

struct Printer<'a> {
    module: &'a Module,
    /// How a node is referred to, once it has been looked at.
    text: Vec<String>,
    /// Whether that text is an identifier, which parts can be taken of.
    plain: Vec<bool>,
    /// How often a node is used by what matters; nodes without use are not written.
    uses: Vec<u32>,
    sliced: Vec<bool>,
    /// Wires of instances' outputs, for those that are used.
    outputs: BTreeMap<(u32, u32), String>,
    taken: HashSet<String>,
    out: String,
}

fn range(width: u32) -> String {
    if width == 1 { String::new() } else { format!("[{}:0] ", width - 1) }
}

impl<'a> Printer<'a> {
    fn new(module: &'a Module) -> Self {
        let count = module.items.len();
        let mut printer = Self {
            module,
            text: vec![String::new(); count],
            plain: vec![false; count],
            uses: vec![0; count],
            sliced: vec![false; count],
            outputs: BTreeMap::new(),
            taken: module.declared_names(),
            out: String::new(),
        };
        printer.count_uses();
        printer.name_outputs();
        printer
    }

    /// Operands come before what is made of them, so one pass backwards finds all that is used.
    fn count_uses(&mut self) {
        let module = self.module;
        for id in module.roots() {
            self.uses[id as usize] += 1;
        }
        for (id, item) in module.items.iter().enumerate().rev() {
            if self.uses[id] == 0 {
                continue;
            }
            for operand in item.node.operands() {
                self.uses[operand as usize] += 1;
            }
            // These take single bits of their operands.
            let (first, second) = match item.node {
                Node::Slice(of, _) | Node::Sext(of) => (Some(of), None),
                Node::Binary(Binary::MulSigned, a, b) => (Some(a), Some(b)),
                _ => (None, None),
            };
            for of in [first, second].into_iter().flatten() {
                self.sliced[of as usize] = true;
            }
        }
    }

    fn name_outputs(&mut self) {
        let module = self.module;
        for (id, item) in module.items.iter().enumerate() {
            let Node::Output { instance, port } = item.node else { continue };
            if self.uses[id] > 0 && !self.outputs.contains_key(&(instance, port)) {
                let of = &module.instances[instance as usize];
                let name = self.free(format!("{}_{}", of.name, of.module.ports[port as usize].name));
                self.outputs.insert((instance, port), name);
            }
        }
    }

    /// A name that nothing has yet.
    fn free(&mut self, mut name: String) -> String {
        while !self.taken.insert(name.clone()) {
            name.push_str("_w");
        }
        name
    }

    fn line(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.out, "{}", text.as_ref());
    }

    fn print(mut self) -> String {
        let module = self.module;
        self.header();
        if let Some(primitive) = &module.primitive {
            self.line(format!("`ifdef {}\n{}`else", primitive.when, primitive.text));
        }
        for memory in &module.memories {
            self.declare_memory(memory);
        }
        for reg in &module.regs {
            self.declare_reg(reg);
        }
        for later in module.laters.iter().zip(module.later_widths()) {
            self.line(format!("    wire {}{};", range(later.1), later.0.name));
        }
        self.declare_outputs_of_instances();
        for id in 0..module.items.len() {
            self.item(id);
        }
        for later in &module.laters {
            let value = self.at(later.value.unwrap_or_default());
            self.line(format!("    assign {} = {value};", later.name));
        }
        for (port, id) in module.ports.iter().zip(&module.outputs) {
            if let Some(id) = id {
                let value = self.at(*id);
                self.line(format!("    assign {} = {value};", port.name));
            }
        }
        module.memories.iter().for_each(|memory| self.write_port(memory));
        module.regs.iter().for_each(|reg| self.register(reg));
        for (index, instance) in (0..).zip(&module.instances) {
            self.instance(index, instance);
        }
        if module.primitive.is_some() {
            self.line("`endif");
        }
        self.line("endmodule");
        self.out
    }

    fn header(&mut self) {
        let mut ports = Vec::new();
        if self.module.clocked {
            ports.push(format!("    input wire {CLOCK}"));
        }
        if self.module.resettable {
            ports.push(format!("    input wire {RESET}"));
        }
        ports.extend(self.module.ports.iter().map(|port| {
            let direction = if port.input { "input" } else { "output" };
            format!("    {direction} wire {}{}", range(port.width), port.name)
        }));
        self.line(format!("module {} (\n{}\n);", self.module.name, ports.join(",\n")));
    }

    fn declare_memory(&mut self, memory: &MemoryData) {
        // Look-up tables that are never written are logic, not distributed memory, for which tools want a write port.
        if memory.contents.is_empty() || memory.style != RamStyle::Distributed {
            self.line(format!("    (* ram_style = \"{}\" *)", memory.style.attribute()));
        }
        self.line(format!(
            "    reg {}{} [0:{}];",
            range(memory.width),
            memory.name,
            memory.depth.saturating_sub(1)
        ));
        if memory.contents.is_empty() {
            return;
        }
        self.line("    initial begin");
        for (index, word) in memory.contents.iter().enumerate() {
            self.line(format!("        {}[{index}] = {word};", memory.name));
        }
        self.line("    end");
    }

    fn declare_reg(&mut self, reg: &RegData) {
        for (name, value) in &reg.attributes {
            self.line(format!("    (* {name} = \"{value}\" *)"));
        }
        self.line(format!("    reg {}{};", range(reg.width), reg.name));
    }

    fn declare_outputs_of_instances(&mut self) {
        let module = self.module;
        for (&(instance, port), name) in &self.outputs {
            let width = module.instances[instance as usize].module.ports[port as usize].width;
            let _ = writeln!(self.out, "    wire {}{name};", range(width));
        }
    }

    fn at(&self, id: Id) -> &str {
        &self.text[id as usize]
    }

    /// Finds out how a node is written; gives it a wire where one is needed.
    fn item(&mut self, id: usize) {
        let item = &self.module.items[id];
        if self.uses[id] == 0 {
            return;
        }
        let (text, plain) = self.expression(&item.node, item.width);
        let needed = !plain && (self.sliced[id] || self.uses[id] > 1 || text.len() > LONGEST);
        let constant = matches!(item.node, Node::Const(_)) && !self.sliced[id];
        if item.name.is_none() && (!needed || constant) {
            (self.text[id], self.plain[id]) = (text, plain);
            return;
        }
        let name = match &item.name {
            Some(name) => name.clone(),
            None => self.free(format!("t{id}")),
        };
        self.line(format!("    wire {}{name} = {text};", range(item.width)));
        (self.text[id], self.plain[id]) = (name, true);
    }

    /// An expression, and whether it is an identifier.
    fn expression(&self, node: &Node, width: u32) -> (String, bool) {
        let module = self.module;
        let text = match node {
            Node::Const(bits) => bits.to_string(),
            Node::Input(port) => return (module.ports[*port as usize].name.clone(), true),
            Node::Reg(reg) => return (module.regs[*reg as usize].name.clone(), true),
            Node::Later(later) => return (module.laters[*later as usize].name.clone(), true),
            Node::Output { instance, port } => return (self.outputs[&(*instance, *port)].clone(), true),
            Node::Read { memory, address } => {
                format!("{}[{}]", module.memories[*memory as usize].name, self.at(*address))
            }
            Node::Unary(op, a) => format!("({}{})", op.symbol(), self.at(*a)),
            Node::Binary(op, a, b) => self.binary(*op, *a, *b),
            Node::Slice(a, low) if width == 1 => format!("{}[{low}]", self.at(*a)),
            Node::Slice(a, low) => format!("{}[{}:{low}]", self.at(*a), low + width - 1),
            Node::Concat(parts) => {
                format!("{{{}}}", parts.iter().map(|&part| self.at(part)).collect::<Vec<_>>().join(", "))
            }
            Node::Zext(a) => self.zext(*a, width),
            Node::Sext(a) => self.sext(*a, width),
            Node::Mux(c, a, b) => format!("({} ? {} : {})", self.at(*c), self.at(*a), self.at(*b)),
        };
        (text, false)
    }

    fn zext(&self, a: Id, width: u32) -> String {
        match width - self.module.items[a as usize].width {
            0 => self.at(a).to_string(),
            more => format!("{{{}, {}}}", Bits::zero(more), self.at(a)),
        }
    }

    fn sext(&self, a: Id, width: u32) -> String {
        let own = self.module.items[a as usize].width;
        let text = self.at(a);
        let sign = if own == 1 { text.to_string() } else { format!("{text}[{}]", own - 1) };
        format!("{{{{{}{{{sign}}}}}, {text}}}", width - own)
    }

    fn binary(&self, op: Binary, a: Id, b: Id) -> String {
        let width = |id: Id| self.module.items[id as usize].width;
        let (left, right) = (self.at(a), self.at(b));
        let symbol = op.symbol();
        match op {
            Binary::LtSigned | Binary::LeSigned => format!("($signed({left}) {symbol} $signed({right}))"),
            Binary::Sar => format!("$unsigned($signed({left}) {symbol} {right})"),
            Binary::Mul => {
                let all = width(a) + width(b);
                format!("({} {symbol} {})", self.zext(a, all), self.zext(b, all))
            }
            Binary::MulSigned => {
                let all = width(a) + width(b);
                format!("$unsigned($signed({}) {symbol} $signed({}))", self.sext(a, all), self.sext(b, all))
            }
            _ => format!("({left} {symbol} {right})"),
        }
    }

    fn write_port(&mut self, memory: &MemoryData) {
        let Some(write) = &memory.write else { return };
        let (enable, address, data) = (self.at(write.enable), self.at(write.address), self.at(write.data));
        let text = format!(
            "    always @(posedge {CLOCK}) begin\n        if ({enable}) {}[{address}] <= {data};\n    end",
            memory.name
        );
        self.line(text);
    }

    fn register(&mut self, reg: &RegData) {
        let next = self.at(reg.next.unwrap_or_default());
        let mut text = format!("{} <= {next};", reg.name);
        if let Some(enable) = reg.enable {
            text = format!("if ({}) {text}", self.at(enable));
        }
        if let Some(reset) = &reg.reset {
            text = format!("if ({RESET}) {} <= {reset};\n        else {text}", reg.name);
        }
        self.line(format!("    always @(posedge {CLOCK}) begin\n        {text}\n    end"));
    }

    fn instance(&mut self, index: u32, instance: &InstanceData) {
        let module = &instance.module;
        let mut pins = Vec::new();
        if module.clocked {
            pins.push(format!("        .{CLOCK}({CLOCK})"));
        }
        if module.resettable {
            let own = instance.reset.map(|id| format!(" | {}", self.at(id)));
            pins.push(format!("        .{RESET}({RESET}{})", own.unwrap_or_default()));
        }
        for (port, (data, input)) in (0..).zip(module.ports.iter().zip(&instance.inputs)) {
            // An output that nobody uses stays open.
            let value = match input {
                Some(id) => self.at(*id),
                None => self.outputs.get(&(index, port)).map_or("", String::as_str),
            };
            pins.push(format!("        .{}({value})", data.name));
        }
        self.line(format!("    {} {} (\n{}\n    );", module.name, instance.name, pins.join(",\n")));
    }
}

impl Module {
    fn declared_names(&self) -> HashSet<String> {
        let declared = self
            .ports
            .iter()
            .map(|port| &port.name)
            .chain(self.regs.iter().map(|reg| &reg.name))
            .chain(self.memories.iter().map(|memory| &memory.name))
            .chain(self.instances.iter().map(|instance| &instance.name))
            .chain(self.laters.iter().map(|later| &later.name))
            .chain(self.items.iter().filter_map(|item| item.name.as_ref()))
            .chain([&self.name]);
        declared.cloned().chain([CLOCK.into(), RESET.into()]).collect()
    }

    /// The nodes that are used by something other than nodes.
    fn roots(&self) -> Vec<Id> {
        let mut roots: Vec<Id> = self.outputs.iter().flatten().copied().collect();
        roots.extend(self.regs.iter().flat_map(|reg| [reg.next, reg.enable]).flatten());
        roots.extend(self.laters.iter().filter_map(|later| later.value));
        roots.extend(
            self.instances
                .iter()
                .flat_map(|instance| instance.inputs.iter().chain([&instance.reset]).flatten()),
        );
        for write in self.memories.iter().filter_map(|memory| memory.write.as_ref()) {
            roots.extend([write.enable, write.address, write.data]);
        }
        roots
    }

    fn later_widths(&self) -> Vec<u32> {
        let mut widths = vec![1; self.laters.len()];
        for item in &self.items {
            if let Node::Later(index) = item.node {
                widths[index as usize] = item.width;
            }
        }
        widths
    }
}

impl Unary {
    fn symbol(self) -> &'static str {
        match self {
            Self::Not => "~",
            Self::Any => "|",
            Self::All => "&",
            Self::Parity => "^",
        }
    }
}

impl Binary {
    fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
            Self::Mul | Self::MulSigned => "*",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt | Self::LtSigned => "<",
            Self::Le | Self::LeSigned => "<=",
            Self::Shl => "<<",
            Self::Shr => ">>",
            Self::Sar => ">>>",
        }
    }
}
