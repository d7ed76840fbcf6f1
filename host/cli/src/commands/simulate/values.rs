//! Values of flags as the user writes them.

use fastcar_host::simulate::Batch;
use fastcar_sim::dram::Dir;
use fastcar_sim::memory::Fault;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A value that a flag does not take.
#[derive(Clone, Debug, thiserror::Error)]
#[error("'{found}': must be {allowed}")]
pub struct BadValue {
    found: String,
    allowed: &'static str,
}

fn bad(found: &str, allowed: &'static str) -> BadValue {
    BadValue { found: found.to_owned(), allowed }
}

fn share(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x| (0.0..=1.0).contains(x))
}

/// Rows of a batch: a number, or `cfg` for one guided sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rows(pub Batch);

impl FromStr for Rows {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == "cfg" {
            return Ok(Self(Batch { rows: 2, paired: true }));
        }
        let rows = text.parse().map_err(|_| bad(text, "a number of rows, or cfg for a guided pair"))?;
        Ok(Self(Batch { rows, paired: false }))
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Batch { rows: 2, paired: true } => f.write_str("cfg"),
            Batch { rows, .. } => write!(f, "{rows}"),
        }
    }
}

/// Share of all (layer, position) that replay; `cap` for as many as can.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ReplayShare {
    /// All that have a predecessor.
    Cap,
    /// So many.
    Share(f64),
}

impl FromStr for ReplayShare {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "cap" => Ok(Self::Cap),
            _ => share(text).map(Self::Share).ok_or_else(|| bad(text, "a share from 0 to 1, or cap")),
        }
    }
}

impl fmt::Display for ReplayShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cap => f.write_str("cap"),
            Self::Share(share) => write!(f, "{share}"),
        }
    }
}

/// Shares of active blocks of the inputs of qkv, o, up and down.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ActiveShares(pub [f64; 4]);

impl FromStr for ActiveShares {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let shares: Option<Vec<f64>> = text.split(':').map(share).collect();
        match shares.as_deref() {
            Some(&[all]) => Ok(Self([all; 4])),
            Some(&[qkv, o, up, down]) => Ok(Self([qkv, o, up, down])),
            _ => Err(bad(text, "a share of active blocks from 0 to 1, or four as QKV:O:UP:DOWN")),
        }
    }
}

impl fmt::Display for ActiveShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        if rest.iter().all(|&share| share == first) {
            return write!(f, "{first}");
        }
        let [qkv, o, up, down] = self.0;
        write!(f, "{qkv}:{o}:{up}:{down}")
    }
}

/// A range of numbers, `A..B`, without B.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span(pub Range<u64>);

impl FromStr for Span {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let ends = text.split_once("..").and_then(|(a, b)| Some((number(a)?, number(b)?)));
        match ends.filter(|(a, b)| a < b) {
            Some((start, end)) => Ok(Self(start..end)),
            None => Err(bad(text, "A..B with A below B")),
        }
    }
}

/// A number, decimal or with 0x.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Positions, `A..B`.
pub fn positions(text: &str) -> Result<Range<u32>, BadValue> {
    let Span(range) = text.parse()?;
    match (u32::try_from(range.start), u32::try_from(range.end)) {
        (Ok(start), Ok(end)) => Ok(start..end),
        _ => Err(bad(text, "positions below 2^32")),
    }
}

/// A fault of a memory channel.
pub fn fault(text: &str) -> Result<Fault, BadValue> {
    const ALLOWED: &str = "read-error:CHANNEL:START..END, write-error:CHANNEL:START..END, ecc:CHANNEL:START..END or stuck:CHANNEL:FROM_CYCLE";
    let refused = || bad(text, ALLOWED);
    let mut parts = text.split(':');
    let (Some(kind), Some(channel), Some(place), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(refused());
    };
    let port = channel.parse().map_err(|_| refused())?;
    let range = || place.parse::<Span>().map(|s| s.0).map_err(|_| refused());
    Ok(match kind {
        "read-error" => Fault::SlaveError { port, dir: Dir::Read, range: range()? },
        "write-error" => Fault::SlaveError { port, dir: Dir::Write, range: range()? },
        "ecc" => Fault::Ecc { port, range: range()? },
        "stuck" => Fault::Stuck { port, from: number(place).ok_or_else(refused)? },
        _ => return Err(refused()),
    })
}

/// A field of the configuration and its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Field.
    pub field: String,
    /// Value.
    pub value: u64,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.field, self.value)
    }
}

/// Settings of one field: `field=value`, or `field=value,value..`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Field.
    pub field: String,
    /// Values.
    pub values: Vec<u64>,
}

impl FromStr for Settings {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refused =
            || bad(text, "FIELD=NUMBER, with a field of the configuration as in --set main_beats=4096");
        let (field, values) = text.split_once('=').ok_or_else(refused)?;
        let values: Option<Vec<u64>> = values.split(',').map(number).collect();
        Ok(Self { field: field.to_owned(), values: values.ok_or_else(refused)? })
    }
}

/// One setting.
pub fn setting(text: &str) -> Result<Setting, BadValue> {
    let Settings { field, values } = text.parse()?;
    match values[..] {
        [value] => Ok(Setting { field, value }),
        _ => Err(bad(text, "FIELD=NUMBER with one number; `fastcar sweep` takes several")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() -> Result<(), BadValue> {
        for text in ["cfg", "2", "32"] {
            assert_eq!(text.parse::<Rows>()?.to_string(), text);
        }
        for text in ["cap", "0.8"] {
            assert_eq!(text.parse::<ReplayShare>()?.to_string(), text);
        }
        for text in ["0.5", "0.5:0.25:1:0"] {
            assert_eq!(text.parse::<ActiveShares>()?.to_string(), text);
        }
        assert_eq!(setting("columns=0x8")?.to_string(), "columns=8");
        assert_eq!("a=1,2".parse::<Settings>()?.values, [1, 2]);
        Ok(())
    }

    #[test]
    fn faults_name_channel_and_place() -> Result<(), BadValue> {
        let range = 16..0x20;
        assert_eq!(fault("ecc:3:16..0x20")?, Fault::Ecc { port: 3, range: range.clone() });
        assert_eq!(fault("write-error:0:16..32")?, Fault::SlaveError { port: 0, dir: Dir::Write, range });
        assert_eq!(fault("stuck:1:99")?, Fault::Stuck { port: 1, from: 99 });
        Ok(())
    }

    #[test]
    fn the_rest_is_refused() {
        assert!("two".parse::<Rows>().is_err() && "1.5".parse::<ReplayShare>().is_err());
        assert!("0.5:0.5".parse::<ActiveShares>().is_err() && "nan".parse::<ActiveShares>().is_err());
        assert!(positions("5..5").is_err() && positions("7").is_err() && positions("0..4294967296").is_err());
        for text in ["ecc:0", "ecc:0:5", "stuck:x:5", "fire:0:1..2", "ecc:0:1..2:3"] {
            assert!(fault(text).is_err(), "{text}");
        }
        assert!(setting("columns").is_err() && setting("a=1,2").is_err() && setting("a=x").is_err());
    }
}
