//! Runs on a device: inputs, kernel and outputs as one list of commands, waited for once.

use super::OpenClError;
use super::banks::bank_of;
use super::device::{Device, not_loaded};
use super::gather::{Plan, Transfer};
use super::host_memory::HostBuffer;
use super::raw::{Pending, Times};
use super::transfer::{Writer, write_copied};
use super::watchdog::Patience;
use crate::backend::{ChannelWrite, RecordRead, Step};
use fastcar_arch::isa;
use fastcar_arch::layout::RecordLayout;
use fastcar_arch::program::Program;
use fastcar_arch::step::{GateReport, StepReport, StepTable};
use fastcar_arch::units::Bytes;
use std::time::Duration;

/// Commands under way.
struct UnderWay {
    written: Vec<Pending<HostBuffer>>,
    ran: Pending<()>,
    report: Option<Pending<HostBuffer>>,
    read: Vec<Pending<HostBuffer>>,
}

/// Their host memory, filled, and the kernel's times.
struct Done {
    written: Vec<HostBuffer>,
    ran: Times,
    report: Option<HostBuffer>,
    read: Vec<HostBuffer>,
}

impl Device {
    /// Runs a program once, with what is to be written before and read behind it; calls `meanwhile` while the device
    /// works. Gives the report, and the time that the device took for the run where its runtime keeps times.
    ///
    /// # Errors
    /// Program, table, writes or reads do not fit, or the device fails or hangs and is then lost.
    pub fn step(
        &mut self,
        mut step: Step<'_>,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(StepReport, Option<Duration>), OpenClError> {
        self.watchdog.check()?;
        step.program.check_step(step.table)?;
        for ChannelWrite { channel, start, bytes } in &step.writes {
            self.check_range(*channel, *start, bytes.len())?;
        }
        let plan = self.plan(&step.reads)?;
        let index = self.prepare(step.program, step.table)?;
        let result = self.execute(index, &mut step, plan.transfers(), meanwhile);
        if !step.reads.is_empty() {
            self.plan = plan;
        }
        // A run that failed half way has left nobody knows what in memory.
        result.map_err(|e| self.watchdog.lose(explained(e, self.card.log())))
    }

    /// Reads a record: one transfer from each channel that has a part of it.
    ///
    /// # Errors
    /// It lies beyond the memory that was loaded, or the device fails.
    pub fn read_record(&self, addr: u64, out: &mut [u8]) -> Result<(), OpenClError> {
        let mut record = [RecordRead { addr, out }];
        let plan = Plan::new(&RecordLayout::new(&self.image.info().config), &record);
        self.check_transfers(plan.transfers())?;
        let read = self.start_reads(plan.transfers(), None)?;
        self.card.flush()?;
        for (transfer, pending) in plan.transfers().iter().zip(read) {
            let (buffer, _) = self.watchdog.wait(pending, transfer.range.end - transfer.range.start)?;
            transfer.hand_out(buffer.bytes(), &mut record);
            self.pool.give(buffer);
        }
        Ok(())
    }

    /// What brings the records: as the last time, mostly. Between two steps that read some, others may read none.
    fn plan(&mut self, records: &[RecordRead<'_>]) -> Result<Plan, OpenClError> {
        let plan = match self.plan.brings(records) {
            true => std::mem::take(&mut self.plan),
            false => Plan::new(&RecordLayout::new(&self.image.info().config), records),
        };
        self.check_transfers(plan.transfers())?;
        Ok(plan)
    }

    fn check_transfers(&self, transfers: &[Transfer]) -> Result<(), OpenClError> {
        self.channel_buffers()?;
        let mut all = transfers.iter();
        all.try_for_each(|Transfer { channel, range, .. }| {
            self.check_range(*channel, range.start, (range.end - range.start) as usize)
        })
    }

    /// Starts transfers from the channels, behind a run.
    fn start_reads(
        &self,
        transfers: &[Transfer],
        ran: Option<&Pending<()>>,
    ) -> Result<Vec<Pending<HostBuffer>>, OpenClError> {
        let after: Vec<_> = ran.iter().map(|ran| ran.event()).collect();
        let channels = self.channel_buffers()?;
        let start = |Transfer { channel, range, .. }: &Transfer| {
            let into = self.pool.take((range.end - range.start) as usize);
            self.card.read(&channels[*channel], range.start, into, &after)
        };
        transfers.iter().map(start).collect()
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
        let step = table.bytes();
        let report = (table.gates.len() * size_of::<GateReport>()) as u64;
        let bank = |index| bank_of(image, index);
        banks.make_room(card, &mut loaded.step, bank(arguments.step), step, "the step table")?;
        banks.make_room(card, &mut loaded.report, bank(arguments.report), report, "the report")?;
        if let Some(known) = loaded.programs.iter().position(|(p, _)| p.has_commands_of(program)) {
            return Ok(known);
        }
        let bytes = isa::encode(program.commands());
        let size = Bytes(bytes.len() as u64);
        let mut buffer = banks.allocate(card, bank(arguments.program), size, "a program")?;
        write_copied(Writer::new(card, watchdog), &mut buffer, 0, &bytes)?;
        loaded.programs.push((program.clone(), buffer));
        Ok(loaded.programs.len() - 1)
    }

    fn execute(
        &mut self,
        index: usize,
        step: &mut Step<'_>,
        transfers: &[Transfer],
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(StepReport, Option<Duration>), OpenClError> {
        let under_way = self.enqueue(index, step, transfers)?;
        meanwhile();
        let memory = self.loaded.as_ref().map_or(0, |l| l.memory.get() * l.channels.len() as u64);
        let done = under_way.collect(&Patience::new(&self.watchdog, memory))?;
        let report =
            done.report.as_ref().map_or_else(StepReport::default, |r| StepReport::from_bytes(r.bytes()));
        for (transfer, buffer) in transfers.iter().zip(&done.read) {
            transfer.hand_out(buffer.bytes(), &mut step.reads);
        }
        let ran = done.ran.span();
        self.meter.ran(ran);
        let time = ran.map(|s| Duration::from_nanos(s.nanoseconds()));
        done.written.into_iter().chain(done.report).chain(done.read).for_each(|b| self.pool.give(b));
        Ok((report, time))
    }

    /// Inputs, kernel, outputs; then what is to be staged, which would keep the inputs waiting on the same link.
    fn enqueue(
        &mut self,
        index: usize,
        step: &Step<'_>,
        transfers: &[Transfer],
    ) -> Result<UnderWay, OpenClError> {
        let Self { card, arguments, watchdog, pool, .. } = self;
        let loaded = self.loaded.as_mut().ok_or_else(|| not_loaded(watchdog))?;
        let (Some(table), Some(report)) = (&mut loaded.step, &loaded.report) else {
            return Err(not_loaded(watchdog));
        };
        card.set_buffer(arguments.program, &loaded.programs[index].1, "PROGRAM")?;
        card.set_number(arguments.commands, step.program.commands().len() as u32, "COMMANDS")?;
        card.set_buffer(arguments.step, table, "STEP")?;
        card.set_buffer(arguments.report, report, "REPORT")?;
        let input = pool.filled(&step.table.to_bytes(step.program.limits()));
        let mut written = vec![card.write(table, 0, input, 0..step.table.bytes() as usize)?];
        for ChannelWrite { channel, start, bytes } in &step.writes {
            let to = &mut loaded.channels[*channel];
            written.push(card.write(to, *start, pool.filled(bytes), 0..bytes.len())?);
        }
        let ran = card.launch(&written.iter().map(Pending::event).collect::<Vec<_>>())?;
        let bytes = step.table.gates.len() * size_of::<GateReport>();
        let report =
            (bytes > 0).then(|| card.read(report, 0, pool.take(bytes), &[ran.event()])).transpose()?;
        let read = self.start_reads(transfers, Some(&ran))?;
        self.card.flush()?;
        if let Some(loaded) = &mut self.loaded {
            loaded.start_staging(&self.card)?;
        }
        Ok(UnderWay { written, ran, report, read })
    }
}

impl UnderWay {
    /// Waits for all.
    ///
    /// Waiting for the last alone takes time; the others have ended by then, or never will. Of several failures the
    /// first in the order of execution is the cause.
    fn collect(self, patience: &Patience<'_>) -> Result<Done, OpenClError> {
        let wait = |pending| patience.wait(pending).map(|(buffer, _)| buffer);
        let read: Vec<_> = self.read.into_iter().map(wait).collect();
        let report = self.report.map(wait);
        let ran = patience.wait(self.ran);
        let written = self.written.into_iter().map(|w| patience.wait(w).map(|(buffer, _)| buffer));
        let written = written.collect::<Result<_, _>>()?;
        let ((), ran) = ran?;
        Ok(Done {
            written,
            ran,
            report: report.transpose()?,
            read: read.into_iter().collect::<Result<_, _>>()?,
        })
    }
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
