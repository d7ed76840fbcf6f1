//! The container: a header, and sections of bytes.

use crate::error::XclbinError;
use crate::raw::{self, ALIGNMENT, MAGIC, MAX_SECTIONS, RawHeader, RawSection, UNSIGNED};
use crate::text::Text;
use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// What a container is made for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mode(pub u16);

impl Mode {
    /// A card, programmed as a whole.
    pub const FLAT: Self = Self(0);
    /// A card, its dynamic region programmed.
    pub const PARTIAL: Self = Self(1);
    /// Hardware emulation: simulated logic.
    pub const HARDWARE_EMULATION: Self = Self(4);
    /// Software emulation: a functional model.
    pub const SOFTWARE_EMULATION: Self = Self(5);
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FLAT => f.write_str("flat"),
            Self::PARTIAL => f.write_str("partial"),
            Self::HARDWARE_EMULATION => f.write_str("hardware emulation"),
            Self::SOFTWARE_EMULATION => f.write_str("software emulation"),
            Self(other) => write!(f, "mode {other}"),
        }
    }
}

/// Version of what wrote a container.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Version {
    /// Major.
    pub major: u8,
    /// Minor.
    pub minor: u8,
    /// Patch.
    pub patch: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A universally unique identifier, in the byte order of its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.iter().fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        });
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &digits[range]);
        f.write_str(&groups.join("-"))
    }
}

/// What the header says; length and number of sections follow from the sections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the container is made for.
    pub mode: Mode,
    /// Platform: the card and shell, as the vendor's tools name them.
    pub platform: Text<64>,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Seconds since 1970 of the platform's feature ROM; 0 for none.
    pub feature_rom_timestamp: u64,
    /// Version of what wrote the container.
    pub version: Version,
    /// What a driver is to do besides loading; a bit mask.
    pub action_mask: u16,
    /// Number by which a driver tells whether a container is loaded already.
    pub unique_id: u64,
    /// Interface of the platform that the container fits.
    pub interface_uuid: Uuid,
    /// The container's own identifier.
    pub uuid: Uuid,
    /// Name of a file with debug information.
    pub debug_file: Text<16>,
}

impl Header {
    /// A header with a mode and a platform, all else zero.
    #[must_use]
    pub fn new(mode: Mode, platform: Text<64>) -> Self {
        let zero = Uuid::default();
        Self {
            mode,
            platform,
            timestamp: 0,
            feature_rom_timestamp: 0,
            version: Version::default(),
            action_mask: 0,
            unique_id: 0,
            interface_uuid: zero,
            uuid: zero,
            debug_file: Text::default(),
        }
    }

    fn read(raw: &RawHeader) -> Result<Self, XclbinError> {
        Ok(Self {
            mode: Mode(raw.mode),
            platform: Text::read("the platform's name", raw.platform)?,
            timestamp: raw.timestamp,
            feature_rom_timestamp: raw.feature_rom_timestamp,
            version: Version { major: raw.major, minor: raw.minor, patch: raw.patch },
            action_mask: raw.action_mask,
            unique_id: raw.unique_id,
            interface_uuid: Uuid(raw.interface_uuid),
            uuid: Uuid(raw.uuid),
            debug_file: Text::read("the debug file's name", raw.debug_file)?,
        })
    }

    fn raw(&self, length: u64, sections: u32) -> RawHeader {
        RawHeader {
            magic: MAGIC,
            signature_length: UNSIGNED,
            reserved: [0xff; 28],
            key_block: [0xff; 256],
            unique_id: self.unique_id,
            length,
            timestamp: self.timestamp,
            feature_rom_timestamp: self.feature_rom_timestamp,
            patch: self.version.patch,
            major: self.version.major,
            minor: self.version.minor,
            mode: self.mode.0,
            action_mask: self.action_mask,
            interface_uuid: self.interface_uuid.0,
            platform: self.platform.raw(),
            uuid: self.uuid.0,
            debug_file: self.debug_file.raw(),
            sections,
            padding: 0,
        }
    }
}

/// What a section holds. Kinds without a name here are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SectionKind(pub u32);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal),+ $(,)?) => {
        impl SectionKind {
            $($(#[$doc])* pub const $name: Self = Self($value);)+

            /// The vendor's name, if the kind is known here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)+
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// What configures the FPGA.
    BITSTREAM = 0,
    /// Kernels, arguments and ports, as XML.
    EMBEDDED_METADATA = 2,
    /// Memory banks.
    MEM_TOPOLOGY = 6,
    /// Which argument of which instance reaches which bank.
    CONNECTIVITY = 7,
    /// Instances on the control bus.
    IP_LAYOUT = 8,
    /// Instances that measure.
    DEBUG_IP_LAYOUT = 9,
    /// Clocks.
    CLOCK_FREQ_TOPOLOGY = 11,
    /// How the image was built, as JSON.
    BUILD_METADATA = 14,
    /// Keys and values, as JSON.
    KEYVALUE_METADATA = 15,
    /// What its user put there: for this project, [`crate::image`].
    USER_METADATA = 16,
    /// The platform's partition, as JSON.
    PARTITION_METADATA = 20,
    /// Files of an emulation.
    EMULATION_DATA = 21,
    /// The system's description, as JSON.
    SYSTEM_METADATA = 22,
    /// A kernel in software; there may be several.
    SOFT_KERNEL = 23,
    /// Contents of a flash memory; there may be several.
    ASK_FLASH = 24,
    /// Memory banks, and groups of them.
    ASK_GROUP_TOPOLOGY = 26,
    /// Which argument reaches which bank or group.
    ASK_GROUP_CONNECTIVITY = 27,
    /// What a vendor put there; there may be several.
    VENDOR_METADATA = 31,
}

impl SectionKind {
    /// Whether sections of this kind are told apart by their names.
    fn by_name(self) -> bool {
        [Self::SOFT_KERNEL, Self::ASK_FLASH, Self::VENDOR_METADATA].contains(&self)
    }
}

impl fmt::Display for SectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.pad(&format!("kind {}", self.0)),
        }
    }
}

/// A section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// What it holds.
    pub kind: SectionKind,
    /// Name; most have none.
    pub name: Text<16>,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// A container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Xclbin {
    /// The header.
    pub header: Header,
    sections: Vec<Section>,
}

impl Xclbin {
    /// A container without sections.
    #[must_use]
    pub fn new(header: Header) -> Self {
        Self { header, sections: Vec::new() }
    }

    /// Reads a container. Bytes that belong to no section (padding, the vendor's textual copy of the headers) are
    /// not kept.
    ///
    /// # Errors
    /// Not a container, cut short, signed, or its sections reach out of it, overlap or come twice.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, XclbinError> {
        let raw = read_header(bytes)?;
        let headers = read_section_headers(bytes, raw.sections)?;
        check_overlap(&headers)?;
        let mut xclbin = Self::new(Header::read(&raw)?);
        let mut seen = BTreeSet::new();
        for header in headers {
            let (kind, name) = (SectionKind(header.kind), Text::read("a section's name", header.name)?);
            if !seen.insert((kind, kind.by_name().then_some(name))) {
                return Err(XclbinError::SectionTwice { kind: kind.to_string() });
            }
            // In range: `read_section_headers` has compared offset and size with the file.
            let start = header.offset as usize;
            let contents = bytes[start..start + header.size as usize].to_vec();
            xclbin.sections.push(Section { kind, name, bytes: contents });
        }
        Ok(xclbin)
    }

    /// The container's bytes: the same for the same header and sections.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut end = first_data(self.sections.len());
        let mut headers = Vec::with_capacity(self.sections.len());
        for section in &self.sections {
            let offset = end.next_multiple_of(ALIGNMENT);
            end = offset + section.bytes.len();
            headers.push(RawSection {
                kind: section.kind.0,
                name: section.name.raw(),
                padding: 0,
                offset: offset as u64,
                size: section.bytes.len() as u64,
            });
        }
        let end = end.next_multiple_of(ALIGNMENT);
        let mut out = Vec::with_capacity(end);
        // `insert` keeps the number of sections within its limit.
        let header = self.header.raw(end as u64, self.sections.len() as u32);
        out.extend_from_slice(bytemuck::bytes_of(&header));
        headers.iter().for_each(|header| out.extend_from_slice(bytemuck::bytes_of(header)));
        for (section, header) in self.sections.iter().zip(&headers) {
            out.resize(header.offset as usize, 0);
            out.extend_from_slice(&section.bytes);
        }
        out.resize(end, 0);
        out
    }

    /// The sections in the order of the file.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Contents of the first section of a kind.
    #[must_use]
    pub fn get(&self, kind: SectionKind) -> Option<&[u8]> {
        self.sections.iter().find(|s| s.kind == kind).map(|s| &s.bytes[..])
    }

    /// As [`Xclbin::get`], for a section that must be there.
    ///
    /// # Errors
    /// [`XclbinError::SectionMissing`], with the sections that are there.
    pub fn require(&self, kind: SectionKind) -> Result<&[u8], XclbinError> {
        self.get(kind).ok_or_else(|| {
            let mut found: Vec<String> = self.sections.iter().map(|s| s.kind.to_string()).collect();
            if found.is_empty() {
                found.push("none".to_owned());
            }
            XclbinError::SectionMissing { kind: kind.to_string(), found: found.join(", ") }
        })
    }

    /// Adds a section, or replaces the one of the same kind (and name, where there may be several of the kind).
    ///
    /// # Errors
    /// [`XclbinError::TooManyEntries`] for a section more than a container can have.
    pub fn insert(&mut self, section: Section) -> Result<(), XclbinError> {
        let same = |s: &&mut Section| s.kind == section.kind && (!s.kind.by_name() || s.name == section.name);
        if let Some(old) = self.sections.iter_mut().find(same) {
            *old = section;
            return Ok(());
        }
        if self.sections.len() == MAX_SECTIONS {
            let (kind, found) = ("headers", MAX_SECTIONS + 1);
            return Err(XclbinError::TooManyEntries { kind, found, limit: MAX_SECTIONS });
        }
        self.sections.push(section);
        Ok(())
    }

    /// Sets the container's own identifier to a hash of everything else in it, so that equal containers have equal
    /// identifiers.
    pub fn derive_uuid(&mut self) {
        self.header.uuid = Uuid::default();
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&blake3::hash(&self.to_bytes()).as_bytes()[..16]);
        // Version 8, variant 1: an identifier made by rules of one's own (RFC 9562).
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        self.header.uuid = Uuid(uuid);
    }
}

/// Offset of the first byte behind the headers.
fn first_data(sections: usize) -> usize {
    size_of::<RawHeader>() + sections * size_of::<RawSection>()
}

fn read_header(bytes: &[u8]) -> Result<RawHeader, XclbinError> {
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if start != &MAGIC[..start.len()] {
        return Err(XclbinError::Magic { found: start.escape_ascii().to_string() });
    }
    let short = XclbinError::Short { found: bytes.len(), needed: size_of::<RawHeader>() };
    let header: RawHeader = raw::read(bytes, 0).ok_or(short)?;
    if header.signature_length != UNSIGNED {
        return Err(XclbinError::Signed { length: header.signature_length });
    }
    if header.length != bytes.len() as u64 {
        return Err(XclbinError::Length { found: bytes.len(), expected: header.length });
    }
    Ok(header)
}

/// The section headers, each known to lie inside the file and behind the headers.
fn read_section_headers(bytes: &[u8], count: u32) -> Result<Vec<RawSection>, XclbinError> {
    let room = (bytes.len() - size_of::<RawHeader>()) / size_of::<RawSection>();
    let limit = room.min(MAX_SECTIONS);
    let sections = usize::try_from(count).ok().filter(|&n| n <= limit);
    let Some(sections) = sections else {
        return Err(XclbinError::SectionCount { found: count, limit, bytes: bytes.len() });
    };
    let first = first_data(sections);
    let headers = (0..sections).filter_map(|i| raw::read::<RawSection>(bytes, first_data(i)));
    let check = |(index, header): (usize, RawSection)| {
        let end = header.offset.checked_add(header.size);
        // A section without contents may lie anywhere: the vendor's tools leave its offset 0.
        let inside = header.offset >= first as u64 && end.is_some_and(|end| end <= bytes.len() as u64);
        let empty = header.size == 0 && header.offset <= bytes.len() as u64;
        if inside || empty {
            return Ok(header);
        }
        let (kind, end) = (SectionKind(header.kind).to_string(), bytes.len());
        let RawSection { offset, size, .. } = header;
        Err(XclbinError::SectionRange { index, kind, offset, size, first, end })
    };
    headers.enumerate().map(check).collect()
}

fn check_overlap(headers: &[RawSection]) -> Result<(), XclbinError> {
    let mut order: Vec<usize> = (0..headers.len()).filter(|&i| headers[i].size > 0).collect();
    order.sort_by_key(|&i| headers[i].offset);
    let overlap = order.windows(2).find(|w| headers[w[0]].offset + headers[w[0]].size > headers[w[1]].offset);
    match overlap {
        Some(&[first, second]) => {
            Err(XclbinError::SectionOverlap { first, second, offset: headers[second].offset })
        }
        _ => Ok(()),
    }
}
