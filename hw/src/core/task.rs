//! What a command asks of the vector unit, the same for all its slots.

use crate::cmd::Fields;
use crate::cmd::fields::cut;
use crate::drs::gates::ENTRY_BITS;
use crate::rtl::{Builder, RtlError, Wire};
use crate::vec::{Op, Shape, Writes, Written};
use crate::walk;
use crate::walk::appends::SCALES;
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::isa::{Epilogue, NormKind};
use fastcar_arch::program::MAX_HEAD_DIM;
use fastcar_arch::timing::append_pause;

/// Bits of a number of words, rows or elements.
const WORDS_BITS: u32 = 24;
/// Bits of a line's words, and of a head's lines.
const REST_BITS: u32 = LINE_WORDS.ilog2();
const HEAD_BITS: u32 = 6;
const EPILOGUE_BITS: u32 = 2;
const WORD: u32 = 32;
/// Bits of half a pause: a beat or two, or three, of scale bytes.
const PAUSE_BITS: u32 = 2;

/// A command's fields, as [`VectorUnit`](crate::vec::VectorUnit) has them, and whether its slots have records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task<'m> {
    op: Wire<'m>,
    to_line: Wire<'m>,
    from_line: Wire<'m>,
    pub(super) block: Wire<'m>,
    /// First block of the operand that it fills, or goes on with.
    pub(super) operand: Wire<'m>,
    pub(super) lines: Wire<'m>,
    rest: Wire<'m>,
    head_lines: Wire<'m>,
    accumulate: Wire<'m>,
    inv_words: Wire<'m>,
    eps: Wire<'m>,
    delta: Wire<'m>,
    bias: Wire<'m>,
    epilogue: Wire<'m>,
    fp4: Wire<'m>,
    /// Rows of a product.
    pub(super) sums: Wire<'m>,
    /// Places of heads of a channel, less one: attention.
    pub(super) last_unit: Wire<'m>,
    /// Its gate in the step table.
    pub(super) entry: Wire<'m>,
    /// What it writes, and how many words, blocks or heads.
    pub(super) kind: Wire<'m>,
    pub(super) count: Wire<'m>,
    /// Caches: blocks of a head; half the cycles for which the next part has to wait.
    pub(super) scales: Wire<'m>,
    pub(super) pause: Wire<'m>,
    pub(super) read: Records<'m>,
    pub(super) written: Records<'m>,
    /// Slots share a record, which the first takes.
    pub(super) shared: Wire<'m>,
}

/// Which slots of a command have a record, and how long it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records<'m> {
    own: Wire<'m>,
    ringed: Wire<'m>,
    referenced: Wire<'m>,
    /// Beats of a record on each channel.
    pub(super) length: Wire<'m>,
}

impl<'m> Records<'m> {
    fn of_shape(shape: &walk::Shape<'m>) -> Self {
        Self { own: shape.own, ringed: shape.ringed, referenced: shape.referenced, length: shape.length }
    }

    fn width(length: u32) -> u32 {
        3 + length
    }

    fn word(&self) -> Wire<'m> {
        self.length.cat(self.referenced).cat(self.ringed).cat(self.own)
    }

    fn of(word: Wire<'m>) -> Self {
        let mut take = cut(word);
        let [own, ringed, referenced] = [1; 3].map(&mut take);
        Self { own, ringed, referenced, length: take(word.width() - 3) }
    }

    /// Of slots with a ring position, and slots whose reference may be used: those that have one.
    pub(super) fn slots(&self, ring: Wire<'m>, allow: Wire<'m>) -> Wire<'m> {
        let all = |bit: Wire<'m>| bit.repeat(ring.width());
        all(self.own) & (all(!self.ringed) | ring) & (all(!self.referenced) | allow)
    }
}

/// Of a command's words: their lines, the rest of the last one, lines of a head, and what is written of them.
fn lines<'m>(shape: &Shape, m: &'m Builder, c: &Fields<'m>) -> Result<[Wire<'m>; 4], RtlError> {
    let wide = |wire: Wire<'m>| wire.zext(WORDS_BITS.max(wire.width())).trunc(WORDS_BITS);
    let field = |command, name| Ok::<_, RtlError>(wide(c.field(command, name)?));
    let heads = |command, name| {
        let product = c.field(command, name)?.mul_unsigned(c.field(command, "head_dim")?);
        Ok::<_, RtlError>((c.is(command)?, wide(product)))
    };
    let pairs = c.is("matvec")? & c.field("matvec", "epilogue")?.eq(Epilogue::SwiGlu as u64);
    let rows = field("matvec", "rows")?;
    let blocks = |command| Ok::<_, RtlError>(field(command, "blocks")? << REST_BITS);
    let words = m.one_hot(&[
        (c.is_any(&["load", "store", "norm"])?, field("load", "words")?),
        (c.is("add")?, field("add", "words")?),
        (c.is("store_act")?, blocks("store_act")?),
        (c.is("quant")?, blocks("quant")?),
        (c.is("delta")?, blocks("delta")?),
        (c.is("gate_delta")?, blocks("gate_delta")?),
        heads("rope", "heads")?,
        heads("kv_append", "kv_heads")?,
        heads("attn", "heads")?,
        (c.is("matvec")?, pairs.mux(rows >> 1, rows)),
    ]);
    let up = (words + (u64::from(LINE_WORDS) - 1)) >> REST_BITS;
    let lines = pairs.mux(up << 1, up).trunc(shape.lines_bits());
    let head = c.field("rope", "head_dim")?;
    let blocks = (words >> REST_BITS).trunc(Writes::COUNT_BITS);
    let heads = c.field("kv_append", "kv_heads")?.zext(Writes::COUNT_BITS);
    // Of a product its rows are written, before they meet in pairs.
    let rows = rows.trunc(Writes::COUNT_BITS);
    let cases = [(c.is("store_act")?, blocks), (c.is("kv_append")?, heads), (c.is("matvec")?, rows)];
    let count = m.select(words.trunc(Writes::COUNT_BITS), &cases);
    Ok([lines, words.trunc(REST_BITS), head.slice(REST_BITS, HEAD_BITS), count])
}

/// Bits of the number of a place of heads.
fn unit_bits(sizes: &walk::Sizes) -> u32 {
    sizes.heads
}

/// Half of [`append_pause`].
fn pause<'m>(config: &AccelConfig, m: &'m Builder, c: &Fields<'m>) -> Result<Wire<'m>, RtlError> {
    let line = u64::from(LINE_WORDS);
    let of_dim = |scales: u64| append_pause(config, 1, (scales * line).min(MAX_HEAD_DIM.into())) / 2;
    let each: Vec<_> = (0..1 << SCALES).map(|scales| m.lit(PAUSE_BITS, of_dim(scales))).collect();
    let scales = c.field("kv_append", "head_dim")?.slice(REST_BITS, SCALES);
    let around = c.field("kv_append", "kv_heads")?.trunc(config.channels().ilog2().max(1));
    let meets = c.is("kv_append")? & around.eq(1);
    Ok(scales.choose(&each) & meets.repeat(PAUSE_BITS))
}

impl<'m> Task<'m> {
    /// What a command asks for.
    ///
    /// # Errors
    /// As [`Fields::field`].
    pub(super) fn new(
        config: &AccelConfig,
        shape: &Shape,
        sizes: &walk::Sizes,
        m: &'m Builder,
        c: &Fields<'m>,
    ) -> Result<Self, RtlError> {
        let op = |op: Op| m.lit(Op::BITS, op.code());
        let flag = |command, name| Ok::<_, RtlError>(c.is(command)? & c.field(command, name)?.bit(0));
        let layer = c.field("norm", "kind")?.eq(NormKind::Layer as u64);
        let ops = [
            ("load", op(Op::Load)),
            ("store", op(Op::Store)),
            ("store_act", op(Op::StoreAct)),
            ("norm", layer.mux(op(Op::Layer), op(Op::Rms))),
            ("quant", op(Op::Quant)),
            ("add", op(Op::Add)),
            ("rope", op(Op::Rope)),
            ("kv_append", op(Op::KvAppend)),
            ("matvec", op(Op::Matvec)),
            ("attn", op(Op::Attn)),
            ("delta", op(Op::Delta)),
            ("gate_delta", op(Op::GateDelta)),
        ];
        let ops: Result<Vec<_>, RtlError> = ops.into_iter().map(|(name, op)| Ok((c.is(name)?, op))).collect();
        let places = |names: &[(&'static str, &'static str)]| {
            let each: Result<Vec<_>, RtlError> = names
                .iter()
                .map(|&(command, name)| Ok((c.is(command)?, c.field(command, name)?.trunc(16))))
                .collect();
            Ok::<_, RtlError>(m.one_hot(&each?))
        };
        let to = [
            ("load", "dst"),
            ("norm", "dst"),
            ("add", "dst"),
            ("rope", "vec"),
            ("kv_append", "value"),
            ("matvec", "dst"),
            ("attn", "dst"),
        ];
        let from = [
            ("store", "src"),
            ("norm", "src"),
            ("add", "src"),
            ("quant", "src"),
            ("delta", "src"),
            ("kv_append", "key"),
        ];
        let blocks = [("store_act", "src"), ("quant", "dst"), ("delta", "dst"), ("gate_delta", "src")];
        let block = places(&blocks)?.trunc(shape.block_bits());
        let before = places(&[("quant", "before")])?.trunc(shape.block_bits());
        let [lines, rest, head_lines, count] = lines(shape, m, c)?;
        let kind = |which: Written| m.lit(Written::BITS, which.code());
        let reads = walk::shape(sizes, m, c, walk::Direction::Read)?;
        let writes = walk::shape(sizes, m, c, walk::Direction::Write)?;
        Ok(Self {
            op: m.one_hot(&ops?),
            to_line: places(&to)?.trunc(shape.line_bits()),
            from_line: places(&from)?.trunc(shape.line_bits()),
            block,
            operand: block - before,
            lines,
            rest,
            head_lines,
            accumulate: flag("load", "accumulate")? | flag("matvec", "accumulate")?,
            inv_words: c.is("delta")?.mux(c.field("delta", "tau_sq")?, c.field("norm", "inv_words")?),
            eps: c.field("norm", "eps")?,
            delta: flag("matvec", "delta")?,
            bias: flag("matvec", "has_bias")?,
            epilogue: c.field("matvec", "epilogue")?.trunc(EPILOGUE_BITS),
            fp4: c.field("matvec", "format")?.bit(0),
            sums: c.is("matvec")?,
            last_unit: {
                let last = (c.field("attn", "kv_heads")? - 1) >> config.channels().ilog2();
                last.trunc(unit_bits(sizes)) & c.is("attn")?.repeat(unit_bits(sizes))
            },
            entry: c.field("delta", "gate")?,
            kind: m.select(
                kind(Written::Words),
                &[(c.is("store_act")?, kind(Written::Blocks)), (c.is("kv_append")?, kind(Written::Cache))],
            ),
            count,
            scales: c.field("kv_append", "head_dim")?.slice(REST_BITS, SCALES),
            pause: pause(config, m, c)?,
            read: Records::of_shape(&reads),
            written: Records::of_shape(&writes),
            shared: reads.shared[0],
        })
    }

    /// Width of [`Task::word`].
    pub(super) fn width(shape: &Shape, sizes: &walk::Sizes) -> u32 {
        let places = 2 * shape.line_bits() + 2 * shape.block_bits() + shape.lines_bits();
        let fields = Op::BITS
            + places
            + REST_BITS
            + HEAD_BITS
            + 2 * WORD
            + ENTRY_BITS
            + EPILOGUE_BITS
            + unit_bits(sizes)
            + 6
            + Written::BITS
            + Writes::COUNT_BITS
            + SCALES
            + PAUSE_BITS;
        fields + 2 * Records::width(sizes.length())
    }

    /// All in one word.
    pub(super) fn word(&self, m: &'m Builder) -> Wire<'m> {
        m.pack(&[
            self.op,
            self.to_line,
            self.from_line,
            self.block,
            self.operand,
            self.lines,
            self.rest,
            self.head_lines,
            self.accumulate,
            self.inv_words,
            self.eps,
            self.delta,
            self.bias,
            self.epilogue,
            self.fp4,
            self.sums,
            self.last_unit,
            self.entry,
            self.shared,
            self.kind,
            self.count,
            self.scales,
            self.pause,
            self.read.word(),
            self.written.word(),
        ])
    }

    /// What stands in a word.
    pub(super) fn of(shape: &Shape, sizes: &walk::Sizes, word: Wire<'m>) -> Self {
        let mut take = cut(word);
        let records = Records::width(sizes.length());
        Self {
            op: take(Op::BITS),
            to_line: take(shape.line_bits()),
            from_line: take(shape.line_bits()),
            block: take(shape.block_bits()),
            operand: take(shape.block_bits()),
            lines: take(shape.lines_bits()),
            rest: take(REST_BITS),
            head_lines: take(HEAD_BITS),
            accumulate: take(1),
            inv_words: take(WORD),
            eps: take(WORD),
            delta: take(1),
            bias: take(1),
            epilogue: take(EPILOGUE_BITS),
            fp4: take(1),
            sums: take(1),
            last_unit: take(unit_bits(sizes)),
            entry: take(ENTRY_BITS),
            shared: take(1),
            kind: take(Written::BITS),
            count: take(Writes::COUNT_BITS),
            scales: take(SCALES),
            pause: take(PAUSE_BITS),
            read: Records::of(take(records)),
            written: Records::of(take(records)),
        }
    }

    /// The unit's ports that tell a part, and what they are told.
    pub(super) fn ports(&self) -> [(&'static str, Wire<'m>); 14] {
        [
            ("op_i", self.op),
            ("to_line_i", self.to_line),
            ("from_line_i", self.from_line),
            ("block_i", self.block),
            ("lines_i", self.lines),
            ("rest_i", self.rest),
            ("head_lines_i", self.head_lines),
            ("accumulate_i", self.accumulate),
            ("inv_words_i", self.inv_words),
            ("eps_i", self.eps),
            ("delta_i", self.delta),
            ("bias_i", self.bias),
            ("epilogue_i", self.epilogue),
            ("fp4_i", self.fp4),
        ]
    }

    /// Whether it writes keys and values.
    pub(super) fn is_cache(&self) -> Wire<'m> {
        self.kind.eq(Written::Cache.code())
    }

    /// Whether it is attention.
    pub(super) fn is_attention(&self) -> Wire<'m> {
        self.op.eq(Op::Attn.code())
    }

    /// Whether it makes masks.
    pub(super) fn is_delta(&self) -> Wire<'m> {
        self.op.eq(Op::Delta.code())
    }

    /// Whether its records are bytes, those of blocks.
    pub(super) fn takes_bytes(&self) -> Wire<'m> {
        self.op.eq(Op::GateDelta.code())
    }

    /// Whether its slots may have references, which they take, and move.
    pub(super) fn moves_references(&self) -> Wire<'m> {
        self.is_delta() | self.delta
    }

    /// Whether it normalises: then it has no records of slots, but takes those that they share.
    pub(super) fn is_norm(&self) -> Wire<'m> {
        self.op.eq(Op::Rms.code()) | self.op.eq(Op::Layer.code())
    }
}
