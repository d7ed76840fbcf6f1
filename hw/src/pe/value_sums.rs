//! Sums of weighted values: memories around the DSP blocks that add to them.

use super::chain::{QUAD, delayed};
use super::dsp::SUM_BITS;
use crate::rtl::{Builder, Memory, RamStyle, RtlError, Wire, index_width};

/// When a beat of values comes by, for all pairs of columns, by the cycles since it came.
struct Beats<'m> {
    ops: Vec<Wire<'m>>,
    addresses: Vec<Wire<'m>>,
}

/// The places of a chain come one cycle after the other, so that each has a memory of its own; a word of it has a sum
/// for every chain.
pub(super) struct ValueSums<'m> {
    m: &'m Builder,
    /// By pair and place.
    memories: Vec<Vec<Memory<'m>>>,
    /// The words that are added to, by pair and place.
    words: Vec<Vec<Wire<'m>>>,
    /// The words that may be asked for.
    wanted: Vec<Vec<Wire<'m>>>,
    /// What is added to, by pair and place.
    from: Vec<Vec<Wire<'m>>>,
    /// Whether a place's sums are written, by pair and place.
    writes: Vec<Vec<Wire<'m>>>,
    beats: Beats<'m>,
    asked: Wire<'m>,
}

/// Sizes: words, chains of a pair, pairs.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) words: u32,
    pub(super) chains: u32,
    pub(super) pairs: u32,
}

/// A bit some cycles later, and in all cycles before.
fn history<'m>(m: &'m Builder, name: &str, bit: Wire<'m>) -> Vec<Wire<'m>> {
    let mut all = vec![bit];
    for cycle in 1..=(QUAD + 2) as usize {
        all.push(m.register_valid(&format!("{name}_{cycle}"), all[cycle - 1]));
    }
    all
}

impl<'m> Beats<'m> {
    fn new(m: &'m Builder, op: Wire<'m>, address: Wire<'m>) -> Self {
        let ops = history(m, "value_op", op);
        let mut addresses = vec![address];
        for cycle in 1..ops.len() {
            addresses.push(m.register(&format!("value_address_{cycle}"), addresses[cycle - 1]));
        }
        Self { ops, addresses }
    }
}

impl<'m> ValueSums<'m> {
    /// For `valid` beats in axpy mode; the ports that say where their sums are.
    pub(super) fn new(
        m: &'m Builder,
        shape: Shape,
        valid: Wire<'m>,
        axpy: Wire<'m>,
    ) -> Result<Self, RtlError> {
        let width = index_width(u64::from(shape.words));
        let beats = Beats::new(m, valid & axpy, m.input("address_i", width));
        let [enable, first] = ["enable_i", "first_i"].map(|name| m.input(name, shape.pairs));
        let axpy = m.register("value_axpy", axpy);
        let (mut from, mut writes) = (Vec::new(), Vec::new());
        for (pair, (enable, first)) in enable.bits().into_iter().zip(first.bits()).enumerate() {
            let counts = history(m, &format!("value_counts_{pair}"), beats.ops[0] & enable);
            let more = !m.register(&format!("value_first_{pair}"), first);
            let same = counts[2] & beats.addresses[2].eq(beats.addresses[1]);
            let begin = (axpy & more).cat(!axpy | (more & !same));
            let late = |place| delayed(m, &format!("value_from_{pair}_{place}"), begin, place);
            from.push((0..QUAD).map(late).collect::<Result<_, _>>()?);
            writes.push(counts[3..].to_vec());
        }

        let asked = m.register_valid("value_asked", m.input("value_valid_i", 1));
        let address = m.register("value_wanted", m.input("value_address_i", width));
        let (mut memories, mut words, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..shape.pairs {
            let memory = |place: u32| {
                let name = format!("values_{pair}_{place}");
                m.memory(&name, shape.chains * SUM_BITS, shape.words, RamStyle::Distributed)
            };
            let of_pair: Vec<_> = (0..QUAD).map(memory).collect();
            // The places' turns come one cycle after the other.
            let added = of_pair.iter().zip(&beats.addresses[2..]).map(|(memory, at)| memory.read(*at));
            words.push(added.collect());
            wanted.push(of_pair.iter().map(|memory| memory.read(address)).collect());
            memories.push(of_pair);
        }
        Ok(Self { m, memories, words, wanted, from, writes, beats, asked })
    }

    /// What a link of a pair's chain adds to: where that comes from, and the word's sum.
    pub(super) fn onto(&self, pair: usize, chain: u32, place: u32) -> (Wire<'m>, Wire<'m>) {
        let place = place as usize;
        (self.from[pair][place], self.words[pair][place].slice(chain * SUM_BITS, SUM_BITS))
    }

    /// Writes the sums of all pairs' chains' links back, and gives the words out.
    pub(super) fn finish(&self, sums: &[Vec<Vec<Wire<'m>>>]) {
        let m = self.m;
        let mut by_byte = Vec::new();
        for (pair, chains) in sums.iter().enumerate() {
            for (place, memory) in self.memories[pair].iter().enumerate() {
                let of_place: Vec<_> = chains.iter().map(|chain| chain[place]).collect();
                memory.write(self.writes[pair][place], self.beats.addresses[place + 3], m.pack(&of_place));
            }
            let words: Vec<_> = self.wanted[pair].iter().map(|word| word.chunks(SUM_BITS)).collect();
            by_byte.extend(
                (0..chains.len()).flat_map(|chain| words.iter().map(move |w| w[chain]).collect::<Vec<_>>()),
            );
        }
        let drained = m.reg("value_word", SUM_BITS * by_byte.len() as u32);
        drained.set_when(self.asked, m.pack(&by_byte));
        m.output("value_valid_o", m.register_valid("value_answered", self.asked));
        m.output("value_sum_o", drained.q());
    }
}
