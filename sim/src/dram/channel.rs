//! The channel itself: banks, the data bus, refresh.

use super::map::{AddressMap, Place};
use super::spec::ChannelFields;
use super::time::Tick;
use super::timing::Timing;
use super::{Command, CommandKind, Dir, DramCounters, DramError, Served};
use fastcar_arch::units::Hertz;

/// Row number of a bank in which no row is open.
const CLOSED: u32 = u32::MAX;

/// One bank: its open row, and from when on it may take which command.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Bank {
    row: u32,
    group: u32,
    activate: Tick,
    column: Tick,
    precharge: Tick,
}

/// What the commands of a bank group forbid in that group alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Group {
    activate: Tick,
    /// Read and write commands, indexed by [`Dir`].
    column: [Tick; 2],
}

/// One DRAM channel: see the [module](super).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dram {
    timing: Timing,
    map: AddressMap,
    banks: Vec<Bank>,
    groups: Vec<Group>,
    /// From when on any bank group may take a read or write command, indexed by [`Dir`].
    column: [Tick; 2],
    /// From when on any bank group may be activated.
    activate: Tick,
    /// When the last four activates leave the window of four, oldest at `oldest`.
    windows: [Tick; 4],
    oldest: usize,
    /// When the next refresh is due.
    due: Tick,
    /// Direction of the last access.
    last: Option<Dir>,
    /// Arrival of the last access.
    arrived: Tick,
    counters: DramCounters,
}

impl Dram {
    /// A channel at the start of the simulation, all rows closed. Its first refresh is due one interval later, less
    /// `phase` / 65536 of an interval.
    ///
    /// # Errors
    /// [`DramError`] when a figure is out of its range, or the kernel clock too slow for the time base.
    pub fn new(fields: &ChannelFields, clock: Hertz, phase: u16) -> Result<Self, DramError> {
        fields.check()?;
        let map = AddressMap::new(fields)?;
        let timing = Timing::new(fields, map.ways(), clock)?;
        let bank = |number| {
            let group = map.group(number) as u32;
            Bank { row: CLOSED, group, activate: Tick(0), column: Tick(0), precharge: Tick(0) }
        };
        let early = (u128::from(timing.refi.0) * u128::from(phase)) >> 16;
        let due = if timing.refi == Tick(0) { Tick(u64::MAX) } else { timing.refi - Tick(early as u64) };
        Ok(Self {
            banks: (0..map.banks() as usize).map(bank).collect(),
            groups: vec![Group::default(); map.groups() as usize],
            column: [Tick(0); 2],
            activate: Tick(0),
            windows: [Tick(0); 4],
            oldest: 0,
            due,
            last: None,
            arrived: Tick(0),
            counters: DramCounters::default(),
            timing,
            map,
        })
    }

    /// Bytes of the channel.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.map.capacity()
    }

    /// Bytes of a row window: accesses lie within one, counted from address 0.
    #[must_use]
    pub fn window_bytes(&self) -> u64 {
        self.map.window_bytes()
    }

    /// Bytes of one column access.
    #[must_use]
    pub fn atom_bytes(&self) -> u64 {
        1 << self.map.atom_shift()
    }

    /// Distance of the column accesses of an access.
    #[must_use]
    pub fn atom_time(&self) -> Tick {
        self.timing.atom
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> DramCounters {
        self.counters
    }

    /// Serves an access that arrives at `at`: never earlier than the access before it, at least one byte, and within
    /// one row window (debug-asserted).
    pub fn serve(&mut self, at: Tick, address: u64, bytes: u32, dir: Dir) -> Served {
        self.serve_logged(at, address, bytes, dir, &mut |_| ())
    }

    /// [`Dram::serve`], telling `log` each command to the DRAM. Commands are told access by access, and within an
    /// access bank by bank, so not always in the order of their times.
    pub fn serve_logged(
        &mut self,
        at: Tick,
        address: u64,
        bytes: u32,
        dir: Dir,
        log: &mut impl FnMut(Command),
    ) -> Served {
        debug_assert!(at >= self.arrived, "accesses arrive in order: {at:?} after {:?}", self.arrived);
        debug_assert!(
            bytes > 0 && address + u64::from(bytes) <= self.capacity(),
            "access outside the channel"
        );
        let end = address + u64::from(bytes) - 1;
        debug_assert_eq!(
            address / self.window_bytes(),
            end / self.window_bytes(),
            "access leaves its row window"
        );
        self.arrived = at;
        let place = self.map.place(address);
        let atoms = (end >> self.map.atom_shift()) - (address >> self.map.atom_shift()) + 1;
        let free = at.max(self.column[dir as usize]);
        if self.due <= free {
            self.refresh(free, log);
        }
        let first = self.first_column(place, atoms, at, free, dir, log);
        self.occupy(place, atoms, first, dir, log);
        let (latency, atom) =
            (if dir == Dir::Read { self.timing.cl } else { self.timing.cwl }, self.timing.atom);
        let first = first + latency + self.timing.burst;
        Served { first, last: first + atom.times(atoms - 1), atom }
    }

    /// Opens the rows of an access and finds when its first column command can be given, so that all follow at even
    /// distance.
    fn first_column(
        &mut self,
        place: Place,
        atoms: u64,
        at: Tick,
        free: Tick,
        dir: Dir,
        log: &mut impl FnMut(Command),
    ) -> Tick {
        let mut first = free;
        for way in 0..atoms.min(self.map.ways().into()) {
            let bank = self.map.bank(place, way as u32);
            let open = self.open(bank, place.row, at, log);
            let ready = open.max(self.groups[self.banks[bank].group as usize].column[dir as usize]);
            first = first.max(ready.before(self.timing.atom.times(way)));
        }
        first
    }

    /// Opens a row of a bank, where it is not open, and returns from when on the bank takes column commands.
    fn open(&mut self, bank: usize, row: u32, at: Tick, log: &mut impl FnMut(Command)) -> Tick {
        let t = &self.timing;
        let state = &mut self.banks[bank];
        let (group, number) = (state.group, bank as u32);
        let tell = |at, kind| Command { at, bank: number, group, kind };
        if state.row == row {
            self.counters.hits += 1;
            return state.column;
        }
        if state.row == CLOSED {
            self.counters.misses += 1;
        } else {
            self.counters.conflicts += 1;
            let precharge = at.max(state.precharge);
            log(tell(precharge, CommandKind::Precharge));
            state.activate = state.activate.max(precharge + t.rp);
        }
        let limits =
            [state.activate, self.activate, self.groups[group as usize].activate, self.windows[self.oldest]];
        let activate = limits.into_iter().fold(at, Tick::max);
        log(tell(activate, CommandKind::Activate { row }));
        self.counters.activates += 1;
        let (column, precharge) = (activate + t.rcd, activate + t.ras);
        *state = Bank { row, group, activate: activate + t.rc, column, precharge };
        self.activate = activate + t.rrd_s;
        self.groups[group as usize].activate = activate + t.rrd_l;
        self.windows[self.oldest] = activate + t.faw;
        self.oldest = (self.oldest + 1) % self.windows.len();
        column
    }

    /// Gives the column commands of an access, the first at `first`, and notes what they forbid to later ones.
    fn occupy(&mut self, place: Place, atoms: u64, first: Tick, dir: Dir, log: &mut impl FnMut(Command)) {
        let ways = u64::from(self.map.ways());
        for way in 0..atoms.min(ways) {
            let last = first + self.timing.atom.times(self.map.last_in(way, atoms));
            self.occupy_bank(self.map.bank(place, way as u32), last, dir);
        }
        let (t, last) = (&self.timing, first + self.timing.atom.times(atoms - 1));
        self.column = match dir {
            Dir::Read => [last + t.ccd_s, last + t.read_to_write],
            Dir::Write => [last + t.write_to_read_s, last + t.ccd_s],
        };
        let kind = if dir == Dir::Read { CommandKind::Read } else { CommandKind::Write };
        for atom in 0..atoms {
            let bank = self.map.bank(place, atom as u32);
            let group = self.map.group(bank) as u32;
            log(Command { at: first + t.atom.times(atom), bank: bank as u32, group, kind });
        }
        self.counters.count(dir, atoms, t.burst, self.last.is_some_and(|last| last != dir));
        self.last = Some(dir);
    }

    /// Notes what an access, whose last column command to a bank is at `last`, forbids in this bank and its group.
    fn occupy_bank(&mut self, bank: usize, last: Tick, dir: Dir) {
        let (t, state) = (&self.timing, &mut self.banks[bank]);
        let group = &mut self.groups[state.group as usize];
        let precharge = match dir {
            Dir::Read => {
                group.column[Dir::Read as usize] = last + t.ccd_l;
                last + t.read_to_precharge
            }
            Dir::Write => {
                group.column = [last + t.write_to_read_l, last + t.ccd_l];
                last + t.write_to_precharge
            }
        };
        state.precharge = state.precharge.max(precharge);
    }

    /// Takes every refresh that is due at `now`: closes all rows, as soon as they may be closed, and refreshes. The
    /// refresh before has ended by then, since an access has opened rows after it.
    fn refresh(&mut self, now: Tick, log: &mut impl FnMut(Command)) {
        let t = &self.timing;
        let whole = |at, kind| Command { at, bank: 0, group: 0, kind };
        let open = self.banks.iter().filter(|bank| bank.row != CLOSED);
        let mut start = self.due;
        if let Some(closable) = open.map(|bank| bank.precharge).max() {
            let precharge = start.max(closable);
            log(whole(precharge, CommandKind::PrechargeAll));
            start = precharge + t.rp;
        }
        // An idle memory takes each refresh when it is due, or after the one before it.
        let more = (now - self.due).0 / t.refi.0;
        let nth = |n| (self.due + t.refi.times(n)).max(start + t.rfc.times(n));
        for n in 0..=more {
            log(whole(nth(n), CommandKind::Refresh));
        }
        let end = nth(more) + t.rfc;
        for bank in &mut self.banks {
            *bank = Bank { row: CLOSED, group: bank.group, activate: end, column: end, precharge: end };
        }
        self.due = self.due + t.refi.times(more + 1);
        self.counters.refreshes += more + 1;
    }
}
