//! Boxes of bytes: rows of rows in a flat memory.

use crate::refusal::{Answer, Refusal};

/// A box as a caller describes it.
pub(super) enum Area {
    /// A range of bytes.
    Line { offset: usize, size: usize },
    /// Three numbers at each pointer, and the bytes from row to row and from slice to slice.
    Box { origin: *const usize, region: *const usize, row_pitch: usize, slice_pitch: usize },
}

impl Area {
    pub(super) fn boxed(
        origin: *const usize,
        region: *const usize,
        row_pitch: usize,
        slice_pitch: usize,
    ) -> Self {
        Self::Box { origin, region, row_pitch, slice_pitch }
    }

    /// The box.
    ///
    /// # Safety
    /// The pointers are null or point to three numbers.
    pub(super) unsafe fn read(&self, what: &str) -> Answer<Rect> {
        let (origin, region, row_pitch, slice_pitch) = match *self {
            Self::Line { offset, size } => return Rect::line(offset, size),
            Self::Box { origin, region, row_pitch, slice_pitch } => (origin, region, row_pitch, slice_pitch),
        };
        // SAFETY: as the caller promises.
        let triple = |p: *const usize| unsafe { p.cast::<[usize; 3]>().as_ref() }.copied();
        let (Some(origin), Some(region)) = (triple(origin), triple(region)) else {
            return Err(Refusal::value(format!("{what}: a null pointer for origin or region")));
        };
        Rect::new(what, origin, region, row_pitch, slice_pitch)
    }
}

/// A box within a memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rect {
    start: usize,
    row_pitch: usize,
    slice_pitch: usize,
    region: [usize; 3],
}

impl Rect {
    /// The box at an origin. A pitch of 0 is that of a memory as wide as the box.
    pub(super) fn new(
        what: &str,
        origin: [usize; 3],
        region: [usize; 3],
        row_pitch: usize,
        slice_pitch: usize,
    ) -> Answer<Self> {
        let refuse = || {
            Refusal::value(format!(
                "{what}: origin {origin:?}, region {region:?}, row pitch {row_pitch}, slice pitch {slice_pitch}: no region \
                 is 0, a row pitch is 0 or at least a row, a slice pitch 0 or a multiple of the row pitch and at least a slice"
            ))
        };
        if region.contains(&0) {
            return Err(refuse());
        }
        let row = if row_pitch == 0 { region[0] } else { row_pitch };
        let least = region[1].checked_mul(row).ok_or_else(refuse)?;
        let slice = if slice_pitch == 0 { least } else { slice_pitch };
        if row < region[0] || slice < least || slice % row != 0 {
            return Err(refuse());
        }
        let at = |counts: [usize; 3]| {
            let (rows, slices) = (counts[1].checked_mul(row)?, counts[2].checked_mul(slice)?);
            counts[0].checked_add(rows)?.checked_add(slices)
        };
        let start = at(origin).ok_or_else(refuse)?;
        let rect = Self { start, row_pitch: row, slice_pitch: slice, region };
        // Its end must be a number, too.
        at([region[0], region[1] - 1, region[2] - 1])
            .and_then(|n| n.checked_add(start))
            .ok_or_else(refuse)?;
        Ok(rect)
    }

    /// A range of bytes.
    pub(super) fn line(offset: usize, size: usize) -> Answer<Self> {
        if size == 0 || offset.checked_add(size).is_none() {
            return Err(Refusal::value(format!("{size} bytes from byte {offset}")));
        }
        Ok(Self { start: offset, row_pitch: size, slice_pitch: size, region: [size, 1, 1] })
    }

    /// It lies within a memory of so many bytes.
    pub(super) fn check(&self, bytes: u64) -> Answer<()> {
        if self.end() as u64 <= bytes {
            return Ok(());
        }
        let text = format!("bytes {} to {} of a buffer of {bytes} bytes", self.start, self.end());
        Err(Refusal::value(text))
    }

    /// The first byte.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// The same box so many bytes further on.
    pub(super) fn moved(self, bytes: usize) -> Self {
        Self { start: self.start + bytes, ..self }
    }

    /// End of the last row.
    pub(super) fn end(&self) -> usize {
        let [width, rows, slices] = self.region;
        self.start + (slices - 1) * self.slice_pitch + (rows - 1) * self.row_pitch + width
    }

    /// Bytes in it.
    pub(super) fn bytes(&self) -> u64 {
        self.region.iter().map(|&n| n as u64).product()
    }

    /// Bytes of a row.
    pub(super) fn width(&self) -> usize {
        self.region[0]
    }

    /// Where each row begins, in order.
    pub(super) fn rows(self) -> impl Iterator<Item = usize> {
        let [_, rows, slices] = self.region;
        (0..slices)
            .flat_map(move |z| (0..rows).map(move |y| self.start + z * self.slice_pitch + y * self.row_pitch))
    }

    /// Whether two boxes of the same memory and width share a byte. Rows of a box never do, so they are in order.
    pub(super) fn overlaps(self, other: Self) -> bool {
        let theirs: Vec<usize> = other.rows().collect();
        self.rows().any(|row| {
            let next = theirs.partition_point(|&r| r + other.width() <= row);
            theirs.get(next).is_some_and(|&r| r < row + self.width())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn rows_follow_pitches() {
        let rect = Rect::new("buffer", [1, 2, 0], [3, 2, 2], 10, 40).unwrap();
        assert_eq!(rect.rows().collect::<Vec<_>>(), [21, 31, 61, 71]);
        assert_eq!((rect.end(), rect.bytes()), (74, 12));
        let flat = Rect::new("buffer", [0; 3], [5, 2, 1], 0, 0).unwrap();
        assert_eq!(flat.rows().collect::<Vec<_>>(), [0, 5]);
    }

    #[test]
    fn pitches_and_regions_that_cannot_be_are_refused() {
        let new = |region, row, slice| Rect::new("buffer", [0; 3], region, row, slice).is_err();
        assert!(new([0, 1, 1], 0, 0) && new([4, 1, 1], 3, 0) && new([4, 2, 1], 4, 7) && new([4, 2, 1], 4, 9));
        assert!(Rect::new("buffer", [usize::MAX, 0, 0], [1, 1, 1], 0, 0).is_err());
        assert!(Rect::new("buffer", [0, usize::MAX, 0], [2, 1, 1], 0, 0).is_err());
        assert!(Rect::line(5, 0).is_err() && Rect::line(usize::MAX, 1).is_err());
        let line = Rect::line(5, 3).unwrap();
        assert_eq!((line.rows().collect::<Vec<_>>(), line.width(), line.end()), (vec![5], 3, 8));
        line.check(8).unwrap();
        assert_eq!(line.check(7).unwrap_err().text, "bytes 5 to 8 of a buffer of 7 bytes");
    }

    #[test]
    fn boxes_between_each_others_rows_do_not_overlap() {
        let left = Rect::new("buffer", [0, 0, 0], [4, 3, 1], 8, 0).unwrap();
        let right = Rect::new("buffer", [4, 0, 0], [4, 3, 1], 8, 0).unwrap();
        let middle = Rect::new("buffer", [3, 2, 0], [4, 1, 1], 8, 0).unwrap();
        assert!(!left.overlaps(right) && left.overlaps(left));
        assert!(middle.overlaps(left) && middle.overlaps(right));
    }
}
