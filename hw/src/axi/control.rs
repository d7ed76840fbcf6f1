//! `control`: the registers that the host sees, and the start and end of runs.
//!
//! # Purpose
//!
//! The slave `s_axi_control` of a Vitis kernel: everything in [`RegisterMap`], which is also where all offsets, fields and reset values come from.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | all registers to their reset values |
//! | `axi_*` | | | AXI4-Lite, see [`AxiLite`](super::AxiLite) |
//! | `interrupt_o` | out | 1 | an enabled interrupt is there |
//! | `start_o` | out | 1 | a run begins: one cycle; the arguments are there from this cycle to the next `start_o` |
//! | `<argument>_o` | out | 32 or 64 | kernel arguments as sampled: `program_o`, `commands_o`, `channel0_o`, .. |
//! | `abort_o` | out | 1 | the run is to end, until it does |
//! | `watchdog_o` | out | 32 | after so many cycles without a move it ends, if not 0; as last written |
//! | `done_i` | in | 1 | the run ends: one cycle, after `start_o`; ignored when there is no run |
//! | `error_valid_i` | in | 1 | something went wrong: the first of a run is kept |
//! | `error_<field>_i`, `error_command_i` | in | field, 32 | what (fields of `ERROR`), at which command |
//! | `command_valid_i`, `command_i` | in | 1, 32 | a command is issued, its position |
//! | `<counter>_i` | in | [`counters`] | what a counter goes up by in this cycle: `mac_busy_i`, `replays_i`, `read_bytes0_i` (in beats), .. |
//!
//! Offsets that are not in the map read as 0; writes to them and to read-only registers are ignored. Both are answered with OKAY, as by
//! other kernels: a host that looks around does not bring its bus down. Strobes are obeyed byte by byte.
//!
//! # Timing
//!
//! A run begins when `ap_start` is set and no run is under way (and, with [`Handshake::Chain`], the results of the one before have been accepted): in that cycle the arguments are
//! sampled, `ap_ready` is set, counters and errors are cleared; `start_o` comes in the next. `CYCLES` counts the cycles from `start_o` to `done_i`, both included. What
//! comes in the cycle of `done_i` counts, what comes later does not. A write takes effect two cycles after it leaves [`AxiLite`](super::AxiLite), before its
//! response can be seen by a read. An event in the cycle of the read or the write that clears its bit stays. `interrupt_o` follows a cycle after its bit.
//!
//! # Numeric contract
//!
//! Counters are unsigned, modulo 2^64, and do not change between runs, so that their words agree.
//!
//! # Cost
//!
//! Dominated by the counters (an adder of 64 bits each) and by the arguments, which are kept twice; see `tests/baselines/rtl/axi_control.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_axi_control.rs`: every register against a model written from `docs/registers.md`; `tests/tests/rtl_cocotb.rs::registers_answer`: cocotbext-axi's master.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{axi::{Control, Handshake}, rtl::Block};
//!
//! let control = Control::new(&AccelConfig::preset("tiny")?, Handshake::Chain).module()?;
//! assert!(control.ports().iter().any(|port| port.name == "channel0_o" && port.width == 64));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bus;
mod map;
mod run;

use crate::rtl::{Block, Builder, Module, RtlError};
use bus::Bus;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::regs::{Access, RegisterMap, Reset, UNITS};
use map::Map;
use std::sync::Arc;

/// How a host follows runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// `ap_ctrl_hs`: the next run may begin when a run is done.
    Single,
    /// `ap_ctrl_chain`: it waits until `ap_continue` has accepted the results.
    Chain,
}

impl Handshake {
    /// What names of modules have for it.
    pub(crate) fn short_name(self) -> &'static str {
        match self {
            Self::Single => "hs",
            Self::Chain => "chain",
        }
    }
}

/// The control registers. See the [module](self).
#[derive(Clone, Debug)]
pub struct Control {
    config: AccelConfig,
    handshake: Handshake,
}

/// A counter's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterPort {
    /// Name of the register.
    pub register: String,
    /// Input port.
    pub port: String,
    /// Its width.
    pub width: u32,
    /// What one of the port is in the register.
    pub unit: u64,
}

/// Width of what an event counter can go up by in a cycle.
pub const EVENT_BITS: u32 = 16;
/// The counter that Control drives itself.
const CYCLES: &str = "CYCLES";

/// The counters that the machine drives, in the order of the map: cycles of the units and beats of the channels by one bit, events by 16.
#[must_use]
pub fn counters(config: &AccelConfig) -> Vec<CounterPort> {
    let map = RegisterMap::new(config);
    let counted = map.registers().iter().filter(|r| {
        let number = r.bits == 64 && r.reset == Reset::Value(0);
        r.access == Access::ReadOnly && number && r.name != CYCLES
    });
    let of_unit =
        |name: &str| UNITS.iter().any(|unit| name.split_once('_').is_some_and(|n| n.0 == unit.name));
    let is_cycles = |name: &str| of_unit(name) && (name.ends_with("_BUSY") || name.ends_with("_STALLED"));
    counted
        .map(|r| {
            let (width, unit) = match r.channel {
                Some(_) => (1, config.beat().get()),
                None if is_cycles(&r.name) => (1, 1),
                None => (EVENT_BITS, 1),
            };
            let port = format!("{}_i", r.name.to_lowercase());
            CounterPort { register: r.name.clone(), port, width, unit }
        })
        .collect()
}

impl Control {
    /// The registers of a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig, handshake: Handshake) -> Self {
        Self { config: config.clone(), handshake }
    }

    fn name(&self) -> String {
        let identity = Identity::of(&self.config).short();
        format!("control_{}_{identity}_{}", self.config.name(), self.handshake.short_name())
    }
}

impl Block for Control {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let name = self.name();
        let m = Builder::new(name.clone());
        let bus = Bus::new(&m)?;
        let mut map = Map::new(&name, &self.config);
        let run = run::run(&bus, &mut map, self.handshake)?;
        run::interrupts(&bus, &mut map, &run)?;
        run::arguments(&bus, &mut map, &run);
        run::ends(&bus, &mut map, &run)?;
        run::errors(&m, &mut map, &run)?;
        run::count(&m, &mut map, &run, &counters(&self.config));
        bus.answer(&map.words(&m)?);
        m.finish()
    }
}
