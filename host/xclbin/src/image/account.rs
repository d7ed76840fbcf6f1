//! USER_METADATA: what the image says of itself.

use super::{ImageError, ImageKind};
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::identity::Identity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the metadata.
pub const FORMAT_VERSION: u32 = 1;
/// More bytes than the metadata ever takes; longer JSON is somebody else's, and is not parsed.
const MAX_BYTES: usize = 1 << 16;
/// The key of the outermost object, by which the metadata is told from anybody else's.
const KEY: &str = "fastcar";

/// The metadata.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// [`FORMAT_VERSION`].
    pub format: u32,
    /// What runs the kernel.
    pub kind: ImageKind,
    /// Identity of the configuration.
    pub identity: Identity,
    /// The configuration.
    pub config: ConfigFields,
}

impl Account {
    /// The metadata of a configuration.
    pub fn of(config: &AccelConfig, kind: ImageKind) -> Self {
        let identity = Identity::of(config);
        Self { format: FORMAT_VERSION, kind, identity, config: config.fields().clone() }
    }

    /// Whether bytes are such metadata, of whatever version.
    pub fn is_one(bytes: &[u8]) -> bool {
        outer(bytes).is_some()
    }

    /// Reads the metadata; none where the bytes are not of this kind.
    ///
    /// # Errors
    /// Another version, or fields that cannot be.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, ImageError> {
        let Some(inner) = outer(bytes) else { return Ok(None) };
        let format = inner.get("format").and_then(Value::as_u64);
        let refuse = |message: String| ImageError::Account { message };
        let format = format.ok_or_else(|| refuse("`format` is missing or no number".to_owned()))?;
        if format != u64::from(FORMAT_VERSION) {
            return Err(ImageError::Format { found: format, supported: FORMAT_VERSION });
        }
        serde_json::from_value(inner).map(Some).map_err(|e| refuse(e.to_string()))
    }

    /// The bytes of the section: one line of JSON.
    ///
    /// # Errors
    /// None that numbers and names could cause.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ImageError> {
        let refuse = |e: serde_json::Error| ImageError::Account { message: e.to_string() };
        let inner = serde_json::to_string(self).map_err(refuse)?;
        Ok(format!("{{\"{KEY}\":{inner}}}\n").into_bytes())
    }
}

/// What stands under the key.
fn outer(bytes: &[u8]) -> Option<Value> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let mut outer: Value = serde_json::from_slice(bytes.trim_ascii_end()).ok()?;
    outer.get_mut(KEY).map(Value::take)
}
