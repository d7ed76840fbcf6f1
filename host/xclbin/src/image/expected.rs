//! What an image of a configuration holds: kernel, instance, banks, connections and clock.

use super::ImageError;
use crate::error::XclbinError;
use crate::metadata::{Argument, Instance, Kernel, Port, PortMode, Qualifier, Remap};
use crate::tables::{Bank, BankKind, Clock, ClockKind, Connection, Ip, Protocol};
use crate::text::Text;
use fastcar_arch::board::{Board, MemoryKind};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::regs::{self, CONTROL_PORT, MAP_BYTES, RegisterMap};

/// Name of the kernel.
pub const KERNEL: &str = "fastcar";
/// Name of its one instance.
pub const UNIT: &str = "fastcar_1";

/// Where a card's control bus has its first kernel.
const UNIT_BASE: u64 = 0x180_0000;
/// The register map's CTRL has `ap_continue`.
const PROTOCOL: Protocol = Protocol::CHAIN;
/// The clock that drives `ap_clk`.
const CLOCK: &str = "DATA_CLK";

/// What an image of a configuration holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// The platform's name.
    pub platform: String,
    /// The kernel.
    pub kernel: Kernel,
    /// Its instance.
    pub ips: Vec<Ip>,
    /// One bank a channel.
    pub banks: Vec<Bank>,
    /// One connection a pointer.
    pub connections: Vec<Connection>,
    /// The kernel's clock.
    pub clocks: Vec<Clock>,
}

impl Expected {
    /// What an image of a configuration holds.
    ///
    /// # Errors
    /// None that a valid configuration could cause.
    pub fn of(config: &AccelConfig) -> Result<Self, ImageError> {
        let map = RegisterMap::new(config);
        // A configuration that is named as a board is made for it.
        let board = Board::named(config.name()).ok();
        let platform = match &board {
            Some(board) => board.fields().platform.name.clone(),
            None => format!("fastcar_{}", config.name()),
        };
        let memory = board.map_or(MemoryKind::Ddr4, |b| b.fields().memory.kind);
        let name = Text::new("the instance's name", &format!("{KERNEL}:{UNIT}"))?;
        let properties = Ip::properties(PROTOCOL, true);
        Ok(Self {
            platform,
            kernel: kernel(config),
            ips: vec![Ip { kind: Ip::KERNEL, properties, base: UNIT_BASE, name }],
            banks: banks(config, memory)?,
            connections: connections(config, &map),
            clocks: vec![clock(config)?],
        })
    }
}

/// The kernel of a configuration: its ports, its arguments, its instance.
#[must_use]
pub fn kernel(config: &AccelConfig) -> Kernel {
    let map = &RegisterMap::new(config);
    let control =
        Port { name: CONTROL_PORT.to_owned(), mode: PortMode::Slave, range: MAP_BYTES.into(), data_bits: 32 };
    let memory = |channel| Port {
        name: regs::port(channel),
        mode: PortMode::Master,
        range: u64::MAX,
        data_bits: config.fields().beat_bytes * 8,
    };
    let base = Remap { port: CONTROL_PORT.to_owned(), base: UNIT_BASE, range: Some(MAP_BYTES.into()) };
    Kernel {
        name: KERNEL.to_owned(),
        protocol: PROTOCOL.to_string(),
        work_group: 1,
        interrupt: true,
        ports: std::iter::once(control).chain((0..config.channels()).map(memory)).collect(),
        arguments: arguments(map),
        instances: vec![Instance { name: UNIT.to_owned(), remaps: vec![base] }],
    }
}

/// The registers that hold arguments, as the metadata describes them.
fn arguments(map: &RegisterMap) -> Vec<Argument> {
    let argument = |(argument, register): (&regs::Argument, &regs::Register)| {
        let size = u64::from(register.bits / 8);
        let (qualifier, ty) = match (&argument.port, register.bits) {
            (Some(_), _) => (Qualifier::GLOBAL, "void*"),
            (None, 64) => (Qualifier::SCALAR, "ulong"),
            (None, _) => (Qualifier::SCALAR, "uint"),
        };
        Argument {
            name: register.name.clone(),
            qualifier,
            id: Some(argument.index),
            port: argument.port.clone().unwrap_or_else(|| CONTROL_PORT.to_owned()),
            size,
            offset: register.offset.into(),
            host_offset: 0,
            host_size: size,
            ty: ty.to_owned(),
        }
    };
    map.arguments().map(argument).collect()
}

fn banks(config: &AccelConfig, memory: MemoryKind) -> Result<Vec<Bank>, XclbinError> {
    let (kind, tag) = match memory {
        MemoryKind::Hbm2 => (BankKind::HBM, "HBM"),
        MemoryKind::Ddr4 => (BankKind::DDR4, "DDR"),
    };
    let bytes = config.channel_capacity().get();
    let bank = |channel: u32| {
        let tag = Text::new("a memory bank's tag", &format!("{tag}[{channel}]"))?;
        Ok(Bank { kind, used: true, kib: bytes / 1024, base: u64::from(channel) * bytes, tag })
    };
    (0..config.channels()).map(bank).collect()
}

/// Bank c is behind the port of channel c.
fn connections(config: &AccelConfig, map: &RegisterMap) -> Vec<Connection> {
    let ports: Vec<String> = (0..config.channels()).map(regs::port).collect();
    let connection = |(argument, _): (&regs::Argument, _)| {
        let bank = ports.iter().position(|port| Some(port) == argument.port.as_ref())?;
        Some(Connection { argument: argument.index, ip: 0, bank: bank as u32 })
    };
    map.arguments().filter_map(connection).collect()
}

fn clock(config: &AccelConfig) -> Result<Clock, XclbinError> {
    // A configuration's clock is at most 1 GHz.
    let mhz = (config.clock().get() / 1_000_000) as u16;
    Ok(Clock { mhz, kind: ClockKind::DATA, name: Text::new("a clock's name", CLOCK)? })
}
