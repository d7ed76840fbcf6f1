//! Containers, their sections, and images, as other crates use them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod container;
mod image;
mod metadata;
mod mutation;
mod tables;

use fastcar_arch::config::AccelConfig;
use fastcar_xclbin::image::FastcarImage;
use fastcar_xclbin::{Header, Mode, Section, SectionKind, Text, Xclbin};

fn config(preset: &str) -> AccelConfig {
    AccelConfig::preset(preset).unwrap()
}

/// The simulator image of a preset.
fn image(preset: &str) -> FastcarImage {
    FastcarImage::simulator(&config(preset)).unwrap()
}

fn section(kind: SectionKind, bytes: impl Into<Vec<u8>>) -> Section {
    Section { kind, name: Text::default(), bytes: bytes.into() }
}

/// A container with these sections.
fn container(sections: impl IntoIterator<Item = Section>) -> Xclbin {
    let mut xclbin = Xclbin::new(Header::new(Mode::FLAT, Text::new("platform", "card").unwrap()));
    sections.into_iter().for_each(|section| xclbin.insert(section).unwrap());
    xclbin
}
