//! The MAC array with its queue, its weights, its operands and its rows.

use super::segments::{hop, hop_word};
use super::{AHEAD, Activations, Center, MAIN, PRODUCTS, Segments};
use crate::array::{Command, Drain, Feeder, Mapping, Note, Results, Sender, Sequencer};
use crate::pe::Cluster;
use crate::port::WRITER_BITS;
use crate::prim::Fifo;
use crate::rtl::{Bits, Instance, RamStyle, RtlError, Stream, Wire};
use crate::walk::{Matrix, RunFinder, WaitingProduct, WeightQueue, WeightSizes, WeightWalker};
use fastcar_arch::timing::{HOP, WINDOW};

/// The array's units in the middle of the machine.
pub(super) struct Array<'m> {
    pub(super) sequencer: Instance<'m>,
    pub(super) sender: Instance<'m>,
    pub(super) results: Instance<'m>,
}

/// One channel's share of it.
struct Share<'m> {
    feeder: Instance<'m>,
    drain: Instance<'m>,
}

impl<'m> Center<'m> {
    /// The array, but for what the vector unit and the activation buffer have to do with it.
    pub(super) fn array(&self) -> Result<Array<'m>, RtlError> {
        let Self { m, config, start, .. } = self;
        let compact = m.input("compact_i", 1);
        let (sender, results) = (Sender::new(config)?, Results::new(config)?);
        let note = sender.note_bits() + results.rows_width();
        let sequencer = m.instance("u_sequencer", &Sequencer::new(config, note)?)?;
        let sender_block = sender;
        let sender = m.instance("u_sender", &sender)?;
        let rows_width = results.rows_width();
        let results = m.instance("u_results", &results)?;
        sequencer.set("compact_i", compact);
        for unit in [&sequencer, &sender, &results] {
            unit.set("start_i", *start);
        }
        self.commands(&sequencer, &sender_block, rows_width)?;

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

        for (name, reader, ahead) in [("main", MAIN, false), ("ahead", AHEAD, true)] {
            self.weights((name, reader), ahead, compact)?;
        }
        let array = Array { sequencer, sender, results };
        self.channels_of(&array)?;
        Ok(array)
    }

    /// The commands of the array, and what the dispatcher is told of them.
    fn commands(&self, sequencer: &Instance<'m>, sender: &Sender, rows_width: u32) -> Result<(), RtlError> {
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
        let command = Command {
            index: issue.index,
            pred: issue.fields.pred(),
            decides: issue.decides,
            decision: issue.decision,
            filled: issue.operand[0],
            filler: issue.operand[1],
            granules: matrix.last_granule.zext(granules) + 1,
            note: rows.cat(note.word(m)),
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

    /// The addresses of weights on one of the two streams, on their way to the ports. Masked products come by main only.
    fn weights(&self, (name, reader): (&str, u32), ahead: bool, compact: Wire<'m>) -> Result<(), RtlError> {
        let Self { m, config, issue, dispatch, ports, .. } = self;
        let queue = if ahead { WeightQueue::new(config) } else { WeightQueue::masked(config) };
        let queue = m.instance(&format!("u_{name}_queue"), &queue)?;
        let classes = &issue.classes;
        let own = if ahead { classes.ahead } else { !classes.ahead };
        let waiting = WaitingProduct {
            index: issue.index,
            pred: issue.fields.pred(),
            decides: issue.decides,
            decision: issue.decision,
            reads: own,
            matrix: Matrix::new(&WeightSizes::new(config), m, &issue.fields)?,
            masked: classes.masked,
            first: issue.fields.field("matvec", "src")?,
            filled: issue.operand[0],
            filler: issue.operand[1],
        };
        // What is read ahead has its turn in the main stream too.
        let comes = if ahead { classes.product & classes.ahead } else { classes.product };
        queue.set("push_valid_i", issue.valid & comes);
        queue.set("push_i", waiting.word(m));
        queue.set("compact_i", compact);
        let get = |name: &str| queue.get(&format!("{name}_o"));
        let [known, slots] = self.slots_of(reader, get("pred"), get("decision_valid"), get("decision"));
        queue.set("known_i", known);
        queue.set("slots_i", slots);
        for front in ["front_valid", "front"] {
            dispatch.set(&format!("{name}_{front}_i"), get(front));
        }
        let jobs = queue.stream_out("job");
        let jobs = Fifo::new(jobs.data.width(), WINDOW as u32, RamStyle::Distributed)?.after(
            m,
            &format!("u_{name}_jobs"),
            jobs,
        )?;
        let mut block = WeightWalker::new(config)?;
        let jobs = if ahead {
            jobs
        } else {
            block = block.masked();
            self.runs(&queue, jobs, compact)?
        };
        let walker = m.instance(&format!("u_{name}_walker"), &block)?;
        walker.stream_in("job", jobs);
        let run = [walker.get("run_address_o"), walker.get("run_length_o")];
        // Weights are constants: no write is waited for.
        let guard = m.lit(WRITER_BITS + 1, 0);
        let run = if ahead { m.pack(&run) } else { m.pack(&[run[0], run[1], guard]) };
        let segments = Segments::new(run.width(), config.channels(), block.latency())?;
        let segments = m.instance(&format!("u_{name}_segments"), &segments)?;
        segments.set("run_valid_i", walker.get("run_valid_o"));
        segments.set("run_i", run);
        walker.set("go_i", segments.get("go_o"));
        for (c, port) in ports.iter().enumerate() {
            port.stream_in(&format!("{name}_segment"), segments.stream_out(&format!("segment{c}")));
        }
        Ok(())
    }

    /// The pieces of products that may be masked, as their masks come.
    fn runs(
        &self,
        queue: &Instance<'m>,
        jobs: Stream<'m>,
        compact: Wire<'m>,
    ) -> Result<Stream<'m>, RtlError> {
        let Self { m, config, masks, .. } = self;
        let finder = m.instance("u_run_finder", &RunFinder::new(config))?;
        finder.set("compact_i", compact);
        finder.stream_in("job", jobs);
        for (unit, asker) in [(queue, "queue"), (&finder, "walker")] {
            masks.set(&format!("{asker}_number_i"), unit.get("filler_o"));
            unit.set("all_i", masks.get(&format!("{asker}_all_o")));
        }
        finder.set("groups_i", masks.get("walker_groups_o"));
        masks.set("walker_i", finder.get("look_o"));
        finder.set("look_i", masks.get("walker_o"));
        Ok(finder.stream_out("piece"))
    }

    /// The channels' shares, and what goes from the middle to them and back.
    fn channels_of(&self, array: &Array<'m>) -> Result<(), RtlError> {
        let Self { m, ports, .. } = self;
        let Array { sender, results, .. } = array;
        let shares: Result<Vec<_>, _> = (0..ports.len()).map(|c| self.share(c)).collect();
        let (mut credits, mut done, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let mut row_valid = None;
        for (c, Share { feeder, drain }) in shares?.iter().enumerate() {
            let bit = |name: &str, wire| hop(m, &format!("{name}_{c}"), HOP, wire);
            let word = |name: &str, wire| hop_word(m, &format!("{name}_{c}"), HOP, wire);
            for name in ["operand_valid", "operand_header"] {
                feeder.set(&format!("{name}_i"), bit(name, sender.get(&format!("{name}_o"))));
            }
            feeder.set("operand_data_i", word("operand_data", sender.get("operand_data_o")));
            feeder.set("product_valid_i", bit("feed_valid", sender.get("feed_valid_o")));
            feeder.set("product_data_i", word("feed", sender.get("feed_o")));
            credits.push(bit("credit", feeder.get("credit_o")));
            done.push(bit("product_done", feeder.get("done_o")));
            drain.set("request_valid_i", bit("request_valid", results.get("request_valid_o")));
            for name in ["column", "word", "row"] {
                let wire = word(&format!("request_{name}"), results.get(&format!("request_{name}_o")));
                drain.set(&format!("request_{name}_i"), wire);
            }
            // All clusters give their rows in the same cycle.
            row_valid.get_or_insert(bit("row_valid", drain.get("row_valid_o")));
            rows.push(word("row", drain.get("row_o")));
        }
        for (reader, asked, found) in [("finder", "look", "look"), ("sender", "block_group", "block_masks")] {
            self.masks.set(&format!("{reader}_i"), sender.get(&format!("{asked}_o")));
            sender.set(&format!("{found}_i"), self.masks.get(&format!("{reader}_o")));
        }
        sender.set("credits_i", m.pack(&credits));
        results.set("done_i", m.pack(&done));
        results.set("row_valid_i", row_valid.unwrap_or_else(|| m.lit(1, 0)));
        results.set("rows_i", m.pack(&rows));
        Ok(())
    }

    /// A cluster with what feeds and what empties it.
    fn share(&self, c: usize) -> Result<Share<'m>, RtlError> {
        let Self { m, config, ports, .. } = self;
        let feeder = m.instance(&format!("u_feeder_{c}"), &Feeder::new(config)?)?;
        let cluster = m.instance(&format!("u_cluster_{c}"), &Cluster::new(config)?)?;
        let drain = m.instance(&format!("u_drain_{c}"), &Drain::new(config)?)?;
        for name in ["main", "ahead"] {
            feeder.stream_in(&format!("{name}_beat"), ports[c].stream_out(&format!("{name}_beat")));
            for free in ["free", "free_last"] {
                ports[c].set(&format!("{name}_{free}_i"), feeder.get(&format!("{name}_{free}_o")));
            }
        }
        // Keys and values do not come yet.
        feeder.set("turn_i", m.lit(1, 1));
        let fed: Vec<String> = feeder.module().ports().iter().map(|pin| pin.name.clone()).collect();
        for pin in cluster.module().ports().to_vec().iter().filter(|pin| pin.input) {
            let name = pin.name.trim_end_matches("_i");
            let wire = match name {
                "drain_valid" | "drain_address" => drain.get(&format!("{name}_o")),
                _ if fed.contains(&format!("{name}_o")) => feeder.get(&format!("{name}_o")),
                // Keys and values do not come yet.
                _ => m.constant(Bits::zero(pin.width)),
            };
            cluster.set(&pin.name, wire);
        }
        drain.set("drain_valid_i", cluster.get("drain_valid_o"));
        drain.set("drain_sum_i", cluster.get("drain_sum_o"));
        if c == 0 {
            m.output("mac_busy_o", feeder.get("busy_o"));
        }
        Ok(Share { feeder, drain })
    }
}

impl<'m> Array<'m> {
    /// The activation buffer's reading end for products.
    pub(super) fn reads(&self, buffer: &Instance<'m>) {
        for name in ["slot", "block", "first"] {
            buffer.set(&format!("array_{name}_i"), self.sender.get(&format!("read_{name}_o")));
        }
        for name in ["scale", "elems", "largest"] {
            self.sender.set(&format!("read_{name}_i"), buffer.get(&format!("array_{name}_o")));
        }
        debug_assert_eq!(Activations::LATENCY, Sender::READ);
    }
}
