//! KEYVALUE_METADATA: keys and values that the vendor's tools let users put into an image, as JSON.

use crate::error::XclbinError;
use serde::{Deserialize, Serialize};

/// A key and its value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyValue {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

#[derive(Deserialize)]
struct Outer {
    keyvalue_metadata: Inner,
}

#[derive(Deserialize)]
struct Inner {
    key_values: Vec<KeyValue>,
}

/// Reads the section.
///
/// # Errors
/// Not JSON, or not of keys and values.
pub fn read(bytes: &[u8]) -> Result<Vec<KeyValue>, XclbinError> {
    let refuse =
        |e: serde_json::Error| XclbinError::Metadata { kind: "KEYVALUE_METADATA", message: e.to_string() };
    let outer: Outer = serde_json::from_slice(bytes.trim_ascii_end()).map_err(refuse)?;
    Ok(outer.keyvalue_metadata.key_values)
}
