//! Clusters with their attention on channels that share a head, and the middle of the machine between them.

use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::HOP;
use fastcar_hw::attn::{Attention, Exchange, Shape, Totals, WORD, weights::TOTAL};
use fastcar_hw::pe::Cluster;
use fastcar_hw::prim::DelayLine;
use fastcar_hw::rtl::{Bits, Block, Builder, Instance, Module, RtlError, Wire, index_width};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Cycles of an exchange among as many channels as there may be.
const LONGEST_EXCHANGE: u32 = 5;
/// Of a channel's inputs, those that other parts of the machine give.
const INNER: [&str; 6] = ["weight_i", "sum_i", "weight_ready_i", "in_valid_i", "in_first_i", "in_i"];
/// What is for all channels comes to all in the same cycle.
const ALL: [&str; 2] = ["send_i", "ask_i"];

/// The machine. Ports of channel n are called `c<n>_` and as the parts' own.
pub struct Machine {
    pub config: AccelConfig,
}

/// A value some cycles later, on its way from or to a channel.
fn hop<'m>(m: &'m Builder, name: &str, value: Wire<'m>, cycles: u32) -> Result<Wire<'m>, RtlError> {
    Ok(DelayLine::new(value.width(), cycles)?.build(m, name, value))
}

/// The same of a word's `valid`.
fn hop_valid<'m>(m: &'m Builder, name: &str, valid: Wire<'m>, cycles: u32) -> Wire<'m> {
    (0..cycles).fold(valid, |valid, cycle| m.register_valid(&format!("{name}_{cycle}"), valid))
}

/// A channel's attention, with the cluster on its one side.
fn channel<'m>(
    m: &'m Builder,
    config: &AccelConfig,
    channel: u32,
    all: &BTreeMap<&str, Wire<'m>>,
) -> Result<Instance<'m>, RtlError> {
    let cluster = m.instance(&format!("u_cluster{channel}"), &Cluster::new(config)?)?;
    let attention = m.instance(&format!("u_attention{channel}"), &Attention::new(config)?)?;
    let outer = |name: &str| format!("c{channel}_{name}");
    let mut given = BTreeMap::new();
    for part in [&cluster, &attention] {
        for port in part.module().ports() {
            if port.input && !INNER.contains(&port.name.as_str()) {
                let own = || m.input(&outer(&port.name), port.width);
                let wire = all.get(port.name.as_str()).copied().unwrap_or_else(own);
                part.set(&port.name, wire);
                given.insert(port.name.clone(), wire);
            }
        }
    }
    let taken = given["valid_i"] & given["axpy_i"];
    cluster.set("weight_i", attention.get("weight_data_o"));
    attention.set("weight_ready_i", taken);
    attention.set("sum_i", cluster.get("sum_o"));
    m.output(&outer("missing_o"), taken & !attention.get("weight_valid_o"));
    m.output(&outer("left_o"), attention.get("weight_valid_o"));
    for name in ["value_valid_o", "value_sum_o"] {
        m.output(&outer(name), cluster.get(name));
    }
    Ok(attention)
}

/// The middle between channels that all have the same head: what they agree upon, and their sums of weights.
pub struct Middle<'a> {
    pub config: &'a AccelConfig,
}

impl Middle<'_> {
    /// Joins the channels' attention: the ways are as long as they are on the largest machine.
    pub fn join<'m>(&self, m: &'m Builder, attentions: &[Instance<'m>]) -> Result<(), RtlError> {
        let pairs = Shape::of(self.config)?.pairs();
        self.agree(m, attentions, pairs)?;
        let totals = m.instance("u_totals", &Totals::new(self.config.channels(), pairs)?)?;
        self.of_one_head(m, &totals);
        let sums: Vec<_> = attentions.iter().map(|attention| attention.get("total_o")).collect();
        totals.set("in_valid_i", attentions[0].get("total_valid_o"));
        totals.set("in_i", m.pack(&sums));
        m.output("total_valid_o", totals.get("out_valid_o"));
        m.output("total_o", totals.get("out_o").trunc(pairs * TOTAL));
        Ok(())
    }

    fn agree<'m>(&self, m: &'m Builder, attentions: &[Instance<'m>], pairs: u32) -> Result<(), RtlError> {
        let exchange = Exchange::new(self.config.channels(), pairs)?;
        let (there, back) = (HOP as u32 + LONGEST_EXCHANGE - exchange.latency(), HOP as u32 - 1);
        let exchange = m.instance("u_exchange", &exchange)?;
        self.of_one_head(m, &exchange);
        // The first channel's tell for all when words come.
        let words: Vec<_> = attentions.iter().map(|attention| attention.get("out_o")).collect();
        exchange.set("in_valid_i", hop_valid(m, "out_valid", attentions[0].get("out_valid_o"), there));
        exchange.set("in_first_i", hop(m, "out_first", attentions[0].get("out_first_o"), there)?);
        exchange.set("in_i", hop(m, "out", m.pack(&words), there)?);
        let [valid, first, agreed] = ["out_valid_o", "out_first_o", "out_o"].map(|name| exchange.get(name));
        m.output("agreed_valid_o", valid);
        m.output("agreed_first_o", first);
        m.output("agreed_o", agreed.trunc(pairs * WORD));
        let (valid, first) = (hop_valid(m, "in_valid", valid, back), hop(m, "in_first", first, back)?);
        let words = hop(m, "in", agreed, back)?.chunks(pairs * WORD);
        for (attention, words) in attentions.iter().zip(words) {
            attention.set("in_valid_i", valid);
            attention.set("in_first_i", first);
            attention.set("in_i", words);
        }
        Ok(())
    }

    /// All channels have the same head.
    fn of_one_head<'m>(&self, m: &'m Builder, part: &Instance<'m>) {
        let channels = self.config.channels();
        if channels > 1 {
            part.set("head_i", m.constant(Bits::zero(channels * index_width(channels.into()))));
        }
    }
}

impl Block for Machine {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let (channels, fields) = (self.config.channels(), self.config.fields());
        let m = Builder::new(format!("heads_{}_n{channels}_b{}", fields.name, fields.beat_bytes));
        let all: BTreeMap<_, _> = ALL.into_iter().map(|name| (name, m.input(name, 1))).collect();
        let attentions = (0..channels).map(|n| channel(&m, &self.config, n, &all));
        let attentions = attentions.collect::<Result<Vec<_>, _>>()?;
        Middle { config: &self.config }.join(&m, &attentions)?;
        m.finish()
    }
}
