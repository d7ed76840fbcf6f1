//! A device with an image, a model's memory and its programs.

use super::OpenClError;
use super::banks::{Banks, bank_of};
use super::gather::Plan;
use super::host_memory::Source;
use super::image::DeviceImage;
use super::meter::Meter;
use super::platform::{self, DeviceEntry};
use super::raw::{BankBuffer, Card, Pending};
use super::transfer::{
    LoadReport, LoadWatch, Pool, Writer, gaps, read_long, start_part, write_all, write_copied,
};
use super::watchdog::Watchdog;
use crate::backend::Activity;
use crate::compile::Part;
use crate::packed::PackedModel;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::program::Program;
use fastcar_arch::regs::RegisterMap;
use fastcar_arch::units::Bytes;
use std::path::PathBuf;
use std::time::Duration;

/// Which device, with what.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// The device, as [`platform::choose`] takes it.
    pub device: Option<String>,
    /// The image's file; without one, an image is made where the device is simulated.
    pub image: Option<PathBuf>,
    /// How long a command may take; without a limit of its own it has a generous one by its bytes.
    pub timeout: Option<Duration>,
}

/// The kernel's arguments by number.
pub(super) struct Arguments {
    pub(super) program: u32,
    pub(super) commands: u32,
    pub(super) step: u32,
    pub(super) report: u32,
    pub(super) channels: Vec<u32>,
}

impl Arguments {
    fn of(config: &AccelConfig) -> Self {
        let map = RegisterMap::new(config);
        let index =
            |name: &str| map.get(name).and_then(|r| r.argument.as_ref()).map_or(u32::MAX, |a| a.index);
        Self {
            program: index("PROGRAM"),
            commands: index("COMMANDS"),
            step: index("STEP"),
            report: index("REPORT"),
            channels: map.arguments().filter(|(_, r)| r.channel.is_some()).map(|(a, _)| a.index).collect(),
        }
    }
}

/// A model on the device.
pub(super) struct Loaded {
    /// Bytes of each channel.
    pub(super) memory: Bytes,
    pub(super) channels: Vec<BankBuffer>,
    /// Programs by their commands: each is uploaded once.
    pub(super) programs: Vec<(Program, BankBuffer)>,
    /// Parts to be staged, and the transfers of those under way.
    waiting: Vec<(Vec<Source>, Part)>,
    staging: Vec<(u64, Pending<Source>)>,
    pub(super) step: Option<BankBuffer>,
    pub(super) report: Option<BankBuffer>,
}

impl Loaded {
    fn new(memory: Bytes, channels: Vec<BankBuffer>) -> Self {
        let (programs, waiting, staging) = (Vec::new(), Vec::new(), Vec::new());
        Self { memory, channels, programs, waiting, staging, step: None, report: None }
    }

    /// Starts the transfers of what is to be staged.
    pub(super) fn start_staging(&mut self, card: &Card) -> Result<(), OpenClError> {
        for (sources, part) in self.waiting.drain(..) {
            self.staging.extend(start_part(card, &mut self.channels, &sources, &part)?);
        }
        Ok(())
    }
}

/// A device with an image loaded, and perhaps a model.
pub struct Device {
    pub(super) card: Card,
    pub(super) image: DeviceImage,
    pub(super) arguments: Arguments,
    pub(super) banks: Banks,
    pub(super) loaded: Option<Loaded>,
    pub(super) watchdog: Watchdog,
    pub(super) pool: Pool,
    /// How the latest records were read.
    pub(super) plan: Plan,
    pub(super) meter: Meter,
}

impl Device {
    /// Chooses a device and loads an image of a configuration.
    ///
    /// # Errors
    /// There is no library, platform or device, or none is the one meant; the image cannot be read or is of another
    /// configuration; the runtime refuses.
    pub fn open(options: &DeviceOptions, config: &AccelConfig) -> Result<Self, OpenClError> {
        let all = platform::devices()?;
        let entry = platform::choose(&all, options.device.as_deref(), config.name())?;
        let image = match &options.image {
            Some(path) => DeviceImage::open(path)?,
            None => DeviceImage::made_for(&entry.name, config)?,
        };
        image.check(config)?;
        Self::with_image(entry, image, options.timeout)
    }

    fn with_image(
        entry: &DeviceEntry,
        image: DeviceImage,
        timeout: Option<Duration>,
    ) -> Result<Self, OpenClError> {
        let card = Card::open(entry, &image)?;
        let watchdog = Watchdog::new(entry.name.clone(), timeout);
        Ok(Self {
            card,
            arguments: Arguments::of(&image.info().config),
            banks: Banks::new(&image),
            image,
            loaded: None,
            watchdog,
            pool: Pool::default(),
            plan: Plan::default(),
            meter: Meter::default(),
        })
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.watchdog.device()
    }

    /// What it is configured with.
    #[must_use]
    pub fn image(&self) -> &DeviceImage {
        &self.image
    }

    /// Why the device is lost, if it is.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.watchdog.lost()
    }

    /// What the device was busy with since its model was loaded, where its runtime keeps times.
    #[must_use]
    pub fn activity(&self) -> Option<Activity> {
        self.meter.activity()
    }

    /// Loads parts of a model's constants and zeroes the rest of `memory` bytes on each channel.
    ///
    /// # Errors
    /// The model is packed for another identity, a bank has no room, the device fails, or the watch cancels.
    pub fn load(
        &mut self,
        model: &PackedModel,
        parts: &[Part],
        memory: Bytes,
        watch: &dyn LoadWatch,
    ) -> Result<LoadReport, OpenClError> {
        self.watchdog.check()?;
        self.image.check(model.config())?;
        if self.loaded.is_some() {
            self.staged()?;
        }
        self.loaded = None;
        self.card.forget_arguments()?;
        self.banks = Banks::new(&self.image);
        let mut channels = self.channels(memory)?;
        let last = parts.iter().map(|p| p.to + (p.source.end - p.source.start)).max().unwrap_or(0);
        if last > memory.get() {
            return Err(OpenClError::Reach { reach: Bytes(last), size: memory });
        }
        self.zero(&mut channels, parts, memory)?;
        let writer = Writer::new(&self.card, &self.watchdog);
        let report = write_all(writer, &mut channels, &sources(model), parts, watch)?;
        for (channel, (index, buffer)) in self.arguments.channels.iter().zip(&channels).enumerate() {
            self.card.set_buffer(*index, buffer, &format!("CHANNEL{channel}"))?;
        }
        self.loaded = Some(Loaded::new(memory, channels));
        self.meter = Meter::default();
        Ok(report)
    }

    /// Lets a part of a model's constants be copied to every channel, while programs run that do not use that memory.
    /// The copying begins behind the next run's step table, which would otherwise wait for it on the same link.
    ///
    /// # Errors
    /// It lies beyond the memory that was loaded, or the device fails.
    pub fn stage(&mut self, model: &PackedModel, part: &Part) -> Result<(), OpenClError> {
        self.image.check(model.config())?;
        self.check_range(0, part.to, (part.source.end - part.source.start) as usize)?;
        if let Some(loaded) = &mut self.loaded {
            loaded.waiting.push((sources(model), part.clone()));
        }
        Ok(())
    }

    /// Waits until all that was staged is there.
    ///
    /// # Errors
    /// The device fails.
    pub fn staged(&mut self) -> Result<(), OpenClError> {
        self.channel_buffers()?;
        let Some(loaded) = &mut self.loaded else { return Ok(()) };
        loaded.start_staging(&self.card)?;
        let staging = std::mem::take(&mut loaded.staging);
        let all = staging.iter().map(|(bytes, _)| bytes).sum();
        for (bytes, pending) in staging {
            let (_, times) = self.watchdog.wait(pending, all)?;
            self.meter.streamed(bytes, times.span());
        }
        Ok(())
    }

    fn channels(&mut self, memory: Bytes) -> Result<Vec<BankBuffer>, OpenClError> {
        let mut out = Vec::new();
        for (channel, &index) in self.arguments.channels.iter().enumerate() {
            let bank = bank_of(&self.image, index);
            out.push(self.banks.allocate(&self.card, bank, memory, &format!("channel {channel}"))?);
        }
        Ok(out)
    }

    /// Zeroes what the parts do not cover; granules that they share with it are written afterwards.
    fn zero(&self, channels: &mut [BankBuffer], parts: &[Part], memory: Bytes) -> Result<(), OpenClError> {
        let mut pending = Vec::new();
        for gap in gaps(parts, memory.get()) {
            for buffer in channels.iter_mut() {
                pending.push((gap.end - gap.start, self.card.zero(buffer, gap.clone())?));
            }
        }
        self.card.flush()?;
        let all = pending.iter().map(|(bytes, _)| bytes).sum();
        pending.into_iter().try_for_each(|(_, p)| self.watchdog.wait(p, all).map(|_| ()))
    }

    /// Reads from one channel.
    ///
    /// # Errors
    /// It lies beyond the memory that was loaded, or the device fails.
    pub fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), OpenClError> {
        self.check_range(channel, start, out.len())?;
        let from = &self.channel_buffers()?[channel];
        let range = start..start + out.len() as u64;
        let mut at = 0;
        let take = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        read_long(&self.card, &self.watchdog, &self.pool, from, range, take)
    }

    /// Writes to one channel.
    ///
    /// # Errors
    /// It lies beyond the memory that was loaded, or the device fails.
    pub fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), OpenClError> {
        self.check_range(channel, start, bytes.len())?;
        let writer = Writer::new(&self.card, &self.watchdog);
        match self.loaded.as_mut().and_then(|l| l.channels.get_mut(channel)) {
            Some(to) => write_copied(writer, to, start, bytes),
            None => Err(not_loaded(&self.watchdog)),
        }
    }

    pub(super) fn channel_buffers(&self) -> Result<&[BankBuffer], OpenClError> {
        self.watchdog.check()?;
        match &self.loaded {
            Some(loaded) => Ok(&loaded.channels),
            None => Err(not_loaded(&self.watchdog)),
        }
    }

    pub(super) fn check_range(&self, channel: usize, start: u64, bytes: usize) -> Result<(), OpenClError> {
        let channels = self.channel_buffers()?.len();
        let size = self.loaded.as_ref().map_or(Bytes(0), |l| l.memory);
        let end = start.saturating_add(bytes as u64);
        if channel < channels && end <= size.get() {
            return Ok(());
        }
        Err(OpenClError::Range { channel, start, end, channels, size })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // What is still being staged ends first, so that the model's memory is given back.
        if self.lost().is_none() && self.loaded.is_some() && self.staged().is_err() {
            tracing::warn!("device '{}' failed while it was closed: {:?}", self.name(), self.lost());
        }
        if self.watchdog.hangs() {
            self.card.abandon();
        }
    }
}

pub(super) fn not_loaded(watchdog: &Watchdog) -> OpenClError {
    OpenClError::NotLoaded { device: watchdog.device().to_owned() }
}

/// Every channel's constants.
fn sources(model: &PackedModel) -> Vec<Source> {
    (0..model.config().channels() as usize).map(|channel| model.shared(channel)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_the_register_map() -> Result<(), Box<dyn std::error::Error>> {
        let arguments = Arguments::of(&AccelConfig::preset("edge")?);
        assert_eq!((arguments.program, arguments.commands, arguments.step, arguments.report), (0, 1, 2, 3));
        assert_eq!(arguments.channels, (4..4 + AccelConfig::preset("edge")?.channels()).collect::<Vec<_>>());
        Ok(())
    }
}
