//! A decode on the generated hardware in Verilator: how it is made, and what it counts.

use super::args::Args;
use super::simulated::{UnitShares, units_text};
use crate::interrupt;
use crate::progress::{Bar, Ui};
use crate::table::pairs;
use anyhow::Result;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::step::ACTIVE;
use fastcar_host::backend::{Backend, BuildProgress, Building, Counted, RtlBackend};
use fastcar_host::session::{ObservedRun, ProgramIndex};
use serde::Serialize;
use std::cell::RefCell;

/// Makes the kernel of a configuration.
///
/// # Errors
/// A tool is missing or fails, or the user interrupts.
pub fn open(args: &Args, config: &AccelConfig, ui: Ui) -> Result<Box<dyn Backend>> {
    let making = Making { ui, bar: RefCell::new(None) };
    let backend = RtlBackend::open(config, args.sim.hardware(), &making);
    interrupt::check(|| "while making the hardware".to_owned())?;
    Ok(Box::new(backend?))
}

/// Shows the steps on the way to the hardware.
struct Making {
    ui: Ui,
    bar: RefCell<Option<Bar>>,
}

impl BuildProgress for Making {
    fn begins(&self, step: Building) {
        let stage = format!("{step} the hardware (minutes, once)");
        // The bar of the step before goes first.
        drop(self.bar.take());
        self.bar.replace(Some(self.ui.spinner(&stage)));
    }
}

/// Adds up what the runs of a decode count: those of the prompt, and those behind it.
#[derive(Default)]
pub struct Counter {
    prompt_tokens: u32,
    behind: bool,
    /// Positions that were processed, of each sequence.
    positions: usize,
    pub prompt: Counted,
    pub decode: Counted,
}

impl Counter {
    /// For prompts of so many tokens.
    pub fn new(prompt_tokens: u32) -> Self {
        Self { prompt_tokens, ..Self::default() }
    }

    /// Takes a run down. Codes behind the prompt belong to its last token.
    pub fn observe(&mut self, run: &ObservedRun<'_>) {
        let Some(counted) = run.counted else { return };
        if let ProgramIndex::Body(_) = run.program {
            let active = run.table.slots.iter().filter(|slot| slot.has(ACTIVE));
            self.behind = active.map(|slot| slot.pos).max() >= Some(self.prompt_tokens);
            self.positions += usize::from(self.behind);
        }
        *(if self.behind { &mut self.decode } else { &mut self.prompt }) += counted;
    }
}

/// What the hardware's counters say: over the generated positions, body and codes, unless said otherwise.
#[derive(Serialize)]
pub struct Hardware {
    drs: &'static str,
    memory: String,
    clock_hz: u64,
    cycles: u64,
    milliseconds: f64,
    prompt_cycles: u64,
    /// Of all sequences together.
    positions_per_second: f64,
    commands: u64,
    read_bytes: u64,
    written_bytes: u64,
    replays: u64,
    computes: u64,
    passes: u64,
    blocks_streamed: u64,
    blocks_skipped: u64,
    units: Vec<UnitShares>,
    /// Of the prompt and behind it, with what the host does in between.
    simulated_cycles_per_second: f64,
}

impl Hardware {
    /// From what was counted in so many seconds of the host's time; `sequences` advance together.
    pub fn new(
        counter: &Counter,
        config: &AccelConfig,
        memory: String,
        sequences: usize,
        host_seconds: f64,
    ) -> Self {
        let simulated = (counter.prompt.cycles + counter.decode.cycles) as f64;
        let all = &counter.decode;
        let seconds = all.cycles as f64 / config.clock().get() as f64;
        let (read_bytes, written_bytes) =
            all.bytes.iter().fold((0, 0), |(read, written), bytes| (read + bytes.0, written + bytes.1));
        Self {
            drs: "compact",
            memory,
            clock_hz: config.clock().get(),
            cycles: all.cycles,
            milliseconds: seconds * 1e3,
            prompt_cycles: counter.prompt.cycles,
            positions_per_second: (counter.positions * sequences) as f64 / seconds.max(f64::MIN_POSITIVE),
            commands: all.commands,
            read_bytes,
            written_bytes,
            replays: all.decided.0,
            computes: all.decided.1,
            passes: all.passes.0,
            blocks_streamed: all.passes.1,
            blocks_skipped: all.passes.2,
            units: units(all, config.beat().get()),
            simulated_cycles_per_second: simulated / host_seconds.max(f64::MIN_POSITIVE),
        }
    }

    /// As tables.
    pub fn text(&self) -> String {
        let facts = pairs(&[
            (
                "hardware",
                format!(
                    "clock {:.0} MHz, memory {}, DRS {}",
                    self.clock_hz as f64 / 1e6,
                    self.memory,
                    self.drs
                ),
            ),
            (
                "cycles",
                format!(
                    "{} = {:.2} ms, {:.0} positions/s; the prompt {}",
                    self.cycles, self.milliseconds, self.positions_per_second, self.prompt_cycles
                ),
            ),
            (
                "counted",
                format!(
                    "{} commands, {} bytes read, {} written, {} replays, {} computes",
                    self.commands, self.read_bytes, self.written_bytes, self.replays, self.computes
                ),
            ),
            ("simulated", format!("{:.0} cycles/s", self.simulated_cycles_per_second)),
        ]);
        format!("{facts}\n{}", units_text(&self.units))
    }
}

/// What the units were busy with.
fn units(all: &Counted, beat: u64) -> Vec<UnitShares> {
    let (read, written) = all.bytes.first().copied().unwrap_or_default();
    let of = [
        ("COMMAND", all.command),
        ("READ", (read / beat, all.stalled.0)),
        ("WRITE", (written / beat, all.stalled.1)),
        ("MAC", all.mac),
        ("VECTOR", all.vector),
        ("GATE", all.gate),
    ];
    of.map(|(unit, (busy, stalled))| UnitShares::new(unit, busy, stalled, all.cycles)).into()
}
