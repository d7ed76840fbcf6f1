//! The container's structures as they lie in a file: little endian, of fixed size, without hidden padding.

use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

/// First bytes of a container.
pub const MAGIC: [u8; 8] = *b"xclbin2\0";
/// Signature length of a container without a signature.
pub const UNSIGNED: i32 = -1;
/// Sections begin at multiples of this.
pub const ALIGNMENT: usize = 8;
/// Most sections of a container.
pub const MAX_SECTIONS: usize = 0x1_0000;

/// Head of the file, in front of the section headers.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct RawHeader {
    pub magic: [u8; 8],
    pub signature_length: i32,
    pub reserved: [u8; 28],
    pub key_block: [u8; 256],
    pub unique_id: u64,
    pub length: u64,
    pub timestamp: u64,
    pub feature_rom_timestamp: u64,
    pub patch: u16,
    pub major: u8,
    pub minor: u8,
    pub mode: u16,
    pub action_mask: u16,
    pub interface_uuid: [u8; 16],
    pub platform: [u8; 64],
    pub uuid: [u8; 16],
    pub debug_file: [u8; 16],
    pub sections: u32,
    pub padding: u32,
}

/// Where a section lies.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct RawSection {
    pub kind: u32,
    pub name: [u8; 16],
    pub padding: u32,
    pub offset: u64,
    pub size: u64,
}

/// Entry of a memory topology.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct RawBank {
    pub kind: u8,
    pub used: u8,
    pub padding: [u8; 6],
    pub kib: u64,
    pub base: u64,
    pub tag: [u8; 16],
}

/// Entry of an IP layout.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct RawIp {
    pub kind: u32,
    pub properties: u32,
    pub base: u64,
    pub name: [u8; 64],
}

/// Entry of a connectivity section.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct RawConnection {
    pub argument: i32,
    pub ip: i32,
    pub bank: i32,
}

/// Entry of a clock topology.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct RawClock {
    pub mhz: u16,
    pub kind: u8,
    pub padding: [u8; 5],
    pub name: [u8; 128],
}

const _: () = assert!(cfg!(target_endian = "little"), "the structures are read where they lie");
const _: () = assert!(size_of::<RawHeader>() == 456 && size_of::<RawSection>() == 40);
const _: () = assert!(offset_of!(RawHeader, key_block) == 40 && offset_of!(RawHeader, unique_id) == 296);
const _: () = assert!(offset_of!(RawHeader, length) == 304 && offset_of!(RawHeader, patch) == 328);
const _: () = assert!(offset_of!(RawHeader, mode) == 332 && offset_of!(RawHeader, interface_uuid) == 336);
const _: () = assert!(offset_of!(RawHeader, platform) == 352 && offset_of!(RawHeader, uuid) == 416);
const _: () = assert!(offset_of!(RawHeader, debug_file) == 432 && offset_of!(RawHeader, sections) == 448);
const _: () = assert!(offset_of!(RawSection, name) == 4 && offset_of!(RawSection, offset) == 24);
const _: () = assert!(size_of::<RawBank>() == 40 && offset_of!(RawBank, tag) == 24);
const _: () = assert!(size_of::<RawIp>() == 80 && offset_of!(RawIp, name) == 16);
const _: () = assert!(size_of::<RawConnection>() == 12);
const _: () = assert!(size_of::<RawClock>() == 136 && offset_of!(RawClock, name) == 8);

/// A structure at an offset, if the bytes reach that far. The bytes need not be aligned.
pub fn read<T: Pod>(bytes: &[u8], offset: usize) -> Option<T> {
    let end = offset.checked_add(size_of::<T>())?;
    Some(bytemuck::pod_read_unaligned(bytes.get(offset..end)?))
}
