//! Past keys: their addresses and their rows on the record stream, and what the gate unit makes of them.

use super::Center;
use crate::gate::tas::ROWS_BITS;
use crate::gate::{Tas, WaitingKeys};
use crate::rtl::{Bits, Instance, RtlError, Stream, Wire};
use crate::walk::Job;

impl<'m> Center<'m> {
    /// Rows, counted from 0 in each run.
    pub(super) fn count_rows(&self, name: &str, more: Wire<'m>) -> Wire<'m> {
        let rows = self.m.reg(name, ROWS_BITS).reset(0);
        let more = more.zext(ROWS_BITS.max(more.width())).trunc(ROWS_BITS);
        rows.set(self.start.mux(self.m.lit(ROWS_BITS, 0), rows.q() + more));
        rows.q()
    }

    /// Gives the jobs of the record stream to their walkers, in order; the slot whose entry is wanted.
    pub(super) fn past_keys(&self, walker: &Instance<'m>, jobs: Stream<'m>) -> Wire<'m> {
        let Self { past, sizes, table, tas, .. } = self;
        let job = jobs.data.trunc(Job::width(sizes));
        let keys = Job::of(sizes, job).shape.keys;
        let ready = [walker, past].map(|walker| walker.get("job_ready_o"));
        jobs.ready.set(ready[0] & ready[1]);
        walker.set("job_valid_i", jobs.valid & !keys & ready[1]);
        walker.set("job_data_i", jobs.data);
        past.set("job_valid_i", jobs.valid & keys & ready[0]);
        past.set("job_data_i", job);
        past.set("entry_i", table.get("entry_0_o"));
        past.set("blocks_i", self.cache_blocks());
        for name in ["place_valid", "place"] {
            tas.set(&format!("{name}_i"), past.get(&format!("{name}_o")));
        }
        past.get("slot_valid_o").mux(past.get("slot_o"), walker.get("slot_o"))
    }

    /// Takes the rows of keys off the record stream; the others.
    pub(super) fn rows_of_keys(&self, rows: &Instance<'m>) -> Stream<'m> {
        let (m, tas, row) = (self.m, &self.tas, rows.stream_out("row"));
        let active = tas.get("active_o");
        let all = m.constant(Bits::ones(self.config.channels()));
        rows.set("need_i", active.mux(tas.get("need_o"), all));
        tas.set("row_valid_i", row.valid);
        tas.set("row_data_i", row.data);
        let others = Stream { valid: row.valid & !active, data: row.data, ready: m.later("record_taken", 1) };
        row.ready.set(active.mux(tas.get("row_ready_o"), others.ready.wire()));
        others
    }

    /// The activation buffer's reading end for queries.
    pub(super) fn reads_queries(&self, buffer: &Instance<'m>) {
        for name in ["slot", "block", "first"] {
            buffer.set(&format!("gate_{name}_i"), self.tas.get(&format!("read_{name}_o")));
        }
        for name in ["scale", "elems", "largest"] {
            self.tas.set(&format!("read_{name}_i"), buffer.get(&format!("gate_{name}_o")));
        }
    }

    /// The commands of the unit, and its scores.
    pub(super) fn past_scores(&self) -> Result<(), RtlError> {
        let Self { m, issue, gates, tas, start, config, .. } = self;
        let waiting = WaitingKeys::new(&Tas::new(config), &issue.fields, issue.operand)?;
        tas.set("start_i", *start);
        tas.set("push_valid_i", issue.valid & issue.fields.is("gate_tas")?);
        tas.set("push_i", waiting.word(m));
        let (scores, settles) = (gates.get("scores_o"), gates.get("settles_o"));
        tas.set("scores_i", scores);
        gates.set("scored_i", tas.get("scored_o"));
        // The gate that settles is one of these.
        let scored = m.reg("settles_past_keys", 1).reset(0);
        scored.update(&[(*start | settles, m.lit(1, 0)), (scores, m.lit(1, 1))]);
        tas.set("settles_i", settles & scored.q());
        Ok(())
    }
}
