//! Boards as data: what `constraints/boards/<board>/board.toml` holds, checked, and whether a configuration fits.
//!
//! Every figure names its source, and says there when it is not certain; a figure without a source is refused, as is
//! an unknown key. Fit is judged only by what is known before synthesis: channels, capacity, bus width and clock.
//! Whether the logic fits is for the synthesis report to say.

use crate::config::AccelConfig;
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// FPGA family, as the vendor's tools name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Virtex UltraScale+ with HBM.
    VirtexUplusHbm,
    /// Zynq UltraScale+ MPSoC.
    ZynqUplus,
}

/// Kind of device memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryKind {
    /// HBM2 in the FPGA's package: a channel is a pseudo-channel.
    Hbm2,
    /// DDR4: a channel is a port of the memory controller, and all ports share one memory.
    Ddr4,
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hbm2 => "HBM2",
            Self::Ddr4 => "DDR4",
        })
    }
}

/// Resources of the FPGA.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Look-up tables of 6 inputs.
    pub lut: u32,
    /// Flip-flops.
    pub ff: u32,
    /// Block RAMs of 36 Kb.
    pub bram36: u32,
    /// UltraRAMs of 288 Kb; 0 for none.
    pub uram: u32,
    /// DSP48E2 slices.
    pub dsp: u32,
}

/// Device memory that the accelerator can reach.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Kind.
    pub kind: MemoryKind,
    /// Channels that run side by side.
    pub channels: u32,
    /// Capacity of one channel.
    pub channel_bytes: u64,
    /// Peak rate of one channel in bytes a second when all channels run.
    pub channel_rate_bytes_hz: u64,
    /// Width of a channel's own port.
    pub port_bits: u32,
    /// Widest kernel port that the platform connects to a channel.
    pub kernel_port_bits: u32,
    /// Whether the host's operating system lives in the same memory; its share is then not available.
    pub shared_with_host: bool,
}

/// Names by which the vendor's tools know the board.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Development platform to link against.
    pub name: String,
    /// Name that a running card reports; none for boards without a shell.
    pub shell: Option<String>,
}

/// Kernel clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// What the platform gives when nothing is asked.
    pub default_hz: u64,
    /// What a kernel may ask for at most.
    pub max_hz: u64,
}

/// Power.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Limit of the whole board in watts.
    pub limit_w: u32,
}

/// PCI Express link to the host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pcie {
    /// Generation.
    pub generation: u32,
    /// Lanes.
    pub lanes: u32,
}

/// The fields of a board, unchecked: what a TOML file holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardFields {
    /// Name: the folder in `constraints/boards`.
    pub name: String,
    /// Name as its maker writes it.
    pub title: String,
    /// Part number for the vendor's tools.
    pub part: String,
    /// FPGA family.
    pub family: Family,
    /// Super logic regions (dies); 1 for a single die.
    pub slrs: u32,
    /// FPGA resources.
    pub resources: Resources,
    /// Device memory.
    pub memory: Memory,
    /// Names in the vendor's tools.
    pub platform: Platform,
    /// Kernel clock.
    pub clock: Clock,
    /// Power.
    pub power: Power,
    /// Link to the host; none for boards whose processors are the host.
    pub pcie: Option<Pcie>,
    /// Where each figure is from: a figure (`resources.lut`) or a table of figures (`resources`) and its source.
    pub sources: BTreeMap<String, String>,
}

/// A board.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Board {
    fields: BoardFields,
}

/// Why a board description is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// Not TOML, a key missing, or a key that is not known.
    #[error("board text: {message}")]
    Toml {
        /// The parser's account, with line and key.
        message: String,
    },
    /// A text that cannot be what it should be.
    #[error("board.{field} = '{found}': must be {allowed}")]
    Text {
        /// Field.
        field: &'static str,
        /// What was given.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A figure outside its range.
    #[error("board.{field} = {found}: must be {allowed}, because {reason}")]
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
    #[error("board.{figure} has no source: add sources.\"{figure}\", with the document or how it was found")]
    NoSource {
        /// The figure.
        figure: &'static str,
    },
    /// A source for something that is no figure of this board.
    #[error("board.sources.\"{found}\" is no figure of this board; the figures are {known}")]
    StraySource {
        /// What was given.
        found: String,
        /// The figures.
        known: String,
    },
    /// No board of that name.
    #[error("no board is named '{found}'; the boards are {known}")]
    UnknownBoard {
        /// What was given.
        found: String,
        /// The boards.
        known: String,
    },
}

/// Why a configuration does not fit a board.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("configuration '{config}' does not fit board '{board}': {figure} asks for {found} {unit}, the board has {limit} {unit}{}", advice(nearest.as_deref()))]
pub struct FitError {
    /// Configuration.
    pub config: String,
    /// Board.
    pub board: String,
    /// Configuration field.
    pub figure: &'static str,
    /// What the configuration asks for.
    pub found: u64,
    /// What the board has.
    pub limit: u64,
    /// Unit of both.
    pub unit: &'static str,
    /// The preset that fits the board and is closest to the configuration.
    pub nearest: Option<String>,
}

fn advice(nearest: Option<&str>) -> String {
    match nearest {
        Some(preset) => format!("; the nearest preset that fits is '{preset}'"),
        None => "; no preset fits this board".to_owned(),
    }
}

/// The boards that the project describes, as TOML text.
const BOARDS: &[(&str, &str)] = &[
    ("u55c", include_str!("../../../constraints/boards/u55c/board.toml")),
    ("u50", include_str!("../../../constraints/boards/u50/board.toml")),
    ("u280", include_str!("../../../constraints/boards/u280/board.toml")),
    ("zcu104", include_str!("../../../constraints/boards/zcu104/board.toml")),
    ("kv260", include_str!("../../../constraints/boards/kv260/board.toml")),
    ("zcu102", include_str!("../../../constraints/boards/zcu102/board.toml")),
];

impl BoardFields {
    /// Every figure that needs a source, with its value where it is a number.
    fn figures(&self) -> Vec<(&'static str, Option<u64>)> {
        let (r, m) = (&self.resources, &self.memory);
        let number = |name, value: u32| (name, Some(u64::from(value)));
        let mut figures = vec![
            ("part", None),
            number("slrs", self.slrs),
            number("resources.lut", r.lut),
            number("resources.ff", r.ff),
            number("resources.bram36", r.bram36),
            number("resources.uram", r.uram),
            number("resources.dsp", r.dsp),
            number("memory.channels", m.channels),
            ("memory.channel_bytes", Some(m.channel_bytes)),
            ("memory.channel_rate_bytes_hz", Some(m.channel_rate_bytes_hz)),
            number("memory.port_bits", m.port_bits),
            number("memory.kernel_port_bits", m.kernel_port_bits),
            ("platform", None),
            ("clock.default_hz", Some(self.clock.default_hz)),
            ("clock.max_hz", Some(self.clock.max_hz)),
            number("power.limit_w", self.power.limit_w),
        ];
        if let Some(pcie) = &self.pcie {
            figures.push(number("pcie.generation", pcie.generation));
            figures.push(number("pcie.lanes", pcie.lanes));
        }
        figures
    }

    fn check(&self) -> Result<(), BoardError> {
        self.check_texts()?;
        self.check_figures()?;
        self.check_sources()
    }

    fn check_texts(&self) -> Result<(), BoardError> {
        let word = |text: &str, extra: &str| {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c);
            !text.is_empty() && text.len() <= 64 && text.to_ascii_lowercase().chars().all(allowed)
        };
        let refuse = |field, found: &str, allowed| {
            let found = found.to_owned();
            Err(BoardError::Text { field, found, allowed })
        };
        if !word(&self.name, "_") || self.name.chars().any(|c| c.is_ascii_uppercase()) {
            return refuse("name", &self.name, "of a-z, 0-9 and '_', because it names a folder");
        }
        if self.title.trim().is_empty() {
            return refuse("title", &self.title, "a name to show");
        }
        if !word(&self.part, "-") || !self.part.starts_with("xc") {
            return refuse("part", &self.part, "a part number, such as xcu55c-fsvh2892-2L-e");
        }
        for (field, name) in
            [("platform.name", Some(&self.platform.name)), ("platform.shell", self.platform.shell.as_ref())]
        {
            if let Some(name) = name.filter(|name| !word(name, "_-.")) {
                return refuse(field, name, "a platform name of letters, digits, '_', '-' and '.'");
            }
        }
        Ok(())
    }

    fn check_figures(&self) -> Result<(), BoardError> {
        let (r, m, clock) = (&self.resources, &self.memory, &self.clock);
        const DIES: &str = "a package holds at most 4 dies";
        const CHIP: &str = "no chip of these families holds none, or more";
        const BUS: &str = "AXI4 data buses here are 128 to 512 bits wide";
        const HZ: &str = "this is the range of FPGA kernel clocks";
        within("slrs", self.slrs.into(), 1, 4, DIES)?;
        within("resources.lut", r.lut.into(), 1000, 10_000_000, CHIP)?;
        within("resources.ff", r.ff.into(), 1000, 20_000_000, CHIP)?;
        within("resources.bram36", r.bram36.into(), 1, 10_000, CHIP)?;
        within("resources.uram", r.uram.into(), 0, 10_000, CHIP)?;
        within("resources.dsp", r.dsp.into(), 1, 20_000, CHIP)?;
        within("memory.channels", m.channels.into(), 1, 32, "a card has at most 32 memory channels")?;
        within(
            "memory.channel_bytes",
            m.channel_bytes,
            1 << 20,
            1 << 40,
            "addresses inside a channel are 40 bits",
        )?;
        const RATE: &str = "a channel that is slower or faster than any memory is a slip of units";
        within("memory.channel_rate_bytes_hz", m.channel_rate_bytes_hz, 100_000_000, 100_000_000_000, RATE)?;
        bus_width("memory.port_bits", m.port_bits, BUS)?;
        bus_width("memory.kernel_port_bits", m.kernel_port_bits, BUS)?;
        within("clock.max_hz", clock.max_hz, 1_000_000, 1_000_000_000, HZ)?;
        within(
            "clock.default_hz",
            clock.default_hz,
            1_000_000,
            clock.max_hz,
            "the default is within the range",
        )?;
        within("power.limit_w", self.power.limit_w.into(), 1, 600, "a card slot delivers no more")?;
        let Some(pcie) = &self.pcie else { return Ok(()) };
        within("pcie.generation", pcie.generation.into(), 1, 6, "there are no others")?;
        within("pcie.lanes", pcie.lanes.into(), 1, 16, "a slot has at most 16 lanes")
    }

    fn check_sources(&self) -> Result<(), BoardError> {
        let figures = self.figures();
        let covers = |key: &str, figure: &str| {
            figure.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if let Some((found, _)) =
            self.sources.iter().find(|(key, _)| !figures.iter().any(|f| covers(key, f.0)))
        {
            let known: Vec<&str> = figures.iter().map(|f| f.0).collect();
            return Err(BoardError::StraySource { found: found.clone(), known: known.join(", ") });
        }
        let sourced = |figure: &str| {
            self.sources.iter().any(|(key, text)| covers(key, figure) && !text.trim().is_empty())
        };
        match figures.iter().find(|f| !sourced(f.0)) {
            Some(&(figure, _)) => Err(BoardError::NoSource { figure }),
            None => Ok(()),
        }
    }
}

fn within(
    field: &'static str,
    found: u64,
    low: u64,
    high: u64,
    reason: &'static str,
) -> Result<(), BoardError> {
    if (low..=high).contains(&found) {
        return Ok(());
    }
    Err(BoardError::Figure { field, found, allowed: format!("from {low} to {high}"), reason })
}

fn bus_width(field: &'static str, found: u32, reason: &'static str) -> Result<(), BoardError> {
    if [128, 256, 512].contains(&found) {
        return Ok(());
    }
    Err(BoardError::Figure { field, found: found.into(), allowed: "128, 256 or 512".to_owned(), reason })
}

impl Board {
    /// The boards that the project describes; the first is the default.
    pub const NAMES: [&'static str; 6] = ["u55c", "u50", "u280", "zcu104", "kv260", "zcu102"];

    /// Checks the fields.
    ///
    /// # Errors
    /// [`BoardError`] for the first text, figure or source that cannot be.
    pub fn new(fields: BoardFields) -> Result<Self, BoardError> {
        fields.check()?;
        Ok(Self { fields })
    }

    /// Reads TOML text; unknown keys are refused.
    ///
    /// # Errors
    /// [`BoardError::Toml`], or as [`Board::new`].
    pub fn from_toml(text: &str) -> Result<Self, BoardError> {
        Self::new(toml::from_str(text).map_err(|e| BoardError::Toml { message: e.to_string() })?)
    }

    /// A board that the project describes, by name.
    ///
    /// # Errors
    /// [`BoardError::UnknownBoard`].
    pub fn named(name: &str) -> Result<Self, BoardError> {
        let Some((_, text)) = BOARDS.iter().find(|b| b.0 == name) else {
            return Err(BoardError::UnknownBoard { found: name.to_owned(), known: Self::NAMES.join(", ") });
        };
        Self::from_toml(text)
    }

    /// The fields.
    #[must_use]
    pub fn fields(&self) -> &BoardFields {
        &self.fields
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.fields.name
    }

    /// Every figure: its name, its value where it is a number, and its source.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, Option<u64>, &str)> {
        self.fields.figures().into_iter().map(|(name, value)| (name, value, self.source(name)))
    }

    /// Where a figure is from: its own source, or that of its table.
    #[must_use]
    pub fn source(&self, figure: &str) -> &str {
        let table = figure.split('.').next().unwrap_or_default();
        let source = self.fields.sources.get(figure).or_else(|| self.fields.sources.get(table));
        source.map_or("", String::as_str)
    }

    /// Capacity of all channels.
    #[must_use]
    pub fn capacity(&self) -> Bytes {
        Bytes(u64::from(self.fields.memory.channels) * self.fields.memory.channel_bytes)
    }

    /// Peak rate of all channels together, in bytes a second.
    #[must_use]
    pub fn peak_rate_bytes_hz(&self) -> u64 {
        u64::from(self.fields.memory.channels) * self.fields.memory.channel_rate_bytes_hz
    }

    /// Checks that the board has the channels, the capacity, the bus width and the clock of a configuration.
    ///
    /// # Errors
    /// [`FitError`] with the first figure that the board cannot give.
    pub fn fits(&self, config: &AccelConfig) -> Result<(), FitError> {
        let Some((figure, found, limit, unit)) = self.misfit(config) else { return Ok(()) };
        let nearest = self.nearest_preset(config);
        let (config, board) = (config.name().to_owned(), self.name().to_owned());
        Err(FitError { config, board, figure, found, limit, unit, nearest })
    }

    /// The first figure that the board cannot give: its name, what is asked, what there is, and the unit.
    fn misfit(&self, config: &AccelConfig) -> Option<(&'static str, u64, u64, &'static str)> {
        let BoardFields { memory, clock, .. } = &self.fields;
        let figures = [
            ("channels", config.channels().into(), memory.channels.into(), "channels"),
            ("beat_bytes", config.beat().get(), u64::from(memory.kernel_port_bits) / 8, "bytes"),
            ("channel_bytes", config.channel_capacity().get(), memory.channel_bytes, "bytes"),
            ("clock_hz", config.clock().get(), clock.max_hz, "Hz"),
        ];
        figures.into_iter().find(|&(_, found, limit, _)| found > limit)
    }

    /// The preset that fits and whose channels, bus, capacity and clock are the fewest doublings away; of equals the
    /// larger one.
    fn nearest_preset(&self, config: &AccelConfig) -> Option<String> {
        let size = |c: &AccelConfig| {
            [c.channels().into(), c.beat().get(), c.channel_capacity().get(), c.clock().get()].map(u64::ilog2)
        };
        let asked = size(config);
        let distance = |c: &AccelConfig| size(c).iter().zip(asked).map(|(a, b)| a.abs_diff(b)).sum::<u32>();
        let presets = AccelConfig::PRESETS.iter().rev().filter_map(|name| AccelConfig::preset(name).ok());
        let fitting = presets.filter(|preset| self.misfit(preset).is_none());
        fitting.min_by_key(distance).map(|preset| preset.name().to_owned())
    }
}
