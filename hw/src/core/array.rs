//! The MAC array with its queue, its weights, its operands and its rows.

use super::attention::Attention;
use super::segments::{hop, hop_word};
use super::streams::Streams;
use super::{Activations, Center, PRODUCTS};
use crate::array::{Command, Feeder, Mapping, Note, Results, Sender, Sequencer, Share};
use crate::attn::{Queries, center};
use crate::pe::cluster::ACT_BITS;
use crate::rtl::{Instance, Later, RtlError, Wire};
use crate::walk::{Matrix, WeightSizes};
use fastcar_arch::timing::HOP;

/// The array's units in the middle of the machine.
pub(super) struct Array<'m> {
    pub(super) sequencer: Instance<'m>,
    pub(super) sender: Instance<'m>,
    pub(super) results: Instance<'m>,
    pub(super) attention: Attention<'m>,
    pub(super) streams: Streams<'m>,
    /// The block of the activation buffer that was asked for.
    read: Later<'m>,
}

impl<'m> Center<'m> {
    /// The array, but for what the vector unit and the activation buffer have to do with it.
    pub(super) fn array(&self) -> Result<Array<'m>, RtlError> {
        let Self { m, config, start, .. } = self;
        let compact = m.input("compact_i", 1);
        let (sender, results) = (Sender::new(config)?, Results::new(config)?);
        let heads = center::Center::new(config)?;
        let note = (sender.note_bits() + results.rows_width()).max(heads.note_bits());
        let sequencer = m.instance("u_sequencer", &Sequencer::new(config, note)?)?;
        let sender_block = sender;
        let sender = m.instance("u_sender", &sender)?;
        let rows_width = results.rows_width();
        let results = m.instance("u_results", &results)?;
        sequencer.set("compact_i", compact);
        for unit in [&sequencer, &sender, &results] {
            unit.set("start_i", *start);
        }
        self.commands(&sequencer, (&sender_block, rows_width), (&heads, note))?;

        // What is armed goes to those that send its operands and bring its rows.
        let product = |name: &str| sequencer.get(&format!("product_{name}_o"));
        for name in ["valid", "slots", "counts", "places", "word"] {
            sender.set(&format!("product_{name}_i"), product(name));
        }
        let split = sender_block.note_bits();
        sender.set("product_note_i", product("note").trunc(split));
        results.set("product_valid_i", product("valid"));
        results.set("product_slots_i", product("slots"));
        results.set("product_rows_i", product("note").slice(split, rows_width));
        for name in ["place_valid", "place_product", "place_slot", "place"] {
            results.set(&format!("{name}_i"), sender.get(&format!("{name}_o")));
        }
        sequencer.set("through_i", results.get("through_o"));

        for name in ["passes", "streamed", "skipped"] {
            m.output(&format!("{name}_o"), sender.get(&format!("{name}_o")));
        }
        let attention = self.attention(&sequencer)?;
        let (streams, read) = (self.streams(compact)?, m.later("block_read", ACT_BITS));
        let array = Array { sequencer, sender, results, attention, streams, read };
        self.channels_of(&array)?;
        Ok(array)
    }

    /// The commands of the array, and what the dispatcher is told of them.
    fn commands(
        &self,
        sequencer: &Instance<'m>,
        (sender, rows_width): (&Sender, u32),
        (heads, note_bits): (&center::Center, u32),
    ) -> Result<(), RtlError> {
        let Self { m, config, issue, dispatch, .. } = self;
        let sizes = WeightSizes::new(config);
        let matrix = Matrix::new(&sizes, m, &issue.fields)?;
        let src = issue.fields.field("matvec", "src")?;
        let last_block = issue.fields.field("matvec", "blocks")? - 1;
        let feeder = Feeder::new(config)?.product();
        let note = Note {
            first: src.trunc(sender.block_bits()),
            last_block: last_block.trunc(sender.last_block_bits()),
            last_granule: matrix.last_granule.zext(feeder.last_granule),
            fp4: matrix.fp4,
            ahead: issue.classes.ahead,
            scale_max: issue.fields.field("matvec", "scale_max")?.trunc(8),
            masked: issue.fields.field("matvec", "delta")?.bit(0),
        };
        // Whole groups of lanes, as many rows of each channel.
        let (lanes, channels) = (config.vector_lanes(), config.channels());
        let rows = issue.fields.field("matvec", "rows")?;
        let groups = (rows + u64::from(lanes - 1)) >> lanes.ilog2();
        let rows = (groups << (lanes / channels).ilog2()).trunc(rows_width);
        let granules = Mapping::new(config).granule_bits();
        let attention = issue.fields.is("attn")?;
        let of_heads = center::Note::new(heads, &issue.fields)?.word(m).zext(note_bits);
        let note = attention.mux(of_heads, rows.cat(note.word(m)).zext(note_bits));
        let command = Command {
            index: issue.index,
            pred: issue.fields.pred(),
            decides: issue.decides,
            decision: issue.decision,
            filled: issue.operand[0],
            filler: issue.operand[1],
            heads: attention,
            granules: matrix.last_granule.zext(granules) + 1,
            note,
        };
        sequencer.set("push_valid_i", issue.valid & issue.classes.product);
        sequencer.set("push_i", command.word(m));
        let get = |name: &str| sequencer.get(&format!("{name}_o"));
        let [known, slots] = self.slots_of(PRODUCTS, get("pred"), get("decision_valid"), get("decision"));
        sequencer.set("known_i", known);
        sequencer.set("slots_i", slots);
        dispatch.set("product_pop_i", get("pop"));
        dispatch.set("product_front_valid_i", get("front_valid"));
        dispatch.set("product_front_i", get("front"));
        Ok(())
    }

    /// The channels' shares, and what goes from the middle to them and back.
    fn channels_of(&self, array: &Array<'m>) -> Result<(), RtlError> {
        let Self { m, ports, .. } = self;
        let Array { sender, results, attention, .. } = array;
        let data = sender.get("operand_data_o");
        let data = attention.sends().mux(array.read.wire().zext(data.width()), data);
        let shares: Result<Vec<_>, _> = (0..ports.len()).map(|c| self.share(c, &array.streams)).collect();
        let shares = shares?;
        let (mut credits, mut done, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let (mut row_valid, mut sums) = (None, Vec::new());
        for (c, share) in shares.iter().enumerate() {
            let bit = |name: &str, wire| hop(m, &format!("{name}_{c}"), HOP, wire);
            let word = |name: &str, wire| hop_word(m, &format!("{name}_{c}"), HOP, wire);
            for name in ["operand_valid", "operand_header"] {
                share.set(&format!("{name}_i"), bit(name, sender.get(&format!("{name}_o"))));
            }
            let data = word("operand_data", data);
            share.set("operand_data_i", data);
            share.set("product_i", bit("product_armed", array.sequencer.get("product_valid_o")));
            share.set("product_valid_i", bit("feed_valid", sender.get("feed_valid_o")));
            share.set("product_data_i", word("feed", sender.get("feed_o")));
            credits.push(bit("credit", share.get("credit_o")));
            done.push(bit("product_done", share.get("done_o")));
            share.set("request_valid_i", bit("request_valid", results.get("request_valid_o")));
            for name in ["column", "word", "row"] {
                let wire = word(&format!("request_{name}"), results.get(&format!("request_{name}_o")));
                share.set(&format!("request_{name}_i"), wire);
            }
            // All clusters give their rows in the same cycle.
            row_valid.get_or_insert(bit("row_valid", share.get("row_valid_o")));
            rows.push(word("row", share.get("row_o")));
            sums.push(self.tell_heads(c, share, (attention, data.trunc(ACT_BITS)))?);
        }
        for (reader, asked, found) in [("finder", "look", "look"), ("sender", "block_group", "block_masks")] {
            self.masks.set(&format!("{reader}_i"), sender.get(&format!("{asked}_o")));
            sender.set(&format!("{found}_i"), self.masks.get(&format!("{reader}_o")));
        }
        sender.set("credits_i", m.pack(&credits));
        results.set("done_i", m.pack(&done));
        results.set("row_valid_i", row_valid.unwrap_or_else(|| m.lit(1, 0)));
        results.set("rows_i", m.pack(&rows));
        self.hear_heads(&shares, attention, &sums);
        Ok(())
    }

    /// A channel's share of the array.
    fn share(&self, c: usize, streams: &Streams<'m>) -> Result<Instance<'m>, RtlError> {
        let Self { m, config, ports, .. } = self;
        let share = m.instance(&format!("u_share_{c}"), &Share::new(config)?)?;
        for (name, heads) in [("main", &streams.main), ("ahead", &streams.ahead)] {
            share.stream_in(&format!("{name}_beat"), ports[c].stream_out(&format!("{name}_beat")));
            share.stream_in(&format!("{name}_span"), heads[c].stream_out("span"));
            for free in ["free", "free_last"] {
                ports[c].set(&format!("{name}_{free}_i"), share.get(&format!("{name}_{free}_o")));
            }
        }
        if c == 0 {
            m.output("mac_busy_o", share.get("busy_o"));
        }
        Ok(share)
    }
}

impl<'m> Array<'m> {
    /// The activation buffer's reading end for operands: those of weights, and queries. There are never both.
    pub(super) fn reads(&self, buffer: &Instance<'m>) {
        let queries = &self.attention.queries;
        let asks = queries.get("read_valid_o");
        let of_weights = |name: &str| self.sender.get(&format!("read_{name}_o"));
        for name in ["slot", "block"] {
            let wire: Wire<'m> = asks.mux(queries.get(&format!("read_{name}_o")), of_weights(name));
            buffer.set(&format!("array_{name}_i"), wire);
        }
        buffer.set("array_first_i", of_weights("first"));
        for name in ["scale", "elems", "largest"] {
            self.sender.set(&format!("read_{name}_i"), buffer.get(&format!("array_{name}_o")));
        }
        let scale = buffer.get("array_scale_o");
        queries.set("read_scale_i", scale);
        self.read.set(scale.cat(buffer.get("array_elems_o")));
        debug_assert_eq!([Activations::LATENCY; 2], [Sender::READ, Queries::READ]);
    }
}
