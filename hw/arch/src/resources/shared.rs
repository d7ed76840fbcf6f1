//! What the machine has once: buffers, vector unit, gates, command processor and the networks to the clusters.

use super::assumptions::*;
use super::memory::random_access;
use super::{Amounts, BlockResources, Sizes};
use crate::config::LINE_WORDS;
use crate::isa::COMMAND_BYTES;
use crate::num::window::{ACC_BITS, MAX_BLOCKS};
use crate::program::MAX_GATES;
use crate::timing::{PREFETCH_COMMANDS, QUEUE_COMMANDS};

/// Bits of a binary32 word.
const WORD: u64 = 32;
/// Words of a slot's entry in the step table that the machine keeps: flags, position, ring, four tokens.
const SLOT_WORDS: u64 = 7;
/// Bits of a gate's entry in the step table.
const GATE_BITS: u64 = 64;

/// The blocks that stand once, and the vector lanes.
pub(super) fn blocks(s: &Sizes) -> Vec<BlockResources> {
    let block = |name, each| BlockResources { name, count: 1, each };
    vec![
        block("vector buffer", vector_buffer(s)),
        block("activation buffer", random_access(AB_BLOCK_BITS, s.slots * s.ab_blocks)),
        BlockResources { name: "vector lane", count: s.vector_lanes, each: vector_lane() },
        block("vector unit control", vector_control(s)),
        block("gate unit and DRS", gate_unit(s)),
        block("block masks", random_access(s.slots, MAX_BLOCKS as u64)),
        block("command processor", command_processor(s)),
        block("broadcast network", broadcast(s)),
        block("result network", results(s)),
        block("record network", records(s)),
    ]
}

/// Every slot's lines, in parts of as many words as there are lanes.
fn vector_buffer(s: &Sizes) -> Amounts {
    let parts = s.slots * s.vb_lines * u64::from(LINE_WORDS) / s.vector_lanes;
    random_access(s.vector_lanes * VB_WORD_BITS, parts.div_ceil(VB_BANKS)) * VB_BANKS
}

fn vector_lane() -> Amounts {
    Amounts {
        lut: LANE_MULTIPLIERS * MUL_LUT + LANE_ADDERS * ADD_LUT + FUNCTION_LUT + LANE_LUT,
        ff: LANE_MULTIPLIERS * MUL_FF + LANE_ADDERS * ADD_FF + FUNCTION_FF + LANE_FF,
        dsp: LANE_MULTIPLIERS * MUL_DSP + FUNCTION_DSP + LANE_SQUARE_DSP,
        bram36: LANE_TABLES,
        uram: 0,
    }
}

/// Sequencing, the reduction over the lanes, and what a vector needs once: reciprocal, reciprocal root, an addition and
/// a conversion.
fn vector_control(s: &Sizes) -> Amounts {
    let reduce = (s.vector_lanes - 1) * u64::from(ACC_BITS);
    Amounts {
        lut: VECTOR_CONTROL_LUT + reduce + 2 * FUNCTION_LUT + ADD_LUT + MUL_LUT + CONVERT_LUT,
        ff: VECTOR_CONTROL_FF + reduce + 2 * FUNCTION_FF + ADD_FF + MUL_FF + CONVERT_FF,
        dsp: 2 * FUNCTION_DSP + MUL_DSP,
        bram36: 2,
        uram: 0,
    }
}

/// Scores and decisions of every slot, and the gates' masks for the step.
fn gate_unit(s: &Sizes) -> Amounts {
    let own = Amounts {
        lut: GATE_LUT + s.slots * GATE_SLOT_LUT + ADD_LUT + MUL_LUT,
        ff: s.slots * GATE_SLOT_FF + ADD_FF + MUL_FF,
        dsp: MUL_DSP,
        ..Amounts::default()
    };
    own + random_access(GATE_BITS, MAX_GATES.into())
}

fn command_processor(s: &Sizes) -> Amounts {
    let own = Amounts {
        lut: COMMAND_LUT + s.registers * REGISTER_LUT,
        ff: COMMAND_FF + s.registers * REGISTER_FF,
        dsp: COMMAND_DSP,
        ..Amounts::default()
    };
    own + random_access(8 * COMMAND_BYTES as u64, PREFETCH_COMMANDS)
        + random_access(QUEUE_BITS, QUEUE_COMMANDS as u64) * QUEUES
        + random_access(SLOT_WORDS * WORD, s.slots)
}

/// One block of activations a cycle to every cluster.
fn broadcast(s: &Sizes) -> Amounts {
    let bits = AB_BLOCK_BITS + BROADCAST_TAG_BITS;
    Amounts { ff: s.channels * bits * HOP_REGISTERS, ..Amounts::default() }
}

/// A row a cycle from every cluster, one cluster a cycle behind the other, so that their words meet different lanes:
/// a rotation of the lanes. And the sum over the clusters, of a head that several share and of a score.
fn results(s: &Sizes) -> Amounts {
    let acc = u64::from(ACC_BITS);
    let rotation = s.vector_lanes * WORD * u64::from(s.vector_lanes.ilog2().div_ceil(2));
    let sum = (s.channels - 1) * acc;
    Amounts {
        lut: rotation + sum,
        ff: rotation + sum + s.channels * acc * HOP_REGISTERS,
        ..Amounts::default()
    }
}

/// Record buffers to vector lanes: each lane's word chosen among the beats of all channels, three choices a LUT; and back
/// from the lanes to the write buffers, without a choice.
fn records(s: &Sizes) -> Amounts {
    let (beats, lanes) = (8 * s.channels * s.beat_bytes, s.vector_lanes * WORD);
    let choices = (beats / lanes).max(1) - 1;
    Amounts {
        lut: lanes * choices.div_ceil(3),
        // A register for every beat each way, and the lanes' own.
        ff: 2 * beats + lanes * HOP_REGISTERS,
        ..Amounts::default()
    }
}
