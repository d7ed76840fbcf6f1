//! Device memory: banks, the ranges of them that buffers have, and the buffers' contents.

use crate::refusal::Refusal;
use crate::zeroed::zeroed;
use opencl_sys as cl;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Every buffer begins at a multiple of this many bytes, sub-buffers included: what the kernel asks of its channels.
pub(crate) const ALIGNMENT: u64 = fastcar_arch::layout::PAGE_BYTES;

/// Why memory cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum MemoryError {
    #[error("bank {found} is asked for; the device's banks are 0 to {last}")]
    NoBank { found: u32, last: u32 },
    #[error(
        "bank {bank}: {asked} bytes are asked for, the largest free range has {free} and {used} of {capacity} are in use; release buffers or use fewer slots or positions"
    )]
    Full { bank: u32, asked: u64, free: u64, used: u64, capacity: u64 },
    #[error(
        "the buffer has no bank yet, and the image has {banks}: create it with CL_MEM_EXT_PTR_XILINX, or set it as a kernel argument before it is used"
    )]
    NoPlace { banks: usize },
    #[error("the host has no {asked} bytes of memory for the contents of a buffer")]
    Host { asked: u64 },
    #[error(
        "argument {argument} of the kernel reaches bank {expected}; the buffer lies in bank {found}: create it there with CL_MEM_EXT_PTR_XILINX, or set this argument first"
    )]
    WrongBank { argument: u32, expected: u32, found: u32 },
}

impl From<MemoryError> for Refusal {
    fn from(error: MemoryError) -> Self {
        let status = match error {
            // What the vendor's runtime answers where a bank cannot be had or is another one.
            MemoryError::NoBank { .. }
            | MemoryError::Full { .. }
            | MemoryError::NoPlace { .. }
            | MemoryError::WrongBank { .. } => cl::CL_MEM_OBJECT_ALLOCATION_FAILURE,
            MemoryError::Host { .. } => cl::CL_OUT_OF_HOST_MEMORY,
        };
        Self::new(status, error.to_string())
    }
}

struct Bank {
    capacity: u64,
    /// End of every range in use, by its start.
    used: Mutex<BTreeMap<u64, u64>>,
}

impl Bank {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First fit. The start, or the largest free range and the bytes in use.
    fn take(&self, bytes: u64) -> Result<u64, (u64, u64)> {
        let asked = bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX);
        let mut used = self.lock();
        let (mut start, mut largest, mut sum) = (0, 0, 0);
        let ends = used.iter().map(|(&s, &e)| (s, e)).chain([(self.capacity, self.capacity)]);
        let mut found = None;
        for (next, end) in ends {
            largest = largest.max(next - start);
            sum += end - next;
            if found.is_none() && next - start >= asked {
                found = Some(start);
            }
            start = end;
        }
        let start = found.ok_or((largest, sum))?;
        used.insert(start, start + asked);
        Ok(start)
    }
}

/// The memory banks of a device.
pub(crate) struct Banks {
    banks: Vec<Bank>,
}

impl Banks {
    /// Empty banks of these capacities.
    pub(crate) fn new(capacities: impl IntoIterator<Item = u64>) -> Self {
        let bank = |capacity| Bank { capacity, used: Mutex::default() };
        Self { banks: capacities.into_iter().map(bank).collect() }
    }

    /// The capacity of every bank.
    pub(crate) fn capacities(&self) -> impl Iterator<Item = u64> + '_ {
        self.banks.iter().map(|b| b.capacity)
    }

    /// Bytes that buffers have taken.
    pub(crate) fn used(&self) -> u64 {
        self.banks.iter().map(|b| b.lock().iter().map(|(s, e)| e - s).sum::<u64>()).sum()
    }

    /// Whether there is such a bank.
    pub(crate) fn check(&self, bank: u32) -> Result<(), MemoryError> {
        let last = (self.banks.len() as u32).saturating_sub(1);
        if bank <= last { Ok(()) } else { Err(MemoryError::NoBank { found: bank, last }) }
    }

    fn allocate(self: &Arc<Self>, bank: u32, bytes: u64) -> Result<Range, MemoryError> {
        self.check(bank)?;
        let entry = &self.banks[bank as usize];
        let full =
            |(free, used)| MemoryError::Full { bank, asked: bytes, free, used, capacity: entry.capacity };
        let address = entry.take(bytes).map_err(full)?;
        Ok(Range { banks: self.clone(), bank, address })
    }
}

/// A range of a bank, free again when dropped.
struct Range {
    banks: Arc<Banks>,
    bank: u32,
    address: u64,
}

impl Drop for Range {
    fn drop(&mut self) {
        self.banks.banks[self.bank as usize].lock().remove(&self.address);
    }
}

/// Where a buffer is to lie and lies.
#[derive(Default)]
struct Place {
    /// The bank, once it is known.
    bank: Option<u32>,
    /// The range on each device that has been asked for one.
    ranges: Vec<(usize, Range)>,
}

/// The contents of a buffer, and where it lies.
struct Storage {
    bytes: Mutex<Vec<u8>>,
    place: Mutex<Place>,
    size: u64,
}

/// A buffer, or a part of one.
pub(crate) struct Buffer {
    storage: Arc<Storage>,
    origin: u64,
    size: u64,
    /// Run when the buffer is gone, the last one first.
    farewells: Mutex<Vec<Farewell>>,
}

/// Run when a buffer is gone.
pub(crate) type Farewell = Box<dyn FnOnce() + Send>;

impl Buffer {
    /// A zeroed buffer; with a bank, if that is known already.
    pub(crate) fn new(size: u64, bank: Option<u32>) -> Result<Self, MemoryError> {
        let host = MemoryError::Host { asked: size };
        let bytes = usize::try_from(size).ok().and_then(zeroed).ok_or(host)?;
        let place = Place { bank, ranges: Vec::new() };
        let storage = Storage { bytes: Mutex::new(bytes), place: Mutex::new(place), size };
        Ok(Self { storage: Arc::new(storage), origin: 0, size, farewells: Mutex::default() })
    }

    /// A part of a buffer; the caller has checked that it lies within.
    pub(crate) fn part(&self, origin: u64, size: u64) -> Self {
        let origin = self.origin + origin;
        Self { storage: self.storage.clone(), origin, size, farewells: Mutex::default() }
    }

    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// First byte, in bytes from the start of the whole buffer.
    pub(crate) fn origin(&self) -> u64 {
        self.origin
    }

    /// Bytes of the whole buffer.
    pub(crate) fn whole_size(&self) -> u64 {
        self.storage.size
    }

    /// Whether two are parts of one.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.storage, &other.storage)
    }

    /// Adds something to run when the buffer is gone.
    pub(crate) fn on_drop(&self, farewell: Farewell) {
        self.farewells.lock().unwrap_or_else(PoisonError::into_inner).push(farewell);
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.storage.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles the bank by a kernel argument that reaches only this one.
    pub(crate) fn settle(&self, argument: u32, bank: u32) -> Result<(), MemoryError> {
        let mut place = self.place();
        match place.bank {
            Some(found) if found != bank => Err(MemoryError::WrongBank { argument, expected: bank, found }),
            _ => {
                place.bank = Some(bank);
                Ok(())
            }
        }
    }

    /// Settles the bank where there is no choice: without a bank a buffer cannot be used.
    pub(crate) fn settle_on_only(&self, banks: &Banks) -> Result<(), MemoryError> {
        let mut place = self.place();
        match (place.bank, banks.banks.len()) {
            (Some(_), _) => Ok(()),
            (None, 1) => {
                place.bank = Some(0);
                Ok(())
            }
            (None, banks) => Err(MemoryError::NoPlace { banks }),
        }
    }

    /// Takes a range of the buffer's bank on a device, if it has a bank and not yet a range there. The address of the
    /// (part of the) buffer in the bank, where it has one.
    pub(crate) fn reside(&self, device: usize, banks: &Arc<Banks>) -> Result<Option<u64>, MemoryError> {
        let mut place = self.place();
        let Some(bank) = place.bank else { return Ok(None) };
        let known = place.ranges.iter().find(|r| r.0 == device && Arc::ptr_eq(&r.1.banks, banks));
        let address = match known {
            Some((_, range)) => range.address,
            None => {
                let range = banks.allocate(bank, self.storage.size)?;
                let address = range.address;
                place.ranges.retain(|r| r.0 != device);
                place.ranges.push((device, range));
                address
            }
        };
        Ok(Some(address + self.origin))
    }

    /// The contents of the whole buffer, to be changed. Never held while another's are waited for, but in the order of
    /// the banks.
    pub(crate) fn whole(&self) -> MutexGuard<'_, Vec<u8>> {
        self.storage.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the contents.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut [u8]) -> T) -> T {
        let (start, end) = (self.origin as usize, (self.origin + self.size) as usize);
        f(&mut self.whole()[start..end])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let farewells = std::mem::take(&mut *self.farewells.lock().unwrap_or_else(PoisonError::into_inner));
        farewells.into_iter().rev().for_each(|farewell| farewell());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn ranges_are_first_fit_and_free_again() {
        let banks = Arc::new(Banks::new([5 * ALIGNMENT, ALIGNMENT]));
        let buffer = |size| {
            let buffer = Buffer::new(size, Some(0)).unwrap();
            let address = buffer.reside(0, &banks).map(Option::unwrap);
            (buffer, address)
        };
        let (first, at) = buffer(1);
        assert_eq!(at.unwrap(), 0);
        let (_second, at) = buffer(2 * ALIGNMENT);
        assert_eq!(at.unwrap(), ALIGNMENT);
        let (_third, at) = buffer(ALIGNMENT);
        assert_eq!(at.unwrap(), 3 * ALIGNMENT);
        drop(first);
        assert_eq!(banks.used(), 3 * ALIGNMENT);
        let (_gap, at) = buffer(7);
        assert_eq!(at.unwrap(), 0);
        let (_, at) = buffer(ALIGNMENT + 1);
        let full = MemoryError::Full {
            bank: 0,
            asked: ALIGNMENT + 1,
            free: ALIGNMENT,
            used: 4 * ALIGNMENT,
            capacity: 5 * ALIGNMENT,
        };
        assert_eq!(at.unwrap_err(), full);
        assert_eq!(
            Buffer::new(1, Some(2)).unwrap().reside(0, &banks),
            Err(MemoryError::NoBank { found: 2, last: 1 })
        );
    }

    #[test]
    fn the_first_argument_settles_the_bank() {
        let banks = Arc::new(Banks::new([ALIGNMENT; 3]));
        let buffer = Buffer::new(16, None).unwrap();
        assert_eq!(buffer.reside(0, &banks), Ok(None));
        assert_eq!(buffer.settle_on_only(&banks), Err(MemoryError::NoPlace { banks: 3 }));
        buffer.settle(4, 1).unwrap();
        buffer.settle_on_only(&banks).unwrap();
        buffer.settle(4, 1).unwrap();
        let wrong = MemoryError::WrongBank { argument: 5, expected: 2, found: 1 };
        assert_eq!(buffer.settle(5, 2), Err(wrong));
        assert_eq!(buffer.reside(0, &banks), Ok(Some(0)));
    }

    #[test]
    fn a_part_sees_its_bytes_and_more_than_the_host_has_is_refused() {
        let buffer = Buffer::new(2 * ALIGNMENT, None).unwrap();
        let part = buffer.part(ALIGNMENT, 8);
        part.with(|bytes| bytes.fill(7));
        assert!(part.shares(&buffer));
        assert_eq!(buffer.with(|b| b.iter().map(|&b| u64::from(b)).sum::<u64>()), 56);
        assert_eq!(buffer.with(|b| b[ALIGNMENT as usize]), 7);
        assert!(matches!(Buffer::new(u64::MAX / 2, None), Err(MemoryError::Host { .. })));
    }
}
