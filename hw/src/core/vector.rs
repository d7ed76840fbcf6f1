//! The vector unit with its queue, its records and what it writes.

use super::array::Array;
use super::segments::{hop, hop_word};
use super::task::Task;
use super::{Activations, Center, Commits, Parts, Progress, RECORDS, RecordRows, Segments, VECTOR, WRITES};
use crate::cmd::NUMBER_BITS;
use crate::cmd::fields::cut;
use crate::port::{Port, WRITER_BITS};
use crate::prim::Fifo;
use crate::rtl::{Bits, Builder, Instance, RamStyle, RtlError, Stream, Wire, index_width};
use crate::vec::{Records, Shape, VectorUnit, Writes};
use crate::walk::appends::{POSITION, SCALES, TOKEN};
use crate::walk::queue::Waiting;
use crate::walk::{Appends, Direction, PastWalker, RecordQueue, RecordWalker, shape};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{HOP, QUEUE_COMMANDS, WINDOW};

/// Bits of a guard: a writer's number, and whether there is one.
const GUARD_BITS: u32 = NUMBER_BITS + 1;

/// Parts that have begun in the unit and have no result, at most.
const PARTS: u8 = 32;
/// Records and caches of slots that wait for their runs; parts of `kv_append` that may begin.
const RUNS: u32 = 32;
const PLACES: u32 = 64;

/// A run of beats that a walker gives.
struct Run<'m> {
    valid: Wire<'m>,
    address: Wire<'m>,
    length: Wire<'m>,
    shared: Wire<'m>,
    guard: Wire<'m>,
}

/// A command in the vector unit's queue.
struct Queued<'m> {
    index: Wire<'m>,
    pred: Wire<'m>,
    decides: Wire<'m>,
    decision: Wire<'m>,
    /// Commands before it that read records, and those of them that read past keys.
    records: Wire<'m>,
    keys: Wire<'m>,
    /// It may write, and its number among those that may.
    closes: Wire<'m>,
    writer: Wire<'m>,
    /// Whether products read what it fills, and the number of the last of them; the same of gates.
    read: Wire<'m>,
    product: Wire<'m>,
    compared: Wire<'m>,
    gate: Wire<'m>,
    /// Slots whose reference may be used.
    allow: Wire<'m>,
    task: Task<'m>,
}

impl<'m> Queued<'m> {
    fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { index, pred, decides, decision, records, keys, closes, writer, task, .. } = self;
        let writes = [*closes, *writer, self.read, self.product, self.compared, self.gate, self.allow];
        m.pack(
            &[&[*index, *pred, *decides, *decision, *records, *keys][..], &writes, &[task.word(m)]].concat(),
        )
    }

    fn of(center: &Center<'m>, shape: &Shape, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            index: take(NUMBER_BITS),
            pred: take(2),
            decides: take(1),
            decision: take(NUMBER_BITS),
            records: take(NUMBER_BITS),
            keys: take(NUMBER_BITS),
            closes: take(1),
            writer: take(WRITER_BITS),
            read: take(1),
            product: take(NUMBER_BITS),
            compared: take(1),
            gate: take(NUMBER_BITS),
            allow: take(center.config.slots()),
            task: Task::of(shape, &center.sizes, take(Task::width(shape, &center.sizes))),
        }
    }
}

/// Where a part of `kv_append` writes.
struct Place<'m> {
    /// Beats of the channel that has most.
    beats: Wire<'m>,
    token: Wire<'m>,
    channel: Wire<'m>,
    step: Wire<'m>,
}

impl<'m> Place<'m> {
    fn of(config: &AccelConfig, count: u32, word: Wire<'m>) -> Self {
        let channel = index_width(config.channels().into());
        let mut take = cut(word);
        let (token, first, step) = (take(TOKEN), take(channel), take(channel));
        Self { beats: take(count), token, channel: first, step }
    }
}

/// The unit's input is free, twice `pause` cycles later; of a command with another pause nothing is heard.
fn paced<'m>(m: &'m Builder, issued: Wire<'m>, pause: Wire<'m>) -> Wire<'m> {
    let later = |n: u64| hop(m, &format!("issued_{n}"), 2 * n, issued & pause.eq(n));
    pause.choose(&(0..1 << pause.width()).map(later).collect::<Vec<_>>())
}

impl<'m> Center<'m> {
    /// A number that goes up by one, from 0 in each run.
    fn count(&self, name: &str, step: Wire<'m>) -> Wire<'m> {
        let count = self.m.reg(name, NUMBER_BITS).reset(0);
        count.update(&[(self.start, self.m.lit(NUMBER_BITS, 0)), (step, count.q() + 1)]);
        count.q()
    }

    /// The stream of addresses of the records that commands read, or write: the queue of commands, and its runs.
    fn walk(
        &self,
        name: &str,
        direction: Direction,
    ) -> Result<(Instance<'m>, Instance<'m>, Run<'m>), RtlError> {
        let Self { m, config, sizes, issue, table, .. } = self;
        let (reader, class) = match direction {
            Direction::Read => (RECORDS, issue.classes.records),
            Direction::Write => (WRITES, issue.classes.writes),
        };
        let queue = m.instance(&format!("u_{name}_queue"), &RecordQueue::new(config))?;
        let waiting = Waiting {
            index: issue.index,
            pred: issue.fields.pred(),
            decides: issue.decides,
            decision: issue.decision,
            before: issue.writer,
            allow: issue.allow,
            shape: shape(sizes, m, &issue.fields, direction)?,
        };
        queue.set("push_valid_i", issue.valid & class);
        queue.set("push_i", waiting.word(m));
        let [known, slots] = self.slots_of(
            reader,
            queue.get("pred_o"),
            queue.get("decision_valid_o"),
            queue.get("decision_o"),
        );
        queue.set("known_i", known);
        queue.set("slots_i", slots);
        queue.set("ring_i", table.get("ring_o"));
        let jobs = queue.stream_out("job");
        let jobs = Fifo::new(jobs.data.width(), WINDOW as u32, RamStyle::Distributed)?.after(
            m,
            &format!("u_{name}_jobs"),
            jobs,
        )?;
        let walker = m.instance(&format!("u_{name}_walker"), &RecordWalker::new(config, GUARD_BITS)?)?;
        let (entry, slot) = match direction {
            Direction::Read => (0, self.past_keys(&walker, jobs)),
            Direction::Write => {
                walker.stream_in("job", jobs);
                (1, walker.get("slot_o"))
            }
        };
        table.set(&format!("slot_{entry}_i"), slot);
        walker.set("entry_i", table.get(&format!("entry_{entry}_o")));
        for name in ["front_valid", "front"] {
            let front = queue.get(&format!("{name}_o"));
            let queue = if direction == Direction::Read { "record" } else { "write" };
            self.dispatch.set(&format!("{queue}_{name}_i"), front);
        }
        let run = Run {
            valid: walker.get("run_valid_o"),
            address: walker.get("run_address_o"),
            length: walker.get("run_length_o").zext(sizes.address),
            shared: walker.get("run_shared_o"),
            guard: walker.get("run_tag_o"),
        };
        Ok((queue, walker, run))
    }

    /// Sends runs to the ports.
    fn send(
        &self,
        name: &str,
        segments: &Segments,
        valid: Wire<'m>,
        run: Wire<'m>,
    ) -> Result<Instance<'m>, RtlError> {
        let segments = self.m.instance(&format!("u_{name}_segments"), segments)?;
        segments.set("run_valid_i", valid);
        segments.set("run_i", run);
        for (c, port) in self.ports.iter().enumerate() {
            port.stream_in(&format!("{name}_segment"), segments.stream_out(&format!("segment{c}")));
        }
        Ok(segments)
    }

    /// Commands whose records are on their way, counted; the records go to the vector unit group by group.
    fn records(&self, unit: &Instance<'m>, bytes: Wire<'m>) -> Result<Wire<'m>, RtlError> {
        let Self { m, config, writers, .. } = self;
        let (queue, walker, run) = self.walk("record", Direction::Read)?;
        for name in ["before", "family"] {
            writers.set(&format!("{name}_0_i"), queue.get(&format!("{name}_o")));
        }
        writers.set("slots_0_i", queue.get("asked_o"));
        for name in ["wait", "guard_valid", "guard"] {
            queue.set(&format!("{name}_i"), writers.get(&format!("{name}_0_o")));
        }
        let guarded = run.guard.msb() & !run.shared;
        let guard = guarded.cat(run.guard.trunc(WRITER_BITS));
        let word = m.pack(&[run.address, run.length, guard]);
        // Both walkers take as long, and never give something at once.
        let past = |name: &str| self.past.get(&format!("run_{name}_o"));
        let keys = [past("address"), past("length").zext(self.sizes.address), m.lit(guard.width(), 0)];
        let word = past("valid").mux(m.pack(&keys), word);
        let all = m.constant(Bits::ones(config.channels()));
        let segments = Segments::new(word.width(), config.channels(), PastWalker::LATENCY)?.some();
        let segments = self.send("record", &segments, run.valid | past("valid"), word)?;
        segments.set("run_channels_i", past("valid").mux(past("channels"), all));
        for walker in [&walker, &self.past] {
            walker.set("go_i", segments.get("go_o"));
        }
        self.tas
            .set("rows_i", self.count_rows("rows_walked", run.length & run.valid.repeat(run.length.width())));

        let beat = config.fields().beat_bytes;
        let rows = m.instance("u_record_rows", &RecordRows::new(beat, config.channels())?)?;
        for (c, port) in self.ports.iter().enumerate() {
            rows.stream_in(&format!("beat{c}"), port.stream_out("record_beat"));
            port.set("record_free_i", rows.get(&format!("free{c}_o")));
            port.set("record_free_last_i", rows.get(&format!("free_last{c}_o")));
        }
        let own = self.rows_of_keys(&rows);
        self.tas.set("taken_i", self.count_rows("rows_taken", own.passes()));
        self.groups(unit, own, bytes)?;
        Ok(self.count("streamed", queue.get("leaves_o")))
    }

    /// Rows of beats as groups of words or, for the part under way, of bytes.
    fn groups(&self, unit: &Instance<'m>, row: Stream<'m>, bytes: Wire<'m>) -> Result<(), RtlError> {
        let m = self.m;
        // What a part is is told in the cycle before it begins.
        let bytes = m.register("record_bytes", bytes);
        let width = 8 * 4 * self.config.vector_lanes();
        let (mut valid, mut data, mut ready) = (m.lit(1, 0), m.constant(Bits::zero(width)), m.lit(1, 0));
        for (name, unit_bytes, own) in [("words", 4, !bytes), ("bytes", 1, bytes)] {
            let groups = m.instance(&format!("u_{name}"), &Records::of(self.config, unit_bytes)?)?;
            groups.set("row_valid_i", row.valid & own);
            groups.set("row_data_i", row.data);
            groups.set("last_i", unit.get("record_last_o"));
            groups.set("group_ready_i", unit.get("record_ready_o"));
            valid = valid | groups.get("group_valid_o");
            data = data | (groups.get("group_data_o").zext(width) & own.repeat(width));
            ready = ready | groups.get("row_ready_o");
        }
        row.ready.set(ready);
        unit.set("record_valid_i", valid);
        unit.set("record_data_i", data);
        Ok(())
    }

    /// The addresses of what is written, on their way to the ports.
    fn addresses(&self, commits: &Instance<'m>) -> Result<Stream<'m>, RtlError> {
        let m = self.m;
        let (queue, walker, run) = self.walk("write", Direction::Write)?;
        queue.set("wait_i", m.lit(1, 0));
        queue.set("guard_valid_i", m.lit(1, 0));
        queue.set("guard_i", m.lit(NUMBER_BITS, 0));
        let appends = self.appends(&walker, &run)?;
        let get = |name: &str| appends.get(&format!("{name}_o"));
        let (address, length) = (get("run_address"), get("run_length").zext(self.sizes.address));
        // The report comes when nothing else does.
        let reports = self.report.get("run_valid_o");
        let word = reports.mux(self.report.get("run_o"), m.pack(&[address, length]));
        let channels = self.config.channels();
        let segments = Segments::new(word.width(), channels, 1)?.apart(self.config.write_beats());
        let segments = self.send("write", &segments, get("run_valid") | reports, word)?;
        for name in ["channels", "last"] {
            let mask = reports.mux(m.lit(channels, 1), get(&format!("run_{name}")));
            segments.set(&format!("run_{name}_i"), mask);
        }

        let (places, room) = self.placed(commits, &appends)?;
        appends.set("go_i", segments.get("go_o") & room);
        Ok(places)
    }

    /// Where parts write, as far as `Commits` and the parts of `kv_append` have to know; whether there is room for more.
    fn placed(
        &self,
        commits: &Instance<'m>,
        appends: &Instance<'m>,
    ) -> Result<(Stream<'m>, Wire<'m>), RtlError> {
        let m = self.m;
        let part = |name: &str| appends.get(&format!("part_{name}_o"));
        let kept = |name: &str| m.register(&format!("write_{name}"), part(name));
        let count = Port::new(self.config)?.count_bits();
        let fit = |beats: Wire<'m>| beats.zext(count.max(beats.width())).trunc(count);
        // The queues of the channels take two cycles.
        let (placed, full) = (m.register_valid("write_placed", part("placed")), fit(kept("beats")));
        commits.set("addressed_i", placed);
        commits.set("addressed_channels_i", kept("channels"));
        commits.set("addressed_beats_i", full);
        commits.set("addressed_fewer_i", fit(kept("fewer")));
        let place = m.pack(&[kept("token"), kept("channel"), kept("step"), full]);
        let places = Fifo::new(place.width(), PLACES, RamStyle::Distributed)?.almost_full_at(PLACES - 3)?;
        let places = m.instance("u_places", &places)?;
        places.set("in_valid_i", placed & kept("cache"));
        places.set("in_data_i", place);
        let room = commits.get("addressed_room_o") & !places.get("almost_full_o");
        Ok((places.stream_out("out"), room))
    }

    /// The runs of records and caches, in their order.
    fn appends(&self, walker: &Instance<'m>, run: &Run<'m>) -> Result<Instance<'m>, RtlError> {
        let (m, walk) = (self.m, Appends::new(self.config));
        let get = |name: &str| walker.get(&format!("run_{name}_o"));
        let position = get("index").trunc(POSITION);
        let length = run.length.trunc(walk.length_bits());
        let job = m.pack(&[run.address, length, position, get("heads"), get("scales")]);
        // As many as come behind the word to stop, and a cycle for that.
        let ahead = RecordWalker::new(self.config, GUARD_BITS)?.latency() + 1;
        let queue = Fifo::new(job.width(), RUNS, RamStyle::Distributed)?;
        let queue = m.instance("u_written", &queue.almost_full_at(RUNS - ahead)?)?;
        queue.set("in_valid_i", run.valid);
        queue.set("in_data_i", job);
        walker.set("go_i", !queue.get("almost_full_o"));
        let parts = queue.stream_out("out");
        let appends = m.instance("u_appends", &walk)?;
        appends.set("job_valid_i", parts.valid);
        parts.ready.set(appends.get("job_ready_o"));
        let mut take = cut(parts.data);
        appends.set("base_i", take(self.sizes.address));
        appends.set("length_i", take(walk.length_bits()));
        appends.set("position_i", take(POSITION));
        appends.set("heads_i", take(walk.heads_bits()));
        appends.set("scales_i", take(SCALES));
        appends.set("blocks_i", self.cache_blocks());
        Ok(appends)
    }

    /// The commands of the vector unit, in order, and how many there are.
    fn vector_queue(&self, shape: &Shape) -> Result<(Stream<'m>, Wire<'m>), RtlError> {
        let Self { m, issue, .. } = self;
        let classes = &issue.classes;
        let scores = classes.gate;
        let queued = Queued {
            index: issue.index,
            pred: issue.fields.pred(),
            decides: issue.decides,
            decision: issue.decision,
            records: self.count("records", issue.valid & classes.records),
            keys: self.count("keys", issue.valid & issue.fields.is("gate_tas")?),
            closes: classes.writes,
            writer: issue.writer.trunc(WRITER_BITS),
            read: issue.product[0],
            product: issue.product[1],
            // A gate's scores come when all gates before it have decided.
            compared: issue.compared[0] | scores,
            gate: scores.mux(issue.gate - 1, issue.compared[1]),
            allow: issue.allow,
            task: Task::new(self.config, shape, &self.sizes, m, &issue.fields)?,
        };
        let word = queued.word(m);
        let queue = Fifo::new(word.width(), QUEUE_COMMANDS as u32, RamStyle::Distributed)?;
        let queue = m.instance("u_vector_queue", &queue)?;
        queue.set("in_valid_i", issue.valid & classes.vector);
        queue.set("in_data_i", word);
        Ok((queue.stream_out("out"), queue.get("count_o")))
    }

    /// The unit, begun part by part. Whether nothing is left to do.
    pub(super) fn vector(&self, array: &Array<'m>) -> Result<Wire<'m>, RtlError> {
        let Self { m, config, table, dispatch, .. } = self;
        let size = Shape::of(config)?;
        let (front, count) = self.vector_queue(&size)?;
        let queued = Queued::of(self, &size, front.data);
        let task = &queued.task;
        let unit = m.instance("u_vector", &VectorUnit::new(size))?;
        let parts = m.instance("u_parts", &Parts::new(config.slots())?)?;
        let commits = m.instance("u_commits", &Commits::new(config)?)?;
        let streamed = self.records(&unit, task.takes_bytes())?;
        let places = self.addresses(&commits)?;
        let issued = paced(m, unit.get("issued_o"), task.pause);
        let writes = m.instance("u_writes", &Writes::of(config)?)?;
        let cache = task.is_cache();
        // Parts come no faster than their beats leave (`append_pause`), so that `Writes` always has room: this only makes sure.
        let room = commits.get("room_o") & writes.get("room_o");

        let [known, slots] = self.slots_of(VECTOR, queued.pred, queued.decides, queued.decision);
        let ring = table.get("ring_o");
        let reads = task.read.slots(ring, queued.allow);
        let behind = |waits: Wire<'m>, number: Wire<'m>, done: Wire<'m>| !waits | (number - done).msb();
        let free = behind(queued.read, queued.product, array.sequencer.get("finished_o"))
            & behind(queued.compared, queued.gate, self.gates.get("finished_o"));
        let heads = task.is_attention();
        let begins = parts.get("begin_o");
        let more = self.places(task, begins);
        let inputs = [
            ("start", self.start),
            ("command_valid", front.valid),
            ("known", known),
            ("slots", slots),
            ("reads", reads),
            ("shared", task.shared),
            ("writes", task.written.slots(ring, queued.allow)),
            ("closes", queued.closes),
            // The stream is through with the command, and the gate unit with the keys before it.
            (
                "streamed",
                !(streamed - queued.records - 1).msb() & !(self.tas.get("over_o") - queued.keys).msb(),
            ),
            ("placed", !cache | places.valid),
            ("room", room),
            ("free", free),
            ("among", array.results.get("slots_o") | (!task.sums).repeat(config.slots())),
            (
                "summed",
                heads.mux(array.attention.sums.get("ready_o"), array.results.get("ready_o") | !task.sums),
            ),
            ("more", more),
            ("issued", issued),
            ("done", unit.get("done_o")),
        ];
        inputs.iter().for_each(|(name, wire)| parts.set(&format!("{name}_i"), *wire));
        let leaves = parts.get("leaves_o");
        front.ready.set(leaves);
        dispatch.set("vector_pop_i", leaves);
        dispatch.set("vector_front_valid_i", front.valid);
        dispatch.set("vector_front_i", queued.index);

        for (name, wire) in task.ports() {
            // Of attention a part is the heads of a place.
            let heads = |lines: Wire<'m>| heads.mux(lines.zext(wire.width()), wire);
            let wire = if name == "lines_i" { heads(array.attention.sums.get("lines_o")) } else { wire };
            unit.set(name, wire);
        }
        let first = parts.get("first_o");
        unit.set("start_i", parts.get("begin_o"));
        unit.set("slot_i", parts.get("slot_o"));
        let access = task.moves_references().mux(parts.get("reads_o"), parts.get("record_o"));
        unit.set("access_i", task.is_norm().mux(first, access));
        unit.set("ring_i", parts.get("part_writes_o"));
        unit.set("shared_i", task.shared & first);
        let operand = m.reg("operand", task.operand.width());
        operand.set_when(parts.get("begin_o"), task.operand);
        self.activations(&unit, array, operand.q())?;
        self.rows(&unit, &parts, array, task)?;
        let ends = self.ends(&unit, &parts, array, (task, more))?;
        let finished = self.progress((&unit, ends), &parts, array, slots)?;
        self.scores(&unit, finished);
        self.masks(&unit, &parts, task, ([slots, reads], finished));
        m.output("vector_busy_o", unit.get("busy_o"));
        // The cycle in which the last one leaves is not counted.
        m.output("vector_there_o", front.valid & !(leaves & count.eq(1)));
        places.ready.set(parts.get("begin_o") & cache);
        let count = Port::new(config)?.count_bits();
        let length = task.written.length.zext(count.max(task.written.length.width())).trunc(count);
        let place = Place::of(config, count, places.data);
        self.data(&unit, &parts, task, (&writes, &place));
        self.write(&parts, &commits, queued.writer, cache.mux(place.beats, length));
        Ok(parts.get("idle_o"))
    }

    /// The activation buffer, which the unit fills and of which it writes to memory.
    fn activations(&self, unit: &Instance<'m>, array: &Array<'m>, first: Wire<'m>) -> Result<(), RtlError> {
        let buffer = self.m.instance("u_activations", &Activations::new(self.config))?;
        buffer.set("write_valid_i", unit.get("block_valid_o") & !unit.get("block_memory_o"));
        for (port, name) in [("slot", "slot"), ("block", "number"), ("scale", "scale"), ("elems", "elems")] {
            buffer.set(&format!("write_{port}_i"), unit.get(&format!("block_{name}_o")));
        }
        buffer.set("write_first_i", first);
        for name in ["slot", "block"] {
            buffer.set(&format!("vector_{name}_i"), unit.get(&format!("ab_{name}_o")));
        }
        for name in ["scale", "elems"] {
            unit.set(&format!("ab_{name}_i"), buffer.get(&format!("vector_{name}_o")));
        }
        array.reads(&buffer);
        self.reads_queries(&buffer);
        Ok(())
    }

    /// Whether the part that may begin has another one of its slot behind it: of attention there is one for each place of heads.
    fn places(&self, task: &Task<'m>, begins: Wire<'m>) -> Wire<'m> {
        let m = self.m;
        let place = m.reg("place_of_heads", task.last_unit.width()).reset(0);
        let more = place.q().ne(task.last_unit);
        let none = m.lit(place.q().width(), 0);
        place.update(&[(self.start, none), (begins, more.mux(place.q() + 1, none))]);
        more
    }

    /// The rows of products, and sums of values, which the unit takes.
    fn rows(
        &self,
        unit: &Instance<'m>,
        parts: &Instance<'m>,
        array: &Array<'m>,
        task: &Task<'m>,
    ) -> Result<(), RtlError> {
        let (results, sums, heads) = (&array.results, &array.attention.sums, task.is_attention());
        let begins = parts.get("begin_o");
        results.set("begin_i", begins & task.sums);
        results.set("slot_i", parts.get("slot_o"));
        for name in ["base", "nan"] {
            unit.set(&format!("{name}_i"), results.get(&format!("{name}_o")));
        }
        sums.set("begin_i", begins & heads);
        let either = |group: &str, row: &str| heads.mux(sums.get(group), results.get(row));
        unit.set("sums_valid_i", either("group_valid_o", "sums_valid_o"));
        unit.set("sums_data_i", either("group_data_o", "sums_data_o"));
        let ready = unit.get("sums_ready_o");
        results.set("sums_ready_i", ready & !heads);
        sums.set("group_ready_i", ready & heads);
        for (port, name) in
            [("group", "number"), ("scale", "scale"), ("nan", "nan"), ("none", "none"), ("total", "total")]
        {
            unit.set(&format!("sums_{port}_i"), sums.get(&format!("group_{name}_o")));
        }
        Ok(())
    }

    /// What becomes free with the results of parts. Whether a result is its slot's last.
    fn ends(
        &self,
        unit: &Instance<'m>,
        parts: &Instance<'m>,
        array: &Array<'m>,
        (task, more): (&Task<'m>, Wire<'m>),
    ) -> Result<Wire<'m>, RtlError> {
        let (m, heads) = (self.m, task.is_attention());
        // Accumulators that are free with it: a product's, with the last part of it; a round's of heads.
        let frees = heads | (task.sums & array.results.get("last_o"));
        let data = m.pack(&[frees, heads, !more]);
        let part = Stream { valid: parts.get("begin_o"), data, ready: m.later("ends_ready", 1) };
        let part =
            Fifo::new(data.width(), u32::from(PARTS), RamStyle::Distributed)?.after(m, "u_ends", part)?;
        let done = unit.get("done_o");
        part.ready.set(done);
        array.sequencer.set("frees_i", done & part.data.bit(0));
        array.attention.center.set("frees_i", done & part.data.bit(1));
        Ok(part.data.bit(2))
    }

    /// How far the unit is, for those that use its results: commands whose results are all there.
    fn progress(
        &self,
        (unit, ends_slot): (&Instance<'m>, Wire<'m>),
        parts: &Instance<'m>,
        array: &Array<'m>,
        slots: Wire<'m>,
    ) -> Result<Wire<'m>, RtlError> {
        let progress = Progress::new(self.config.slots(), &["product", "gate"])?;
        let progress = self.m.instance("u_progress", &progress)?;
        progress.set("start_i", self.start);
        progress.set("begins_i", parts.get("begin_o") & parts.get("first_o"));
        progress.set("slots_i", slots);
        progress.set("skips_i", parts.get("skips_o"));
        progress.set("done_i", unit.get("done_o") & ends_slot);
        progress.set("product_valid_i", array.sequencer.get("operand_valid_o"));
        progress.set("product_i", array.sequencer.get("operand_o"));
        for unit in [&array.sequencer, &array.attention.queries] {
            unit.set("missing_i", progress.get("product_missing_o"));
        }
        progress.set("gate_valid_i", self.tas.get("operand_valid_o"));
        progress.set("gate_i", self.tas.get("operand_o"));
        self.tas.set("missing_i", progress.get("gate_missing_o"));
        Ok(progress.get("finished_o"))
    }

    /// The beats of what parts write, on their way to the ports.
    fn data(
        &self,
        unit: &Instance<'m>,
        parts: &Instance<'m>,
        task: &Task<'m>,
        (writes, place): (&Instance<'m>, &Place<'m>),
    ) {
        let m = self.m;
        writes.set("start_i", parts.get("begin_o") & parts.get("part_writes_o"));
        writes.set("kind_i", task.kind);
        writes.set("count_i", task.count);
        for name in ["word_valid", "word_data", "block_scale", "block_elems"] {
            writes.set(&format!("{name}_i"), unit.get(&format!("{name}_o")));
        }
        writes.set("block_valid_i", unit.get("block_valid_o") & unit.get("block_memory_o"));
        writes.set("done_i", unit.get("done_o"));
        writes.set("scales_i", task.scales);
        writes.set("token_i", place.token);
        writes.set("channel_i", place.channel);
        writes.set("step_i", place.step);
        for (c, port) in self.ports.iter().enumerate() {
            let (mut valid, mut data) =
                (writes.get(&format!("beat_valid{c}_o")), writes.get(&format!("beat_data{c}_o")));
            let mut bytes = writes.get(&format!("beat_bytes{c}_o"));
            if c == 0 {
                let reports = self.report.get("beat_valid_o");
                (valid, data) = (valid | reports, reports.mux(self.report.get("beat_o"), data));
                bytes = bytes | reports.repeat(bytes.width());
            }
            let valid = hop(m, &format!("write_valid_{c}"), HOP - 1, valid);
            let beat = bytes.cat(data);
            port.set("write_data_valid_i", valid);
            port.set("write_data_data_i", hop_word(m, &format!("write_data_{c}"), HOP - 1, beat));
        }
    }

    /// What parts write, on its way to the ports and back.
    fn write(&self, parts: &Instance<'m>, commits: &Instance<'m>, writer: Wire<'m>, beats: Wire<'m>) {
        let Self { m, writers, start, report, .. } = self;
        commits.set("start_i", *start);
        for name in ["part_valid", "part_writes", "part_last", "part_ends"] {
            commits.set(&format!("{name}_i"), parts.get(&format!("{name}_o")));
        }
        commits.set("result_i", parts.get("result_o"));
        commits.set("part_writer_i", writer);
        commits.set("beats_i", beats);
        for name in ["valid", "known"] {
            commits.set(&format!("oldest_{name}_i"), writers.get(&format!("oldest_{name}_o")));
        }
        commits.set("oldest_writes_i", writers.get("oldest_slots_o").any());
        writers.set("done_i", commits.get("writer_done_o"));

        let mut acknowledged = Vec::new();
        for (c, port) in self.ports.iter().enumerate() {
            let cross = |name: &str, wire| hop(m, &format!("{name}_{c}"), HOP, wire);
            let get = |name: &str| commits.get(&format!("commit_{name}_o"));
            let (mut valid, mut beats, mut closes) = (get("valid"), get(&format!("beats{c}")), get("closes"));
            if c == 0 {
                let reports = report.get("commit_o");
                (valid, closes) = (valid | reports, closes & !reports);
                beats = reports.mux(report.get("beats_o"), beats);
            }
            port.set("commit_valid_i", cross("commit", valid));
            for (name, word) in [("beats", beats), ("closes", closes), ("writer", get("writer"))] {
                let word = hop_word(m, &format!("commit_{name}_{c}"), HOP, word);
                port.set(&format!("commit_{name}_i"), word);
            }
            port.set("start_i", cross("start", *start));
            let waits = parts.get("waits_o");
            port.set("drain_i", hop(m, &format!("drain_{c}"), HOP - Port::DRAIN_LATENCY, waits));
            // What follows from it takes a cycle.
            let answer = port.get("acknowledged_o") & !self.reporting.q();
            acknowledged.push(hop(m, &format!("acknowledged_{c}"), HOP - 1, answer));
        }
        commits.set("acknowledged_i", m.pack(&acknowledged));
    }
}
