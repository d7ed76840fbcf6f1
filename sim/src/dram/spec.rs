//! What a data file says of one DRAM channel.

use super::DramError;
use super::map::AddressMap;
use serde::{Deserialize, Serialize};

/// One DRAM channel, unchecked: the table `[channel]` of a data file.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelFields {
    /// Clock of the DRAM in Hz; data moves on both edges.
    pub clock_hz: u64,
    /// Width of the data bus in bits.
    pub bus_bits: u32,
    /// Data words of a column access.
    pub burst_length: u32,
    /// Fields of the address of a column access from high to low, as in `14R-1G-2B-5C-1G`: row, bank group, bank and
    /// column. Group bits at the low end interleave consecutive accesses over bank groups.
    pub map: String,
    /// Low row bits that are XORed into the bank bits (and, above them, into the group bits that do not interleave).
    pub xor_row_bits: u32,
    /// Timing.
    pub timing: TimingFields,
}

/// Timing of a DRAM channel under its JEDEC names, in clocks of the DRAM (`n_`) or picoseconds (`_ps`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimingFields {
    /// Read command to its first data, in clocks.
    pub n_cl: u32,
    /// Write command to its first data, in clocks.
    pub n_cwl: u32,
    /// Column command to column command, in clocks.
    pub n_ccd_s: u32,
    /// Column command to column command of the same bank group, in clocks.
    pub n_ccd_l: u32,
    /// Gap on the data bus between read data and the write data that follows, in clocks.
    pub n_turnaround: u32,
    /// Activate to column command.
    pub t_rcd_ps: u64,
    /// Precharge to activate.
    pub t_rp_ps: u64,
    /// Activate to precharge.
    pub t_ras_ps: u64,
    /// Activate to activate of the same bank.
    pub t_rc_ps: u64,
    /// Activate to activate.
    pub t_rrd_s_ps: u64,
    /// Activate to activate of the same bank group.
    pub t_rrd_l_ps: u64,
    /// Window that holds at most four activates.
    pub t_faw_ps: u64,
    /// Read command to precharge.
    pub t_rtp_ps: u64,
    /// End of write data to precharge.
    pub t_wr_ps: u64,
    /// End of write data to read command.
    pub t_wtr_s_ps: u64,
    /// End of write data to read command of the same bank group.
    pub t_wtr_l_ps: u64,
    /// Refresh to refresh, on average; 0 for a memory that needs none.
    pub t_refi_ps: u64,
    /// Refresh to activate.
    pub t_rfc_ps: u64,
}

impl ChannelFields {
    /// Bytes of one column access.
    pub(crate) fn atom_bytes(&self) -> u64 {
        u64::from(self.bus_bits) / 8 * u64::from(self.burst_length)
    }

    /// Peak rate of the data bus in bytes a second.
    pub(crate) fn rate_bytes_hz(&self) -> u64 {
        self.clock_hz * 2 * u64::from(self.bus_bits) / 8
    }

    /// Checks every figure and the map.
    pub(crate) fn check(&self) -> Result<(), DramError> {
        let t = &self.timing;
        within("clock_hz", self.clock_hz, 100_000_000, 4_000_000_000, "this is the range of DRAM clocks")?;
        power_of_two("bus_bits", self.bus_bits, 8, 512, "a bus is a power of two of bytes wide")?;
        power_of_two("burst_length", self.burst_length, 2, 16, "bursts of DRAM are powers of two")?;
        const CLOCKS: &str = "no DRAM takes more clocks; a time belongs into a field of picoseconds";
        for (field, clocks) in [
            ("timing.n_cl", t.n_cl),
            ("timing.n_cwl", t.n_cwl),
            ("timing.n_ccd_s", t.n_ccd_s),
            ("timing.n_ccd_l", t.n_ccd_l),
            ("timing.n_turnaround", t.n_turnaround),
        ] {
            within(field, clocks.into(), 0, 100, CLOCKS)?;
        }
        const TIME: &str = "no DRAM takes a microsecond for a command; the unit is the picosecond";
        for (field, ps) in self.times() {
            within(field, ps, 0, 1_000_000, TIME)?;
        }
        self.check_order()?;
        AddressMap::new(self).map(|_| ())
    }

    /// The times of commands in picoseconds, with their names.
    fn times(&self) -> [(&'static str, u64); 12] {
        let t = &self.timing;
        [
            ("timing.t_rcd_ps", t.t_rcd_ps),
            ("timing.t_rp_ps", t.t_rp_ps),
            ("timing.t_ras_ps", t.t_ras_ps),
            ("timing.t_rc_ps", t.t_rc_ps),
            ("timing.t_rrd_s_ps", t.t_rrd_s_ps),
            ("timing.t_rrd_l_ps", t.t_rrd_l_ps),
            ("timing.t_faw_ps", t.t_faw_ps),
            ("timing.t_rtp_ps", t.t_rtp_ps),
            ("timing.t_wr_ps", t.t_wr_ps),
            ("timing.t_wtr_s_ps", t.t_wtr_s_ps),
            ("timing.t_wtr_l_ps", t.t_wtr_l_ps),
            ("timing.t_rfc_ps", t.t_rfc_ps),
        ]
    }

    /// What one figure demands of another.
    fn check_order(&self) -> Result<(), DramError> {
        let t = &self.timing;
        let at_least = |field, found: u64, low: u64, reason| within(field, found, low, u64::MAX, reason);
        const SAME: &str = "what holds within a bank group is no shorter than what holds between them";
        at_least("timing.n_ccd_l", t.n_ccd_l.into(), t.n_ccd_s.into(), SAME)?;
        at_least("timing.t_rrd_l_ps", t.t_rrd_l_ps, t.t_rrd_s_ps, SAME)?;
        at_least("timing.t_wtr_l_ps", t.t_wtr_l_ps, t.t_wtr_s_ps, SAME)?;
        if t.t_refi_ps == 0 {
            return within("timing.t_rfc_ps", t.t_rfc_ps, 0, 0, "there is no refresh: t_refi_ps is 0");
        }
        // A refresh may wait for one access; the next must not become due before it ends.
        const BUSY: &str = "half of the time at least must be left for data";
        within("timing.t_refi_ps", t.t_refi_ps, 2 * (t.t_rfc_ps + t.t_rp_ps), 100_000_000, BUSY)
    }
}

pub(crate) fn within(
    field: &'static str,
    found: u64,
    low: u64,
    high: u64,
    reason: &'static str,
) -> Result<(), DramError> {
    if (low..=high).contains(&found) {
        return Ok(());
    }
    let allowed = match (low, high) {
        (_, u64::MAX) => format!("at least {low}"),
        (low, high) if low == high => low.to_string(),
        _ => format!("from {low} to {high}"),
    };
    Err(DramError::Figure { field, found, allowed, reason })
}

fn power_of_two(
    field: &'static str,
    found: u32,
    low: u32,
    high: u32,
    reason: &'static str,
) -> Result<(), DramError> {
    within(field, found.into(), low.into(), high.into(), reason)?;
    if found.is_power_of_two() {
        return Ok(());
    }
    Err(DramError::Figure { field, found: found.into(), allowed: "a power of two".to_owned(), reason })
}
