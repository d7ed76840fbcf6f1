//! Memory banks: what an image connects to which, and what is left of each.

use super::OpenClError;
use super::image::DeviceImage;
use super::raw::{BankBuffer, Card};
use fastcar_arch::layout::PAGE_BYTES;
use fastcar_arch::units::Bytes;
use opencl3::error_codes::CL_MEM_OBJECT_ALLOCATION_FAILURE;

/// The banks by number: bytes of each, and how many are taken.
pub(super) struct Banks(Vec<(Bytes, u64)>);

impl Banks {
    /// The banks of an image, nothing taken.
    pub(super) fn new(image: &DeviceImage) -> Self {
        Self(image.info().banks.iter().map(|b| (Bytes(b.kib * 1024), 0)).collect())
    }

    /// Allocates on a bank after making sure that it has room.
    pub(super) fn allocate(
        &mut self,
        card: &Card,
        bank: u32,
        asked: Bytes,
        what: &str,
    ) -> Result<BankBuffer, OpenClError> {
        let (capacity, used) = self.0.get(bank as usize).copied().unwrap_or((Bytes(0), 0));
        let left = Bytes(capacity.get().saturating_sub(used));
        let rounded = asked.get().max(1).checked_next_multiple_of(PAGE_BYTES).filter(|&r| r <= left.get());
        let Some(rounded) = rounded else {
            return Err(OpenClError::Memory { what: what.to_owned(), bank, asked, left, capacity });
        };
        let buffer = card.allocate(bank, Bytes(rounded), what).map_err(|error| match error {
            OpenClError::Call { code: CL_MEM_OBJECT_ALLOCATION_FAILURE, .. } => {
                OpenClError::Taken { what: what.to_owned(), bank, asked, left, capacity }
            }
            error => error,
        })?;
        self.0[bank as usize].1 += rounded;
        Ok(buffer)
    }

    /// Makes sure that there is a buffer of so many bytes.
    pub(super) fn make_room(
        &mut self,
        card: &Card,
        buffer: &mut Option<BankBuffer>,
        bank: u32,
        bytes: u64,
        what: &str,
    ) -> Result<(), OpenClError> {
        if buffer.as_ref().is_some_and(|b| b.bytes() >= bytes) {
            return Ok(());
        }
        if let Some(small) = buffer.take() {
            self.0[bank as usize].1 -= small.bytes();
        }
        *buffer = Some(self.allocate(card, bank, Bytes(bytes), what)?);
        Ok(())
    }
}

/// The bank that the image connects an argument to.
pub(super) fn bank_of(image: &DeviceImage, argument: u32) -> u32 {
    image.info().argument_banks.get(argument as usize).copied().flatten().unwrap_or(0)
}
