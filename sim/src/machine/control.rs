//! The command processor: fetch, dispatch, and settling what a command waits for before its streams can be addressed.

use super::{COMMAND, Due, Machine, WRITE};
use crate::counters::Traffic;
use crate::dram::Cycle;
use crate::flow::{Flow, Item, Stream, Tag};
use crate::plan::{Lanes, MacOp, Record, SlotWork, Work, slots_of};
use crate::port::Segment;
use crate::port::queue::enter;
use fastcar_arch::config::BURST_BYTES;
use fastcar_arch::isa::{Attn, COMMAND_BYTES, Command, Pred};
use fastcar_arch::layout::{LIST_BANKS, ListLayout};
use fastcar_arch::step::{GateEntry, GateReport, OUTPUT, SLOT_BYTES};
use fastcar_arch::timing::{self, vector_time};
use std::rc::Rc;

/// Commands in one burst of the program.
const BURST_COMMANDS: usize = BURST_BYTES as usize / COMMAND_BYTES;

/// Which of a wave's streams: positions in [`crate::wave::Wave::streams`].
const RECORD: usize = 0;
const MAIN: usize = 1;
const AHEAD: usize = 2;
const WRITES: usize = 3;

/// Whether a command has a long stream, and whether that is read ahead.
fn long_stream(command: &Command) -> Option<bool> {
    match command {
        Command::Matvec(c) => Some(c.ahead),
        Command::Attn(c) => Some(c.ahead),
        _ => None,
    }
}

/// The queue that a product's stream goes through.
pub(super) fn stream_of(command: &Command, product: &MacOp, wave: usize) -> Stream {
    match long_stream(command) {
        Some(true) if !product.own => Stream::Ahead(wave),
        _ => Stream::Main(wave),
    }
}

/// When a stream's item that is decided on in cycle `now` is in its queue at the port.
fn entry(now: Cycle) -> Cycle {
    now + timing::ADDRESS - timing::PORT_ISSUE
}

/// The same for groups of blocks whose masks are known in cycle `now`, when the stream took their command in cycle `begun`.
fn masked_entry(begun: Cycle, now: Cycle) -> Cycle {
    now.max(begun + timing::MASK_MAP) + timing::MASK_ADDRESS - timing::PORT_ISSUE
}

/// What stands behind the keys of a `gate_tas` in the record stream.
pub(super) fn keys_end(wave: usize, command: usize, work: &Work) -> Tag {
    Tag::Keys { wave, command, part: work.past.len(), elements: false }
}

/// Whether a command may read records.
fn reads_records(command: &Command) -> bool {
    match command {
        Command::Load(_) | Command::Norm(_) | Command::Rope(_) | Command::Delta(_) => true,
        Command::GateTas(_) | Command::GateDelta(_) => true,
        Command::Matvec(c) => c.has_bias || c.delta,
        _ => false,
    }
}

/// The family of records that a command writes, by its address.
pub(super) fn writes_to(command: &Command) -> Option<u64> {
    match command {
        Command::Store(c) => Some(c.addr.0),
        Command::StoreAct(c) => Some(c.addr.0),
        Command::Delta(c) => Some(c.addr.0),
        Command::Matvec(c) if c.delta => Some(c.ring.0),
        Command::KvAppend(c) => Some(c.addr.0),
        _ => None,
    }
}

/// The family of records that a command reads and that some command may write.
fn reads_from(command: &Command) -> Option<u64> {
    match command {
        Command::Load(c) => Some(c.addr.0),
        Command::Delta(c) => Some(c.addr.0),
        Command::Matvec(c) if c.delta => Some(c.ring.0),
        Command::GateDelta(c) => Some(c.addr.0),
        Command::Attn(c) => Some(c.addr.0),
        _ => None,
    }
}

/// Whether a command reads block lists.
fn is_listed(command: &Command) -> bool {
    matches!(command, Command::Attn(c) if c.list_entries > 0)
}

fn is_gate(command: &Command) -> bool {
    matches!(command, Command::GateTas(_) | Command::GateDelta(_) | Command::GateHost(_))
}

impl<F: Flow> Machine<'_, F> {
    /// A run of bytes on channel 0, in whole beats.
    fn on_channel_0(&self, addr: u64, bytes: u64) -> Lanes {
        let bytes = bytes.next_multiple_of(self.config.beat().get());
        Lanes::first(Segment { addr, bytes, pace: 1, spare: 0, guarded: false }, self.sizes.len())
    }

    /// Asks for the head of the step table, which says how much follows.
    pub(super) fn read_table(&mut self) {
        self.read_control(Tag::TableHead, self.placement.step, SLOT_BYTES, entry(timing::START));
    }

    fn read_rest_of_table(&mut self) {
        let bytes = SLOT_BYTES * self.table.slots.len() + size_of::<GateEntry>() * self.table.gates.len();
        self.read_control(Tag::Table, self.placement.step + SLOT_BYTES as u64, bytes, entry(self.now));
    }

    /// Reads bytes of channel 0 through the control queue.
    fn read_control(&mut self, tag: Tag, addr: u64, bytes: usize, ready: Cycle) {
        let lanes = self.on_channel_0(addr, bytes as u64);
        self.queue_control(tag, lanes, ready);
    }

    /// One walker gives the control queues of all channels what they read, in order, an item a cycle.
    fn queue_control(&mut self, tag: Tag, lanes: Lanes, ready: Cycle) {
        self.count(Traffic::Control, &lanes);
        let ready = enter(&mut self.control_walked, ready, 1);
        self.flow.push(Stream::Control, Item::free(tag, lanes, ready));
    }

    /// Asks for the next burst of commands while the prefetch buffer has room.
    pub(super) fn fetch(&mut self, wave: usize) -> bool {
        let total = self.program.commands().len();
        let mut begun = false;
        while self.table_ready {
            let w = &self.waves[wave];
            let first = w.requested * BURST_COMMANDS;
            if first >= total || first + BURST_COMMANDS > w.next + timing::PREFETCH_COMMANDS as usize {
                break;
            }
            let commands = BURST_COMMANDS.min(total - first);
            let addr = self.placement.program + (first * COMMAND_BYTES) as u64;
            let tag = Tag::Commands { wave, burst: self.waves[wave].requested };
            self.read_control(tag, addr, commands * COMMAND_BYTES, entry(self.now));
            self.waves[wave].requested += 1;
            begun = true;
        }
        begun
    }

    /// Something came on the control stream.
    pub(super) fn arrived(&mut self, tag: Tag) {
        match tag {
            Tag::TableHead => self.read_rest_of_table(),
            Tag::Table => {
                self.table_ready = true;
                let at = self.now + timing::STEP_DECODE;
                self.waves.iter_mut().for_each(|w| w.dispatch_at = at);
                self.at(at, Due::Look);
            }
            Tag::Commands { wave, .. } => self.at(self.now + timing::COMMAND_DECODE, Due::Decoded { wave }),
            Tag::List { wave, command, .. } => {
                self.at(self.now + timing::LIST_KNOWN, Due::Listed { wave, command });
            }
            _ => {}
        }
    }

    /// The commands of a burst may be dispatched.
    pub(super) fn decoded(&mut self, wave: usize) {
        let total = self.program.commands().len();
        let available = &mut self.waves[wave].available;
        *available = (*available + BURST_COMMANDS).min(total);
    }

    /// Takes the next command.
    pub(super) fn dispatch(&mut self, wave: usize) -> bool {
        let w = &self.waves[wave];
        let index = w.next;
        if !self.table_ready || index >= w.available || self.now < w.dispatch_at {
            return false;
        }
        let command = self.command(index);
        let long = long_stream(command);
        let vector = vector_time(self.config, command).is_some();
        let gate = is_gate(command);
        let full = |queue: usize, used: bool| used && queue >= timing::QUEUE_COMMANDS;
        if full(w.mac.len(), long.is_some()) || full(w.vector.len(), vector) || full(w.gate.len(), gate) {
            return false;
        }
        // A channel has room for the lists of so many commands.
        let listed = w.mac.iter().filter(|&&older| is_listed(self.command(older))).count();
        if is_listed(command) && listed >= LIST_BANKS as usize {
            return false;
        }
        let writers = writes_to(command).is_some() && w.writers.len() >= timing::WRITERS;
        if writers || w.fronts().any(|front| index - front >= timing::WINDOW) {
            return false;
        }
        self.counters.commands += 1;
        let dispatch_at = self.now + timing::DISPATCH;
        let w = &mut self.waves[wave];
        w.next += 1;
        w.dispatch_at = dispatch_at;
        if matches!(command, Command::End(_)) {
            // Stalled cycles of the command processor: from start to its last command, less the dispatches.
            let occupied = dispatch_at.max(self.counters.units[COMMAND].stalled);
            self.counters.units[COMMAND].stalled = occupied;
        }
        self.span(COMMAND, wave, index, self.waves[wave].slots, self.now..dispatch_at);
        self.at(dispatch_at, Due::Dispatched { wave, command: index });
        true
    }

    /// A command stands in its units' queues.
    pub(super) fn dispatched(&mut self, wave: usize, index: usize) {
        let command = self.command(index);
        let long = long_stream(command);
        let w = &mut self.waves[wave];
        w.dispatched = index + 1;
        w.track(index, command);
        w.unresolved.push(index);
        if reads_records(command) {
            w.streams[RECORD].push_back(index);
        }
        if long == Some(true) {
            w.streams[AHEAD].push_back(index);
        }
        if long.is_some() {
            w.streams[MAIN].push_back(index);
            w.mac.push_back(index);
            w.arming.push_back(index);
        }
        if vector_time(self.config, command).is_some() {
            if w.vector.is_empty() {
                w.vector_since = self.now;
                self.at(self.now + 1, Due::Look);
            }
            self.waves[wave].vector.push_back(index);
        }
        let w = &mut self.waves[wave];
        if is_gate(command) {
            w.gate.push_back(index);
        }
        if writes_to(command).is_some() {
            w.writers.push_back(index);
            w.streams[WRITES].push_back(index);
        }
        if let Command::Attn(c) = command {
            self.read_lists(wave, index, c);
        }
    }

    fn read_lists(&mut self, wave: usize, command: usize, c: &Attn) {
        if c.list_entries == 0 {
            return;
        }
        let bytes =
            ListLayout::new(self.config, c.kv_heads.into(), c.list_entries.into()).local_bytes().get();
        for slot in slots_of(self.waves[wave].slots) {
            let addr = c.list.0 + u64::from(slot) * c.list_stride;
            let lanes = Lanes::same([Segment { addr, bytes, pace: 1, spare: 0, guarded: false }]);
            self.queue_control(Tag::List { wave, command, slot }, lanes, entry(self.now));
            self.waves[wave].states[command].lists += 1;
        }
    }

    /// Settles what commands are for, where all that they wait for is known.
    pub(super) fn resolve(&mut self, wave: usize) -> bool {
        let unresolved = std::mem::take(&mut self.waves[wave].unresolved);
        let before = unresolved.len();
        let mut left = Vec::new();
        for index in unresolved {
            match self.slots_for(wave, index) {
                Some(slots) => self.settle_work(wave, index, slots),
                None => left.push(index),
            }
        }
        self.waves[wave].unresolved = left;
        self.waves[wave].unresolved.len() < before
    }

    /// The slots that a command runs for, once its predicate is known.
    fn slots_for(&self, wave: usize, index: usize) -> Option<u32> {
        let w = &self.waves[wave];
        let state = &w.states[index];
        Some(match self.command(index).pred() {
            Pred::All => w.slots,
            Pred::Output => w.slots & self.table.mask(OUTPUT),
            pred @ (Pred::Compute | Pred::Replay) => {
                let replay = match state.pred_gate {
                    Some(gate) if !w.states[gate].gate_finished => return None,
                    Some(gate) => w.states[gate].replay,
                    None => 0,
                };
                w.slots & if pred == Pred::Compute { !replay } else { replay }
            }
        })
    }

    fn settle_work(&mut self, wave: usize, index: usize, slots: u32) {
        let command = self.command(index);
        let delta = self.waves[wave].states[index].delta.map(|d| d.1);
        let work = self.planner.plan(index, command, slots, delta);
        self.counters.passes += work.passes;
        self.counters.blocks_streamed += work.blocks.0;
        self.counters.blocks_skipped += work.blocks.1;
        let writes = work.slots.iter().filter(|s| s.write.is_some()).count();
        let w = &mut self.waves[wave];
        w.states[index].writes = writes;
        w.states[index].products = vec![None; work.mac.len()];
        w.states[index].work = Some(Rc::new(work));
        w.states[index].resolved = self.now;
        self.look_at_writer(wave);
        self.at(self.now + 1, Due::Look);
        self.at(self.now + timing::MAC_MAP, Due::Look);
        self.at(self.now + timing::HEADS_MAP, Due::Look);
    }

    /// Queues the stream items of commands, in program order on each stream, one command a cycle.
    pub(super) fn queue_streams(&mut self, wave: usize) -> bool {
        let mut begun = false;
        for stream in [RECORD, MAIN, AHEAD, WRITES] {
            if self.waves[wave].streams_taken[stream] {
                continue;
            }
            let Some(&index) = self.waves[wave].streams[stream].front() else { continue };
            let state = &self.waves[wave].states[index];
            let Some(work) = state.work.clone() else { continue };
            if [MAIN, AHEAD].contains(&stream) && state.lists > 0 && !work.slots.is_empty() {
                continue;
            }
            let after = match stream {
                WRITES => Some(None),
                _ => self.older_writes(wave, index, work.mask()),
            };
            let Some(after) = after else { continue };
            let all = match stream {
                RECORD => self.queue_records(wave, index, &work, after),
                MAIN => self.queue_products(Stream::Main(wave), wave, index, &work, after),
                WRITES => self.address_writes(wave, index, &work),
                _ => self.queue_products(Stream::Ahead(wave), wave, index, &work, after),
            };
            if all {
                self.waves[wave].streams_taken[stream] = true;
                self.at(self.now + timing::STREAM_STEP, Due::Streamed { wave, stream });
                begun = true;
            }
        }
        begun
    }

    /// A stream is through with the command that it took.
    pub(super) fn streamed(&mut self, wave: usize, stream: usize) {
        let w = &mut self.waves[wave];
        w.streams_taken[stream] = false;
        w.streams[stream].pop_front();
        if stream == RECORD {
            w.records.extend(w.records_coming.drain(..));
        }
    }

    /// The youngest older command that writes what a command reads, if there is one: behind its writes are those of all
    /// others. None while it is not known which it is.
    fn older_writes(&self, wave: usize, index: usize, slots: u32) -> Option<Option<usize>> {
        let w = &self.waves[wave];
        let Some(family) = reads_from(self.command(index)) else { return Some(None) };
        for &older in w.writers.iter().rev().filter(|&&older| older < index) {
            if writes_to(self.command(older)) == Some(family)
                && w.states[older].work.as_ref()?.written() & slots != 0
            {
                return Some(Some(older));
            }
        }
        Some(None)
    }

    fn queue_records(&mut self, wave: usize, index: usize, work: &Work, after: Option<usize>) -> bool {
        let marks = self.mask_marks(index);
        let last = work.slots.len();
        let ready = entry(self.now);
        let push = |machine: &mut Self, part: usize, record: &Record, after: Option<usize>| {
            machine.count_record(index, part, &record.lanes);
            let tag = Tag::Record { wave, command: index, part };
            let lanes = record.lanes.clone();
            let ready = enter(&mut machine.waves[wave].records_walked, ready, lanes.longest());
            // The masks are whole when the last slot's blocks have been compared.
            let marks = if part == last { marks.clone() } else { Rc::default() };
            machine.waves[wave].records_coming.push(tag);
            machine.flow.push(Stream::Record(wave), Item { after, marks, ..Item::free(tag, lanes, ready) });
        };
        if let Some(shared) = &work.shared {
            push(self, 0, shared, None);
        }
        for (i, slot) in work.slots.iter().enumerate() {
            if let Some(record) = &slot.record {
                push(self, i + 1, record, after);
            }
        }
        self.queue_keys(wave, index, work);
        true
    }

    /// Queues the past keys of a `gate_tas`. The walker takes a cycle for each run of the channel that has most, whether the slot has
    /// past keys or not.
    fn queue_keys(&mut self, wave: usize, index: usize, work: &Work) {
        let mut addressed = Vec::new();
        for (part, past) in work.past.iter().enumerate() {
            let at = enter(&mut self.waves[wave].records_walked, entry(self.now), 2 * past.places);
            addressed.push(at);
            self.at(at, Due::Look);
            let records = past.keys.iter().flatten().zip([false, true]);
            for (record, elements) in records {
                let tag = Tag::Keys { wave, command: index, part, elements };
                let ready = at + if elements { past.places as Cycle } else { 0 };
                self.count(Traffic::KvRead, &record.lanes);
                self.waves[wave].records_coming.push(tag);
                self.flow.push(Stream::Record(wave), Item::free(tag, record.lanes.clone(), ready));
            }
        }
        if !work.past.is_empty() {
            self.waves[wave].records_coming.push(keys_end(wave, index, work));
            self.waves[wave].states[index].addressed = addressed;
        }
    }

    /// Sends the addresses of what a command writes to the ports, run by run.
    fn address_writes(&mut self, wave: usize, index: usize, work: &Work) -> bool {
        let ready = self.now + timing::WRITE_ADDRESS - timing::PORT_ISSUE;
        let w = &mut self.waves[wave];
        let walked = &mut w.writes_walked;
        // Of keys and values the first four runs: the others are there when their turn comes.
        let at = |slot: &SlotWork| match &slot.write {
            Some(lanes) => {
                let runs = lanes.longest();
                enter(walked, ready, runs) + runs.clamp(1, 4) as Cycle - 1
            }
            None => 0,
        };
        let addressed: Vec<Cycle> = work.slots.iter().map(at).collect();
        if matches!(self.command(index), Command::KvAppend(_)) {
            addressed.iter().for_each(|at| self.at(at - timing::WRITE_QUEUE, Due::Look));
        }
        self.waves[wave].states[index].addressed = addressed;
        self.commit(wave);
        true
    }

    /// Beats of a record behind which the masks of a delta command's groups of blocks are known, but for the last.
    fn mask_marks(&self, index: usize) -> Rc<[u64]> {
        let Command::Delta(c) = self.command(index) else { return Rc::default() };
        let groups = u32::from(c.blocks).div_ceil(timing::MASK_BLOCKS);
        let row = u64::from(self.config.channels()) * self.config.beat().get();
        let beats = |group| (timing::masked_words(group, c.blocks.into()) * 4).div_ceil(row);
        (1..groups).map(beats).collect()
    }

    fn count_record(&mut self, index: usize, part: usize, lanes: &Lanes) {
        let traffic = match self.command(index) {
            Command::Delta(_) | Command::GateDelta(_) => Traffic::RingRead,
            Command::Matvec(_) if part > 0 => Traffic::RingRead,
            Command::Load(c) if c.index == fastcar_arch::isa::IndexBy::Ring => Traffic::RingRead,
            _ => Traffic::RecordRead,
        };
        self.count(traffic, lanes);
    }

    /// Queues those products of a command that go through one stream, masked ones as far as their masks are known, and
    /// says whether that was all.
    fn queue_products(
        &mut self,
        stream: Stream,
        wave: usize,
        index: usize,
        work: &Work,
        after: Option<usize>,
    ) -> bool {
        let command = self.command(index);
        let heads = matches!(command, Command::Attn(_));
        let traffic = if heads { Traffic::KvRead } else { Traffic::Weights };
        let now = self.now;
        let begun = *self.waves[wave].states[index].streamed.get_or_insert(now);
        let state = &self.waves[wave].states[index];
        let known = state.delta.map_or(0, |(delta, _)| self.waves[wave].states[delta].mask_groups);
        let (first, mut queued) = state.queued;
        for (op, product) in work.mac.iter().enumerate().skip(first) {
            if stream_of(command, product, wave) != stream {
                continue;
            }
            let tag = Tag::Mac { wave, command: index, op };
            let total = product.groups.len();
            if total == 0 {
                self.count(traffic, &product.lanes);
                let item = Item::free(tag, product.lanes.clone(), entry(now));
                self.flow.push(stream, Item { after, heads, ..item });
            }
            // The columns of a command's first round are found while it is taken.
            if op > 0 && queued == 0 && known > 0 && total > 0 {
                let none = Item::free(tag, Lanes::same([]), 0);
                (0..timing::MASK_ROUND).for_each(|_| self.flow.push(stream, none.clone()));
            }
            for group in queued..known.min(total) {
                let lanes = product.of_group(group);
                self.count(traffic, &lanes);
                self.flow.push(stream, Item::free(tag, lanes, masked_entry(begun, now)));
            }
            if known < total {
                self.waves[wave].states[index].queued = (op, known);
                return false;
            }
            queued = 0;
        }
        true
    }

    /// What a part of a command wrote is acknowledged, or the report is.
    pub(super) fn written(&mut self, tag: Tag) {
        let Tag::Write { wave, command, part } = tag else {
            self.done_at = Some(self.now + timing::FINISH);
            return;
        };
        if let Some(found) = self.unwritten.iter_mut().find(|u| u.0 == (wave, command, part)) {
            found.1 = true;
        }
        if self.retire_free <= self.now {
            self.retire();
        } else {
            self.at(self.retire_free, Due::Retire);
        }
    }

    /// Takes off the oldest part that is written, if it is acknowledged: they go in order, one a cycle.
    pub(super) fn retire(&mut self) {
        if self.now < self.retire_free {
            return;
        }
        let Some(((wave, command, part), _)) = self.unwritten.pop_front_if(|u| u.1) else { return };
        self.retire_free = self.now + 1;
        self.at(self.now + 1, Due::Retire);
        let Some(work) = self.waves[wave].states[command].work.clone() else { return };
        self.write_beats -= work.slots[part].write.as_ref().map_or(0, |lanes| self.buffered(lanes));
        if let Some(recorder) = &mut self.recorder {
            let cycles = recorder.written((wave, command, part), self.now);
            self.span(WRITE, wave, command, 1 << work.slots[part].slot, cycles);
        }
        self.waves[wave].states[command].writes -= 1;
        self.look_at_writer(wave);
    }

    /// Lets go of the oldest command that writes in the next cycle, if nothing of it is on its way.
    fn look_at_writer(&mut self, wave: usize) {
        let w = &mut self.waves[wave];
        if !w.writer_ends && w.writer_is_done() {
            w.writer_ends = true;
            self.at(self.now + 1, Due::WriterEnds { wave });
        }
    }

    pub(super) fn end_writer(&mut self, wave: usize) {
        self.waves[wave].writers.pop_front();
        self.waves[wave].writer_ends = false;
        self.look_at_writer(wave);
    }

    /// Beats of the write buffers that a slot's record takes, on the fullest channel.
    pub(super) fn buffered(&self, lanes: &Lanes) -> u64 {
        let beat = self.config.beat().get();
        (0..self.sizes.len()).map(|class| lanes.beats(class, beat)).max().unwrap_or(0)
    }

    /// Writes the report when everything else is done.
    pub(super) fn report_when_idle(&mut self) {
        let idle = self.waves.iter().all(|w| {
            let through = w.vector_since.max(w.vector_result) <= self.now;
            w.idle() && w.writers.is_empty() && through && w.states.iter().all(|state| state.lists == 0)
        });
        if self.reporting || !idle || self.vector.is_running() {
            return;
        }
        self.reporting = true;
        if self.table.gates.is_empty() {
            self.done_at = Some(self.now + timing::FINISH);
            return;
        }
        self.at(entry(self.now), Due::Report);
    }

    pub(super) fn write_report(&mut self) {
        let bytes = self.table.gates.len() * size_of::<GateReport>();
        let lanes = self.on_channel_0(self.placement.report, bytes as u64);
        self.count(Traffic::Control, &lanes);
        self.flow.write(Tag::Report, &lanes, self.now);
    }
}
