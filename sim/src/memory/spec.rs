//! The memory of a machine as data: what `sim/data/<name>.toml` holds, checked.

use crate::dram::{AddressMap, ChannelFields, DramError};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whose memory is behind a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ports {
    /// Each port has a DRAM channel of its own.
    Own,
    /// All ports share one DRAM channel, each in a region of its own: the regions divide the channel evenly.
    Shared,
}

/// The fields of a memory, unchecked: what a TOML file holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryFields {
    /// Name: of `a-z`, `0-9` and `-`.
    pub name: String,
    /// What it is, for people.
    pub title: String,
    /// Whose memory is behind a port.
    pub ports: Ports,
    /// Longest AXI burst in bytes; bursts never cross a multiple of it.
    pub burst_bytes: u64,
    /// Time from the end of a handshake's cycle to the DRAM controller's queue.
    pub request_ps: u64,
    /// Time from the end of a column access to the port.
    pub response_ps: u64,
    /// The DRAM channel.
    pub channel: ChannelFields,
    /// Where each figure is from: a figure (`channel.clock_hz`) or a table of figures (`channel`) and its source.
    pub sources: BTreeMap<String, String>,
}

/// A memory: valid or it does not exist.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MemorySpec {
    fields: MemoryFields,
}

/// Why a memory is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Not TOML, a key missing, or a key that is not known.
    #[error("memory text: {message}")]
    Toml {
        /// The parser's account, with line and key.
        message: String,
    },
    /// No memory of that name.
    #[error("no memory is named '{found}'; the memories are {known}")]
    Unknown {
        /// What was given.
        found: String,
        /// The memories.
        known: String,
    },
    /// A name that cannot be one.
    #[error("memory.name = '{found}': must be 1 to 32 of a-z, 0-9 and '-'")]
    Name {
        /// What was given.
        found: String,
    },
    /// A figure outside its range.
    #[error("memory.{field} = {found}: must be {allowed}, because {reason}")]
    Figure {
        /// Field.
        field: &'static str,
        /// What was given.
        found: u64,
        /// What is allowed.
        allowed: String,
        /// Why.
        reason: &'static str,
    },
    /// A figure without a source.
    #[error("memory.{figure} has no source: add sources.\"{figure}\", with the document or how it was found")]
    NoSource {
        /// The figure.
        figure: String,
    },
    /// A source for something that is no figure of a memory.
    #[error("memory.sources.\"{found}\" is no figure of a memory; the figures are {known}")]
    StraySource {
        /// What was given.
        found: String,
        /// The figures.
        known: String,
    },
    /// A DRAM channel that cannot be.
    #[error("memory.{0}")]
    Channel(#[from] DramError),
}

/// The memories that the project describes, as TOML text.
const MEMORIES: &[(&str, &str)] = &[
    ("hbm2", include_str!("../../data/hbm2.toml")),
    ("hbm2-8h", include_str!("../../data/hbm2-8h.toml")),
    ("ddr4-2400", include_str!("../../data/ddr4-2400.toml")),
    ("ideal", include_str!("../../data/ideal.toml")),
];

/// Names of every figure that needs a source.
const FIGURES: &[&str] = &[
    "ports",
    "burst_bytes",
    "request_ps",
    "response_ps",
    "channel.clock_hz",
    "channel.bus_bits",
    "channel.burst_length",
    "channel.map",
    "channel.xor_row_bits",
    "channel.timing.n_cl",
    "channel.timing.n_cwl",
    "channel.timing.n_ccd_s",
    "channel.timing.n_ccd_l",
    "channel.timing.n_turnaround",
    "channel.timing.t_rcd_ps",
    "channel.timing.t_rp_ps",
    "channel.timing.t_ras_ps",
    "channel.timing.t_rc_ps",
    "channel.timing.t_rrd_s_ps",
    "channel.timing.t_rrd_l_ps",
    "channel.timing.t_faw_ps",
    "channel.timing.t_rtp_ps",
    "channel.timing.t_wr_ps",
    "channel.timing.t_wtr_s_ps",
    "channel.timing.t_wtr_l_ps",
    "channel.timing.t_refi_ps",
    "channel.timing.t_rfc_ps",
];

/// Whether a source's key names a figure or a table that holds it.
fn covers(key: &str, figure: &str) -> bool {
    figure.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl MemoryFields {
    fn check(&self) -> Result<(), SpecError> {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(letter) {
            return Err(SpecError::Name { found: self.name.clone() });
        }
        self.channel.check()?;
        let window = AddressMap::new(&self.channel)?.window_bytes();
        let (field, found) = ("burst_bytes", self.burst_bytes);
        if !found.is_power_of_two() || !(64..=window.min(4096)).contains(&found) {
            let allowed = format!("a power of two from 64 to {}", window.min(4096));
            let reason = "a burst may cross neither a page of 4 KB nor a row window of the channel's map";
            return Err(SpecError::Figure { field, found, allowed, reason });
        }
        for (field, found) in [("request_ps", self.request_ps), ("response_ps", self.response_ps)] {
            if found > 10_000_000 {
                let (allowed, reason) =
                    ("at most 10000000", "no controller takes longer; the unit is the picosecond");
                return Err(SpecError::Figure { field, found, allowed: allowed.to_owned(), reason });
            }
        }
        self.check_sources()
    }

    fn check_sources(&self) -> Result<(), SpecError> {
        if let Some(found) = self.sources.keys().find(|key| !FIGURES.iter().any(|f| covers(key, f))) {
            return Err(SpecError::StraySource { found: found.clone(), known: FIGURES.join(", ") });
        }
        let sourced = |figure: &&str| {
            self.sources.iter().any(|(key, text)| covers(key, figure) && !text.trim().is_empty())
        };
        match FIGURES.iter().find(|figure| !sourced(figure)) {
            Some(figure) => Err(SpecError::NoSource { figure: (*figure).to_owned() }),
            None => Ok(()),
        }
    }
}

impl MemorySpec {
    /// The memories that the project describes.
    pub const NAMES: [&'static str; 4] = ["hbm2", "hbm2-8h", "ddr4-2400", "ideal"];

    /// Checks the fields.
    ///
    /// # Errors
    /// [`SpecError`] for the first figure or source that cannot be.
    pub fn new(fields: MemoryFields) -> Result<Self, SpecError> {
        fields.check()?;
        Ok(Self { fields })
    }

    /// Reads TOML text; unknown keys are refused.
    ///
    /// # Errors
    /// [`SpecError::Toml`], or as [`MemorySpec::new`].
    pub fn from_toml(text: &str) -> Result<Self, SpecError> {
        Self::new(toml::from_str(text).map_err(|e| SpecError::Toml { message: e.to_string() })?)
    }

    /// A memory that the project describes, by name.
    ///
    /// # Errors
    /// [`SpecError::Unknown`].
    pub fn named(name: &str) -> Result<Self, SpecError> {
        let Some((_, text)) = MEMORIES.iter().find(|m| m.0 == name) else {
            return Err(SpecError::Unknown { found: name.to_owned(), known: Self::NAMES.join(", ") });
        };
        Self::from_toml(text)
    }

    /// The memory that a machine of this configuration would have: HBM2 where there are more channels than a board has
    /// ports to DDR4, with pseudo-channels that hold the configuration's channels; else DDR4-2400.
    ///
    /// # Errors
    /// None for the memories as they are; the type is that of [`MemorySpec::named`].
    pub fn for_config(config: &AccelConfig) -> Result<Self, SpecError> {
        const DDR4_PORTS: u32 = 4;
        if config.channels() <= DDR4_PORTS {
            return Self::named("ddr4-2400");
        }
        let small = Self::named("hbm2")?;
        let holds = AddressMap::new(&small.fields.channel)?.capacity() >= config.channel_capacity().get();
        if holds { Ok(small) } else { Self::named("hbm2-8h") }
    }

    /// The fields.
    #[must_use]
    pub fn fields(&self) -> &MemoryFields {
        &self.fields
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.fields.name
    }

    /// Longest AXI burst; bursts never cross a multiple of it.
    #[must_use]
    pub fn burst_bytes(&self) -> Bytes {
        Bytes(self.fields.burst_bytes)
    }
}
