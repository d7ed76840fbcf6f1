//! Attention's units in the middle of the machine.

use super::Center;
use super::segments::{hop, hop_word};
use crate::attn::{Agreement, Queries, Query, QueryBuffer, Sums, ValueDrain, center};
use crate::rtl::{Instance, RtlError, Wire};
use fastcar_arch::timing::HOP;

/// The units, but for what the vector unit and the activation buffer have to do with them.
pub(super) struct Attention<'m> {
    pub(super) center: Instance<'m>,
    pub(super) queries: Instance<'m>,
    pub(super) sums: Instance<'m>,
    agreement: Instance<'m>,
}

impl<'m> Center<'m> {
    /// Attention beside the array's sequencer.
    pub(super) fn attention(&self, sequencer: &Instance<'m>) -> Result<Attention<'m>, RtlError> {
        let Self { m, config, start, .. } = self;
        let block = center::Center::new(config)?;
        let note_bits = block.note_bits();
        let center = m.instance("u_attn_center", &block)?;
        let queries = m.instance("u_queries", &Queries::new(config)?)?;
        let sums = m.instance("u_attn_sums", &Sums::new(config)?)?;
        let agreement = m.instance("u_agreement", &Agreement::new(config)?)?;
        for unit in [&center, &queries, &sums, &agreement] {
            unit.set("start_i", *start);
        }
        for name in ["valid", "slots", "room"] {
            center.set(&format!("heads_{name}_i"), sequencer.get(&format!("heads_{name}_o")));
        }
        center.set("heads_word_i", sequencer.get("product_word_o"));
        center.set("note_i", sequencer.get("product_note_o").trunc(note_bits));
        for name in ["need", "arms", "last", "through"] {
            sequencer.set(&format!("heads_{name}_i"), center.get(&format!("heads_{name}_o")));
        }

        queries.set("command_valid_i", center.get("queries_valid_o"));
        for name in ["first", "last_block", "last_query", "last_unit", "last_head", "share"] {
            queries.set(&format!("{name}_i"), center.get(&format!("queries_{name}_o")));
        }
        queries.set("slots_i", sequencer.get("heads_slots_o"));
        queries.set("turn_i", sequencer.get("heads_turn_o"));
        queries.set("leaves_i", center.get("heads_last_o"));
        queries.set("used_i", center.get("used_o"));
        center.set("sent_i", queries.get("sent_o"));

        for name in ["round_valid", "round", "through"] {
            sums.set(&format!("{name}_i"), center.get(&format!("{name}_o")));
        }
        agreement.set("share_i", center.get("share_o"));
        for name in ["tokens_round", "ask_round", "ask_pass", "ask_pair", "ask_channel"] {
            agreement.set(&format!("{name}_i"), sums.get(&format!("{name}_o")));
        }
        for name in ["tokens", "scale", "nan", "none", "total"] {
            sums.set(&format!("{name}_i"), agreement.get(&format!("{name}_o")));
        }
        Ok(Attention { center, queries, sums, agreement })
    }
}

impl<'m> Attention<'m> {
    /// A block of a query is on its way to the channels.
    pub(super) fn sends(&self) -> Wire<'m> {
        self.queries.get("query_valid_o")
    }
}

impl<'m> Center<'m> {
    /// What a channel is told of attention; the elements of queries come with the operands of weights. What it answers: whether a sum of values comes, and the sum.
    pub(super) fn tell_heads(
        &self,
        c: usize,
        share: &Instance<'m>,
        (attention, act): (&Attention<'m>, Wire<'m>),
    ) -> Result<[Wire<'m>; 2], RtlError> {
        let Self { m, config, .. } = self;
        let Attention { center, queries, sums, agreement } = attention;
        let bit = |name: &str, cycles, wire| hop(m, &format!("{name}_{c}"), cycles, wire);
        let word = |name: &str, cycles, wire| hop_word(m, &format!("{name}_{c}"), cycles, wire);
        share.set("arm_valid_i", bit("phase_valid", HOP, center.get("phase_valid_o")));
        share.set("arm_i", word("phase", HOP, center.get("phase_o")));
        for name in ["send", "ask"] {
            share.set(&format!("{name}_i"), bit(name, HOP, center.get(&format!("{name}_o"))));
        }
        let here = queries.get("query_valid_o") & queries.get("query_channels_o").bit(c as u32);
        share.set("query_valid_i", bit("query_valid", HOP, here));
        let widths = QueryBuffer::new(config)?.query();
        let part = |name: &str, width: u32| {
            let wire = word(&format!("query_{name}"), HOP, queries.get(&format!("query_{name}_o")));
            wire.zext(width.max(wire.width())).trunc(width)
        };
        let query = Query {
            act,
            largest: part("largest", widths.largest),
            row: part("row", widths.row),
            pass: part("pass", widths.pass),
            column: part("column", widths.column),
            bank: part("bank", widths.bank),
            narrow: part("narrow", widths.narrow),
        };
        share.set("query_i", query.word(m));

        // The last register of what all agreed upon is at the channel.
        let pairs =
            share.module().ports().iter().find(|port| port.name == "in_i").map_or(1, |port| port.width);
        let own = agreement.get("largest_o").slice(pairs * c as u32, pairs);
        share.set("in_valid_i", bit("largest_valid", HOP - 1, agreement.get("largest_valid_o")));
        share.set("in_first_i", word("largest_first", HOP - 1, agreement.get("largest_first_o")));
        share.set("in_i", word("largest", HOP - 1, own));

        let drain = m.instance(&format!("u_value_drain_{c}"), &ValueDrain::new(config)?)?;
        drain.set("request_valid_i", bit("sum_request", HOP, sums.get("request_valid_o")));
        for name in ["address", "pair", "byte", "narrow"] {
            let port = format!("request_{name}_i");
            if drain.module().ports().iter().any(|pin| pin.name == port) {
                let wire = sums.get(&format!("request_{name}_o"));
                drain.set(&port, word(&format!("sum_request_{name}"), HOP, wire));
            }
        }
        for name in ["valid", "address"] {
            share.set(&format!("value_{name}_i"), drain.get(&format!("value_{name}_o")));
        }
        for name in ["valid", "sum"] {
            drain.set(&format!("value_{name}_i"), share.get(&format!("value_{name}_o")));
        }
        Ok([bit("sum_valid", HOP, drain.get("sum_valid_o")), word("sum", HOP, drain.get("sum_o"))])
    }

    /// What the channels say of attention.
    pub(super) fn hear_heads(
        &self,
        shares: &[Instance<'m>],
        attention: &Attention<'m>,
        sums: &[[Wire<'m>; 2]],
    ) {
        let m = self.m;
        let bit =
            |c: usize, name: &str| hop(m, &format!("{name}_{c}"), HOP, shares[c].get(&format!("{name}_o")));
        let word = |c: usize, name: &str| {
            hop_word(m, &format!("{name}_{c}"), HOP, shares[c].get(&format!("{name}_o")))
        };
        let all = |of: &dyn Fn(usize) -> Wire<'m>| m.pack(&(0..shares.len()).map(of).collect::<Vec<_>>());
        for name in ["keys_done", "values_done"] {
            attention.center.set(&format!("{name}_i"), all(&|c| bit(c, name)));
        }
        // All clusters give what they are asked for in the same cycle.
        let agreement = &attention.agreement;
        agreement.set("words_valid_i", bit(0, "out_valid"));
        agreement.set("words_first_i", word(0, "out_first"));
        agreement.set("words_i", all(&|c| word(c, "out")));
        agreement.set("totals_valid_i", bit(0, "total_valid"));
        agreement.set("totals_i", all(&|c| word(c, "total")));
        attention.sums.set("sum_valid_i", sums[0][0]);
        attention.sums.set("sums_i", all(&|c| sums[c][1]));
    }
}
