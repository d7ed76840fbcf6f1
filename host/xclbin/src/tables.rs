//! Sections that are tables: memory banks, instances, connections and clocks.

use crate::error::XclbinError;
use crate::raw::{self, RawBank, RawClock, RawConnection, RawIp};
use crate::text::Text;
use bytemuck::Pod;
use std::fmt;

/// Kind of a memory bank.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BankKind(pub u8);

impl BankKind {
    /// DDR4 memory.
    pub const DDR4: Self = Self(1);
    /// High-bandwidth memory: one pseudo-channel.
    pub const HBM: Self = Self(6);
    /// Memory of the host.
    pub const HOST: Self = Self(10);
}

impl fmt::Display for BankKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DDR4 => f.pad("DDR4"),
            Self::HBM => f.pad("HBM"),
            Self::HOST => f.pad("host"),
            Self(other) => f.pad(&format!("kind {other}")),
        }
    }
}

/// A memory bank; its number is its position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bank {
    /// Kind.
    pub kind: BankKind,
    /// Whether the image has it.
    pub used: bool,
    /// Capacity in units of 1024 bytes.
    pub kib: u64,
    /// First address.
    pub base: u64,
    /// Name: `HBM[0]`.
    pub tag: Text<16>,
}

/// Control protocol of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Protocol(pub u8);

impl Protocol {
    /// One run at a time.
    pub const HANDSHAKE: Self = Self(0);
    /// The next run may be started before the last one's results are taken.
    pub const CHAIN: Self = Self(1);
    /// Runs by itself.
    pub const NONE: Self = Self(2);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HANDSHAKE => f.pad("ap_ctrl_hs"),
            Self::CHAIN => f.pad("ap_ctrl_chain"),
            Self::NONE => f.pad("ap_ctrl_none"),
            Self(other) => f.pad(&format!("protocol {other}")),
        }
    }
}

/// Something on the control bus; for kernels, one instance (compute unit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip {
    /// Kind; [`Ip::KERNEL`] for instances of kernels.
    pub kind: u32,
    /// Interrupt and protocol of a kernel.
    pub properties: u32,
    /// Address of its registers.
    pub base: u64,
    /// Name: `kernel:instance`.
    pub name: Text<64>,
}

impl Ip {
    /// Kind of an instance of a kernel.
    pub const KERNEL: u32 = 1;
    /// The property that says that an instance has an interrupt.
    pub const INTERRUPT: u32 = 1;

    /// Properties of an instance of a kernel.
    #[must_use]
    pub fn properties(protocol: Protocol, interrupt: bool) -> u32 {
        u32::from(protocol.0) << 8 | if interrupt { Self::INTERRUPT } else { 0 }
    }

    /// Kernel and instance, if this is one.
    #[must_use]
    pub fn kernel(&self) -> Option<(&str, &str)> {
        self.name.as_str().split_once(':').filter(|_| self.kind == Self::KERNEL)
    }

    /// Control protocol of an instance of a kernel.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        Protocol((self.properties >> 8) as u8)
    }
}

/// An argument of an instance reaches a bank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Connection {
    /// Number of the argument.
    pub argument: u32,
    /// Position in the IP layout.
    pub ip: u32,
    /// Position in the memory topology.
    pub bank: u32,
}

/// Kind of a clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClockKind(pub u8);

impl ClockKind {
    /// Drives `ap_clk` of kernels.
    pub const DATA: Self = Self(1);
    /// Drives `ap_clk_2` of kernels that have a second clock.
    pub const KERNEL: Self = Self(2);
    /// The platform's.
    pub const SYSTEM: Self = Self(3);
}

impl fmt::Display for ClockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DATA => f.pad("data"),
            Self::KERNEL => f.pad("kernel"),
            Self::SYSTEM => f.pad("system"),
            Self(other) => f.pad(&format!("kind {other}")),
        }
    }
}

/// A clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// Frequency in MHz.
    pub mhz: u16,
    /// Kind.
    pub kind: ClockKind,
    /// Name.
    pub name: Text<128>,
}

/// How the entries of a section are counted and where they begin.
struct Shape {
    kind: &'static str,
    /// Bytes of the counter: 2 or 4, signed.
    counter: usize,
    /// Offset of the first entry.
    first: usize,
}

const BANKS: Shape = Shape { kind: "MEM_TOPOLOGY", counter: 4, first: 8 };
const IPS: Shape = Shape { kind: "IP_LAYOUT", counter: 4, first: 8 };
const CONNECTIONS: Shape = Shape { kind: "CONNECTIVITY", counter: 4, first: 4 };
const CLOCKS: Shape = Shape { kind: "CLOCK_FREQ_TOPOLOGY", counter: 2, first: 2 };

impl Shape {
    /// The entries. A section may have bytes behind them.
    fn read<R: Pod>(&self, bytes: &[u8]) -> Result<Vec<R>, XclbinError> {
        let count = match self.counter {
            2 => raw::read::<i16>(bytes, 0).map(i64::from),
            _ => raw::read::<i32>(bytes, 0).map(i64::from),
        };
        let limit = bytes.len().saturating_sub(self.first) / size_of::<R>();
        let entries = count.and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= limit);
        let Some(entries) = entries else {
            let found = count.unwrap_or(0);
            return Err(XclbinError::EntryCount { kind: self.kind, found, bytes: bytes.len(), limit });
        };
        Ok((0..entries).filter_map(|i| raw::read(bytes, self.first + i * size_of::<R>())).collect())
    }

    fn write<R: Pod>(&self, entries: &[R]) -> Result<Vec<u8>, XclbinError> {
        let limit = if self.counter == 2 { i16::MAX as usize } else { i32::MAX as usize };
        if entries.len() > limit {
            return Err(XclbinError::TooManyEntries { kind: self.kind, found: entries.len(), limit });
        }
        let mut out = vec![0; self.first];
        out[..self.counter].copy_from_slice(&(entries.len() as u32).to_le_bytes()[..self.counter]);
        entries.iter().for_each(|entry| out.extend_from_slice(bytemuck::bytes_of(entry)));
        Ok(out)
    }
}

/// Reads MEM_TOPOLOGY or ASK_GROUP_TOPOLOGY.
///
/// # Errors
/// The count does not fit the bytes, or a tag is no text.
pub fn read_banks(bytes: &[u8]) -> Result<Vec<Bank>, XclbinError> {
    let read = |raw: RawBank| {
        let tag = Text::read("a memory bank's tag", raw.tag)?;
        Ok(Bank { kind: BankKind(raw.kind), used: raw.used != 0, kib: raw.kib, base: raw.base, tag })
    };
    BANKS.read(bytes)?.into_iter().map(read).collect()
}

/// Writes MEM_TOPOLOGY or ASK_GROUP_TOPOLOGY.
///
/// # Errors
/// More banks than can be counted.
pub fn write_banks(banks: &[Bank]) -> Result<Vec<u8>, XclbinError> {
    let raw = |b: &Bank| RawBank {
        kind: b.kind.0,
        used: b.used.into(),
        padding: [0; 6],
        kib: b.kib,
        base: b.base,
        tag: b.tag.raw(),
    };
    BANKS.write(&banks.iter().map(raw).collect::<Vec<_>>())
}

/// Reads IP_LAYOUT.
///
/// # Errors
/// The count does not fit the bytes, or a name is no text.
pub fn read_ips(bytes: &[u8]) -> Result<Vec<Ip>, XclbinError> {
    let read = |raw: RawIp| {
        let name = Text::read("an instance's name", raw.name)?;
        Ok(Ip { kind: raw.kind, properties: raw.properties, base: raw.base, name })
    };
    IPS.read(bytes)?.into_iter().map(read).collect()
}

/// Writes IP_LAYOUT. Connections name instances by position, so the order is kept; a driver expects that of addresses.
///
/// # Errors
/// More instances than can be counted.
pub fn write_ips(ips: &[Ip]) -> Result<Vec<u8>, XclbinError> {
    let raw =
        |ip: &Ip| RawIp { kind: ip.kind, properties: ip.properties, base: ip.base, name: ip.name.raw() };
    IPS.write(&ips.iter().map(raw).collect::<Vec<_>>())
}

/// Reads CONNECTIVITY or ASK_GROUP_CONNECTIVITY.
///
/// # Errors
/// The count does not fit the bytes, or an index is negative.
pub fn read_connections(bytes: &[u8]) -> Result<Vec<Connection>, XclbinError> {
    let index = |what: &str, found: i32| {
        let negative = |_| XclbinError::Number {
            field: format!("a connection's {what}"),
            found: found.to_string(),
            allowed: "an index from 0".to_owned(),
        };
        u32::try_from(found).map_err(negative)
    };
    let read = |raw: RawConnection| {
        let (argument, ip) = (index("argument", raw.argument)?, index("instance", raw.ip)?);
        Ok(Connection { argument, ip, bank: index("bank", raw.bank)? })
    };
    CONNECTIONS.read(bytes)?.into_iter().map(read).collect()
}

/// Writes CONNECTIVITY or ASK_GROUP_CONNECTIVITY.
///
/// # Errors
/// More connections than can be counted, or an index that does not fit its field.
pub fn write_connections(connections: &[Connection]) -> Result<Vec<u8>, XclbinError> {
    let index = |what: &str, found: u32| {
        let large = |_| XclbinError::Number {
            field: format!("a connection's {what}"),
            found: found.to_string(),
            allowed: format!("an index up to {}", i32::MAX),
        };
        i32::try_from(found).map_err(large)
    };
    let raw = |c: &Connection| {
        let (argument, ip) = (index("argument", c.argument)?, index("instance", c.ip)?);
        Ok(RawConnection { argument, ip, bank: index("bank", c.bank)? })
    };
    CONNECTIONS.write(&connections.iter().map(raw).collect::<Result<Vec<_>, _>>()?)
}

/// Reads CLOCK_FREQ_TOPOLOGY.
///
/// # Errors
/// The count does not fit the bytes, or a name is no text.
pub fn read_clocks(bytes: &[u8]) -> Result<Vec<Clock>, XclbinError> {
    let read = |raw: RawClock| {
        let name = Text::read("a clock's name", raw.name)?;
        Ok(Clock { mhz: raw.mhz, kind: ClockKind(raw.kind), name })
    };
    CLOCKS.read(bytes)?.into_iter().map(read).collect()
}

/// Writes CLOCK_FREQ_TOPOLOGY.
///
/// # Errors
/// More clocks than can be counted.
pub fn write_clocks(clocks: &[Clock]) -> Result<Vec<u8>, XclbinError> {
    let raw = |c: &Clock| RawClock { mhz: c.mhz, kind: c.kind.0, padding: [0; 5], name: c.name.raw() };
    CLOCKS.write(&clocks.iter().map(raw).collect::<Vec<_>>())
}
