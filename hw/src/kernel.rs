//! `kernel`: the machine with its control registers, as a host sees it.
//!
//! # Purpose
//!
//! Puts [`Control`] and [`Core`] together: the host writes arguments and starts runs, the core runs them, and the registers say how they went. [`Kernel::design`] gives
//! it the names that the vendor's tools look for.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | registers to their reset values, no run |
//! | `s_axi_control_*` | | | AXI4-Lite, see [`AxiLite`](crate::axi::AxiLite) |
//! | `m_axi_gmem<c>_*` | | | AXI4 of the channels, see [`Port`](crate::port::Port) |
//! | `interrupt_o` | out | 1 | an enabled interrupt is there |
//!
//! The top of [`Kernel::design`] has them as `ap_clk`, `ap_rst_n`, `interrupt`, `s_axi_control_AWVALID`, `m_axi_gmem0_ARADDR` and so on; what AXI4 has and the core does not use is
//! constant there. `ap_rst_n` is active low and goes through one register.
//!
//! The policy is `compact`.
//!
//! # Timing
//!
//! As its parts': the core's first cycle is [`Kernel::START_LATENCY`] cycles after that in which the write of `ap_start` is taken from the bus (the later of address and data).
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! That of its parts, and the position of the last command.
//!
//! # Verification
//!
//! `tests/tests/rtl_kernel.rs`: runs through the registers alone, against the core's and the simulator's; the tools on the generated files.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{axi::Handshake, kernel::Kernel};
//!
//! let design = Kernel::new(&AccelConfig::preset("tiny")?, Handshake::Chain)?.design()?;
//! assert_eq!(design.top(), "fastcar");
//! assert!(design.ports().iter().any(|port| port.name == "m_axi_gmem0_ARADDR" && !port.input));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod top;

use crate::axi::{Control, Handshake, control::counters};
use crate::core::Core;
use crate::rtl::{Block, Builder, Design, Instance, Module, RtlError, Wire, emit};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::regs::{self, CONTROL_PORT, RegisterMap};
use std::sync::Arc;

/// The kernel. See the [module](self).
#[derive(Clone, Debug)]
pub struct Kernel {
    config: AccelConfig,
    handshake: Handshake,
    core: Core,
}

impl Kernel {
    /// Cycles from the write of `ap_start` on the bus to the core's first.
    pub const START_LATENCY: u64 = 4;

    /// The kernel of a configuration.
    ///
    /// # Errors
    /// As [`Core::new`].
    pub fn new(config: &AccelConfig, handshake: Handshake) -> Result<Self, RtlError> {
        Ok(Self { config: config.clone(), handshake, core: Core::new(config)? })
    }

    /// All its modules, with the top that the vendor's tools take.
    ///
    /// # Errors
    /// What is wrong with the circuit.
    pub fn design(&self) -> Result<Design, RtlError> {
        Ok(top::vendor_top(emit(&self.module()?)?))
    }

    fn name(&self) -> String {
        let (config, identity) = (self.config.name(), Identity::of(&self.config).short());
        format!("kernel_{config}_{identity}_{}", self.handshake.short_name())
    }

    /// A run's begin and its arguments, and how it ends.
    fn run<'m>(&self, m: &'m Builder, control: &Instance<'m>, core: &Instance<'m>) {
        let start = control.get("start_o");
        core.set("start_i", start);
        for (_, register) in RegisterMap::new(&self.config).arguments() {
            let name = register.name.to_lowercase();
            core.set(&format!("{name}_i"), control.get(&format!("{name}_o")));
        }
        core.set("compact_i", m.lit(1, 1));
        for name in ["abort", "watchdog"] {
            core.set(&format!("{name}_i"), control.get(&format!("{name}_o")));
        }
        control.set("done_i", core.get("done_o"));
        for name in ["valid", "code", "command", "channel", "response"] {
            control.set(&format!("error_{name}_i"), core.get(&format!("error_{name}_o")));
        }
        let issued = core.get("command_valid_o");
        control.set("command_valid_i", issued);
        control.set("command_i", position(m, start, issued));
    }

    /// What the counters go up by.
    fn count<'m>(&self, control: &Instance<'m>, core: &Instance<'m>) {
        let get = |name: &str| core.get(name);
        // Units that all channels take part in are looked at on channel 0, as the simulator does.
        let (read, written) = (get("read_beat0_o"), get("written_beat0_o"));
        let mut sources = vec![
            ("COMMANDS_DONE".to_owned(), get("command_valid_o")),
            ("COMMAND_BUSY".to_owned(), get("command_busy_o")),
            ("COMMAND_STALLED".to_owned(), get("command_stalled_o")),
            ("READ_BUSY".to_owned(), read),
            ("READ_STALLED".to_owned(), get("reading_o") & !read),
            ("WRITE_BUSY".to_owned(), written),
            ("WRITE_STALLED".to_owned(), get("writing_o") & !written),
            ("MAC_BUSY".to_owned(), get("mac_busy_o")),
            ("MAC_STALLED".to_owned(), get("mac_there_o") & !get("mac_busy_o")),
            ("VECTOR_BUSY".to_owned(), get("vector_busy_o")),
            ("VECTOR_STALLED".to_owned(), get("vector_there_o") & !get("vector_busy_o")),
            ("PASSES".to_owned(), get("passes_o")),
            ("BLOCKS_STREAMED".to_owned(), get("streamed_o")),
            ("BLOCKS_SKIPPED".to_owned(), get("skipped_o")),
            ("GATE_BUSY".to_owned(), get("gate_busy_o")),
            ("GATE_STALLED".to_owned(), get("gate_there_o") & !get("gate_busy_o")),
            ("REPLAYS".to_owned(), get("replays_o")),
            ("COMPUTES".to_owned(), get("computes_o")),
        ];
        for c in 0..self.config.channels() {
            sources.push((format!("READ_BYTES{c}"), get(&format!("read_beat{c}_o"))));
            sources.push((format!("WRITE_BYTES{c}"), get(&format!("written_beat{c}_o"))));
        }
        for counter in counters(&self.config) {
            if let Some((_, step)) = sources.iter().find(|source| source.0 == counter.register) {
                control.set(&counter.port, step.zext(counter.width));
            }
        }
    }
}

/// The position in the program of the command that is issued: commands are issued in order.
fn position<'m>(m: &'m Builder, start: Wire<'m>, issued: Wire<'m>) -> Wire<'m> {
    let position = m.reg("position", 32).reset(0);
    position.update(&[(start, m.lit(32, 0)), (issued, position.q() + 1)]);
    position.q()
}

/// The ports of a part that begin with a prefix, on the outside with another.
fn outside<'m>(m: &'m Builder, part: &Instance<'m>, prefix: &str, bus: &str) {
    for pin in part.module().ports().to_vec() {
        let Some(signal) = pin.name.strip_prefix(prefix) else { continue };
        let outer = format!("{bus}_{signal}");
        if pin.input {
            part.set(&pin.name, m.input(&outer, pin.width));
        } else {
            m.output(&outer, part.get(&pin.name));
        }
    }
}

impl Block for Kernel {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let control = m.instance("u_control", &Control::new(&self.config, self.handshake))?;
        let core = m.instance("u_core", &self.core)?;
        outside(&m, &control, "axi_", CONTROL_PORT);
        for c in 0..self.config.channels() {
            outside(&m, &core, &format!("m{c}_axi_"), &regs::port(c));
        }
        self.run(&m, &control, &core);
        self.count(&control, &core);
        m.output("interrupt_o", control.get("interrupt_o"));
        m.finish()
    }
}
