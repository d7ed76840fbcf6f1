//! The vector unit with its queue, its records and what it writes.

use super::segments::{hop, hop_word};
use super::task::Task;
use super::{Activations, Center, Commits, Parts, RECORDS, RecordRows, Segments, VECTOR, WRITES};
use crate::cmd::NUMBER_BITS;
use crate::cmd::fields::cut;
use crate::port::{Port, WRITER_BITS};
use crate::prim::Fifo;
use crate::rtl::{Bits, Instance, RamStyle, RtlError, Stream, Wire};
use crate::vec::{Records, Shape, VectorUnit, Writes};
use crate::walk::queue::Waiting;
use crate::walk::{Direction, RecordQueue, RecordWalker, shape};
use fastcar_arch::timing::{HOP, QUEUE_COMMANDS, WINDOW};

/// Bits of a guard: a writer's number, and whether there is one.
const GUARD_BITS: u32 = NUMBER_BITS + 1;

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
    /// Commands before it that read records.
    records: Wire<'m>,
    /// It may write, and its number among those that may.
    closes: Wire<'m>,
    writer: Wire<'m>,
    task: Task<'m>,
}

impl<'m> Queued<'m> {
    fn word(&self, m: &'m crate::rtl::Builder) -> Wire<'m> {
        let Self { index, pred, decides, decision, records, closes, writer, task } = self;
        m.pack(&[*index, *pred, *decides, *decision, *records, *closes, *writer, task.word(m)])
    }

    fn of(center: &Center<'m>, shape: &Shape, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        Self {
            index: take(NUMBER_BITS),
            pred: take(2),
            decides: take(1),
            decision: take(NUMBER_BITS),
            records: take(NUMBER_BITS),
            closes: take(1),
            writer: take(WRITER_BITS),
            task: Task::of(shape, &center.sizes, take(Task::width(shape, &center.sizes))),
        }
    }
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
            gate: issue.gate,
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
        walker.stream_in("job", jobs);
        let entry = usize::from(direction == Direction::Write);
        table.set(&format!("slot_{entry}_i"), walker.get("slot_o"));
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
        walker: &Instance<'m>,
        valid: Wire<'m>,
        run: Wire<'m>,
    ) -> Result<(), RtlError> {
        let latency = RecordWalker::new(self.config, GUARD_BITS)?.latency();
        let segments = Segments::new(run.width(), self.config.channels(), latency)?;
        let segments = self.m.instance(&format!("u_{name}_segments"), &segments)?;
        segments.set("run_valid_i", valid);
        segments.set("run_i", run);
        walker.set("go_i", segments.get("go_o"));
        for (c, port) in self.ports.iter().enumerate() {
            port.stream_in(&format!("{name}_segment"), segments.stream_out(&format!("segment{c}")));
        }
        Ok(())
    }

    /// Commands whose records are on their way, counted; the records go to the vector unit group by group.
    fn records(&self, unit: &Instance<'m>) -> Result<Wire<'m>, RtlError> {
        let Self { m, config, table, writers, .. } = self;
        let (queue, walker, run) = self.walk("record", Direction::Read)?;
        table.set("gate_i", queue.get("gate_o"));
        queue.set("gate_i", table.get("gate_o"));
        for name in ["before", "family"] {
            writers.set(&format!("{name}_0_i"), queue.get(&format!("{name}_o")));
        }
        writers.set("slots_0_i", queue.get("asked_o"));
        for name in ["wait", "guard_valid", "guard"] {
            queue.set(&format!("{name}_i"), writers.get(&format!("{name}_0_o")));
        }
        let guarded = run.guard.msb() & !run.shared;
        let guard = guarded.cat(run.guard.trunc(WRITER_BITS));
        self.send("record", &walker, run.valid, m.pack(&[run.address, run.length, guard]))?;

        let beat = config.fields().beat_bytes;
        let rows = m.instance("u_record_rows", &RecordRows::new(beat, config.channels())?)?;
        for (c, port) in self.ports.iter().enumerate() {
            rows.stream_in(&format!("beat{c}"), port.stream_out("record_beat"));
            port.set("record_free_i", rows.get(&format!("free{c}_o")));
            port.set("record_free_last_i", rows.get(&format!("free_last{c}_o")));
        }
        let groups = m.instance("u_records", &Records::of(config, 4)?)?;
        groups.stream_in("row", rows.stream_out("row"));
        unit.stream_in("record", groups.stream_out("group"));
        groups.set("last_i", unit.get("record_last_o"));
        Ok(self.count("streamed", queue.get("leaves_o")))
    }

    /// The addresses of what is written; whether one goes to the ports.
    fn addresses(&self) -> Result<Wire<'m>, RtlError> {
        let m = self.m;
        let (queue, walker, run) = self.walk("write", Direction::Write)?;
        queue.set("gate_i", m.lit(64, 0));
        queue.set("wait_i", m.lit(1, 0));
        queue.set("guard_valid_i", m.lit(1, 0));
        queue.set("guard_i", m.lit(NUMBER_BITS, 0));
        // A record is one run.
        self.send("write", &walker, run.valid, m.pack(&[run.address, run.length, m.lit(1, 1)]))?;
        Ok(run.valid)
    }

    /// The commands of the vector unit, in order.
    fn vector_queue(&self, shape: &Shape) -> Result<Stream<'m>, RtlError> {
        let Self { m, issue, .. } = self;
        let classes = &issue.classes;
        let queued = Queued {
            index: issue.index,
            pred: issue.fields.pred(),
            decides: issue.decides,
            decision: issue.decision,
            records: self.count("records", issue.valid & classes.records),
            closes: classes.writes,
            writer: issue.writer.trunc(WRITER_BITS),
            task: Task::new(shape, &self.sizes, m, &issue.fields)?,
        };
        let valid = issue.valid & classes.vector;
        let input = Stream { valid, data: queued.word(m), ready: m.later("vector_room", 1) };
        Fifo::new(input.data.width(), QUEUE_COMMANDS as u32, RamStyle::Distributed)?.after(
            m,
            "u_vector_queue",
            input,
        )
    }

    /// The unit, begun part by part. Whether nothing is left to do.
    pub(super) fn vector(&self) -> Result<Wire<'m>, RtlError> {
        let Self { m, config, table, dispatch, .. } = self;
        let size = Shape::of(config)?;
        let front = self.vector_queue(&size)?;
        let queued = Queued::of(self, &size, front.data);
        let task = &queued.task;
        let unit = m.instance("u_vector", &VectorUnit::new(size))?;
        let parts = m.instance("u_parts", &Parts::new(config.slots())?)?;
        let commits = m.instance("u_commits", &Commits::new(config)?)?;
        let streamed = self.records(&unit)?;
        commits.set("addressed_i", self.addresses()?);

        let [known, slots] = self.slots_of(VECTOR, queued.pred, queued.decides, queued.decision);
        let ring = table.get("ring_o");
        // No command that looks at references runs yet.
        let allow = m.constant(Bits::ones(config.slots()));
        let inputs = [
            ("start", self.start),
            ("command_valid", front.valid),
            ("known", known),
            ("slots", slots),
            ("reads", task.read.slots(ring, allow)),
            ("shared", task.shared),
            ("writes", task.written.slots(ring, allow)),
            ("closes", queued.closes),
            ("streamed", !(streamed - queued.records - 1).msb()),
            ("room", commits.get("room_o")),
            ("issued", unit.get("issued_o")),
            ("done", unit.get("done_o")),
        ];
        inputs.iter().for_each(|(name, wire)| parts.set(&format!("{name}_i"), *wire));
        let leaves = parts.get("leaves_o");
        front.ready.set(leaves);
        dispatch.set("vector_pop_i", leaves);
        dispatch.set("vector_front_valid_i", front.valid);
        dispatch.set("vector_front_i", queued.index);

        task.ports().iter().for_each(|(name, wire)| unit.set(name, *wire));
        let first = parts.get("first_o");
        unit.set("start_i", parts.get("begin_o"));
        unit.set("slot_i", parts.get("slot_o"));
        unit.set("access_i", task.is_norm().mux(first, parts.get("record_o")));
        unit.set("shared_i", task.shared & first);
        self.rest(&unit);
        self.activations(&unit)?;
        self.data(&unit, &parts, task)?;
        self.write(&parts, &commits, queued.writer, task.written.length)?;
        Ok(parts.get("idle_o"))
    }

    /// The activation buffer, which the unit fills and of which it writes to memory.
    fn activations(&self, unit: &Instance<'m>) -> Result<(), RtlError> {
        let buffer = self.m.instance("u_activations", &Activations::new(self.config))?;
        buffer.set("write_valid_i", unit.get("block_valid_o") & !unit.get("block_memory_o"));
        for (port, name) in [("slot", "slot"), ("block", "number"), ("scale", "scale"), ("elems", "elems")] {
            buffer.set(&format!("write_{port}_i"), unit.get(&format!("block_{name}_o")));
        }
        for name in ["slot", "block"] {
            buffer.set(&format!("read_{name}_i"), unit.get(&format!("ab_{name}_o")));
        }
        for name in ["scale", "elems"] {
            unit.set(&format!("ab_{name}_i"), buffer.get(&format!("read_{name}_o")));
        }
        Ok(())
    }

    /// Inputs of units that are not there yet.
    fn rest(&self, unit: &Instance<'m>) {
        for pin in unit.module().ports().to_vec() {
            let rests = ["sums_", "base_i", "nan_i", "ring_i"].iter().any(|p| pin.name.starts_with(p));
            if pin.input && rests {
                unit.set(&pin.name, self.m.constant(Bits::zero(pin.width)));
            }
        }
    }

    /// The beats of what parts write, on their way to the ports.
    fn data(&self, unit: &Instance<'m>, parts: &Instance<'m>, task: &Task<'m>) -> Result<(), RtlError> {
        let m = self.m;
        let writes = m.instance("u_writes", &Writes::of(self.config)?)?;
        writes.set("start_i", parts.get("begin_o") & parts.get("part_writes_o"));
        writes.set("kind_i", task.kind);
        writes.set("count_i", task.count);
        for name in ["word_valid", "word_data", "block_scale", "block_elems"] {
            writes.set(&format!("{name}_i"), unit.get(&format!("{name}_o")));
        }
        writes.set("block_valid_i", unit.get("block_valid_o") & unit.get("block_memory_o"));
        writes.set("done_i", unit.get("done_o"));
        for pin in writes.module().ports().to_vec() {
            if ["scales_i", "token_i", "channel_i", "step_i"].contains(&pin.name.as_str()) {
                writes.set(&pin.name, m.constant(Bits::zero(pin.width)));
            }
        }
        for (c, port) in self.ports.iter().enumerate() {
            let beat = writes.get(&format!("beat_bytes{c}_o")).cat(writes.get(&format!("beat_data{c}_o")));
            let valid = hop(m, &format!("write_valid_{c}"), HOP - 1, writes.get(&format!("beat_valid{c}_o")));
            port.set("write_data_valid_i", valid);
            port.set("write_data_data_i", hop_word(m, &format!("write_data_{c}"), HOP - 1, beat));
        }
        Ok(())
    }

    /// What parts write, on its way to the ports and back.
    fn write(
        &self,
        parts: &Instance<'m>,
        commits: &Instance<'m>,
        writer: Wire<'m>,
        length: Wire<'m>,
    ) -> Result<(), RtlError> {
        let Self { m, writers, start, .. } = self;
        commits.set("start_i", *start);
        for name in ["part_valid", "part_writes", "part_last", "part_ends"] {
            commits.set(&format!("{name}_i"), parts.get(&format!("{name}_o")));
        }
        commits.set("result_i", parts.get("result_o"));
        commits.set("part_writer_i", writer);
        let count = Port::new(self.config)?.count_bits();
        commits.set("beats_i", length.zext(count.max(length.width())).trunc(count));
        for name in ["valid", "known"] {
            commits.set(&format!("oldest_{name}_i"), writers.get(&format!("oldest_{name}_o")));
        }
        commits.set("oldest_writes_i", writers.get("oldest_slots_o").any());
        writers.set("done_i", commits.get("writer_done_o"));

        let mut acknowledged = Vec::new();
        for (c, port) in self.ports.iter().enumerate() {
            let cross = |name: &str, wire| hop(m, &format!("{name}_{c}"), HOP, wire);
            port.set("commit_valid_i", cross("commit", commits.get("commit_valid_o")));
            for name in ["beats", "closes", "writer"] {
                let word = commits.get(&format!("commit_{name}_o"));
                let word = hop_word(m, &format!("commit_{name}_{c}"), HOP, word);
                port.set(&format!("commit_{name}_i"), word);
            }
            port.set("start_i", cross("start", *start));
            let waits = parts.get("waits_o");
            port.set("drain_i", hop(m, &format!("drain_{c}"), HOP - Port::DRAIN_LATENCY, waits));
            // What follows from it takes a cycle.
            let answer = port.get("acknowledged_o");
            acknowledged.push(hop(m, &format!("acknowledged_{c}"), HOP - 1, answer));
        }
        commits.set("acknowledged_i", m.pack(&acknowledged));
        Ok(())
    }
}
