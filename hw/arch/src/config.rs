//! Configuration of one accelerator: every size that the generator, the simulator and the compiler share.
//!
//! A configuration is valid or does not exist: [`AccelConfig`] has private fields and is made only by
//! [`AccelConfig::new`], from TOML or from a preset, and each refusal says which limit was broken and why it is there.

use crate::units::{Bytes, Hertz};
use serde::{Deserialize, Serialize};

/// Most slots of a step: the width of the Index Register.
pub const MAX_SLOTS: u32 = 32;
/// Words in a line of the vector buffer, elements in an MX block.
pub const LINE_WORDS: u32 = 32;
/// Tokens in a block of the KV cache: one mask word of a block list.
pub const KV_BLOCK_TOKENS: u32 = 32;
/// A channel's rows of a weight matrix are padded to a multiple of this many.
pub const ROW_GRANULE: u32 = 16;
/// Longest AXI burst in bytes; bursts do not cross a multiple of it.
pub const BURST_BYTES: u64 = 1024;

/// The fields of a configuration, unchecked: what a TOML file holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFields {
    /// Name: lower-case letters, digits, `_`, at most 32.
    pub name: String,
    /// Memory channels, one cluster each.
    pub channels: u32,
    /// Width of a channel's data bus in bytes.
    pub beat_bytes: u32,
    /// Capacity of one channel in bytes.
    pub channel_bytes: u64,
    /// Sequences that a step advances.
    pub slots: u32,
    /// Physical columns of the MAC array: slots served in one pass.
    pub columns: u32,
    /// Binary32 lanes of the vector unit.
    pub vector_lanes: u32,
    /// Lines of the vector buffer, per slot.
    pub vb_lines: u32,
    /// Blocks of the activation buffer, per slot.
    pub ab_blocks: u32,
    /// Rows of the accumulator RAM, per cluster and column.
    pub acc_rows: u32,
    /// Tokens of the score buffer: the longest attended context of a head.
    pub score_tokens: u32,
    /// Beats of the main stream buffer, per channel: weights and keys and values on their way to the MAC array.
    pub main_beats: u32,
    /// Beats of the read-ahead stream buffer, per channel.
    pub ahead_beats: u32,
    /// Beats of the record buffer, per channel: vectors on their way to the vector and gate units.
    pub record_beats: u32,
    /// Beats of the write buffer, per channel.
    pub write_beats: u32,
    /// Read bursts that a channel's port may have under way.
    pub read_bursts: u32,
    /// Kernel clock in Hz.
    pub clock_hz: u64,
}

/// A valid configuration.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AccelConfig {
    fields: ConfigFields,
}

/// Why a configuration does not exist.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number outside its range.
    #[error("config.{field} = {found}: must be {allowed}, because {reason}")]
    Range {
        /// Field name.
        field: &'static str,
        /// What was given.
        found: u64,
        /// What is allowed.
        allowed: String,
        /// Why.
        reason: &'static str,
    },
    /// A name that could not stand in a file or module name.
    #[error(
        "config.name = '{found}': must be 1 to 32 of a-z, 0-9 and '_', starting with a letter, because it names modules and folders"
    )]
    Name {
        /// What was given.
        found: String,
    },
    /// No preset of that name.
    #[error("no preset is named '{found}'; the presets are {known}")]
    UnknownPreset {
        /// What was given.
        found: String,
        /// The presets.
        known: String,
    },
    /// Not TOML, a key missing, or a key that is not known.
    #[error("configuration text: {message}")]
    Toml {
        /// The parser's account, with line and key.
        message: String,
    },
}

/// The named configurations, as TOML text.
const PRESETS: &[(&str, &str)] = &[
    ("tiny", include_str!("../presets/tiny.toml")),
    ("edge", include_str!("../presets/edge.toml")),
    ("u50", include_str!("../presets/u50.toml")),
    ("u55c", include_str!("../presets/u55c.toml")),
    ("u280", include_str!("../presets/u280.toml")),
];

fn within(
    field: &'static str,
    found: u64,
    range: std::ops::RangeInclusive<u64>,
    reason: &'static str,
) -> Result<(), ConfigError> {
    if range.contains(&found) {
        return Ok(());
    }
    let allowed = format!("from {} to {}", range.start(), range.end());
    Err(ConfigError::Range { field, found, allowed, reason })
}

fn power_of_two(field: &'static str, found: u64, reason: &'static str) -> Result<(), ConfigError> {
    if found.is_power_of_two() {
        return Ok(());
    }
    Err(ConfigError::Range { field, found, allowed: "a power of two".to_owned(), reason })
}

fn multiple_of(field: &'static str, found: u64, unit: u64, reason: &'static str) -> Result<(), ConfigError> {
    if found.is_multiple_of(unit) {
        return Ok(());
    }
    Err(ConfigError::Range { field, found, allowed: format!("a multiple of {unit}"), reason })
}

impl ConfigFields {
    fn check(&self) -> Result<(), ConfigError> {
        let name_ok = self.name.starts_with(|c: char| c.is_ascii_lowercase())
            && self.name.len() <= 32
            && self.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !name_ok {
            return Err(ConfigError::Name { found: self.name.clone() });
        }
        within("channels", self.channels.into(), 1..=32, "a card has at most 32 memory channels")?;
        power_of_two("channels", self.channels.into(), "records are dealt to channels by address bits")?;
        within(
            "beat_bytes",
            self.beat_bytes.into(),
            16..=64,
            "AXI4 data buses here are 128 to 512 bits wide",
        )?;
        power_of_two("beat_bytes", self.beat_bytes.into(), "AXI4 data buses are")?;
        within(
            "channel_bytes",
            self.channel_bytes,
            1 << 20..=1 << 40,
            "addresses inside a channel are 40 bits",
        )?;
        multiple_of("channel_bytes", self.channel_bytes, 4096, "a burst may not cross a 4 KB page")?;
        within("slots", self.slots.into(), 1..=MAX_SLOTS.into(), "the Index Register has 32 bits")?;
        within("columns", self.columns.into(), 1..=self.slots.into(), "a column serves one slot at a time")?;
        if self.columns != 1 {
            multiple_of(
                "columns",
                self.columns.into(),
                2,
                "attention weighs values in pairs of columns, or in a single one",
            )?;
        }
        within(
            "vector_lanes",
            self.vector_lanes.into(),
            1..=LINE_WORDS.into(),
            "a line of the vector buffer has 32 words",
        )?;
        power_of_two(
            "vector_lanes",
            self.vector_lanes.into(),
            "a line is processed in whole groups of lanes",
        )?;
        within(
            "channels",
            self.channels.into(),
            1..=self.vector_lanes.into(),
            "a row of a product comes from each in a cycle, and a lane of the vector unit takes one",
        )?;
        within("vb_lines", self.vb_lines.into(), 16..=65_536, "a command names a line in 16 bits")?;
        within("ab_blocks", self.ab_blocks.into(), 4..=65_536, "a command names a block in 16 bits")?;
        within("acc_rows", self.acc_rows.into(), 16..=65_536, "the accumulator RAM is addressed in 16 bits")?;
        power_of_two(
            "acc_rows",
            self.acc_rows.into(),
            "products follow each other around the accumulator RAM",
        )?;
        within(
            "score_tokens",
            self.score_tokens.into(),
            32..=32_768,
            "weighted sums of values must fit 48 bits",
        )?;
        multiple_of(
            "score_tokens",
            self.score_tokens.into(),
            KV_BLOCK_TOKENS.into(),
            "the KV cache is read in blocks of 32 tokens",
        )?;
        let burst_beats = BURST_BYTES / u64::from(self.beat_bytes);
        for (field, beats) in [
            ("main_beats", self.main_beats),
            ("ahead_beats", self.ahead_beats),
            ("record_beats", self.record_beats),
            ("write_beats", self.write_beats),
        ] {
            within(
                field,
                beats.into(),
                2 * burst_beats..=1 << 20,
                "a buffer takes a whole burst while it gives out another",
            )?;
        }
        within("read_bursts", self.read_bursts.into(), 1..=256, "AXI4 identifiers here have 8 bits")?;
        within(
            "clock_hz",
            self.clock_hz,
            1_000_000..=1_000_000_000,
            "this is the range of FPGA kernel clocks",
        )
    }
}

impl AccelConfig {
    /// The names of the presets, smallest machine first.
    pub const PRESETS: [&'static str; 5] = ["tiny", "edge", "u50", "u55c", "u280"];

    /// Checks the fields.
    ///
    /// # Errors
    /// [`ConfigError::Range`] or [`ConfigError::Name`] for the first field that breaks a limit.
    pub fn new(fields: ConfigFields) -> Result<Self, ConfigError> {
        fields.check()?;
        Ok(Self { fields })
    }

    /// Reads TOML text; unknown keys are refused.
    ///
    /// # Errors
    /// [`ConfigError::Toml`], or as [`AccelConfig::new`].
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let fields = toml::from_str(text).map_err(|e| ConfigError::Toml { message: e.to_string() })?;
        Self::new(fields)
    }

    /// A preset by name.
    ///
    /// # Errors
    /// [`ConfigError::UnknownPreset`].
    pub fn preset(name: &str) -> Result<Self, ConfigError> {
        let Some((_, text)) = PRESETS.iter().find(|p| p.0 == name) else {
            let known = Self::PRESETS.join(", ");
            return Err(ConfigError::UnknownPreset { found: name.to_owned(), known });
        };
        Self::from_toml(text)
    }

    /// The fields.
    #[must_use]
    pub fn fields(&self) -> &ConfigFields {
        &self.fields
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.fields.name
    }

    /// Memory channels, one cluster each.
    #[must_use]
    pub fn channels(&self) -> u32 {
        self.fields.channels
    }

    /// Width of a channel's data bus.
    #[must_use]
    pub fn beat(&self) -> Bytes {
        Bytes(self.fields.beat_bytes.into())
    }

    /// Capacity of one channel.
    #[must_use]
    pub fn channel_capacity(&self) -> Bytes {
        Bytes(self.fields.channel_bytes)
    }

    /// Sequences that a step advances.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.fields.slots
    }

    /// Physical columns of the MAC array.
    #[must_use]
    pub fn columns(&self) -> u32 {
        self.fields.columns
    }

    /// Binary32 lanes of the vector unit.
    #[must_use]
    pub fn vector_lanes(&self) -> u32 {
        self.fields.vector_lanes
    }

    /// Lines of the vector buffer, per slot.
    #[must_use]
    pub fn vb_lines(&self) -> u32 {
        self.fields.vb_lines
    }

    /// Blocks of the activation buffer, per slot.
    #[must_use]
    pub fn ab_blocks(&self) -> u32 {
        self.fields.ab_blocks
    }

    /// Rows of the accumulator RAM, per cluster and column.
    #[must_use]
    pub fn acc_rows(&self) -> u32 {
        self.fields.acc_rows
    }

    /// The longest attended context of a head, in tokens.
    #[must_use]
    pub fn score_tokens(&self) -> u32 {
        self.fields.score_tokens
    }

    /// Beats of the main stream buffer, per channel.
    #[must_use]
    pub fn main_beats(&self) -> u32 {
        self.fields.main_beats
    }

    /// Beats of the read-ahead stream buffer, per channel.
    #[must_use]
    pub fn ahead_beats(&self) -> u32 {
        self.fields.ahead_beats
    }

    /// Beats of the record buffer, per channel.
    #[must_use]
    pub fn record_beats(&self) -> u32 {
        self.fields.record_beats
    }

    /// Beats of the write buffer, per channel.
    #[must_use]
    pub fn write_beats(&self) -> u32 {
        self.fields.write_beats
    }

    /// Read bursts that a channel's port may have under way.
    #[must_use]
    pub fn read_bursts(&self) -> u32 {
        self.fields.read_bursts
    }

    /// Kernel clock.
    #[must_use]
    pub fn clock(&self) -> Hertz {
        Hertz(self.fields.clock_hz)
    }

    /// The configuration as TOML text, in the order of [`ConfigFields`]: the same text for the same configuration.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.fields).unwrap_or_default()
    }
}
