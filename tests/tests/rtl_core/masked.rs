//! Random programs of delta decode: changes of vectors, and products of the blocks that changed.

use crate::products::{self, MATRICES, WHOLE, multiplying};
use crate::programs::{self, Run};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{AbBlock, Addr, Command, Delta, GateHost, Matvec, Pred, VbLine};
use fastcar_golden::Decisions;
use fastcar_tests::rtl::{Cover, Random};

/// Local bytes of references: of inputs and of outputs, from slot to slot and from index to index.
const INPUTS: u64 = products::END;
const INPUT: u64 = 0x1000;
const OUTPUTS: u64 = INPUTS + FAMILIES * 64 * INPUT;
const OUTPUT: u64 = 0x800;
/// Local bytes of all.
pub const END: u64 = OUTPUTS + FAMILIES * 64 * OUTPUT;
const FAMILIES: u64 = (MATRICES.len() - WHOLE) as u64;

fn delta(random: &mut Random, family: u64, pred: Pred) -> Delta {
    let blocks = MATRICES[WHOLE + family as usize].1;
    let dst = AbBlock(if blocks <= 16 { 16 * random.below(2) as u16 } else { 0 });
    let tau_sq = [0.0, 0.001, 0.01, 0.05, 0.2, 1e9][random.below(6) as usize].into();
    let (src, addr) = (VbLine(random.below(16) as u16), Addr(INPUTS + family * 64 * INPUT));
    let (slot_stride, index_stride) = (8 * INPUT, INPUT);
    Delta { pred, src, dst, blocks, tau_sq, addr, slot_stride, index_stride, ..Delta::default() }
}

/// A change, and products of it, with something between them now and then.
fn change(random: &mut Random, config: &AccelConfig) -> Vec<Command> {
    let mut commands = Vec::new();
    if random.chance(20) {
        commands.push(GateHost { pred: Pred::All, gate: 0 }.into());
    }
    // Whose references the write buffer holds.
    let beats = |blocks: u16| u64::from(blocks) * 128 / (config.beat().get() * u64::from(config.channels()));
    let fits = |family: &u64| beats(MATRICES[WHOLE + *family as usize].1) <= u64::from(config.write_beats());
    let families: Vec<u64> = (0..FAMILIES).filter(fits).collect();
    let family = families[random.below(families.len() as u64) as usize];
    let of_delta = if random.chance(60) { Pred::All } else { programs::pred(random) };
    let delta = delta(random, family, of_delta);
    commands.push(delta.into());
    for _ in 0..1 + random.below(3) {
        if random.chance(30) {
            commands.extend(multiplying(random));
        }
        let pred = if of_delta == Pred::All { programs::pred(random) } else { of_delta };
        let ring = Addr(OUTPUTS + family * 64 * OUTPUT);
        let (slot_stride, index_stride) = (8 * OUTPUT, OUTPUT);
        let product = products::product(random, WHOLE as u64 + family);
        let product = Matvec { pred, src: delta.dst, delta: true, ahead: false, ring, ..product };
        commands.push(Matvec { slot_stride, index_stride, ..product }.into());
    }
    commands
}

/// A program of so many changes between commands that fill the buffers and those that show what they hold.
pub fn run(random: &mut Random, config: &AccelConfig, length: u64) -> Run {
    let mut commands: Vec<Command> = programs::fill().into_iter().chain(products::fill()).collect();
    for _ in 0..length {
        commands.extend(change(random, config));
        commands.extend(random.chance(40).then(|| programs::storing(random)));
    }
    commands.extend(products::keep());
    programs::set_out(random, config, commands)
}

/// What runs have to meet.
pub fn cover() -> Cover {
    Cover::new(&[
        "a product",
        "no active block",
        "some active blocks",
        "all blocks active",
        "differs by slot",
    ])
}

/// Notes what a run meets.
pub fn hit(cover: &mut Cover, run: &Run, decisions: &Decisions) {
    let mut gate = None;
    for command in run.program.commands() {
        match command {
            Command::Delta(c) => gate = Some(c.gate),
            Command::Matvec(c) if c.delta => {
                let Some(masks) = gate.map(|gate| &decisions.blocks[usize::from(gate)]) else { continue };
                let active = masks.iter().filter(|mask| **mask != 0).count();
                cover.hit("a product", true);
                cover.hit("no active block", active == 0);
                cover.hit("some active blocks", active > 0 && active < masks.len());
                cover.hit("all blocks active", active == masks.len());
                cover.hit("differs by slot", masks.windows(2).any(|pair| pair[0] != pair[1]));
            }
            _ => {}
        }
    }
}
