//! The container: round trips and refusals.

use crate::{container, section};
use fastcar_xclbin::{Header, Mode, Section, SectionKind, Text, Uuid, Version, Xclbin, XclbinError};
use proptest::prelude::*;

const HEADER: usize = 456;
const SECTION: usize = 40;

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

/// Two sections of 5 and 16 bytes.
fn two() -> Vec<u8> {
    let sections = [section(SectionKind(2), *b"hello"), section(SectionKind(99), [7; 16])];
    container(sections).to_bytes()
}

/// The same bytes with a change, read.
fn changed(offset: usize, value: &[u8]) -> Result<Xclbin, XclbinError> {
    let mut bytes = two();
    put(&mut bytes, offset, value);
    Xclbin::from_bytes(&bytes)
}

/// A field of a section's header.
fn field(index: usize, offset: usize) -> usize {
    HEADER + index * SECTION + offset
}

fn text<const N: usize>() -> impl Strategy<Value = Text<N>> {
    let text = proptest::string::string_regex("[ -~\u{e4}\u{4e2d}]{0,15}").unwrap();
    text.prop_filter_map("fits", |t| Text::new("text", &t).ok())
}

prop_compose! {
    fn header()(
        mode in any::<u16>(),
        platform in text(),
        numbers in any::<[u64; 3]>(),
        version in any::<(u8, u8, u16)>(),
        action_mask in any::<u16>(),
        uuids in any::<[[u8; 16]; 2]>(),
        debug_file in text(),
    ) -> Header {
        let mut header = Header::new(Mode(mode), platform);
        [header.timestamp, header.feature_rom_timestamp, header.unique_id] = numbers;
        header.version = Version { major: version.0, minor: version.1, patch: version.2 };
        [header.interface_uuid, header.uuid] = uuids.map(Uuid);
        (header.action_mask, header.debug_file) = (action_mask, debug_file);
        header
    }
}

fn sections() -> impl Strategy<Value = Vec<Section>> {
    let kind = prop_oneof![0_u32..40, any::<u32>()];
    let section = (kind, text(), prop::collection::vec(any::<u8>(), 0..50));
    let section = section.prop_map(|(kind, name, bytes)| Section { kind: SectionKind(kind), name, bytes });
    prop::collection::vec(section, 0..12)
}

proptest! {
    #[test]
    fn what_is_written_reads_back(header in header(), sections in sections()) {
        let mut xclbin = Xclbin::new(header);
        sections.into_iter().for_each(|section| xclbin.insert(section).unwrap());
        let bytes = xclbin.to_bytes();
        prop_assert_eq!(&Xclbin::from_bytes(&bytes).unwrap(), &xclbin);
        prop_assert_eq!(Xclbin::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }

    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..1000)) {
        prop_assert!(Xclbin::from_bytes(&noise).is_err());
    }
}

#[test]
fn bytes_lie_where_the_vendor_expects_them() {
    let mut xclbin = container([section(SectionKind::MEM_TOPOLOGY, *b"12345"), section(SectionKind(7), [1])]);
    xclbin.header.timestamp = 0x0102;
    xclbin.header.version = Version { major: 2, minor: 13, patch: 466 };
    xclbin.header.mode = Mode::HARDWARE_EMULATION;
    let bytes = xclbin.to_bytes();
    assert_eq!(&bytes[..12], b"xclbin2\0\xff\xff\xff\xff");
    assert!(bytes[12..296].iter().all(|&b| b == 0xff));
    assert_eq!(bytes[304..312], (bytes.len() as u64).to_le_bytes());
    assert_eq!(bytes[312..314], [2, 1]);
    assert_eq!(bytes[328..334], [0xd2, 1, 2, 13, 4, 0]);
    assert_eq!(&bytes[352..357], b"card\0");
    assert_eq!(bytes[448..452], [2, 0, 0, 0]);
    assert_eq!(bytes[456..460], [6, 0, 0, 0]);
    let data = HEADER + 2 * SECTION;
    assert_eq!(bytes[456 + 24..456 + 40], [(data as u64).to_le_bytes(), 5_u64.to_le_bytes()].concat());
    assert_eq!(bytes[496 + 24..496 + 32], (data as u64 + 8).to_le_bytes());
    assert_eq!(&bytes[data..], b"12345\0\0\0\x01\0\0\0\0\0\0\0");
}

#[test]
fn equal_contents_have_equal_identifiers() {
    let derived = |byte| {
        let mut xclbin = container([section(SectionKind(99), [byte])]);
        xclbin.header.uuid = Uuid([byte; 16]);
        xclbin.derive_uuid();
        xclbin.header.uuid
    };
    assert_eq!(derived(1), derived(1));
    assert_ne!(derived(1), derived(2));
    let text = derived(1).to_string();
    assert_eq!((text.len(), &text[14..15]), (36, "8"));
    assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "{text}");
}

#[test]
fn a_section_replaces_the_one_of_its_kind() {
    let mut xclbin = container([section(SectionKind::USER_METADATA, *b"old")]);
    xclbin.insert(section(SectionKind::USER_METADATA, *b"new")).unwrap();
    assert_eq!(xclbin.sections(), [section(SectionKind::USER_METADATA, *b"new")]);
    let named =
        |name| Section { name: Text::new("name", name).unwrap(), ..section(SectionKind::SOFT_KERNEL, []) };
    ["a", "b", "a"].into_iter().for_each(|name| xclbin.insert(named(name)).unwrap());
    assert_eq!(xclbin.sections().len(), 3);
    assert_eq!(Xclbin::from_bytes(&xclbin.to_bytes()), Ok(xclbin));
}

#[test]
fn bytes_of_no_section_are_passed_over() {
    let mut bytes = two();
    bytes.extend_from_slice(b"XCLBIN_MIRROR_DATA_START");
    let length = (bytes.len() as u64).to_le_bytes();
    put(&mut bytes, 304, &length);
    assert_eq!(Xclbin::from_bytes(&bytes), Xclbin::from_bytes(&two()));
}

#[test]
fn an_empty_section_may_lie_nowhere() {
    let mut bytes = container([section(SectionKind(99), [])]).to_bytes();
    put(&mut bytes, field(0, 24), &[0; 8]);
    assert_eq!(Xclbin::from_bytes(&bytes).unwrap().get(SectionKind(99)), Some(&[][..]));
}

fn message<T: std::fmt::Debug>(result: Result<T, XclbinError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_is_no_container() {
    assert_eq!(message(Xclbin::from_bytes(&[])), "not an xclbin: 0 bytes, and the header alone has 456");
    assert_eq!(
        message(Xclbin::from_bytes(&two()[..100])),
        "not an xclbin: 100 bytes, and the header alone has 456"
    );
    assert_eq!(
        message(Xclbin::from_bytes(b"\x7fELF\x02\x01\x01\0\0\0")),
        "not an xclbin: the first bytes are \"\\x7fELF\\x02\\x01\\x01\\x00\" where \"xclbin2\\0\" is expected"
    );
    assert_eq!(
        message(changed(8, &256_i32.to_le_bytes())),
        "the xclbin is signed (256 bytes of signature): a change would break the signature; \
         remove it first (xclbinutil --remove-signature)"
    );
}

#[test]
fn truncated_and_grown_files() {
    let bytes = two();
    let expected = bytes.len() as u64;
    for found in HEADER..bytes.len() {
        assert_eq!(Xclbin::from_bytes(&bytes[..found]), Err(XclbinError::Length { found, expected }));
    }
    let grown = [&bytes[..], &[0]].concat();
    assert_eq!(
        message(Xclbin::from_bytes(&grown)),
        "the xclbin is 561 bytes long and its header says 560: it is cut short or damaged; copy it again"
    );
}

#[test]
fn section_headers_out_of_the_file() {
    for count in [3, 1000, u32::MAX] {
        assert_eq!(
            changed(448, &count.to_le_bytes()),
            Err(XclbinError::SectionCount { found: count, limit: 2, bytes: 560 })
        );
    }
}

#[test]
fn sections_out_of_the_file() {
    let second = "section 1 (kind 99) is";
    let within = "it must lie within bytes 536 to 560 of the file";
    for (offset, value, what) in [
        (32, 17, "17 bytes at 544"),
        (32, u64::MAX, "18446744073709551615 bytes at 544"),
        (24, 0, "16 bytes at 0"),
        (24, 535, "16 bytes at 535"),
        (24, 545, "16 bytes at 545"),
        (24, u64::MAX, "16 bytes at 18446744073709551615"),
    ] {
        let found = message(changed(field(1, offset), &value.to_le_bytes()));
        assert_eq!(found, format!("{second} {what}: {within}"));
    }
}

#[test]
fn sections_that_overlap() {
    assert_eq!(
        message(changed(field(0, 32), &9_u64.to_le_bytes())),
        "sections 0 and 1 overlap: the second begins at 544, inside the first"
    );
    // The order of the headers is not that of the file.
    assert_eq!(
        changed(field(1, 24), &536_u64.to_le_bytes()).unwrap_err(),
        XclbinError::SectionOverlap { first: 0, second: 1, offset: 536 }
    );
}

#[test]
fn sections_that_come_twice() {
    assert_eq!(
        message(changed(field(1, 0), &2_u32.to_le_bytes())),
        "there are two sections EMBEDDED_METADATA: a reader could not tell which one counts"
    );
}

#[test]
fn texts_that_do_not_end_or_are_none() {
    assert_eq!(
        message(changed(field(0, 4), &[b'a'; 16])),
        "a section's name does not end: a zero byte is expected behind at most 15 bytes of text"
    );
    assert_eq!(
        message(changed(352, &[b'a'; 64])),
        "the platform's name does not end: a zero byte is expected behind at most 63 bytes of text"
    );
    assert_eq!(message(changed(352, &[0xff, 0])), "the platform's name is no UTF-8 text");
    assert_eq!(message(Text::<4>::new("tag", "four")), "tag is \"four\": at most 3 bytes fit");
    assert_eq!(
        message(Text::<8>::new("tag", "a\0b")),
        "tag is \"a\\0b\": a zero byte ends a text and cannot stand inside it"
    );
}

#[test]
fn sections_that_are_missing() {
    let found = Xclbin::from_bytes(&two()).unwrap();
    assert_eq!(
        message(found.require(SectionKind::IP_LAYOUT).map(<[u8]>::to_vec)),
        "the xclbin has no section IP_LAYOUT; its sections are EMBEDDED_METADATA, kind 99"
    );
    assert_eq!(
        message(container([]).require(SectionKind::IP_LAYOUT).map(<[u8]>::to_vec)),
        "the xclbin has no section IP_LAYOUT; its sections are none"
    );
}

#[test]
fn more_sections_than_a_container_has() {
    let mut xclbin = container((0..0x1_0000).map(|kind| section(SectionKind(1000 + kind), [])));
    assert_eq!(
        xclbin.insert(section(SectionKind(1), [])),
        Err(XclbinError::TooManyEntries { kind: "headers", found: 0x1_0001, limit: 0x1_0000 })
    );
    assert_eq!(Xclbin::from_bytes(&xclbin.to_bytes()).unwrap().sections().len(), 0x1_0000);
}
