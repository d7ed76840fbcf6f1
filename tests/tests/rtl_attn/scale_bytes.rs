//! Scale bytes of a block, in the cycles in which its beats come.

use super::{Cover, Random, Rtl, TestResult, skipped};
use fastcar_hw::attn::ScaleBytes;
use fastcar_hw::rtl::{Bits, Block};
use std::collections::BTreeMap;

/// A part, its bytes of keys and of values, and the token's largest.
type Part = (u32, Vec<u8>, Vec<u8>, Option<u8>);

/// A cycle's inputs, and what has to be seen in it.
#[derive(Default)]
struct Cycle {
    open: Option<u32>,
    /// Number, of values, bytes.
    scale: Option<(u32, bool, Vec<u8>)>,
    next: bool,
    part: Option<Part>,
}

/// Cycles in which beats are taken, so many apart, or more now and then.
fn takes(random: &mut Random, now: &mut u64, pace: u64, gaps: bool) -> u64 {
    let at = *now;
    *now += pace + if gaps && random.chance(30) { random.below(5) } else { 0 };
    at
}

struct Bench {
    dut: Rtl,
    random: Random,
    cover: Cover,
    beat: u32,
    /// Two tokens share a beat.
    narrow: bool,
}

impl Bench {
    /// A block of the cache as the cycles in which it is taken, from `now` on; the first cycle behind it.
    fn block(&mut self, blocks: u32, cycles: &mut BTreeMap<u64, Cycle>, mut now: u64) -> u64 {
        let (beat, random) = (self.beat, &mut self.random);
        let (dim, lanes) = (32 * blocks, (beat / 32).max(1));
        let narrow = dim < beat;
        let (pace, gaps) = ([1, 1, 1, 2, 5][random.below(5) as usize], random.chance(30));
        let bytes = |random: &mut Random| -> Vec<u8> {
            let most = [2, 256][random.below(2) as usize];
            (0..32 * blocks).map(|_| random.below(most) as u8).collect()
        };
        let (keys, values) = (bytes(random), bytes(random));
        let first = if random.chance(30) { 0 } else { random.below(32) as u32 };
        let first = if narrow { first / 2 * 2 } else { first };
        let last = first + random.below(u64::from(32 - first)) as u32;
        let begin = first * dim / beat;
        let part_of = |number: u32| if beat < 32 { number / 2 } else { number };
        self.cover.hit("last token first", first == 31 && pace == 1 && !gaps);
        self.cover.hit("a beat a cycle", pace == 1 && !gaps);
        self.cover.hit("several passes", pace > 1);

        let of_values = values.iter().copied();
        let all: Vec<u8> = keys.iter().copied().chain(of_values).collect();
        let half = (32 * blocks).div_ceil(beat);
        for (n, bytes) in all.chunks(beat as usize).enumerate() {
            let at = takes(random, &mut now, pace, gaps);
            if n == 0 {
                cycles.entry(at).or_default().open = Some(part_of(begin));
            }
            let n = n as u32;
            cycles.entry(at + 1).or_default().scale = Some((n % half, n >= half, bytes.to_vec()));
        }
        for number in begin..((last + 1) * dim).div_ceil(beat) {
            let at = takes(random, &mut now, pace, gaps);
            let token = number * beat / dim;
            cycles.entry(at).or_default().next = narrow || (number * beat).is_multiple_of(dim);
            let byte = (number * beat / 32) as usize;
            let of = |bytes: &[u8]| bytes[byte..byte + lanes as usize].to_vec();
            let own = &keys[(token * blocks) as usize..][..blocks as usize];
            let largest = (!narrow).then(|| *own.iter().max().unwrap());
            for pass in 1..=pace {
                cycles.entry(at + pass).or_default().part =
                    Some((part_of(number), of(&keys), of(&values), largest));
            }
        }
        now
    }

    fn run(&mut self, rounds: u64) {
        let sizes: &[u32] = if self.beat == 64 { &[1, 2, 4, 6, 8, 32] } else { &[1, 2, 3, 4, 5, 32] };
        for _ in 0..rounds {
            let blocks = sizes[self.random.below(sizes.len() as u64) as usize];
            let mut cycles = BTreeMap::new();
            let mut now = 0;
            for _ in 0..1 + self.random.below(3) {
                now = self.block(blocks, &mut cycles, now);
            }
            let lanes = (self.beat / 32).max(1);
            self.dut.set("last_part_i", u64::from((blocks / lanes).max(1) - 1));
            self.narrow = lanes > 1 && blocks == 1;
            if lanes > 1 {
                self.dut.set("narrow_i", self.narrow);
            }
            for cycle in 0..now + 2 {
                self.cycle(&cycles.remove(&cycle).unwrap_or_default());
            }
        }
    }

    fn cycle(&mut self, at: &Cycle) {
        let dut = &mut self.dut;
        dut.set("open_i", at.open.is_some());
        dut.set("open_part_i", u64::from(at.open.unwrap_or(0)));
        dut.set("valid_i", at.scale.is_some());
        if let Some((number, values, bytes)) = &at.scale {
            dut.set("word_i", u64::from(*number));
            dut.set("half_i", *values);
            dut.set("data_i", Bits::from_bytes(8 * bytes.len() as u32, bytes));
        }
        dut.set("next_i", at.next);
        if let Some((part, keys, values, largest)) = &at.part {
            dut.set("part_i", u64::from(*part));
            let bits = |bytes: &[u8]| Bits::from_bytes(8 * bytes.len() as u32, bytes);
            assert_eq!(dut.bits("key_o"), bits(keys), "part {part}");
            if self.narrow {
                assert_eq!(dut.bits("narrow_key_o"), bits(keys), "part {part}");
            }
            assert_eq!(dut.bits("value_o"), bits(values), "part {part}");
            if let Some(largest) = largest {
                assert_eq!(dut.get("largest_o"), u64::from(*largest), "part {part}, cycle {}", dut.cycle());
            }
        }
        dut.tick();
    }
}

fn kept(preset: &str, beat: u32, native: bool, rounds: u64, seed: u64) -> TestResult {
    let module = ScaleBytes::new(&super::heads::config(preset, 1, beat)?)?.module()?;
    let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
    for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
        dut.set(&name, Bits::zero(width));
    }
    dut.reset();
    let cover = Cover::new(&["last token first", "a beat a cycle", "several passes"]);
    let mut bench = Bench { dut, random: Random::new(seed), cover, beat, narrow: false };
    bench.run(rounds);
    if !native {
        // Two tokens share the last beat where heads are narrow.
        bench.cover.assert(1);
    }
    Ok(())
}

#[test]
fn scale_bytes_keep_pace() -> TestResult {
    if skipped() {
        return Ok(());
    }
    kept("tiny", 16, true, 10, 1)?;
    kept("tiny", 16, false, 400, 2)?;
    kept("edge", 32, false, 400, 3)?;
    kept("u55c", 64, false, 600, 4)
}
