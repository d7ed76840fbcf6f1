//! The link between host and card as data: `data/links.toml`.

use crate::engine::{Nanos, Time};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Latency and rate of a link, each way.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    to_device_bytes_hz: u64,
    from_device_bytes_hz: u64,
    to_device_latency_ns: Nanos,
    from_device_latency_ns: Nanos,
    dma_channels: u64,
    sources: BTreeMap<String, String>,
}

/// Why there is no such link.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No link of that name.
    #[error("no link is named '{found}'; the links are {known}")]
    Unknown {
        /// What was given.
        found: String,
        /// The links.
        known: String,
    },
    /// Not TOML, a key missing, or a key that is not known.
    #[error("links: {message}")]
    Toml {
        /// The parser's account.
        message: String,
    },
    /// A figure that cannot be, or without a source.
    #[error("links.{link}.{figure} = {found}: must be above 0 and have a text in {link}.sources")]
    Figure {
        /// Link.
        link: String,
        /// Figure.
        figure: &'static str,
        /// What was given.
        found: u64,
    },
}

/// How long transfers take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Rate and latency to the device, and from it; none where transfers take no time.
    ways: Option<[Way; 2]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Way {
    bytes_hz: u64,
    latency: Nanos,
    channels: usize,
}

impl Way {
    fn time(self, bytes: u64) -> Time {
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_hz);
        Time { setup: self.latency, busy: Nanos::try_from(ns).unwrap_or(Nanos::MAX), channels: self.channels }
    }
}

impl Link {
    /// The name of the link on which transfers take no time.
    const INSTANT: &'static str = "none";

    /// A link by name.
    ///
    /// # Errors
    /// [`LinkError::Unknown`]; the others only where the data file is wrong.
    pub fn named(name: &str) -> Result<Self, LinkError> {
        if name == Self::INSTANT {
            return Ok(Self { ways: None });
        }
        let links: BTreeMap<String, Fields> = toml::from_str(include_str!("../data/links.toml"))
            .map_err(|e| LinkError::Toml { message: e.to_string() })?;
        let Some(fields) = links.get(name) else {
            let mut known: Vec<&str> = links.keys().map(String::as_str).collect();
            known.push(Self::INSTANT);
            return Err(LinkError::Unknown { found: name.to_owned(), known: known.join(", ") });
        };
        fields.check(name)?;
        let channels = fields.dma_channels as usize;
        let way = |bytes_hz, latency| Way { bytes_hz, latency, channels };
        let to = way(fields.to_device_bytes_hz, fields.to_device_latency_ns);
        let from = way(fields.from_device_bytes_hz, fields.from_device_latency_ns);
        Ok(Self { ways: Some([to, from]) })
    }

    /// Time of a transfer to the device.
    pub(crate) fn to_device(&self, bytes: u64) -> Time {
        self.ways.map_or(Time::from(0), |w| w[0].time(bytes))
    }

    /// Time of a transfer from the device to the host.
    pub(crate) fn to_host(&self, bytes: u64) -> Time {
        self.ways.map_or(Time::from(0), |w| w[1].time(bytes))
    }
}

impl Fields {
    fn check(&self, link: &str) -> Result<(), LinkError> {
        let figures = [
            ("to_device_bytes_hz", self.to_device_bytes_hz),
            ("from_device_bytes_hz", self.from_device_bytes_hz),
            ("to_device_latency_ns", self.to_device_latency_ns),
            ("from_device_latency_ns", self.from_device_latency_ns),
            ("dma_channels", self.dma_channels),
        ];
        let bad = |&(figure, found): &(&'static str, u64)| {
            found == 0 || self.sources.get(figure).is_none_or(|s| s.trim().is_empty())
        };
        match figures.into_iter().find(bad) {
            Some((figure, found)) => Err(LinkError::Figure { link: link.to_owned(), figure, found }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_link_has_sources_and_a_transfer_takes_latency_and_bytes() {
        for name in ["gen3x16", "gen4x8"] {
            let link = Link::named(name).unwrap();
            let found = [link.to_device(0), link.to_device(9_300), link.to_host(11_900_000)];
            assert_eq!(found, [0, 1_000, 1_000_000].map(|busy| Time { setup: 20_000, busy, channels: 2 }));
        }
        let none = Link::named("none").unwrap();
        assert_eq!([none.to_device(1 << 40), none.to_host(1)], [Time::from(0); 2]);
        let unknown = Link::named("usb").unwrap_err().to_string();
        assert_eq!(unknown, "no link is named 'usb'; the links are gen3x16, gen4x8, none");
    }
}
