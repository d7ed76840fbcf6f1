//! Tables: round trips, layout and refusals.

use crate::{container, section};
use fastcar_xclbin::keyvalue::{self, KeyValue};
use fastcar_xclbin::tables::{
    Bank, BankKind, Clock, ClockKind, Connection, Ip, Protocol, read_banks, read_clocks, read_connections,
    read_ips, write_banks, write_clocks, write_connections, write_ips,
};
use fastcar_xclbin::view::View;
use fastcar_xclbin::{SectionKind, Text, XclbinError};
use proptest::prelude::*;

fn tag<const N: usize>(text: &str) -> Text<N> {
    Text::new("tag", text).unwrap()
}

fn bank(kib: u64) -> Bank {
    Bank { kind: BankKind::HBM, used: true, kib, base: 0x1_0000_0000, tag: tag("HBM[1]") }
}

fn ip(name: &str) -> Ip {
    let properties = Ip::properties(Protocol::CHAIN, true);
    Ip { kind: Ip::KERNEL, properties, base: 0x180_0000, name: tag(name) }
}

proptest! {
    #[test]
    fn tables_read_back(
        banks in prop::collection::vec(any::<(u8, bool, u64, u64)>(), 0..9),
        ips in prop::collection::vec(any::<(u32, u32, u64)>(), 0..9),
        connections in prop::collection::vec([0_u32..1 << 31, 0..1 << 31, 0..1 << 31], 0..9),
        clocks in prop::collection::vec(any::<(u16, u8)>(), 0..9),
    ) {
        let bank = |(kind, used, kib, base)| Bank { kind: BankKind(kind), used, kib, base, tag: tag("DDR[0]") };
        let banks: Vec<Bank> = banks.into_iter().map(bank).collect();
        prop_assert_eq!(read_banks(&write_banks(&banks).unwrap()), Ok(banks));
        let ip = |(kind, properties, base)| Ip { kind, properties, base, name: tag("a:b") };
        let ips: Vec<Ip> = ips.into_iter().map(ip).collect();
        prop_assert_eq!(read_ips(&write_ips(&ips).unwrap()), Ok(ips));
        let connection = |[argument, ip, bank]: [u32; 3]| Connection { argument, ip, bank };
        let connections: Vec<Connection> = connections.into_iter().map(connection).collect();
        prop_assert_eq!(read_connections(&write_connections(&connections).unwrap()), Ok(connections));
        let clock = |(mhz, kind)| Clock { mhz, kind: ClockKind(kind), name: tag("CLK") };
        let clocks: Vec<Clock> = clocks.into_iter().map(clock).collect();
        prop_assert_eq!(read_clocks(&write_clocks(&clocks).unwrap()), Ok(clocks));
    }
}

#[test]
fn entries_lie_where_the_vendor_expects_them() {
    let banks = write_banks(&[bank(524_288)]).unwrap();
    assert_eq!((banks.len(), &banks[..10]), (48, &[1, 0, 0, 0, 0, 0, 0, 0, 6, 1][..]));
    assert_eq!(banks[16..24], 524_288_u64.to_le_bytes());
    assert_eq!(&banks[32..39], b"HBM[1]\0");
    let ips = write_ips(&[ip("fastcar:fastcar_1")]).unwrap();
    assert_eq!((ips.len(), &ips[8..16]), (88, &[1, 0, 0, 0, 1, 1, 0, 0][..]));
    assert_eq!(&ips[24..42], b"fastcar:fastcar_1\0");
    let connections = write_connections(&[Connection { argument: 4, ip: 0, bank: 2 }]).unwrap();
    assert_eq!(connections, [1, 4, 0, 2].map(u32::to_le_bytes).concat());
    let clocks = write_clocks(&[Clock { mhz: 300, kind: ClockKind::DATA, name: tag("DATA_CLK") }]).unwrap();
    assert_eq!((clocks.len(), &clocks[..5]), (138, &[1, 0, 44, 1, 1][..]));
    assert_eq!(&clocks[10..18], b"DATA_CLK");
}

#[test]
fn instances_are_named_by_kernel_and_unit() {
    assert_eq!(ip("fastcar:fastcar_1").kernel(), Some(("fastcar", "fastcar_1")));
    assert_eq!(ip("memory").kernel(), None);
    assert_eq!(Ip { kind: 5, ..ip("a:b") }.kernel(), None);
    assert_eq!(ip("a:b").protocol(), Protocol::CHAIN);
}

#[test]
fn counts_that_the_bytes_do_not_hold() {
    let mut banks = write_banks(&[bank(1)]).unwrap();
    for (count, found) in [(2_i32, 2), (-1, -1), (i32::MAX, i64::from(i32::MAX))] {
        banks[..4].copy_from_slice(&count.to_le_bytes());
        let expected = XclbinError::EntryCount { kind: "MEM_TOPOLOGY", found, bytes: 48, limit: 1 };
        assert_eq!(read_banks(&banks), Err(expected));
    }
    assert_eq!(
        read_clocks(&[2]).unwrap_err().to_string(),
        "section CLOCK_FREQ_TOPOLOGY names 0 entries and has 1 bytes: room for 0"
    );
    assert_eq!(
        read_ips(&[1, 0, 0, 0]).unwrap_err().to_string(),
        "section IP_LAYOUT names 1 entries and has 4 bytes: room for 0"
    );
    let clock = Clock { mhz: 1, kind: ClockKind::KERNEL, name: tag("CLK") };
    assert_eq!(
        write_clocks(&vec![clock; 40_000]).unwrap_err().to_string(),
        "section CLOCK_FREQ_TOPOLOGY would have 40000 entries: at most 32767 can be counted"
    );
}

#[test]
fn names_that_do_not_end() {
    let mut banks = write_banks(&[bank(1)]).unwrap();
    banks[32..].fill(b'x');
    assert_eq!(
        read_banks(&banks).unwrap_err().to_string(),
        "a memory bank's tag does not end: a zero byte is expected behind at most 15 bytes of text"
    );
    let mut ips = write_ips(&[ip("a:b")]).unwrap();
    ips[24..].fill(b'x');
    assert!(matches!(read_ips(&ips), Err(XclbinError::TextUnterminated { limit: 63, .. })));
    let clocks = write_clocks(&[Clock { mhz: 1, kind: ClockKind::SYSTEM, name: tag("c") }]);
    let mut clocks = clocks.unwrap();
    clocks[10..].fill(b'x');
    assert!(matches!(read_clocks(&clocks), Err(XclbinError::TextUnterminated { limit: 127, .. })));
}

#[test]
fn indices_that_are_none() {
    let negative = [1, 0, -1, 0].map(i32::to_le_bytes).concat();
    assert_eq!(
        read_connections(&negative).unwrap_err().to_string(),
        "a connection's instance is -1: must be an index from 0"
    );
    let large = [Connection { argument: 0, ip: 0, bank: 1 << 31 }];
    assert_eq!(
        write_connections(&large).unwrap_err().to_string(),
        "a connection's bank is 2147483648: must be an index up to 2147483647"
    );
}

#[test]
fn connections_to_nothing() {
    let view = |connection| {
        View::read(&container([
            section(SectionKind::MEM_TOPOLOGY, write_banks(&[bank(1)]).unwrap()),
            section(SectionKind::IP_LAYOUT, write_ips(&[ip("a:b")]).unwrap()),
            section(SectionKind::CONNECTIVITY, write_connections(&[connection]).unwrap()),
        ]))
    };
    assert!(view(Connection { argument: 0, ip: 0, bank: 0 }).is_ok());
    assert_eq!(
        view(Connection { argument: 0, ip: 0, bank: 1 }).unwrap_err().to_string(),
        "connection 0 of CONNECTIVITY refers to bank 1, which does not exist: there are 1 of them"
    );
    assert_eq!(
        view(Connection { argument: 0, ip: 7, bank: 0 }).unwrap_err().to_string(),
        "connection 0 of CONNECTIVITY refers to instance 7, which does not exist: there are 1 of them"
    );
    let groups = [
        section(SectionKind::IP_LAYOUT, write_ips(&[ip("a:b")]).unwrap()),
        section(
            SectionKind::ASK_GROUP_CONNECTIVITY,
            write_connections(&[Connection { argument: 0, ip: 0, bank: 0 }]).unwrap(),
        ),
    ];
    let refused = View::read(&container(groups)).unwrap_err().to_string();
    assert!(refused.contains("ASK_GROUP_CONNECTIVITY refers to bank 0"), "{refused}");
}

#[test]
fn keys_and_values_are_json() {
    let bytes = br#"{"keyvalue_metadata": {"key_values": [{"key": "built by", "value": "\"ci\""}]}}"#;
    let found = View::read(&container([section(SectionKind::KEYVALUE_METADATA, *bytes)])).unwrap();
    let expected = KeyValue { key: "built by".to_owned(), value: "\"ci\"".to_owned() };
    assert_eq!(found.key_values, [expected]);
    let refused = keyvalue::read(b"[]").unwrap_err().to_string();
    assert!(refused.starts_with("section KEYVALUE_METADATA cannot be read: invalid"), "{refused}");
}
