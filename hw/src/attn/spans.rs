//! `attn_spans`: gives a channel's cluster and attention the beats of one phase after the other.
//!
//! # Purpose
//!
//! Takes the beats of keys and values from the stream buffers as memory holds them ([`KvLayout`](fastcar_arch::layout::KvLayout)), each as soon as it may be, keeps the scale bytes that come among
//! them and the queries that they meet, and says for each pass over a beat what the cluster and attention have to know.
//!
//! # Interface
//!
//! Phases, queries and spans come from the middle and from the walkers, beats from the port's buffers; pipes go to the cluster and to attention. `<stream>` is `main` and `ahead`.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | forgets everything |
//! | `arm_valid_i`, `arm_i` | in | 1, [`Spans::phase_bits`] | a [`Phase`] is armed, [`HOP`] ago; at most [`Turn::PHASES`] are and not over |
//! | `query_valid_i`, `query_i` | in | 1, [`QueryBuffer::query_bits`] | as in [`QueryBuffer`] |
//! | `<stream>_span_{valid,data}_i`, `_ready_o` | | 1, [`Span::WIDTH`](crate::walk::heads::Span::WIDTH), 1 | *streams* of what the beats are |
//! | `<stream>_beat_{valid,data}_i`, `_ready_o` | | 1, beat + 1, 1 | *streams* of beats; last of its burst in the top bit |
//! | `<stream>_free_o`, `<stream>_free_last_o` | out | 1, 1 | a beat of the stream is used up in the next cycle; it is the last of its burst |
//! | `turn_i`, `over_o`, `free_o` | | 1 | as in [`Feeder`](crate::array::Feeder), of phases |
//! | `valid_o`, `scale_valid_o` | out | 1 | a pass over a beat of elements; over a scale beat |
//! | `scales_o` | out | lanes x 8 | the cluster's lowest `scales_i`, to be taken with every pass |
//! | `beat_o`, `upper_o`, `axpy_o`, `pass_o`, `address_o`, `enable_o`, `first_o`, `act_o`, `base_o` | out | | as the inputs of [`Cluster`]; `address_o` for all columns, `pass_o` as wide as passes over keys |
//! | `weight_ready_o` | out | 1 | the pass takes a weight of [`Attention`](super::Attention) |
//! | `start_o`, `factor_o`, `last_pass_o`, `last_beat_o`, `narrow_o`, `attended_o`, `part_valid_o`, `part_o`, `key_valid_o`, `key_scale_o`, `query_scale_o` | out | | as the inputs of [`Attention`](super::Attention) |
//! | `keys_done_o`, `values_done_o` | out | 1 | all of a phase's beats are used up |
//! | `busy_o` | out | 1 | a cycle more that a beat occupied |
//! | `starved_o` | out | 1 | a phase may go on, it is its turn, and its beat is not there |
//!
//! The queries of a head are there with its first beat of elements, and are not asked for any more from `keys_done_o` on. The middle arms values when the scores of their keys are there.
//!
//! # Timing
//!
//! A phase that comes in cycle c may begin with its older blocks in c + [`Spans::START`], which is [`MAC_START`] from arming, with the own one a cycle later. A beat is
//! taken in the first cycle in which its phase has begun, it is its turn, all beats before it are used up, and it is there. It occupies as many cycles as there are passes over the keys, or the values, scale bytes too: taken
//! in cycle t with p passes it goes to the cluster in t + 1 to t + p, is used up in t + p, and `done` comes in t + p, `free` in the cycle before. An item of which nothing is here is taken as a beat of one
//! pass that nobody sees.
//!
//! # Numeric contract
//!
//! The bases of windows are sums of the largest scale bytes of query and key: [`Base::new`](fastcar_arch::num::window::Base::new).
//!
//! # Cost
//!
//! [`SpanWalk`], [`ScaleBytes`], [`QueryBuffer`], a register of a beat, an adder of a base for each column and lane. Figures: `tests/baselines/rtl/attn_spans.toml`.
//!
//! # Verification
//!
//! `tests/tests/rtl_attn.rs`: `channels_*`: whole heads through the channel's cluster, on one and on several channels, against the functional model, in values and cycles.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{attn::Spans, rtl::Block};
//!
//! let spans = Spans::new(&AccelConfig::preset("tiny")?)?;
//! assert_eq!((spans.module()?.name(), Spans::START), ("attn_spans_b16_c2_p32_a10_r16", 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::span_walk::{BLOCKS, last_beat, narrow};
use super::{BYTE, QueryBuffer, ScaleBytes, Shape, SpanWalk, Turn, Weights};
use crate::cmd::fields::cut;
use crate::func::later_valid;
use crate::pe::Cluster;
use crate::pe::cluster::BASE_BITS;
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Instance, Module, RamStyle, Reg, RtlError, Stream, Wire, index_width};
use crate::walk::heads::Span;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::mx::BLOCK;
use fastcar_arch::timing::{HOP, MAC_START};
use std::sync::Arc;

/// The keys, or the values, of a head on all channels; the first part in the lowest bits.
#[derive(Clone, Copy, Debug)]
pub struct Phase<T> {
    /// Values, not keys.
    pub values: T,
    /// Passes over the values, less one.
    pub last_pass: T,
    /// The size of the head in blocks, less one.
    pub blocks: T,
    /// Query heads, less one.
    pub last_query: T,
    /// Of keys: the word of the accumulators that is used in the first pass; each pass has its own. Of values: the first word of their sums; each
    /// beat of a word in each pass has its own.
    pub word: T,
    /// Older blocks come by the read-ahead stream.
    pub ahead: T,
    /// Of keys: which of the two heads' queries.
    pub bank: T,
    /// As in [`Score`](super::Score).
    pub factor: T,
}

impl<'m> Phase<Wire<'m>> {
    /// All in one word.
    #[must_use]
    pub fn word(&self, m: &'m Builder) -> Wire<'m> {
        let Self { values, last_pass, blocks, last_query, word, ahead, bank, factor } = *self;
        m.pack(&[values, last_pass, blocks, last_query, word, ahead, bank, factor])
    }
}

/// Feeds a cluster with keys and values. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    cluster: Cluster,
    shape: Shape,
    beat: u32,
    walk: SpanWalk,
    scales: ScaleBytes,
    queries: QueryBuffer,
}

impl Spans {
    /// Cycles from a phase that comes to its first beat.
    pub const START: u64 = MAC_START - HOP;

    /// For the clusters of a configuration.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        Ok(Self {
            cluster: Cluster::new(config)?,
            shape: Shape::of(config)?,
            beat: config.fields().beat_bytes,
            walk: SpanWalk::new(config)?,
            scales: ScaleBytes::new(config)?,
            queries: QueryBuffer::new(config)?,
        })
    }

    /// Widths of a phase's parts.
    #[must_use]
    pub fn phase(&self) -> Phase<u32> {
        let heads = self.shape.pairs() * self.shape.passes;
        Phase {
            values: 1,
            last_pass: self.shape.pass_width(),
            blocks: BLOCKS,
            last_query: index_width(heads.into()),
            word: self.cluster.word_width(),
            ahead: 1,
            bank: 1,
            factor: 32,
        }
    }

    /// Width of a phase.
    #[must_use]
    pub fn phase_bits(&self) -> u32 {
        let Phase { values, last_pass, blocks, last_query, word, ahead, bank, factor } = self.phase();
        values + last_pass + blocks + last_query + word + ahead + bank + factor
    }

    /// What stands in the word of a phase.
    #[must_use]
    pub fn phase_of<'m>(&self, word: Wire<'m>) -> Phase<Wire<'m>> {
        let (mut take, widths) = (cut(word), self.phase());
        Phase {
            values: take(widths.values),
            last_pass: take(widths.last_pass),
            blocks: take(widths.blocks),
            last_query: take(widths.last_query),
            word: take(widths.word),
            ahead: take(widths.ahead),
            bank: take(widths.bank),
            factor: take(widths.factor),
        }
    }

    /// The part of scale bytes, or the row of queries, of a beat: where a block takes two beats, both have the same.
    fn whole<'m>(&self, beat: Wire<'m>) -> Wire<'m> {
        if self.halves() { beat.slice(1, beat.width() - 1) } else { beat }
    }

    /// A block takes two beats.
    fn halves(&self) -> bool {
        self.beat < BLOCK as u32
    }
}

/// What has begun, and what is taken and passed over in this cycle.
struct Turns<'m> {
    /// A phase begins.
    begins: Wire<'m>,
    /// A beat, or an item without one, is taken.
    take: Wire<'m>,
    /// It is the phase's last.
    over: Wire<'m>,
    data: Wire<'m>,
}

/// Counts phases that may begin: the pulse of each some cycles later, less those that are over.
fn allowed<'m>(m: &'m Builder, name: &str, [arm, over]: [Wire<'m>; 2], cycles: u64) -> Wire<'m> {
    let comes = later_valid(m, name, arm, cycles as u32 - 1);
    let count = m.reg(&format!("{name}_count"), index_width(u64::from(Turn::PHASES) + 1)).reset(0);
    let some = m.reg(&format!("{name}_may"), 1).reset(0);
    let (more, less) = (comes & !over, over & !comes);
    count.update(&[(more, count.q() + 1), (less, count.q() - 1)]);
    some.update(&[(more, m.lit(1, 1)), (less, count.q().ne(1))]);
    some.q()
}

impl Spans {
    /// Takes beats; `free` says that none is in use behind this cycle.
    fn turns<'m>(&self, m: &'m Builder, walk: &Instance<'m>, arm: Wire<'m>, free: Wire<'m>) -> Turns<'m> {
        let get = |name: &str| walk.get(&format!("{name}_o"));
        let over = m.later("over", 1);
        let older = allowed(m, "older", [arm, over.wire()], Self::START);
        // The simulator's product of the own blocks is armed a cycle later.
        let own = allowed(m, "own", [arm, over.wire()], Self::START + 1);
        let turn = m.input("turn_i", 1) & free;
        let may = (turn & get("valid") & get("own").mux(own, older)).named("may");
        let ready = (may & !get("empty")).named("ready");
        let [main, ahead] = ["main_beat", "ahead_beat"].map(|bus| m.stream_in(bus, 8 * self.beat + 1));
        let by_ahead = get("ahead");
        main.ready.set(ready & !by_ahead);
        ahead.ready.set(ready & by_ahead);
        let there = by_ahead.mux(ahead.valid, main.valid);
        let take = (may & (get("empty") | there)).named("take");
        over.set(take & get("ends"));
        walk.set("go_i", take);
        m.output("over_o", over.wire());
        m.output("free_o", free);
        m.output("starved_o", ready & !there);

        let fresh = m.reg("fresh", 1).reset(1);
        let begins = (fresh.q() & turn & older).named("begins");
        fresh.update(&[(over.wire(), m.lit(1, 1)), (begins, m.lit(1, 0))]);
        Turns { begins, take, over: over.wire(), data: by_ahead.mux(ahead.data, main.data) }
    }

    /// What attention is told of a head, from the first cycle of its keys on.
    fn head<'m>(&self, m: &'m Builder, phase: &Phase<Wire<'m>>, begins: Wire<'m>) {
        let starts = begins & !phase.values;
        m.output("start_o", m.register_valid("start", starts));
        let keep = |name: &str, value: Wire<'m>| {
            let reg = m.reg(name, value.width());
            reg.set_when(starts, value);
            m.output(&format!("{name}_o"), reg.q());
        };
        keep("factor", phase.factor);
        keep("last_pass", phase.last_pass);
        keep("last_beat", last_beat(self.beat, phase.blocks));
        if self.shape.lanes > 1 {
            keep("narrow", narrow(self.shape.lanes, phase.blocks));
        }
    }
}

/// A beat that was taken.
struct Taken<'m> {
    empty: Wire<'m>,
    values: Wire<'m>,
    scale: Wire<'m>,
    ends: Wire<'m>,
    ahead: Wire<'m>,
    last_of_burst: Wire<'m>,
    beat: Wire<'m>,
    bank: Wire<'m>,
    narrow: Wire<'m>,
    half: Wire<'m>,
    scale_beat: Wire<'m>,
    part: Wire<'m>,
    last_part: Wire<'m>,
    /// Sums begin with it.
    first: Wire<'m>,
    upper: Wire<'m>,
    ends_word: Wire<'m>,
    attended: Wire<'m>,
}

impl<'m> Taken<'m> {
    fn new(
        s: &Spans,
        m: &'m Builder,
        walk: &Instance<'m>,
        phase: &Phase<Wire<'m>>,
        turns: &Turns<'m>,
    ) -> Self {
        let keep = |name: &str, value: Wire<'m>| {
            let reg = m.reg(name, value.width());
            reg.set_when(turns.take, value);
            reg.q()
        };
        let get = |name: &str| walk.get(&format!("{name}_o"));
        let same = |name: &str| keep(name, get(name));
        // A key's sums begin with its first block.
        let first_key = s.whole(get("word_beat")).is_zero();
        Self {
            empty: same("empty"),
            values: same("values"),
            scale: same("scale"),
            ends: same("ends"),
            ahead: same("ahead"),
            last_of_burst: keep("last_of_burst", turns.data.msb()),
            beat: keep("beat", turns.data.trunc(8 * s.beat)),
            bank: keep("bank", phase.bank),
            narrow: keep("narrow_beat", narrow(s.shape.lanes, phase.blocks)),
            half: same("half"),
            scale_beat: same("scale_beat"),
            part: keep("part", s.whole(get("beat"))),
            last_part: keep(
                "last_part",
                s.whole(get("last_beat")).zext(BLOCKS.max(Weights::BEAT_BITS)).trunc(BLOCKS),
            ),
            first: keep("first", get("values").mux(get("first_word"), first_key)),
            upper: keep(
                "upper",
                if s.halves() { !get("values") & get("word_beat").bit(0) } else { m.lit(1, 0) },
            ),
            ends_word: same("ends_word"),
            attended: same("attended"),
        }
    }
}

/// The passes of a beat, one a cycle.
struct Passes<'m> {
    valid: Wire<'m>,
    /// It is the beat's first one, its last one.
    first: Wire<'m>,
    last: Wire<'m>,
    number: Wire<'m>,
    /// Word of the sums; row, or pair of rows, of the queries.
    address: Wire<'m>,
    row: Wire<'m>,
    /// Query heads from the pass's first on, less one.
    heads: Wire<'m>,
    /// The beat is used up in the next cycle.
    ending: Wire<'m>,
}

impl<'m> Passes<'m> {
    /// Whether a beat is in use, and how many passes follow the one in turn; none does, which much hangs on.
    fn registers(s: &Spans, m: &'m Builder) -> [Reg<'m>; 3] {
        let left = m.reg("left", s.shape.pass_width()).reset(0);
        [m.reg("in_use", 1).reset(0), left, m.reg("free", 1).reset(1)]
    }

    fn new(
        s: &Spans,
        m: &'m Builder,
        walk: &Instance<'m>,
        phase: &Phase<Wire<'m>>,
        take: Wire<'m>,
        [valid, left, free]: [Reg<'m>; 3],
    ) -> Self {
        let (last, width) = (left.q().is_zero(), left.q().width());
        let steps = (valid.q() & !last).named("steps");
        let keys = s.shape.key_pass(phase.last_pass).0.zext(width);
        let empty = walk.get("empty_o");
        let behind = phase.values.mux(phase.last_pass, keys) & (!empty).repeat(width);
        valid.update(&[(take, m.lit(1, 1)), (last, m.lit(1, 0))]);
        left.update(&[(take, behind), (steps, left.q() - 1)]);
        free.update(&[(take, behind.is_zero()), (steps & left.q().eq(1), m.lit(1, 1))]);
        let counted = |name: &str, begin: Wire<'m>, step: Wire<'m>| {
            let reg = m.reg(name, begin.width());
            reg.update(&[(take, begin), (steps, reg.q() + step)]);
            reg.q()
        };
        let kept = |name: &str, value: Wire<'m>| {
            let reg = m.reg(name, value.width());
            reg.set_when(take, value);
            reg.q()
        };
        let fit = |wire: Wire<'m>, width: u32| wire.zext(width.max(wire.width())).trunc(width);
        let (word, row) = (phase.word.width(), s.queries.read_bits());
        let (beat, all) = (walk.get("word_beat_o"), walk.get("last_beat_o"));
        // Of values each beat of a word has a word in each pass, of keys they share it.
        let from = phase.word + fit(beat & phase.values.repeat(beat.width()), word);
        let onward = kept("address_step", fit(all & phase.values.repeat(all.width()), word)) + 1;
        let rows = kept("row_step", fit(s.whole(all), row)) + 1;
        let heads = phase.last_query;
        let a_pass = |count: u32| m.lit(heads.width() + 1, u64::from(count)).negated().trunc(heads.width());
        let less = kept("heads_step", phase.values.mux(a_pass(s.shape.pairs()), a_pass(s.shape.columns)));
        Self {
            valid: valid.q(),
            first: m.register_valid("first_pass", take),
            last,
            number: counted("pass", m.lit(width, 0), m.lit(width, 1)),
            address: counted("address", from, onward),
            row: counted("row", fit(s.whole(beat), row), rows),
            heads: counted("heads", heads, less),
            ending: (take & !empty & behind.is_zero()) | (steps & left.q().eq(1)),
        }
    }
}

impl Spans {
    /// The columns that have a query head in the pass.
    fn enabled<'m>(&self, m: &'m Builder, values: Wire<'m>, heads: Wire<'m>) -> Wire<'m> {
        let last = (1u64 << heads.width()) - 1;
        let has = |head: u32| if u64::from(head) > last { m.lit(1, 0) } else { heads.ge(u64::from(head)) };
        let (columns, halves) = (self.shape.columns, self.shape.halves());
        let of = |column: u32| values.mux(has(column / halves), has(column));
        m.pack(&(0..columns).map(of).collect::<Vec<_>>())
    }

    /// The scale bytes of the beat in use.
    fn scale_bytes<'m>(
        &self,
        m: &'m Builder,
        walk: &Instance<'m>,
        (taken, passes): (&Taken<'m>, &Passes<'m>),
        take: Wire<'m>,
    ) -> Result<Instance<'m>, RtlError> {
        let scales = m.instance("u_scales", &self.scales)?;
        let get = |name: &str| walk.get(&format!("{name}_o"));
        scales.set("open_i", take & !get("empty") & get("opens"));
        scales.set("open_part_i", self.whole(get("first_beat")).trunc(self.scales.part_bits()));
        scales.set("valid_i", passes.valid & !taken.empty & passes.first & taken.scale);
        scales.set("data_i", taken.beat);
        scales.set("half_i", taken.half);
        scales.set("word_i", taken.scale_beat.trunc(self.scales.word_bits()));
        scales.set("last_part_i", taken.last_part);
        scales.set("part_i", taken.part);
        if self.shape.lanes > 1 {
            scales.set("narrow_i", taken.narrow);
        }
        let key = !get("values") & !get("scale") & get("word_beat").is_zero();
        scales.set("next_i", take & key);
        Ok(scales)
    }

    /// What the cluster is given, and what attention is told of keys.
    fn drive<'m>(
        &self,
        m: &'m Builder,
        (taken, passes): (&Taken<'m>, &Passes<'m>),
        [scales, queries]: [&Instance<'m>; 2],
    ) {
        let (lanes, columns) = (self.shape.lanes, self.shape.columns);
        let there = passes.valid & !taken.empty;
        let valid = (there & !taken.scale).named("element_pass");
        let bytes = scales.get("key_o").chunks(BYTE);
        let largest = scales.get("largest_o");
        let of_key: Vec<_> = match lanes {
            1 => vec![largest],
            _ => {
                let own = scales.get("narrow_key_o").chunks(BYTE);
                own.into_iter().map(|own| taken.narrow.mux(own, largest)).collect()
            }
        };
        let of_query = queries.get("largest_o").chunks(BYTE);
        let base = |query: Wire<'m>, key: Wire<'m>| query.zext(BASE_BITS) + key.zext(BASE_BITS);
        let bases = of_query.iter().flat_map(|&query| of_key.iter().map(move |&key| base(query, key)));
        m.output("valid_o", valid);
        m.output("scale_valid_o", there & taken.scale);
        m.output("busy_o", there);
        m.output("scales_o", m.pack(&bytes));
        m.output("beat_o", taken.beat);
        m.output("upper_o", taken.upper);
        m.output("axpy_o", taken.values);
        m.output("pass_o", passes.number);
        m.output("address_o", passes.address);
        m.output("enable_o", self.enabled(m, taken.values, passes.heads));
        m.output("first_o", taken.first.repeat(columns));
        m.output("act_o", queries.get("act_o"));
        m.output("base_o", m.pack(&bases.collect::<Vec<_>>()));
        m.output("weight_ready_o", valid & taken.values);

        let keys = valid & !taken.values;
        let whole = if self.halves() { taken.upper } else { m.lit(1, 1) };
        m.output("attended_o", taken.attended);
        m.output("part_valid_o", keys & passes.first & whole);
        m.output("part_o", scales.get("value_o"));
        m.output("key_valid_o", keys & taken.ends_word);
        m.output("key_scale_o", m.pack(&of_key));
        m.output("query_scale_o", queries.get("largest_o"));
    }

    /// What is told when a beat is used up.
    fn tell<'m>(
        &self,
        m: &'m Builder,
        (taken, passes): (&Taken<'m>, &Passes<'m>),
        (turns, ahead): (&Turns<'m>, Wire<'m>),
    ) {
        let last = turns.take.mux(turns.data.msb(), taken.last_of_burst);
        let ahead = turns.take.mux(ahead, taken.ahead);
        for (stream, own) in [("main", !ahead), ("ahead", ahead)] {
            m.output(&format!("{stream}_free_o"), passes.ending & own);
            m.output(&format!("{stream}_free_last_o"), last);
        }
        let used = passes.valid & passes.last & taken.ends;
        m.output("keys_done_o", used & !taken.values);
        m.output("values_done_o", used & taken.values);
    }

    fn name(&self) -> String {
        let (columns, passes) = (self.shape.columns, self.shape.passes);
        let (word, rows) = (self.cluster.word_width(), self.queries.rows());
        format!("attn_spans_b{}_c{columns}_p{passes}_a{word}_r{rows}", self.beat)
    }
}

impl Block for Spans {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let (arm, word) = (m.input("arm_valid_i", 1), m.input("arm_i", self.phase_bits()));
        let armed = self.phase_of(word);
        let walk = m.instance("u_walk", &self.walk)?;
        walk.set("phase_valid_i", arm);
        walk.set("phase_i", armed.ahead.cat(armed.blocks));
        for bus in ["main_span", "ahead_span"] {
            walk.stream_in(bus, m.stream_in(bus, Span::WIDTH));
        }
        let queue = Fifo::new(self.phase_bits(), Turn::PHASES, RamStyle::Distributed)?;
        let arms = Stream { valid: arm, data: word, ready: m.later("arm_ready", 1) };
        let phases = queue.after(&m, "u_phases", arms)?;
        let phase = self.phase_of(phases.data);

        let registers = Passes::registers(self, &m);
        let turns = self.turns(&m, &walk, arm, registers[2].q());
        phases.ready.set(turns.over);
        self.head(&m, &phase, turns.begins);

        let taken = Taken::new(self, &m, &walk, &phase, &turns);
        let passes = Passes::new(self, &m, &walk, &phase, turns.take, registers);
        let scales = self.scale_bytes(&m, &walk, (&taken, &passes), turns.take)?;
        let queries = m.instance("u_queries", &self.queries)?;
        queries.set("query_valid_i", m.input("query_valid_i", 1));
        queries.set("query_i", m.input("query_i", self.queries.query_bits()));
        queries.set("bank_i", taken.bank);
        queries.set("row_i", passes.row);
        // Of keys there are no more passes than this can tell.
        let bits = self.queries.pass_bits();
        queries.set("pass_i", passes.number.zext(bits.max(passes.number.width())).trunc(bits));
        self.drive(&m, (&taken, &passes), [&scales, &queries]);
        self.tell(&m, (&taken, &passes), (&turns, walk.get("ahead_o")));
        m.finish()
    }
}
