//! Addresses: which bank, row and column a byte is in.

use super::spec::{ChannelFields, within};
use super::{DramError, MAX_BANKS};

/// Where an access starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Bank, but for the interleaved group bits.
    base: u32,
    /// Interleaved group bits of the first column access.
    turn: u32,
    /// Row, the same in all interleaved bank groups.
    pub row: u32,
}

/// A field of bits inside an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Bits {
    shift: u32,
    width: u32,
    mask: u32,
}

impl Bits {
    fn new(shift: u32, width: u32) -> Self {
        Self { shift, width, mask: (1 << width) - 1 }
    }

    fn of(self, address: u64) -> u32 {
        (address >> self.shift) as u32 & self.mask
    }
}

/// The map of a channel. A bank's number is its bank group, above its number in the group: the groups' low bits are
/// the interleave, so that the next column access of a row window is in the bank `group_stride` further on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AddressMap {
    atom_shift: u32,
    interleave: Bits,
    column: Bits,
    group: Bits,
    bank: Bits,
    row: Bits,
    xor_mask: u32,
}

impl AddressMap {
    /// Reads the map's text.
    pub(crate) fn new(fields: &ChannelFields) -> Result<Self, DramError> {
        let refuse = |reason| DramError::Map { found: fields.map.clone(), reason };
        let mut map = Self {
            atom_shift: fields.atom_bytes().ilog2(),
            interleave: Bits::default(),
            column: Bits::default(),
            group: Bits::default(),
            bank: Bits::default(),
            row: Bits::default(),
            xor_mask: 0,
        };
        let mut shift = 0;
        for field in fields.map.rsplit('-') {
            let (width, kind) = field.split_at(field.len().saturating_sub(1));
            let width = width.parse::<u32>().ok().filter(|w| (1..=24).contains(w));
            let width = width.ok_or_else(|| refuse("a field is a width of 1 to 24 and a letter"))?;
            let bits = Bits::new(shift, width);
            let place = match kind {
                "G" if shift == 0 => &mut map.interleave,
                "C" if map.bank.width + map.row.width + map.group.width == 0 => &mut map.column,
                "C" => {
                    return Err(refuse(
                        "the columns are below banks and rows, since a row window is contiguous",
                    ));
                }
                "G" => &mut map.group,
                "B" => &mut map.bank,
                "R" => &mut map.row,
                _ => return Err(refuse("a field is one of R, G, B and C")),
            };
            if place.width != 0 {
                return Err(refuse("each field stands once, and G once more at the low end"));
            }
            *place = bits;
            shift += width;
        }
        if map.column.width == 0 || map.row.width == 0 {
            return Err(refuse("there are rows and columns"));
        }
        map.check(fields, shift)
    }

    fn check(mut self, fields: &ChannelFields, width: u32) -> Result<Self, DramError> {
        const BANKS: &str = "no DRAM has more banks";
        within("map", u64::from(self.banks()), 1, MAX_BANKS as u64, BANKS)?;
        within("map", u64::from(width + self.atom_shift), 1, 40, "addresses inside a channel are 40 bits")?;
        let places = (self.bank.width + self.group.width).min(self.row.width);
        const XOR: &str = "there are no more bank bits that do not interleave, or no more row bits";
        within("xor_row_bits", fields.xor_row_bits.into(), 0, places.into(), XOR)?;
        self.xor_mask = (1 << fields.xor_row_bits) - 1;
        Ok(self)
    }

    /// Bytes of the channel.
    pub(crate) fn capacity(&self) -> u64 {
        let bits =
            self.interleave.width + self.column.width + self.group.width + self.bank.width + self.row.width;
        1 << (bits + self.atom_shift)
    }

    /// Bytes of a row window.
    pub(crate) fn window_bytes(&self) -> u64 {
        1 << (self.interleave.width + self.column.width + self.atom_shift)
    }

    /// Banks of the channel.
    pub(crate) fn banks(&self) -> u32 {
        1 << (self.interleave.width + self.group.width + self.bank.width)
    }

    /// Bank groups of the channel.
    pub(crate) fn groups(&self) -> u32 {
        self.banks() >> self.bank.width
    }

    /// Bank group of a bank.
    pub(crate) fn group(&self, bank: usize) -> usize {
        bank >> self.bank.width
    }

    /// Bank groups that consecutive column accesses take turns in.
    pub(crate) fn ways(&self) -> u32 {
        1 << self.interleave.width
    }

    /// Of the `atoms` column accesses of an access, the last one to the bank `way` steps after the first.
    pub(crate) fn last_in(&self, way: u64, atoms: u64) -> u64 {
        let turns = (atoms - 1 - way) >> self.interleave.width;
        way + (turns << self.interleave.width)
    }

    /// Bits of the offset inside a column access.
    pub(crate) fn atom_shift(&self) -> u32 {
        self.atom_shift
    }

    /// The bank of the column access `way` steps after the first.
    pub(crate) fn bank(&self, place: Place, way: u32) -> usize {
        let turn = (place.turn + way) & self.interleave.mask;
        (place.base | turn << self.bank.width) as usize
    }

    /// Where the column access at an address is.
    pub(crate) fn place(&self, address: u64) -> Place {
        let atom = address >> self.atom_shift;
        let row = self.row.of(atom);
        let upper = (self.group.of(atom) << self.bank.width | self.bank.of(atom)) ^ (row & self.xor_mask);
        let bank = upper & self.bank.mask;
        let base = (upper ^ bank) << self.interleave.width | bank;
        Place { base, turn: self.interleave.of(atom), row }
    }
}
