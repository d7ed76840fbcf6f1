//! One command field: how it is stored, shown and read back.

use std::fmt;

/// A value that a command carries at a fixed offset.
pub trait Field: Sized + Copy + PartialEq {
    /// Stored size in bytes.
    const BYTES: usize;
    /// Name of the type in the documentation.
    const KIND: &'static str;
    /// Writes the value to `out[..BYTES]`, little endian.
    fn put(&self, out: &mut [u8]);
    /// Reads the value from `raw[..BYTES]`.
    ///
    /// # Errors
    /// The bytes are no value of this type.
    fn get(raw: &[u8]) -> Result<Self, FieldError>;
    /// Assembly text.
    fn show(&self) -> String;
    /// Reads assembly text.
    ///
    /// # Errors
    /// The text is no value of this type.
    fn parse(text: &str) -> Result<Self, FieldError>;
}

/// A field value that cannot be: what was found, and what is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldError {
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

impl FieldError {
    /// Names what was found and what is allowed.
    pub fn new(found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { found: found.into(), allowed: allowed.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, allowed is {}", self.found, self.allowed)
    }
}

/// Where a field stands and what it means, for the documentation.
#[derive(Clone, Copy, Debug)]
pub struct FieldInfo {
    /// Field name, as in assembly text.
    pub name: &'static str,
    /// Offset in the command in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub bytes: usize,
    /// Type name.
    pub kind: &'static str,
    /// Meaning.
    pub doc: &'static str,
}

impl FieldInfo {
    /// How many of something a command works on: never 0.
    #[must_use]
    pub fn is_length(&self) -> bool {
        ["words", "rows", "blocks", "heads", "kv_heads", "head_dim", "period"].contains(&self.name)
    }

    /// A local address, or the bytes from one to the next: whole beats.
    #[must_use]
    pub fn is_place(&self) -> bool {
        self.kind == "Addr" || self.name.ends_with("_stride")
    }

    /// Its value in a record, as an unsigned number.
    #[must_use]
    pub fn value(&self, raw: &[u8]) -> u64 {
        raw[self.offset..][..self.bytes].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

macro_rules! int_field {
    ($($t:ty),+) => {$(
        impl Field for $t {
            const BYTES: usize = size_of::<$t>();
            const KIND: &'static str = stringify!($t);
            fn put(&self, out: &mut [u8]) { out[..Self::BYTES].copy_from_slice(&self.to_le_bytes()); }
            fn get(raw: &[u8]) -> Result<Self, FieldError> {
                let mut bytes = [0; size_of::<$t>()];
                bytes.copy_from_slice(&raw[..Self::BYTES]);
                Ok(<$t>::from_le_bytes(bytes))
            }
            fn show(&self) -> String { self.to_string() }
            fn parse(text: &str) -> Result<Self, FieldError> {
                let found = match text.strip_prefix("0x") {
                    Some(hex) => <$t>::from_str_radix(hex, 16),
                    None => text.parse(),
                };
                found.map_err(|_| FieldError::new(text, format!("an integer from 0 to {}", <$t>::MAX)))
            }
        }
    )+};
}
int_field!(u8, u16, u32, u64);

impl Field for bool {
    const BYTES: usize = 1;
    const KIND: &'static str = "bool";
    fn put(&self, out: &mut [u8]) {
        out[0] = u8::from(*self);
    }
    fn get(raw: &[u8]) -> Result<Self, FieldError> {
        match raw[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(FieldError::new(other.to_string(), "0 or 1")),
        }
    }
    fn show(&self) -> String {
        u8::from(*self).to_string()
    }
    fn parse(text: &str) -> Result<Self, FieldError> {
        match text {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(FieldError::new(text, "0 or 1")),
        }
    }
}

/// A field that wraps an integer field and has a text form of its own.
macro_rules! wrapped_field {
    ($t:ident($inner:ty), $kind:literal, $show:expr) => {
        impl Field for $t {
            const BYTES: usize = <$inner as Field>::BYTES;
            const KIND: &'static str = $kind;
            fn put(&self, out: &mut [u8]) {
                self.0.put(out);
            }
            fn get(raw: &[u8]) -> Result<Self, FieldError> {
                <$inner as Field>::get(raw).map(Self)
            }
            fn show(&self) -> String {
                let show: fn($inner) -> String = $show;
                show(self.0)
            }
            fn parse(text: &str) -> Result<Self, FieldError> {
                <$inner as Field>::parse(text).map(Self)
            }
        }
    };
}
pub(crate) use wrapped_field;
