//! The reading side of a port: heads of the queues, room, places, buffers.

use super::{BeatBuffer, Head, Port, QUEUE_BITS, QUEUES, WRITER_BITS};
use crate::rtl::{Builder, Instance, Later, Reg, RtlError, Wire, index_width};

/// Position of the first queue whose beats wait: behind control.
const FIRST: usize = 1;

/// The reading side.
pub(super) struct Reads<'m> {
    pub(super) heads: Vec<Head<'m>>,
    /// Whether each queue's buffer has room for its next burst; control needs none.
    room: Vec<Wire<'m>>,
    /// A read could go out: a place is free and the master takes it.
    pub(super) could: Wire<'m>,
    /// Bursts are under way.
    pub(super) under_way: Wire<'m>,
    /// Whether each queue's burst goes.
    goes: Vec<Later<'m>>,
}

impl Port {
    pub(super) fn reads<'m>(
        &self,
        m: &'m Builder,
        master: &Instance<'m>,
        goes_on: Wire<'m>,
    ) -> Result<Reads<'m>, RtlError> {
        let note = |queue: &str| if guarded(queue) { WRITER_BITS + 1 } else { 0 };
        let heads: Result<Vec<Head<'m>>, RtlError> =
            QUEUES.iter().map(|queue| self.head(m, queue, note(queue))).collect();
        let heads = heads?;
        let goes: Vec<Later<'m>> = QUEUES.iter().map(|q| m.later(&format!("{q}_goes"), 1)).collect();
        for (head, goes) in heads.iter().zip(&goes) {
            head.stream.ready.set(goes.wire());
        }
        let (valid, last) = (master.get("beat_valid_o"), master.get("beat_last_o"));
        let [place, under_way] = self.place(m, &goes, valid & last, &heads);
        self.buffers(m, master)?;
        m.output("read_beat_o", valid);
        let mut room = vec![m.lit(1, 1)];
        for (index, head) in heads.iter().enumerate().skip(FIRST) {
            let space = self.space(m, index, head, goes[index].wire());
            room.push(head.length.zext(space.q().width()).lt(space.q()));
        }
        Ok(Reads { heads, room, could: place & master.get("req_ready_o") & goes_on, under_way, goes })
    }

    /// Whether fewer bursts are under way than may be, and whether any are; also says whether anything is to be read.
    fn place<'m>(
        &self,
        m: &'m Builder,
        goes: &[Later<'m>],
        ends: Wire<'m>,
        heads: &[Head<'m>],
    ) -> [Wire<'m>; 2] {
        let most = u64::from(self.reads.bursts());
        let under_way = m.reg("under_way", index_width(most + 1)).reset(0);
        let begins = goes.iter().map(|goes| goes.wire()).fold(m.lit(1, 0), |a, b| a | b).named("read_goes");
        under_way.update(&[(begins & !ends, under_way.q() + 1), (ends & !begins, under_way.q() - 1)]);
        let queued = heads.iter().map(|head| head.stream.valid).fold(m.lit(1, 0), |a, b| a | b);
        m.output("reading_o", queued | under_way.q().any());
        [under_way.q().lt(most), under_way.q().any()]
    }

    /// Beats of a buffer that are not promised to a burst.
    fn space<'m>(&self, m: &'m Builder, index: usize, head: &Head<'m>, goes: Wire<'m>) -> Reg<'m> {
        let queue = QUEUES[index];
        let beats = self.buffers[index - FIRST];
        let width = index_width(u64::from(beats) + 1);
        let space = m.reg(&format!("{queue}_space"), width).reset(beats.into());
        // Beats of the burst that is being used up.
        let used = m.reg(&format!("{queue}_used"), self.reads.length_bits() + 1).reset(0);
        let (free, last) =
            (m.input(&format!("{queue}_free_i"), 1), m.input(&format!("{queue}_free_last_i"), 1));
        let burst = used.q() + 1;
        used.set_when(free, last.mux(m.lit(used.q().width(), 0), burst));
        let zero = m.lit(width, 0);
        let freed = (free & last).mux(burst.zext(width.max(burst.width())).trunc(width), zero);
        let taken = goes.mux(head.length.zext(width) + 1, zero);
        space.set(space.q() + freed - taken);
        space
    }

    /// The buffers behind the master's beats.
    fn buffers<'m>(&self, m: &'m Builder, master: &Instance<'m>) -> Result<(), RtlError> {
        let (valid, tag) = (master.get("beat_valid_o"), master.get("beat_tag_o"));
        let data = master.get("beat_data_o");
        let of = |queue: usize| valid & tag.eq(queue as u64);
        m.output("control_beat_valid_o", of(0));
        m.output("control_beat_data_o", data);
        let beat = master.get("beat_last_o").cat(data);
        let [record, main, ahead] = self.buffers;
        for (name, first, depths, comes) in [
            ("record_buffer", 1, vec![record], of(1)),
            ("stream_buffer", 2, vec![main, ahead], valid & tag.bit(QUEUE_BITS - 1)),
        ] {
            let buffer = m.instance(name, &BeatBuffer::new(beat.width(), &depths)?)?;
            buffer.set("in_valid_i", comes);
            buffer.set("in_data_i", beat);
            if depths.len() > 1 {
                buffer.set("in_stream_i", tag.bit(0));
            }
            for (stream, queue) in QUEUES[first..first + depths.len()].iter().enumerate() {
                m.stream_out(&format!("{queue}_beat"), buffer.stream_out(&format!("out{stream}")));
            }
        }
        Ok(())
    }
}

fn guarded(queue: &str) -> bool {
    matches!(queue, "record" | "main")
}

impl<'m> Reads<'m> {
    /// Whether each queue's next read waits for writes.
    pub(super) fn waits(&self, acknowledged: Wire<'m>) -> [Wire<'m>; 4] {
        std::array::from_fn(|index| {
            let head = &self.heads[index];
            if !guarded(QUEUES[index]) {
                return head.stream.valid.builder().lit(1, 0);
            }
            let ahead = acknowledged - head.note.trunc(WRITER_BITS);
            head.stream.valid & head.note.bit(WRITER_BITS) & ahead.msb()
        })
    }

    /// Whether each queue's next read could go out, if it were not for the places.
    pub(super) fn wants(&self, waits: &[Wire<'m>; 4]) -> [Wire<'m>; 4] {
        std::array::from_fn(|index| self.heads[index].stream.valid & self.room[index] & !waits[index])
    }

    /// Sends the first that wants to go, unless a write goes before it.
    pub(super) fn decide(
        &self,
        m: &'m Builder,
        master: &Instance<'m>,
        wants: &[Wire<'m>; 4],
        write_could: Wire<'m>,
    ) {
        let mut earlier = m.lit(1, 0);
        let mut goes = Vec::new();
        for (index, &want) in wants.iter().enumerate() {
            let first = want & !earlier & self.could;
            goes.push(if index < FIRST { first } else { first & !write_could });
            earlier = earlier | want;
        }
        let request = |(index, head): (usize, &Head<'m>)| {
            m.lit(QUEUE_BITS, index as u64).cat(head.length).cat(head.address)
        };
        let cases: Vec<(Wire<'m>, Wire<'m>)> =
            goes.iter().copied().zip(self.heads.iter().enumerate().map(request)).collect();
        master.set("req_valid_i", goes.iter().copied().fold(m.lit(1, 0), |a, b| a | b));
        master.set("req_data_i", m.one_hot(&cases));
        for (later, goes) in self.goes.iter().zip(goes) {
            later.set(goes);
        }
    }
}
