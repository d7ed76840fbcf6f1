//! Text in a field of fixed size.

use crate::error::XclbinError;
use std::fmt;

/// UTF-8 text in a field of `N` bytes: it ends at the first zero byte, and there is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// Text for a field.
    ///
    /// # Errors
    /// [`XclbinError::TextTooLong`] where the field has no room for it, [`XclbinError::TextEnds`] for a zero byte
    /// inside it.
    pub fn new(field: &'static str, text: &str) -> Result<Self, XclbinError> {
        if text.len() >= N {
            return Err(XclbinError::TextTooLong { field, found: text.to_owned(), limit: N - 1 });
        }
        if text.contains('\0') {
            return Err(XclbinError::TextEnds { field, found: text.to_owned() });
        }
        let mut bytes = [0; N];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// Checks a field of a file. Bytes behind the first zero are no part of the text.
    pub(crate) fn read(field: &'static str, raw: [u8; N]) -> Result<Self, XclbinError> {
        let end = raw.iter().position(|&b| b == 0);
        let end = end.ok_or(XclbinError::TextUnterminated { field, limit: N - 1 })?;
        let text = std::str::from_utf8(&raw[..end]);
        Self::new(field, text.map_err(|_| XclbinError::TextEncoding { field })?)
    }

    /// The field as a file has it.
    pub(crate) fn raw(self) -> [u8; N] {
        self.0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(N);
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
