//! The gates of a run: their decisions, and the report of them.

use super::segments::hop;
use super::task::Task;
use super::{Center, GATES};
use crate::drs::gates::{Rule, WaitingGate};
use crate::prim::ones;
use crate::rtl::{Instance, RtlError, Wire, index_width};
use fastcar_arch::timing::HOP;

impl<'m> Center<'m> {
    /// Commands of the gate unit, and whom it tells its decisions. Whether nothing is left to do.
    pub(super) fn decide(&self) -> Result<Wire<'m>, RtlError> {
        let Self { m, issue, gates, dispatch, report, table, .. } = self;
        let waiting = WaitingGate {
            index: issue.index,
            pred: issue.fields.pred(),
            decides: issue.decides,
            decision: issue.decision,
            vector: issue.vector,
            allow: issue.allow,
            force: issue.force,
            rule: Rule::new(m, &issue.fields)?,
        };
        gates.set("start_i", self.start);
        gates.set("push_valid_i", issue.valid & issue.classes.gate);
        gates.set("push_i", waiting.word(m));
        gates.set("paired_i", table.get("paired_o"));
        let get = |name: &str| gates.get(&format!("{name}_o"));
        let [known, slots] = self.slots_of(GATES, get("pred"), get("decision_valid"), get("decision"));
        gates.set("known_i", known);
        gates.set("slots_i", slots);
        self.past_scores()?;

        let settles = get("settles");
        // The dispatcher sees the room in the cycle in which the decision may be used.
        dispatch.set("gate_pop_i", m.register_valid("gate_left", settles));
        dispatch.set("gate_front_valid_i", get("front_valid"));
        dispatch.set("gate_front_i", get("front"));
        report.set("gate_valid_i", settles);
        for (name, from) in [("entry", "entry"), ("active", "active"), ("replay", "decided")] {
            report.set(&format!("gate_{name}_i"), get(from));
        }

        m.output("gate_busy_o", get("busy") | self.tas.get("busy_o"));
        m.output("gate_there_o", get("front_valid"));
        let width = index_width(u64::from(self.sizes.slots) + 1);
        let (active, decided) = (get("active"), get("decided"));
        for (name, slots) in [("replays", decided), ("computes", active & !decided)] {
            let count = ones(m, &slots.bits(), width) & settles.repeat(width);
            m.output(&format!("{name}_o"), m.register(name, count));
        }
        Ok(!get("front_valid"))
    }

    /// Scores of the vector unit or of past keys, those of one gate at a time, and how far the vector unit is.
    pub(super) fn scores(&self, unit: &Instance<'m>, finished: Wire<'m>) {
        let Self { gates, report, tas, .. } = self;
        let past = tas.get("score_valid_o");
        for taker in [gates, report] {
            taker.set("score_valid_i", past | unit.get("score_valid_o"));
            taker.set("score_slot_i", past.mux(tas.get("score_slot_o"), unit.get("block_slot_o")));
            taker.set("score_i", past.mux(tas.get("score_o"), unit.get("score_o")));
        }
        gates.set("compared_i", finished);
    }

    /// Masks of the vector unit, and what the report is told of them.
    pub(super) fn masks(
        &self,
        unit: &Instance<'m>,
        parts: &Instance<'m>,
        task: &Task<'m>,
        (slots, finished): ([Wire<'m>; 2], Wire<'m>),
    ) {
        let Self { masks, report, .. } = self;
        let begins = (parts.get("begin_o") & parts.get("first_o")) | parts.get("skips_o");
        masks.set("start_i", self.start);
        masks.set("finished_i", finished);
        masks.set("begins_i", begins & task.is_delta());
        masks.set("first_i", task.block);
        masks.set("last_block_i", (task.lines - 1).trunc(task.block.width()));
        masks.set("slots_i", slots[0]);
        masks.set("referenced_i", slots[0] & slots[1]);
        masks.set("entry_i", task.entry);
        for (name, from) in [
            ("mask_valid", "mask_valid"),
            ("mask", "mask"),
            ("slot", "block_slot"),
            ("block", "block_number"),
        ] {
            masks.set(&format!("{name}_i"), unit.get(&format!("{from}_o")));
        }
        for name in ["count_valid", "count_slot", "count"] {
            report.set(&format!("{name}_i"), masks.get(&format!("{name}_o")));
        }
        report.set("delta_valid_i", masks.get("ends_o"));
        report.set("nobody_i", masks.get("nobody_o"));
        for (name, from) in [
            ("entry", "entry"),
            ("active", "active"),
            ("replay", "referenced"),
            ("blocks", "blocks"),
            ("union", "union"),
        ] {
            report.set(&format!("delta_{name}_i"), masks.get(&format!("ends_{from}_o")));
        }
    }

    /// Writes the report when a run is `over`; in which cycle it ends.
    pub(super) fn reported(&self, over: Wire<'m>) -> Wire<'m> {
        let Self { m, report, table, ports, .. } = self;
        let gates = table.get("gates_o");
        report.set("start_i", self.start);
        report.set("write_i", over);
        report.set("gates_i", gates);
        let local = m.input("report_i", 64) - self.base;
        report.set("address_i", m.register("report_local", self.sizes.beats(local)));
        report.set("free_i", hop(m, "report_free", HOP, ports[0].get("written_beat_o")));
        let written = hop(m, "report_written", HOP, ports[0].get("acknowledged_o"));
        let ends = written & self.reporting.q();
        self.reporting.update(&[(self.start | ends, m.lit(1, 0)), (over & gates.any(), m.lit(1, 1))]);
        (over & gates.is_zero()) | ends
    }
}
