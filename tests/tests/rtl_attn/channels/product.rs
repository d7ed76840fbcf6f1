//! Products of weights between heads: whose beats they are and when; what comes of them is the feeder's own test.

use crate::heads::Made;
use crate::heads::beats::Sizes;
use crate::scores::pack;
use fastcar_hw::array::Feeder;
use fastcar_hw::rtl::Bits;
use fastcar_tests::rtl::Random;
use std::collections::VecDeque;

pub struct Product {
    pub ahead: bool,
    pub pace: u64,
    pub beats: u64,
    pub descriptor: Bits,
    /// Its words for the operands: whether it is a header.
    pub words: VecDeque<(bool, Bits)>,
}

impl Product {
    /// Sixteen rows of a few blocks for a slot in each column and pass.
    pub fn any(random: &mut Random, sizes: &Sizes) -> Made<Self> {
        let feeder = Feeder::new(&sizes.config)?;
        let operands = feeder.operands();
        let (blocks, pace) = (1 + random.below(2), 1 + random.below(2));
        let (ahead, columns) = (random.chance(50), sizes.shape.columns);
        let (product, header, operand) = (feeder.product(), operands.header(), operands.operand());
        let descriptor = pack([
            Bits::from_u64(product.last_granule, 0),
            Bits::from_u64(1, 0),
            Bits::from_u64(1, ahead.into()),
        ]);
        let wide = |bits: Bits| bits.zext(operands.width());
        let mut words = VecDeque::new();
        for block in 0..blocks {
            let last_block = Bits::from_u64(header.last_block, (block + 1 == blocks).into());
            let mut parts = vec![Bits::from_u64(header.last_pass, pace - 1), last_block];
            let takes = |pass| if pass < pace { Bits::ones(columns) } else { Bits::zero(columns) };
            parts.extend((0..).zip(&header.columns).map(|(pass, _)| takes(pass)));
            words.push_back((true, wide(pack(parts))));
            let zeros = Bits::zero(operand.act + operand.base + operand.word + operand.first);
            words.extend((0..pace * u64::from(columns)).map(|_| (false, wide(zeros.clone()))));
        }
        // Scale bytes, then the elements of sixteen rows.
        let beats = blocks * (1 + 16 * 32 / sizes.beat() as u64);
        Ok(Self { ahead, pace, beats, descriptor, words })
    }
}
