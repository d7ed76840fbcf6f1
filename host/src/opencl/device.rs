//! A device with an image, a model's memory and its programs.

use super::OpenClError;
use super::banks::{Banks, bank_of};
use super::host_memory::{HostBuffer, Source};
use super::image::DeviceImage;
use super::platform::{self, DeviceEntry};
use super::raw::{BankBuffer, Card, Pending, Span};
use super::transfer::{
    LoadReport, LoadWatch, Pool, Read, Writer, chunks, gaps, read_all, start_part, write_all, write_copied,
};
use super::watchdog::{Patience, Watchdog};
use crate::compile::Part;
use crate::packed::PackedModel;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{self, Command};
use fastcar_arch::layout::RecordLayout;
use fastcar_arch::program::Program;
use fastcar_arch::regs::RegisterMap;
use fastcar_arch::step::{GateReport, StepReport, StepTable};
use fastcar_arch::units::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
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
struct Arguments {
    program: u32,
    commands: u32,
    step: u32,
    report: u32,
    channels: Vec<u32>,
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
struct Loaded {
    /// Bytes of each channel.
    memory: Bytes,
    channels: Vec<BankBuffer>,
    /// Programs by their commands: each is uploaded once.
    programs: Vec<(Vec<Command>, BankBuffer)>,
    /// Parts to be staged, and the transfers of those under way.
    waiting: Vec<(Vec<Source>, Part)>,
    staging: Vec<(u64, Pending<Source>)>,
    step: Option<BankBuffer>,
    report: Option<BankBuffer>,
}

impl Loaded {
    fn new(memory: Bytes, channels: Vec<BankBuffer>) -> Self {
        let (programs, waiting, staging) = (Vec::new(), Vec::new(), Vec::new());
        Self { memory, channels, programs, waiting, staging, step: None, report: None }
    }

    /// Starts the transfers of what is to be staged.
    fn start_staging(&mut self, card: &Card) -> Result<(), OpenClError> {
        for (sources, part) in self.waiting.drain(..) {
            self.staging.extend(start_part(card, &mut self.channels, &sources, &part)?);
        }
        Ok(())
    }
}

/// A device with an image loaded, and perhaps a model.
pub struct Device {
    card: Card,
    image: DeviceImage,
    arguments: Arguments,
    banks: Banks,
    loaded: Option<Loaded>,
    watchdog: Watchdog,
    pool: Pool,
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
        staging.into_iter().try_for_each(|(_, pending)| self.watchdog.wait(pending, all).map(|_| ()))
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

    /// Runs a program once; gives its report, and the time that the device took where its runtime keeps times.
    ///
    /// # Errors
    /// The program or its table does not fit, or the device fails or hangs and is then lost.
    pub fn run(
        &mut self,
        program: &Program,
        table: &StepTable,
    ) -> Result<(StepReport, Option<Duration>), OpenClError> {
        self.watchdog.check()?;
        program.check_step(table)?;
        let index = self.prepare(program, table)?;
        let result = self.execute(index, program, table);
        // A run that failed half way has left nobody knows what in memory.
        result.map_err(|e| self.watchdog.lose(explained(e, self.card.log())))
    }

    /// Brings the program to the device, and makes room for step table and report.
    fn prepare(&mut self, program: &Program, table: &StepTable) -> Result<usize, OpenClError> {
        let Self { card, banks, arguments, image, watchdog, .. } = self;
        let Some(loaded) = &mut self.loaded else {
            return Err(not_loaded(watchdog));
        };
        if program.reach() > loaded.memory {
            return Err(OpenClError::Reach { reach: program.reach(), size: loaded.memory });
        }
        let step = table.to_bytes(program.limits()).len() as u64;
        let report = (table.gates.len() * size_of::<GateReport>()) as u64;
        let bank = |index| bank_of(image, index);
        banks.make_room(card, &mut loaded.step, bank(arguments.step), step, "the step table")?;
        banks.make_room(card, &mut loaded.report, bank(arguments.report), report, "the report")?;
        if let Some(known) = loaded.programs.iter().position(|(p, _)| p == program.commands()) {
            return Ok(known);
        }
        let bytes = isa::encode(program.commands());
        let size = Bytes(bytes.len() as u64);
        let mut buffer = banks.allocate(card, bank(arguments.program), size, "a program")?;
        write_copied(Writer::new(card, watchdog), &mut buffer, 0, &bytes)?;
        loaded.programs.push((program.commands().to_vec(), buffer));
        Ok(loaded.programs.len() - 1)
    }

    /// Table in, kernel, report out: three commands in a row.
    fn execute(
        &mut self,
        index: usize,
        program: &Program,
        table: &StepTable,
    ) -> Result<(StepReport, Option<Duration>), OpenClError> {
        let Self { card, arguments, watchdog, pool, .. } = self;
        let loaded = self.loaded.as_mut().ok_or_else(|| not_loaded(watchdog))?;
        let (Some(step), Some(report)) = (&mut loaded.step, &loaded.report) else {
            return Err(not_loaded(watchdog));
        };
        card.set_buffer(arguments.program, &loaded.programs[index].1, "PROGRAM")?;
        card.set_number(arguments.commands, program.commands().len() as u32, "COMMANDS")?;
        card.set_buffer(arguments.step, step, "STEP")?;
        card.set_buffer(arguments.report, report, "REPORT")?;
        let raw = table.to_bytes(program.limits());
        let length = raw.len();
        let written = card.write(step, 0, Arc::new(raw), 0..length)?;
        let ran = card.launch(&[written.event()])?;
        let bytes = table.gates.len() * size_of::<GateReport>();
        let read = (bytes > 0).then(|| card.read(report, 0, pool.take(bytes), &[ran.event()])).transpose()?;
        card.flush()?;
        loaded.start_staging(card)?;
        let memory = loaded.memory.get() * loaded.channels.len() as u64;
        let mut patience = Patience::new(watchdog, memory);
        let (report, span) = collect(&mut patience, written, ran, read)?;
        let decoded = report.as_ref().map_or_else(StepReport::default, |r| StepReport::from_bytes(r.bytes()));
        report.into_iter().for_each(|buffer| pool.give(buffer));
        Ok((decoded, span.map(|s| Duration::from_nanos(s.nanoseconds()))))
    }

    /// Reads a record: one transfer from each channel that has a part of it.
    ///
    /// # Errors
    /// It lies beyond the memory that was loaded, or the device fails.
    pub fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), OpenClError> {
        let layout = RecordLayout::new(&self.image.info().config);
        let channels = self.channel_buffers()?;
        let mut extents = vec![0; channels.len()];
        for (place, range) in layout.pieces(out.len() as u64) {
            extents[place.channel] = place.offset as usize + range.len();
        }
        let used: Vec<usize> = extents.into_iter().take_while(|&e| e > 0).collect();
        for (channel, &bytes) in used.iter().enumerate() {
            self.check_range(channel, addr, bytes)?;
        }
        let reads = used.iter().zip(channels).map(|(&bytes, from)| Read { from, at: addr, bytes });
        let mut channel = 0;
        let length = out.len() as u64;
        let take = |bytes: &[u8]| {
            for (place, range) in layout.pieces(length).filter(|(place, _)| place.channel == channel) {
                let start = place.offset as usize;
                let length = range.len();
                out[range].copy_from_slice(&bytes[start..start + length]);
            }
            channel += 1;
        };
        read_all(&self.card, &self.watchdog, &self.pool, reads, take)
    }

    /// Reads from one channel.
    ///
    /// # Errors
    /// As [`Device::read_record`].
    pub fn read_channel(&self, channel: usize, start: u64, out: &mut [u8]) -> Result<(), OpenClError> {
        self.check_range(channel, start, out.len())?;
        let from = &self.channel_buffers()?[channel];
        let reads = chunks(from, start, out.len());
        let mut at = 0;
        let take = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        read_all(&self.card, &self.watchdog, &self.pool, reads, take)
    }

    /// Writes to one channel.
    ///
    /// # Errors
    /// As [`Device::read_record`].
    pub fn write_channel(&mut self, channel: usize, start: u64, bytes: &[u8]) -> Result<(), OpenClError> {
        self.check_range(channel, start, bytes.len())?;
        let writer = Writer::new(&self.card, &self.watchdog);
        match self.loaded.as_mut().and_then(|l| l.channels.get_mut(channel)) {
            Some(to) => write_copied(writer, to, start, bytes),
            None => Err(not_loaded(&self.watchdog)),
        }
    }

    fn channel_buffers(&self) -> Result<&[BankBuffer], OpenClError> {
        self.watchdog.check()?;
        match &self.loaded {
            Some(loaded) => Ok(&loaded.channels),
            None => Err(not_loaded(&self.watchdog)),
        }
    }

    fn check_range(&self, channel: usize, start: u64, bytes: usize) -> Result<(), OpenClError> {
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

/// Waits for the commands of a run; gives the report's bytes and the kernel's times.
///
/// Waiting for the last alone costs one wake-up; the others have ended by then, or never will. Of several failures the
/// first in the order of execution is the cause.
fn collect(
    patience: &mut Patience<'_>,
    written: Pending<Source>,
    ran: Pending<()>,
    read: Option<Pending<HostBuffer>>,
) -> Result<(Option<HostBuffer>, Option<Span>), OpenClError> {
    let read = read.map(|pending| patience.wait(pending));
    let ran = patience.wait(ran);
    patience.wait(written)?;
    let ((), span) = ran?;
    Ok((read.transpose()?.map(|(buffer, _)| buffer), span))
}

fn not_loaded(watchdog: &Watchdog) -> OpenClError {
    OpenClError::NotLoaded { device: watchdog.device().to_owned() }
}

/// A failed call with what the runtime says about it.
fn explained(error: OpenClError, log: Option<String>) -> OpenClError {
    match (error, log) {
        (OpenClError::Call { call, code, name, hint, context }, Some(log)) => {
            OpenClError::Call { call, code, name, hint, context: format!("{context} ({log})") }
        }
        (error, _) => error,
    }
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
