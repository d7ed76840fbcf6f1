//! The writing side of a port: what is queued, when it drains, what is acknowledged.

use super::{Head, Port, WRITER_BITS};
use crate::prim::Fifo;
use crate::rtl::{Bits, Builder, Instance, Later, RamStyle, RtlError, Wire};
use fastcar_arch::timing::WRITERS;

/// The writing side.
pub(super) struct Writes<'m> {
    head: Head<'m>,
    /// A burst could go out.
    pub(super) could: Wire<'m>,
    /// Bursts are not answered.
    pub(super) under_way: Wire<'m>,
    pub(super) draining: Wire<'m>,
    /// Number of the last writer that is acknowledged.
    pub(super) acknowledged: Wire<'m>,
    goes: Later<'m>,
}

impl Port {
    pub(super) fn writes<'m>(
        &self,
        m: &'m Builder,
        master: &Instance<'m>,
        goes_on: Wire<'m>,
    ) -> Result<Writes<'m>, RtlError> {
        let head = self.head(m, "write", 1)?;
        let goes = m.later("write_burst_goes", 1);
        head.stream.ready.set(goes.wire());
        let data = m.stream_in("write_data", self.written_bits());
        let data = Fifo::new(self.written_bits(), self.write_beats, RamStyle::Block)?.after(
            m,
            "write_buffer",
            data,
        )?;
        master.stream_in("data", data);
        m.output("written_beat_o", data.passes());

        let (commit, beats) = (m.input("commit_valid_i", 1), m.input("commit_beats_i", self.count_bits()));
        let beats = commit.mux(beats, m.lit(self.count_bits(), 0)).named("committed");
        let queued = self.queued(m, beats, &head, goes.wire());
        let [acknowledged, under_way] =
            self.acknowledged(m, master, (commit, beats), goes.wire(), queued.any())?;

        // Its data keeps the bus for a cycle a beat.
        let gap = m.reg("gap", self.reads.length_bits()).reset(0);
        gap.update(&[(goes.wire(), head.length), (gap.q().any(), gap.q() - 1)]);
        let could =
            head.stream.valid & queued.any() & gap.q().is_zero() & master.get("req_ready_o") & goes_on;
        let wanted = m.register_valid("wanted", m.input("drain_i", 1));
        let draining = m.reg("draining", 1).reset(0);
        let most = u64::from(self.write_beats / 2);
        draining.set(queued.any() & (draining.q() | wanted | queued.gt(most)));
        Ok(Writes { head, could, under_way, draining: draining.q(), acknowledged, goes })
    }

    /// Beats that are committed and have not gone out.
    fn queued<'m>(&self, m: &'m Builder, beats: Wire<'m>, head: &Head<'m>, goes: Wire<'m>) -> Wire<'m> {
        let width = self.count_bits();
        let comes = m.register_valid("comes", beats);
        let queued = m.reg("queued", width).reset(0);
        let gone = goes.mux(head.length.zext(width) + 1, m.lit(width, 0));
        queued.set(queued.q() + comes - gone);
        queued.q()
    }

    /// Beats are counted when they are committed and when they are acknowledged: a writer is acknowledged when as many are as
    /// had been committed when it closed. Also whether bursts are not answered.
    fn acknowledged<'m>(
        &self,
        m: &'m Builder,
        master: &Instance<'m>,
        (commit, beats): (Wire<'m>, Wire<'m>),
        goes: Wire<'m>,
        queued: Wire<'m>,
    ) -> Result<[Wire<'m>; 2], RtlError> {
        let width = self.count_bits();
        let committed = m.reg("committed_beats", width).reset(0);
        let all = (committed.q() + beats).named("all_committed");
        committed.set(all);
        let closes = commit & m.input("commit_closes_i", 1);
        let closing = m.stream("closing_ready", closes, m.input("commit_writer_i", WRITER_BITS).cat(all));
        let open = Fifo::new(closing.data.width(), 2 * WRITERS as u32, RamStyle::Distributed)?;
        let open = open.after(m, "open_writers", closing)?;

        let (valid, tag) = (master.get("ack_valid_o"), master.get("ack_tag_o"));
        let answered = m.reg("answered_beats", width).reset(0);
        let burst = tag.trunc(self.reads.length_bits()).zext(width) + 1;
        let answers = (answered.q() + valid.mux(burst, m.lit(width, 0))).named("all_answered");
        answered.set(answers);
        // One a cycle: a writer may be looked at when more has been acknowledged than it waits for.
        let through = (!(answers - open.data.trunc(width)).msb()).named("through");
        open.ready.set(through);
        let writer = m.reg("writer", WRITER_BITS).reset_to(Bits::ones(WRITER_BITS));
        let none = m.constant(Bits::ones(WRITER_BITS));
        writer.update(&[
            (m.input("start_i", 1), none),
            (open.valid & through, open.data.slice(width, WRITER_BITS)),
        ]);
        m.output("writer_o", writer.q());
        m.output("acknowledged_o", m.register_valid("job", valid & tag.msb()));

        let under_way = m.reg("unanswered", width).reset(0);
        under_way.update(&[(goes & !valid, under_way.q() + 1), (valid & !goes, under_way.q() - 1)]);
        m.output("writing_o", queued | under_way.q().any());
        Ok([writer.q(), under_way.q().any()])
    }
}

impl<'m> Writes<'m> {
    /// Sends the next burst, or not.
    pub(super) fn decide(&self, port: &Port, master: &Instance<'m>, goes: Wire<'m>) {
        self.goes.set(goes);
        // The job ends with this segment, and the segment with this burst.
        let tag = self.head.note.all().cat(self.head.length);
        master.set("req_valid_i", goes);
        master.set("req_data_i", port.writes.request(self.head.address, self.head.length, tag));
    }
}
