//! A DRAM channel as a list of commands: every command is compared with every command before it, by one table of
//! distances. Slow, and written to share nothing with the model under test.

use fastcar_sim::dram::{ChannelFields, CommandKind, Dir};

/// Ticks of `ps` picoseconds under a kernel clock, rounded up.
pub fn ps_ticks(ps: u64, clock_hz: u64) -> u64 {
    (u128::from(ps) * u128::from(clock_hz) * 65536).div_ceil(1_000_000_000_000) as u64
}

/// Ticks of `count` clocks of the DRAM, rounded up.
pub fn clock_ticks(count: u32, fields: &ChannelFields, clock_hz: u64) -> u64 {
    (u128::from(count) * u128::from(clock_hz) * 65536).div_ceil(u128::from(fields.clock_hz)) as u64
}

/// A command in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub at: u64,
    pub bank: u32,
    pub group: u32,
    pub kind: CommandKind,
}

/// Bank, bank group and row of one column access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Atom {
    pub bank: u32,
    pub group: u32,
    pub row: u32,
}

/// Distances of commands, in ticks.
pub struct Distances {
    fields: ChannelFields,
    clock_hz: u64,
}

impl Distances {
    pub fn new(fields: &ChannelFields, clock_hz: u64) -> Self {
        Self { fields: fields.clone(), clock_hz }
    }

    fn ps(&self, ps: u64) -> u64 {
        ps_ticks(ps, self.clock_hz)
    }

    fn clocks(&self, count: u32) -> u64 {
        clock_ticks(count, &self.fields, self.clock_hz)
    }

    pub fn burst(&self) -> u64 {
        self.clocks(self.fields.burst_length / 2)
    }

    pub fn latency(&self, dir: Dir) -> u64 {
        let t = &self.fields.timing;
        self.clocks(if dir == Dir::Read { t.n_cl } else { t.n_cwl })
    }

    pub fn refresh_interval(&self) -> u64 {
        self.ps(self.fields.timing.t_refi_ps)
    }

    pub fn four_activates(&self) -> u64 {
        self.ps(self.fields.timing.t_faw_ps)
    }

    /// Even distance of the column accesses of an access.
    pub fn atom(&self, ways: u64) -> u64 {
        let t = &self.fields.timing;
        self.burst().max(self.clocks(t.n_ccd_s)).max(self.clocks(t.n_ccd_l).div_ceil(ways))
    }

    /// How long after `first` the command `second` may come at the earliest; `None` where they do not bear on each other.
    pub fn between(&self, first: &Entry, second: &Entry) -> Option<u64> {
        use CommandKind::{Activate, Precharge, PrechargeAll, Read, Refresh, Write};
        let t = &self.fields.timing;
        let (bank, group) = (first.bank == second.bank, first.group == second.group);
        let either = |inside: bool, l: u64, s: u64| Some(if inside { l.max(s) } else { s });
        let column = |inside: bool| {
            let s = self.burst().max(self.clocks(t.n_ccd_s));
            either(inside, self.clocks(t.n_ccd_l), s)
        };
        let written = self.clocks(t.n_cwl) + self.burst();
        match (first.kind, second.kind) {
            (Activate { .. }, Activate { .. }) if bank => Some(self.ps(t.t_rc_ps).max(self.ps(t.t_rrd_l_ps))),
            (Activate { .. }, Activate { .. }) => either(group, self.ps(t.t_rrd_l_ps), self.ps(t.t_rrd_s_ps)),
            (Activate { .. }, Read | Write) if bank => Some(self.ps(t.t_rcd_ps)),
            (Activate { .. }, Precharge) if bank => Some(self.ps(t.t_ras_ps)),
            (Activate { .. }, PrechargeAll) => Some(self.ps(t.t_ras_ps)),
            (Read, Read) | (Write, Write) => column(group),
            (Read, Write) => {
                let turned = self.clocks(t.n_cl) + self.burst() + self.clocks(t.n_turnaround);
                Some(turned.saturating_sub(self.clocks(t.n_cwl)).max(column(false)?))
            }
            (Write, Read) => either(group, written + self.ps(t.t_wtr_l_ps), written + self.ps(t.t_wtr_s_ps)),
            (Read, Precharge) if bank => Some(self.ps(t.t_rtp_ps)),
            (Read, PrechargeAll) => Some(self.ps(t.t_rtp_ps)),
            (Write, Precharge) if bank => Some(written + self.ps(t.t_wr_ps)),
            (Write, PrechargeAll) => Some(written + self.ps(t.t_wr_ps)),
            (Precharge, Activate { .. }) if bank => Some(self.ps(t.t_rp_ps)),
            (PrechargeAll, Refresh) | (Precharge, Refresh) => Some(self.ps(t.t_rp_ps)),
            (Refresh, Activate { .. } | Refresh) => Some(self.ps(t.t_rfc_ps)),
            _ => None,
        }
    }
}

/// Splits addresses bit by bit.
pub struct Decoder {
    /// Letter of each bit of the number of a column access, lowest first.
    bits: Vec<char>,
    atom_bytes: u64,
    xor_row_bits: u32,
    pub ways: u64,
}

impl Decoder {
    pub fn new(fields: &ChannelFields) -> Self {
        let mut bits = Vec::new();
        for field in fields.map.split('-').rev() {
            let (count, letter) = field.split_at(field.len() - 1);
            let count: usize = count.parse().expect("a width");
            bits.extend(std::iter::repeat_n(letter.chars().next().expect("a letter"), count));
        }
        let atom_bytes = u64::from(fields.bus_bits / 8 * fields.burst_length);
        let ways = 1 << bits.iter().take_while(|bit| **bit == 'G').count();
        Self { bits, atom_bytes, xor_row_bits: fields.xor_row_bits, ways }
    }

    pub fn capacity(&self) -> u64 {
        self.atom_bytes << self.bits.len()
    }

    pub fn window(&self) -> u64 {
        let columns = self.bits.iter().skip_while(|bit| **bit == 'G').take_while(|bit| **bit == 'C').count();
        (self.atom_bytes * self.ways) << columns
    }

    pub fn atom_bytes(&self) -> u64 {
        self.atom_bytes
    }

    fn atom(&self, number: u64) -> Atom {
        let interleave = self.bits.iter().take_while(|bit| **bit == 'G').count();
        let collect = |letter: char, range: std::ops::Range<usize>| {
            let places = range.filter(|place| self.bits[*place] == letter);
            places.enumerate().fold(0, |value, (to, from)| value | ((number >> from) as u32 & 1) << to)
        };
        let width = |letter: char| self.bits[interleave..].iter().filter(|bit| **bit == letter).count();
        let row = collect('R', 0..self.bits.len());
        let low = collect('G', 0..interleave);
        let mut upper =
            collect('G', interleave..self.bits.len()) << width('B') | collect('B', 0..self.bits.len());
        upper ^= row & ((1 << self.xor_row_bits) - 1);
        let group = (upper >> width('B')) << interleave | low;
        let bank = group << width('B') | upper & ((1 << width('B')) - 1);
        Atom { bank, group, row }
    }

    /// The column accesses of an access.
    pub fn atoms(&self, address: u64, bytes: u32) -> Vec<Atom> {
        let last = (address + u64::from(bytes) - 1) / self.atom_bytes;
        (address / self.atom_bytes..=last).map(|number| self.atom(number)).collect()
    }
}

/// The naive channel.
pub struct Naive {
    pub distances: Distances,
    decoder: Decoder,
    pub entries: Vec<Entry>,
    open: std::collections::BTreeMap<u32, u32>,
    due: u64,
}

impl Naive {
    pub fn new(fields: &ChannelFields, clock_hz: u64, phase: u16) -> Self {
        let distances = Distances::new(fields, clock_hz);
        let interval = distances.refresh_interval();
        let early = (u128::from(interval) * u128::from(phase) / 65536) as u64;
        let due = if interval == 0 { u64::MAX } else { interval - early };
        Self { distances, decoder: Decoder::new(fields), entries: Vec::new(), open: Default::default(), due }
    }

    /// When a command may be given at the earliest, not before `at`.
    fn earliest(&self, at: u64, atom: Atom, kind: CommandKind) -> u64 {
        let entry = Entry { at: 0, bank: atom.bank, group: atom.group, kind };
        let distances = self.entries.iter().filter_map(|e| Some(e.at + self.distances.between(e, &entry)?));
        let mut earliest = distances.fold(at, u64::max);
        if matches!(kind, CommandKind::Activate { .. }) {
            let activates = self.entries.iter().filter(|e| matches!(e.kind, CommandKind::Activate { .. }));
            let mut times: Vec<u64> = activates.map(|e| e.at).collect();
            times.sort_unstable();
            if let Some(fourth) = times.len().checked_sub(4) {
                earliest = earliest.max(times[fourth] + self.distances.four_activates());
            }
        }
        earliest
    }

    fn give(&mut self, at: u64, atom: Atom, kind: CommandKind) {
        self.entries.push(Entry { at, bank: atom.bank, group: atom.group, kind });
    }

    fn refresh(&mut self) {
        let all = Atom { bank: 0, group: 0, row: 0 };
        if !self.open.is_empty() {
            let at = self.earliest(self.due, all, CommandKind::PrechargeAll);
            self.give(at, all, CommandKind::PrechargeAll);
            self.open.clear();
        }
        let at = self.earliest(self.due, all, CommandKind::Refresh);
        self.give(at, all, CommandKind::Refresh);
        self.due += self.distances.refresh_interval();
    }

    /// Serves an access and returns the ends of its first and last column access.
    pub fn serve(&mut self, at: u64, address: u64, bytes: u32, dir: Dir) -> (u64, u64) {
        let kind = if dir == Dir::Read { CommandKind::Read } else { CommandKind::Write };
        let atoms = self.decoder.atoms(address, bytes);
        // A bank group that has seen nothing: what is left is the bus.
        let bus = self.earliest(at, Atom { bank: u32::MAX, group: u32::MAX, row: 0 }, kind);
        while self.due <= bus {
            self.refresh();
        }
        for atom in atoms.iter().take(self.decoder.ways as usize) {
            if self.open.get(&atom.bank) == Some(&atom.row) {
                continue;
            }
            if self.open.contains_key(&atom.bank) {
                let precharge = self.earliest(at, *atom, CommandKind::Precharge);
                self.give(precharge, *atom, CommandKind::Precharge);
            }
            let activate = CommandKind::Activate { row: atom.row };
            // Activates are given in the order of accesses.
            let when = self.earliest(at, *atom, activate);
            self.give(when, *atom, activate);
            self.open.insert(atom.bank, atom.row);
        }
        let step = self.distances.atom(self.decoder.ways);
        let starts = atoms.iter().enumerate();
        let starts = starts.map(|(i, atom)| self.earliest(at, *atom, kind).saturating_sub(i as u64 * step));
        let start = starts.fold(bus, u64::max);
        for (i, atom) in atoms.iter().enumerate() {
            self.give(start + i as u64 * step, *atom, kind);
        }
        let end = start + self.distances.latency(dir) + self.distances.burst();
        (end, end + (atoms.len() as u64 - 1) * step)
    }
}
