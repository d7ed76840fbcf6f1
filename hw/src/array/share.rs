//! `array_share`: a channel's share of the MAC array.
//!
//! # Purpose
//!
//! The [`Cluster`] with all that gives it beats and takes its sums: [`Feeder`] and [`Drain`] for weights, [`Spans`] and [`Attention`] for keys and values, and the [`Turn`] between them.
//!
//! # Interface
//!
//! Ports are those of the parts, under their names. `<stream>` is `main` and `ahead`.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | forgets everything |
//! | `<stream>_beat_{valid,data}_i`, `_ready_o`; `<stream>_free_o`, `<stream>_free_last_o` | | 1, beat + 1, 1; 1, 1 | beats, and those that are used up, as in [`Feeder`] and [`Spans`] |
//! | `<stream>_span_{valid,data}_i`, `_ready_o` | | 1, [`Span::WIDTH`](crate::walk::heads::Span::WIDTH), 1 | as in [`Spans`] |
//! | `product_i` | in | 1 | a product of weights is armed, as in [`Turn`] |
//! | `product_{valid,data}_i`, `_ready_o`, `operand_*_i`, `credit_o`, `done_o` | | | as in [`Feeder`] |
//! | `arm_valid_i`, `arm_i`, `query_valid_i`, `query_i`, `keys_done_o`, `values_done_o` | | | as in [`Spans`]; a phase that is armed is armed for [`Turn`] too |
//! | `send_i`, `out_valid_o`, `out_first_o`, `out_o`, `in_valid_i`, `in_first_i`, `in_i`, `ask_i`, `total_valid_o`, `total_o` | | | as in [`Attention`] |
//! | `value_valid_i`, `value_address_i`, `value_valid_o`, `value_sum_o` | | | as in [`Cluster`] |
//! | `request_*_i`, `row_valid_o`, `row_o` | | | as in [`Drain`] |
//! | `busy_o` | out | 1 | a cycle more that a beat occupied |
//!
//! # Timing
//!
//! That of the parts. What is armed takes its beats in the order of arming, without a cycle between the last of one and the first of the next.
//!
//! # Numeric contract
//!
//! Of the parts.
//!
//! # Cost
//!
//! The parts, and a choice between operands of weights and of keys.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `channels_*`.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{array::Share, rtl::Block};
//!
//! let share = Share::new(&AccelConfig::preset("tiny")?)?;
//! assert_eq!(share.module()?.name(), "array_share_b16_c2_s4_r1024_t1024");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{Drain, Feeder};
use crate::attn::{Attention, Spans, Turn};
use crate::pe::Cluster;
use crate::rtl::{Block, Builder, Instance, Module, RtlError, Wire};
use fastcar_arch::config::AccelConfig;
use std::sync::Arc;

/// Of the parts' ports, those that lead outside: of the feeder, of spans, of attention, of the cluster, of the drain.
const FEEDER: [&str; 7] = [
    "product_valid_i",
    "product_data_i",
    "product_ready_o",
    "operand_valid_i",
    "operand_header_i",
    "operand_data_i",
    "credit_o",
];
const SPANS: [&str; 12] = [
    "main_span_valid_i",
    "main_span_data_i",
    "main_span_ready_o",
    "ahead_span_valid_i",
    "ahead_span_data_i",
    "ahead_span_ready_o",
    "arm_i",
    "query_valid_i",
    "query_i",
    "keys_done_o",
    "values_done_o",
    "starved_o",
];
const ATTENTION: [&str; 10] = [
    "send_i",
    "out_valid_o",
    "out_first_o",
    "out_o",
    "in_valid_i",
    "in_first_i",
    "in_i",
    "ask_i",
    "total_valid_o",
    "total_o",
];
const CLUSTER: [&str; 4] = ["value_valid_i", "value_address_i", "value_valid_o", "value_sum_o"];
const DRAIN: [&str; 6] =
    ["request_valid_i", "request_column_i", "request_word_i", "request_row_i", "row_valid_o", "row_o"];

/// What attention is told by spans.
const TOLD: [&str; 11] = [
    "start",
    "factor",
    "last_pass",
    "last_beat",
    "narrow",
    "attended",
    "part_valid",
    "part",
    "key_valid",
    "key_scale",
    "query_scale",
];

/// A channel's share of the array. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Bytes of a beat, columns, slots, accumulators, tokens of scores: what the parts depend on.
    config: [u32; 5],
    feeder: Feeder,
    spans: Spans,
    attention: Attention,
    cluster: Cluster,
    drain: Drain,
}

impl Share {
    /// For a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let beat = config.fields().beat_bytes;
        let columns = config.columns();
        Ok(Self {
            config: [beat, columns, config.slots(), config.acc_rows(), config.score_tokens()],
            feeder: Feeder::new(config)?,
            spans: Spans::new(config)?,
            attention: Attention::new(config)?,
            cluster: Cluster::new(config)?,
            drain: Drain::new(config)?,
        })
    }
}

/// Makes ports of a part the module's own.
fn lead_out<'m>(m: &'m Builder, part: &Instance<'m>, names: &[&str]) {
    for port in part.module().ports().to_vec() {
        match names.contains(&port.name.as_str()) {
            true if port.input => part.set(&port.name, m.input(&port.name, port.width)),
            true => m.output(&port.name, part.get(&port.name)),
            false => {}
        }
    }
}

/// Both streams of beats, to whoever's turn it is, and what is told of them.
fn beats<'m>(m: &'m Builder, feeder: &Instance<'m>, spans: &Instance<'m>, width: u32) {
    for stream in ["main", "ahead"] {
        let bus = format!("{stream}_beat");
        let beats = m.stream_in(&bus, width);
        for part in [feeder, spans] {
            part.set(&format!("{bus}_valid_i"), beats.valid);
            part.set(&format!("{bus}_data_i"), beats.data);
        }
        let either = |name: &str| feeder.get(name) | spans.get(name);
        beats.ready.set(either(&format!("{bus}_ready_o")));
        let (free, last) = (format!("{stream}_free_o"), format!("{stream}_free_last_o"));
        m.output(&free, either(&free));
        m.output(&last, spans.get(&free).mux(spans.get(&last), feeder.get(&last)));
    }
}

/// Whose beats are taken.
fn turns<'m>(m: &'m Builder, feeder: &Instance<'m>, spans: &Instance<'m>) -> Result<(), RtlError> {
    let turn = m.instance("u_turn", &Turn)?;
    let armed = m.input("arm_valid_i", 1);
    spans.set("arm_valid_i", armed);
    turn.set("phase_i", armed);
    turn.set("product_i", m.input("product_i", 1));
    for (part, other, name) in [(feeder, spans, "product"), (spans, feeder, "phase")] {
        turn.set(&format!("{name}_over_i"), part.get("over_o"));
        // Beats of the other may still be in use.
        part.set("turn_i", turn.get(&format!("{name}_turn_o")) & other.get("free_o"));
    }
    Ok(())
}

impl Share {
    /// What the cluster is given: keys and values where there is a pass over them, weights else.
    fn feed<'m>(&self, m: &'m Builder, cluster: &Instance<'m>, feeder: &Instance<'m>, spans: &Instance<'m>) {
        let pass = spans.get("valid_o");
        let set = |name: &str, wire: Wire<'m>| cluster.set(&format!("{name}_i"), wire);
        let weights = |name: &str| feeder.get(&format!("{name}_o"));
        let own = |name: &str| spans.get(&format!("{name}_o"));
        set("valid", weights("valid") | pass);
        set("scale", weights("scale") | pass);
        // A pass over keys brings its own scale bytes.
        let (all, few) = (weights("scales"), own("scales"));
        let low = pass.mux(few, all.trunc(few.width()));
        set("scales", all.slice(few.width(), all.width() - few.width()).cat(low));
        set("advance", weights("advance"));
        set("fp4", weights("fp4") & !pass);
        set("axpy", own("axpy") & pass);
        for name in ["beat", "upper", "enable", "first", "act", "base"] {
            set(name, pass.mux(own(name), weights(name)));
        }
        let number = own("pass").zext(own("pass").width().max(self.cluster.pass_width()));
        set("pass", pass.mux(number.trunc(self.cluster.pass_width()), weights("pass")));
        set("address", pass.mux(m.pack(&vec![own("address"); self.config[1] as usize]), weights("address")));
    }
}

impl Block for Share {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let [beat, columns, slots, rows, tokens] = self.config;
        let m = Builder::new(format!("array_share_b{beat}_c{columns}_s{slots}_r{rows}_t{tokens}"));
        let feeder = m.instance("u_feeder", &self.feeder)?;
        let spans = m.instance("u_spans", &self.spans)?;
        let attention = m.instance("u_attention", &self.attention)?;
        let cluster = m.instance("u_cluster", &self.cluster)?;
        let drain = m.instance("u_drain", &self.drain)?;
        lead_out(&m, &feeder, &FEEDER);
        lead_out(&m, &feeder, &["done_o"]);
        lead_out(&m, &spans, &SPANS);
        lead_out(&m, &attention, &ATTENTION);
        lead_out(&m, &cluster, &CLUSTER);
        lead_out(&m, &drain, &DRAIN);
        turns(&m, &feeder, &spans)?;
        beats(&m, &feeder, &spans, 8 * beat + 1);

        for name in TOLD {
            let port = format!("{name}_i");
            if attention.module().ports().iter().any(|pin| pin.name == port) {
                attention.set(&port, spans.get(&format!("{name}_o")));
            }
        }
        attention.set("sum_i", cluster.get("sum_o"));
        attention.set("weight_ready_i", spans.get("weight_ready_o"));
        cluster.set("weight_i", attention.get("weight_data_o"));
        self.feed(&m, &cluster, &feeder, &spans);

        for name in ["drain_valid", "drain_address"] {
            cluster.set(&format!("{name}_i"), drain.get(&format!("{name}_o")));
        }
        drain.set("drain_valid_i", cluster.get("drain_valid_o"));
        drain.set("drain_sum_i", cluster.get("drain_sum_o"));
        m.output("busy_o", feeder.get("busy_o") | spans.get("busy_o"));
        m.finish()
    }
}
