//! The walk over spans, beat by beat.

use super::scores::pack;
use super::{Cover, Gaps, Random, Rtl, TestResult, skipped};
use fastcar_hw::attn::SpanWalk;
use fastcar_hw::rtl::{Bits, Block};
use std::collections::VecDeque;

/// What a channel has of a block.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub values: bool,
    pub none: bool,
    pub last_block: bool,
    pub first: u32,
    pub last: u32,
    pub mask: u32,
}

impl Span {
    /// A block of which these tokens are attended to, or none.
    pub fn of(values: bool, mask: u32, last_block: bool) -> Self {
        let (first, last) = (mask.trailing_zeros() % 32, 31 - mask.leading_zeros() % 32);
        Self { values, none: mask == 0, last_block, first, last, mask }
    }

    pub fn word(&self) -> Bits {
        let bits = [(self.values, 1), (self.none, 1), (self.last_block, 1)].map(|(b, w)| (u64::from(b), w));
        let rest = [(self.first.into(), 5), (self.last.into(), 5), (self.mask.into(), 32)];
        pack(bits.into_iter().chain(rest).map(|(value, width)| Bits::from_u64(width, value)))
    }
}

/// What the walk says of a beat.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Beat {
    /// There is none.
    empty: bool,
    own: bool,
    ahead: bool,
    ends: bool,
    values: bool,
    /// The first of its block, of values, its number.
    scale: Option<(bool, bool, u32)>,
    /// Number in the block, of the block's first one, in the word, and in a word the last one.
    beat: [u32; 4],
    first_word: bool,
    attended: Vec<bool>,
}

/// A phase: its size in blocks, where its older blocks come from, its spans, its beats.
struct Phase {
    blocks: u32,
    ahead: bool,
    older: Vec<Span>,
    own: Span,
}

impl Phase {
    fn any(random: &mut Random, beat: u32, values: bool) -> Self {
        let sizes: &[u32] = if beat == 64 { &[1, 2, 4, 6, 32] } else { &[1, 2, 3, 4, 32] };
        let blocks = sizes[random.below(sizes.len() as u64) as usize];
        let mask = |random: &mut Random| match random.below(5) {
            0 => u32::MAX,
            1 => 1 << random.below(32),
            2 => u32::MAX >> random.below(32),
            // A few tokens near each other.
            3 => (random.word() as u32 & 15 | 1) << random.below(28),
            _ => random.word() as u32 | 1 << 9,
        };
        let count = random.below(3);
        let mut older: Vec<_> = (0..count).map(|n| Span::of(values, mask(random), n + 1 == count)).collect();
        if older.is_empty() {
            older.push(Span::of(values, 0, true));
        }
        let own = if random.chance(40) { 0 } else { mask(random) };
        Self { blocks, ahead: random.chance(50), older, own: Span::of(values, own, true) }
    }

    /// Its beats, and its items without one.
    fn beats(&self, beat: u32) -> Vec<Beat> {
        let mut all: Vec<Beat> = Vec::new();
        let dim = 32 * self.blocks;
        let narrow = dim < beat;
        let last_in_word = (dim / beat).max(1) - 1;
        let spans = self.older.iter().map(|s| (s, false)).chain([(&self.own, true)]);
        let mut first_word = true;
        for (span, own) in spans {
            let begin = span.first * dim / beat;
            let end = ((span.last + 1) * dim).div_ceil(beat);
            let ahead = self.ahead && !own;
            let like = |number: u32, in_word: u32| Beat {
                empty: span.none,
                own,
                ahead,
                ends: false,
                values: span.values,
                scale: None,
                beat: [number, begin, in_word, last_in_word],
                first_word: false,
                attended: Vec::new(),
            };
            if span.none {
                all.push(like(0, 0));
                continue;
            }
            if !span.values {
                let halves = if narrow { 1 } else { 2 };
                for (half, number) in (0..halves).flat_map(|h| (0..=last_in_word).map(move |n| (h == 1, n))) {
                    let scale = Some((!half && number == 0, half, number));
                    all.push(Beat { scale, ..like(begin, 0) });
                }
            }
            for number in begin..end {
                let in_word = (number * beat % dim.max(beat)) / beat;
                let token = number * beat / dim;
                let tokens = if narrow { vec![token, token + 1] } else { vec![token] };
                let attended = tokens.iter().map(|token| span.mask >> token & 1 == 1).collect();
                all.push(Beat { attended, first_word, ..like(number, in_word) });
                first_word &= in_word != last_in_word;
            }
        }
        if let Some(last) = all.last_mut() {
            last.ends = true;
        }
        all
    }
}

/// A phase that is armed and not over.
struct Armed {
    cycle: u64,
    beats: VecDeque<Beat>,
}

struct Bench {
    dut: Rtl,
    random: Random,
    cover: Cover,
    beat: u32,
    now: u64,
    armed: VecDeque<Armed>,
    spans: [VecDeque<Span>; 2],
    shown: [bool; 2],
    /// The cycle behind that in which the phase before was over.
    free: u64,
    next_arm: u64,
    values: bool,
}

const STREAMS: [&str; 2] = ["main", "ahead"];
const BINS: [&str; 9] = [
    "phase without a beat",
    "own block alone",
    "phase right behind another",
    "span right behind another",
    "one beat",
    "narrow",
    "odd token first",
    "span late",
    "token left out",
];

impl Bench {
    fn new(
        preset: &str,
        beat_bytes: u32,
        native: bool,
        seed: u64,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let config = super::heads::config(preset, 1, beat_bytes)?;
        let module = SpanWalk::new(&config)?.module()?;
        let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
        for (name, width) in dut.inputs().map(|(n, w)| (n.to_owned(), w)).collect::<Vec<_>>() {
            dut.set(&name, Bits::zero(width));
        }
        dut.reset();
        Ok(Self {
            dut,
            random: Random::new(seed),
            cover: Cover::new(&BINS),
            beat: beat_bytes,
            now: 0,
            armed: VecDeque::new(),
            spans: Default::default(),
            shown: [false; 2],
            free: 0,
            next_arm: 0,
            values: false,
        })
    }

    /// Arms a phase now and then, as the middle does: two at most are open, and each takes two cycles.
    fn arm(&mut self) {
        let arms = self.armed.len() < 2 && self.now >= self.next_arm && self.random.chance(60);
        self.dut.set("phase_valid_i", arms);
        if !arms {
            return;
        }
        let phase = Phase::any(&mut self.random, self.beat, self.values);
        self.values = !self.values;
        self.dut.set("phase_i", Bits::from_u64(6, u64::from(phase.blocks - 1) | u64::from(phase.ahead) << 5));
        let beats: VecDeque<_> = phase.beats(self.beat).into();
        self.cover.hit("phase without a beat", beats.iter().all(|beat| beat.empty));
        self.cover.hit("own block alone", phase.older[0].none && !phase.own.none);
        // Smaller beats hold less than a token.
        self.cover.hit("one beat", beats.iter().filter(|beat| !beat.empty).count() == 1 || self.beat < 32);
        let narrow = 32 * phase.blocks < self.beat;
        self.cover.hit("narrow", narrow || self.beat < 64);
        self.cover.hit("odd token first", phase.own.first % 2 == 1 && (narrow || self.beat < 64));
        self.cover.hit("token left out", beats.iter().any(|beat| beat.attended.contains(&false)));
        self.spans[usize::from(phase.ahead)].extend(&phase.older);
        self.spans[0].push_back(phase.own);
        self.armed.push_back(Armed { cycle: self.now, beats });
        self.next_arm = self.now + 2;
    }

    /// Shows the spans; all that there are, or with gaps.
    fn show(&mut self, percent: u64) {
        for (stream, name) in STREAMS.into_iter().enumerate() {
            self.shown[stream] |= !self.spans[stream].is_empty() && self.random.chance(percent);
            self.dut.set(&format!("{name}_span_valid_i"), self.shown[stream]);
            if let Some(span) = self.spans[stream].front() {
                self.dut.set(&format!("{name}_span_data_i"), span.word());
            }
        }
    }

    fn check(&mut self, expected: &Beat) {
        let (dut, at) = (&mut self.dut, self.now);
        for (name, value) in [("empty_o", expected.empty), ("own_o", expected.own), ("ends_o", expected.ends)]
        {
            assert_eq!(dut.is_set(name), value, "{name}, cycle {at}");
        }
        if expected.empty {
            return;
        }
        let scale = dut
            .is_set("scale_o")
            .then(|| (dut.is_set("opens_o"), dut.is_set("half_o"), dut.get("scale_beat_o") as u32));
        let bits = dut.bits("attended_o");
        let found = Beat {
            empty: false,
            own: expected.own,
            ahead: dut.is_set("ahead_o"),
            ends: expected.ends,
            values: dut.is_set("values_o"),
            beat: ["beat_o", "first_beat_o", "word_beat_o", "last_beat_o"].map(|name| dut.get(name) as u32),
            // Not said of scale bytes.
            first_word: dut.is_set("first_word_o") && scale.is_none(),
            attended: (0..expected.attended.len() as u32).map(|lane| bits.bit(lane)).collect(),
            scale,
        };
        assert_eq!(found, *expected, "cycle {at}");
        let ends_word = dut.is_set("ends_word_o");
        assert!(scale.is_some() || ends_word == (found.beat[2] == found.beat[3]), "cycle {at}");
    }

    fn cycle(&mut self, prompt: bool, more: bool, willing: bool) {
        if more {
            self.arm();
        } else {
            self.dut.set("phase_valid_i", false);
        }
        self.show(if prompt { 100 } else { 40 });
        let valid = self.dut.is_set("valid_o");
        let mut go = false;
        match self.armed.front() {
            None => assert!(!valid, "cycle {}", self.now),
            Some(front) => {
                let next = front.beats[0].clone();
                let may = front.cycle + SpanWalk::LATENCY;
                let open = self.now >= may;
                assert!(valid || !(open && prompt), "late in cycle {}", self.now);
                self.cover.hit("span late", open && !valid);
                go = open && valid && willing;
                let right_behind = open && self.free == self.now;
                self.cover.hit("phase right behind another", right_behind && self.now > may + 3);
                if valid {
                    self.check(&next);
                }
            }
        }
        self.dut.set("go_i", go);
        for (stream, name) in STREAMS.into_iter().enumerate() {
            if self.shown[stream] && self.dut.is_set(&format!("{name}_span_ready_o")) {
                self.spans[stream].pop_front();
                self.shown[stream] = false;
            }
        }
        if go {
            let front = &mut self.armed[0];
            let before = front.beats.pop_front();
            let next = front.beats.front();
            let jumps = before.zip(next).is_some_and(|(a, b)| a.scale.is_none() && b.scale.is_some());
            self.cover.hit("span right behind another", jumps);
            if front.beats.is_empty() {
                self.armed.pop_front();
                self.free = self.now + 1;
            }
        }
        self.dut.tick();
        self.now += 1;
    }

    fn run(&mut self, cycles: u64) {
        let mut done = 0;
        while done < cycles {
            let (prompt, stretch) = (self.random.chance(60), 1 + self.random.below(3000));
            let mut gaps = Gaps::new([100, 100, 50][self.random.below(3) as usize]);
            for _ in 0..stretch {
                let willing = gaps.next(&mut self.random);
                self.cycle(prompt, true, willing);
            }
            // What was late may be in time again behind this.
            let mut left = 100_000;
            while !self.armed.is_empty() {
                self.cycle(false, false, true);
                left -= 1;
                assert!(left > 0, "stuck in cycle {}", self.now);
            }
            self.cycle(false, false, true);
            assert!(self.spans.iter().all(VecDeque::is_empty));
            done += stretch;
        }
    }
}

fn walked(preset: &str, beat: u32, cycles: u64, native: bool, seed: u64) -> TestResult {
    let mut bench = Bench::new(preset, beat, native, seed)?;
    bench.run(cycles);
    if !native {
        bench.cover.assert(1);
    }
    Ok(())
}

#[test]
fn spans_are_walked() -> TestResult {
    if skipped() {
        return Ok(());
    }
    walked("tiny", 16, 3_000, true, 1)?;
    walked("tiny", 16, 150_000, false, 2)?;
    walked("edge", 32, 150_000, false, 3)?;
    walked("u55c", 64, 150_000, false, 4)
}
