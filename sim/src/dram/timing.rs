//! Timing of a channel in ticks of one kernel clock.

use super::DramError;
use super::spec::ChannelFields;
use super::time::Tick;
use fastcar_arch::units::Hertz;

/// Picoseconds in a second.
const PS_PER_S: u128 = 1_000_000_000_000;

/// Largest relative error of the data rate that the time base may cause: one part in this many.
const RATE_PARTS: u128 = 10_000;

/// A time in ticks, rounded up.
pub(crate) fn from_ps(ps: u64, clock: Hertz) -> Tick {
    let ticks = u128::from(ps) * u128::from(clock.get()) * u128::from(Tick::PER_CYCLE);
    Tick(ticks.div_ceil(PS_PER_S) as u64)
}

/// Clocks of the DRAM in ticks, rounded up.
fn from_clocks(clocks: u32, dram_hz: u64, clock: Hertz) -> Tick {
    let ticks = u128::from(clocks) * u128::from(clock.get()) * u128::from(Tick::PER_CYCLE);
    Tick(ticks.div_ceil(u128::from(dram_hz)) as u64)
}

/// The timing under its JEDEC names, and the sums of them that the channel needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Timing {
    /// Read command to its first data.
    pub cl: Tick,
    /// Write command to its first data.
    pub cwl: Tick,
    /// Time on the data bus of a column access.
    pub burst: Tick,
    /// Spacing of the column accesses of an access.
    pub atom: Tick,
    /// Column command to the next of the same direction.
    pub ccd_s: Tick,
    /// The same within a bank group.
    pub ccd_l: Tick,
    /// Last read command to a write command.
    pub read_to_write: Tick,
    /// Last write command to a read command.
    pub write_to_read_s: Tick,
    /// The same within a bank group.
    pub write_to_read_l: Tick,
    /// Last read command to precharge.
    pub read_to_precharge: Tick,
    /// Last write command to precharge.
    pub write_to_precharge: Tick,
    /// Activate to column command.
    pub rcd: Tick,
    /// Precharge to activate.
    pub rp: Tick,
    /// Activate to precharge.
    pub ras: Tick,
    /// Activate to activate of a bank.
    pub rc: Tick,
    /// Activate to activate.
    pub rrd_s: Tick,
    /// The same within a bank group.
    pub rrd_l: Tick,
    /// Window of four activates.
    pub faw: Tick,
    /// Refresh interval; zero for none.
    pub refi: Tick,
    /// Refresh to activate.
    pub rfc: Tick,
}

impl Timing {
    /// Converts the figures of a channel with `ways` interleaved bank groups.
    pub(crate) fn new(fields: &ChannelFields, ways: u32, clock: Hertz) -> Result<Self, DramError> {
        let t = &fields.timing;
        let clocks = |n| from_clocks(n, fields.clock_hz, clock);
        let ps = |ps| from_ps(ps, clock);
        let burst = clocks(fields.burst_length / 2);
        check_rate(fields, burst, clock)?;
        let (cl, cwl, ccd_l) = (clocks(t.n_cl), clocks(t.n_cwl), clocks(t.n_ccd_l));
        let ccd_s = burst.max(clocks(t.n_ccd_s));
        let data_end = cwl + burst;
        Ok(Self {
            cl,
            cwl,
            burst,
            atom: ccd_s.max(Tick(ccd_l.0.div_ceil(ways.into()))),
            ccd_s,
            ccd_l: ccd_l.max(ccd_s),
            read_to_write: ccd_s.max((cl + burst + clocks(t.n_turnaround)).before(cwl)),
            write_to_read_s: data_end + ps(t.t_wtr_s_ps),
            write_to_read_l: data_end + ps(t.t_wtr_l_ps),
            read_to_precharge: ps(t.t_rtp_ps),
            write_to_precharge: data_end + ps(t.t_wr_ps),
            rcd: ps(t.t_rcd_ps),
            rp: ps(t.t_rp_ps),
            ras: ps(t.t_ras_ps),
            rc: ps(t.t_rc_ps),
            rrd_s: ps(t.t_rrd_s_ps),
            rrd_l: ps(t.t_rrd_l_ps),
            faw: ps(t.t_faw_ps),
            refi: ps(t.t_refi_ps),
            rfc: ps(t.t_rfc_ps),
        })
    }
}

/// Refuses a kernel clock so slow that rounding a burst to ticks would change the data rate.
fn check_rate(fields: &ChannelFields, burst: Tick, clock: Hertz) -> Result<(), DramError> {
    let exact = u128::from(fields.burst_length / 2) * u128::from(clock.get()) * u128::from(Tick::PER_CYCLE);
    let rounded = u128::from(burst.0) * u128::from(fields.clock_hz);
    if (rounded - exact) * RATE_PARTS < exact {
        return Ok(());
    }
    Err(DramError::Clock { clock_hz: clock.get(), dram_hz: fields.clock_hz })
}
