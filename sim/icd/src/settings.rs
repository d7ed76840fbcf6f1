//! What the environment says: which devices there are and how they behave.

use crate::link::{Link, LinkError};
use fastcar_arch::config::{AccelConfig, ConfigError};
use std::fmt;
use std::path::PathBuf;

/// Most devices of a platform: a limit against typing errors, as each has a thread.
pub const MAX_DEVICES: usize = 64;

/// What a kernel run does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RunMode {
    /// Values, and the cycles of the decisions that they make.
    #[default]
    Values,
    /// Values only; a run takes no time.
    Functional,
    /// The cycles of a dense run; memory is left as it is, but for a report of zeros.
    Timing,
    /// Values and cycles of the generated hardware in Verilator.
    Rtl,
    /// Nothing, in no time: what is left is the host's own work.
    Instant,
}

impl RunMode {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Values, "values"),
        (Self::Functional, "functional"),
        (Self::Timing, "timing"),
        (Self::Rtl, "rtl"),
        (Self::Instant, "instant"),
    ];
}

/// What goes wrong, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What.
    pub kind: FailureKind,
    /// At which of a device's kernel runs, or of its commands where the kind says so; counted from 1.
    pub number: u64,
    /// The device; each one where none is named.
    pub device: Option<usize>,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// The run never ends.
    Hang,
    /// The device is gone: the run and all later commands fail.
    Lost,
    /// The memory answers a read with an error.
    SlaveError,
    /// A command, a transfer as well as a run, does not get the memory that it needs.
    Memory,
}

impl FailureKind {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Hang, "hang"), (Self::Lost, "lost"), (Self::SlaveError, "slverr"), (Self::Memory, "memory")];
}

/// The settings of a platform.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A configuration for each device.
    pub devices: Vec<AccelConfig>,
    /// What a kernel run does.
    pub mode: RunMode,
    /// The link of every device.
    pub link: Link,
    /// Whether the platform names itself as the vendor's runtime does.
    pub as_xrt: bool,
    /// What goes wrong.
    pub failure: Option<Failure>,
    /// Where processes agree on the images that the devices run.
    pub lock: Option<PathBuf>,
}

/// An environment variable that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A device of no preset.
    #[error("FASTCAR_SIM_DEVICES: {0}")]
    Preset(#[from] ConfigError),
    /// A number of devices that cannot be.
    #[error(
        "FASTCAR_SIM_DEVICES: '{found}': after '*' stands a number from 1, and there are at most {MAX_DEVICES} devices in all"
    )]
    Count {
        /// What was given.
        found: String,
    },
    /// No link of that name.
    #[error("FASTCAR_SIM_LINK: {0}")]
    Link(#[from] LinkError),
    /// Something is to go wrong with a device that there is not.
    #[error("FASTCAR_SIM_FAULT: device {found}: the devices are 0 to {last}")]
    NoDevice {
        /// What was given.
        found: usize,
        /// The last device.
        last: usize,
    },
    /// No folder.
    #[error(
        "FASTCAR_SIM_LOCK: '{found}': must be a folder, the same one for all processes that share the devices"
    )]
    Lock {
        /// What was given.
        found: String,
    },
    /// A word that is not known.
    #[error("{variable}: '{found}': must be {allowed}")]
    Word {
        /// Variable.
        variable: &'static str,
        /// What was given.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl Settings {
    /// Reads settings; `variable` gives an environment variable's value.
    ///
    /// # Errors
    /// [`SettingsError`] for the first variable that makes no sense.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let get = |name: &str| variable(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let devices = devices_of(&get("FASTCAR_SIM_DEVICES").unwrap_or_else(|| "u55c".to_owned()))?;
        let link = get("FASTCAR_SIM_LINK").unwrap_or_else(|| "gen3x16".to_owned());
        Ok(Self {
            mode: get("FASTCAR_SIM_MODE").map_or(Ok(RunMode::default()), |v| mode_of(&v))?,
            link: Link::named(&link)?,
            as_xrt: get("FASTCAR_SIM_AS_XRT").map_or(Ok(false), |v| switch("FASTCAR_SIM_AS_XRT", &v))?,
            failure: get("FASTCAR_SIM_FAULT").map(|v| failure_of(&v, devices.len())).transpose()?,
            lock: get("FASTCAR_SIM_LOCK").map(lock_of).transpose()?,
            devices,
        })
    }
}

/// A switch: 0 or 1.
fn switch(variable: &'static str, text: &str) -> Result<bool, SettingsError> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(SettingsError::Word { variable, found: text.to_owned(), allowed: "0 or 1" }),
    }
}

fn devices_of(text: &str) -> Result<Vec<AccelConfig>, SettingsError> {
    let mut devices = Vec::new();
    for item in text.split(',').map(str::trim) {
        let wrong = || SettingsError::Count { found: item.to_owned() };
        let (name, count) = match item.split_once('*') {
            Some((name, count)) => (name.trim(), count.trim().parse().map_err(|_| wrong())?),
            None => (item, 1usize),
        };
        if count == 0 || count > MAX_DEVICES - devices.len() {
            return Err(wrong());
        }
        devices.extend(vec![AccelConfig::preset(name)?; count]);
    }
    Ok(devices)
}

fn word<T: Copy>(
    variable: &'static str,
    all: &[(T, &str)],
    text: &str,
    allowed: &'static str,
) -> Result<T, SettingsError> {
    let known = all.iter().find(|a| a.1 == text).map(|a| a.0);
    known.ok_or_else(|| SettingsError::Word { variable, found: text.to_owned(), allowed })
}

fn mode_of(text: &str) -> Result<RunMode, SettingsError> {
    word("FASTCAR_SIM_MODE", &RunMode::ALL, text, "values, functional, timing, rtl or instant")
}

/// What goes wrong on one of so many devices.
fn failure_of(text: &str, devices: usize) -> Result<Failure, SettingsError> {
    const ALLOWED: &str = "hang@N, lost@N, slverr@N or memory@N, where N counts a device's kernel runs (for memory: its \
                           commands) from 1; with :D behind, only device D's";
    let variable = "FASTCAR_SIM_FAULT";
    let wrong = || SettingsError::Word { variable, found: text.to_owned(), allowed: ALLOWED };
    let (kind, place) = text.split_once('@').ok_or_else(wrong)?;
    let kind = word(variable, &FailureKind::ALL, kind, ALLOWED)?;
    let (number, device) = place.split_once(':').map_or((place, None), |(n, d)| (n, Some(d)));
    let number = number.parse().ok().filter(|&n| n > 0).ok_or_else(wrong)?;
    let device = device.map(str::parse).transpose().map_err(|_| wrong())?;
    if let Some(found) = device.filter(|&d| d >= devices) {
        return Err(SettingsError::NoDevice { found, last: devices - 1 });
    }
    Ok(Failure { kind, number, device })
}

fn lock_of(folder: String) -> Result<PathBuf, SettingsError> {
    let path = PathBuf::from(&folder);
    if path.is_dir() { Ok(path) } else { Err(SettingsError::Lock { found: folder }) }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|k| k.0 == *self).map_or("", |k| k.1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn read(name: &'static str, value: &'static str) -> Result<Settings, SettingsError> {
        Settings::read(|n| (n == name).then(|| value.to_owned()))
    }

    #[test]
    fn devices_are_named_and_counted() {
        let names = |s: Settings| s.devices.iter().map(|d| d.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(read("", "").unwrap()), ["u55c"]);
        let three = read("FASTCAR_SIM_DEVICES", "tiny*2, u55c").unwrap();
        assert_eq!(names(three), ["tiny", "tiny", "u55c"]);
        for wrong in ["tiny*0", "tiny*x", "tiny*65", "u51", "tiny,,tiny", "tiny*99999999999999999999"] {
            read("FASTCAR_SIM_DEVICES", wrong).unwrap_err();
        }
    }

    #[test]
    fn words_are_known_or_refused_by_name() {
        assert_eq!(read("FASTCAR_SIM_MODE", "instant").unwrap().mode, RunMode::Instant);
        let failure = read("FASTCAR_SIM_FAULT", "slverr@7").unwrap().failure;
        assert_eq!(failure, Some(Failure { kind: FailureKind::SlaveError, number: 7, device: None }));
        let failure = read("FASTCAR_SIM_FAULT", "memory@7:0").unwrap().failure;
        assert_eq!(failure, Some(Failure { kind: FailureKind::Memory, number: 7, device: Some(0) }));
        let refused = |name, value| read(name, value).unwrap_err().to_string();
        assert_eq!(
            refused("FASTCAR_SIM_MODE", "fast"),
            "FASTCAR_SIM_MODE: 'fast': must be values, functional, timing, rtl or instant"
        );
        for wrong in ["hang", "hang@0", "melt@1", "hang@-1", "hang@1:", "hang@1:x"] {
            assert!(
                refused("FASTCAR_SIM_FAULT", wrong).contains("hang@N, lost@N, slverr@N or memory@N"),
                "{wrong}"
            );
        }
        assert_eq!(
            refused("FASTCAR_SIM_FAULT", "hang@1:1"),
            "FASTCAR_SIM_FAULT: device 1: the devices are 0 to 0"
        );
        assert_eq!(read("FASTCAR_SIM_LOCK", "/").unwrap().lock, Some(PathBuf::from("/")));
        assert_eq!(
            refused("FASTCAR_SIM_LOCK", "/no/such/folder"),
            "FASTCAR_SIM_LOCK: '/no/such/folder': must be a folder, the same one for all processes that share the devices"
        );
        assert!(refused("FASTCAR_SIM_AS_XRT", "yes").contains("0 or 1"));
        assert!(refused("FASTCAR_SIM_LINK", "usb").contains("gen3x16, gen4x8, none"));
    }
}
