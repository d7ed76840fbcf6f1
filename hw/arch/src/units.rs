//! Quantities with their unit in the type.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! unit {
    ($(#[$m:meta])* $name:ident, $suffix:literal) => {
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The bare number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.0, $suffix)
            }
        }
    };
}

unit!(
    /// A size in bytes.
    Bytes,
    "bytes"
);
unit!(
    /// A number of clock cycles.
    Cycles,
    "cycles"
);
unit!(
    /// A frequency.
    Hertz,
    "Hz"
);
