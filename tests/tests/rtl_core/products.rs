//! Random programs with products of weights.

use crate::programs::{self, Run, reading, storing};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{AbBlock, Addr, Command, Epilogue, Matvec, Pred, Quant, VbLine, WeightFormat};
use fastcar_arch::layout::WeightLayout;
use fastcar_arch::step::{ACTIVE, OUTPUT};
use fastcar_golden::Memory;
use fastcar_sim::Policy;
use fastcar_tests::rtl::{Cover, Random};

/// Local bytes where weights begin, and those of a matrix.
const WEIGHTS: u64 = programs::RECORDS;
const MATRIX: u64 = 0x4_0000;
/// Local bytes behind all of them.
pub const END: u64 = WEIGHTS + MATRICES.len() as u64 * MATRIX;
/// Rows, blocks and format of each matrix: less than a line, parts of lines, pairs of rows, more rows than two passes hold. Those behind
/// the first are for masked products.
pub const MATRICES: [(u32, u16, WeightFormat); 11] = [
    (16, 8, WeightFormat::Int8),
    (100, 8, WeightFormat::Fp4),
    (40, 16, WeightFormat::Int8),
    (256, 16, WeightFormat::Fp4),
    (600, 8, WeightFormat::Fp4),
    (1, 16, WeightFormat::Int8),
    (16, 1, WeightFormat::Int8),
    (100, 5, WeightFormat::Fp4),
    (40, 16, WeightFormat::Int8),
    (300, 20, WeightFormat::Fp4),
    (64, 32, WeightFormat::Int8),
];
/// Whole products' matrices.
pub const WHOLE: usize = 6;
const SCALES: std::ops::RangeInclusive<u8> = 112..=130;
const BIAS: Addr = Addr(0x8000);

/// The part of the activation buffer that operands of so many blocks stand in.
fn operand(blocks: u16) -> AbBlock {
    AbBlock(if blocks == 8 { 32 } else { 40 })
}

/// What fills an operand: in up to three parts, something else between them. Parts for some slots leave nothing for the others: products for
/// those slots follow, and a whole operand for all.
fn quant(random: &mut Random) -> Vec<Command> {
    let blocks = [8, 16][random.below(2) as usize];
    let (first, src) = (operand(blocks), random.below(16) as u16);
    let pred = programs::pred(random);
    let mut cuts =
        [0, random.below(u64::from(blocks)) as u16, random.below(u64::from(blocks)) as u16, blocks];
    cuts.sort_unstable();
    let mut commands = Vec::new();
    let product = |random: &mut Random, of: bool| {
        (0..).map(|_| matvec(random)).find(|product| (product.blocks == blocks) == of)
    };
    let mut parts = 0;
    for [before, end] in cuts.array_windows().copied().filter(|[before, end]| before < end) {
        if before > 0 && random.chance(50) {
            commands.extend(product(random, false).map(Command::from));
        }
        let (src, dst) = (VbLine(src + before), AbBlock(first.0 + before));
        commands.push(Quant { pred, src, dst, before, blocks: end - before }.into());
        parts += 1;
    }
    if parts > 1 && pred != Pred::All {
        let reader = product(random, true);
        commands.extend(reader.map(|product| Command::from(Matvec { pred, ..product })));
        commands.push(Quant { src: VbLine(src), dst: first, blocks, ..Quant::default() }.into());
    }
    commands
}

fn matvec(random: &mut Random) -> Matvec {
    let which = random.below(WHOLE as u64);
    product(random, which)
}

/// A product of a matrix.
pub fn product(random: &mut Random, which: u64) -> Matvec {
    let (rows, blocks, format) = MATRICES[which as usize];
    let paired = rows.is_multiple_of(2) && random.chance(30);
    let epilogue = match random.below(4) {
        _ if paired => Epilogue::SwiGlu,
        0 => Epilogue::Gelu,
        _ => Epilogue::None,
    };
    let (dst, has_bias) = (VbLine(random.below(16) as u16), random.chance(30));
    let product = Matvec { rows, blocks, format, epilogue, dst, src: operand(blocks), ..Matvec::default() };
    Matvec {
        pred: programs::pred(random),
        addr: Addr(WEIGHTS + which * MATRIX),
        bias: if has_bias { BIAS } else { Addr(0) },
        has_bias,
        accumulate: random.chance(30),
        ahead: random.chance(40),
        scale_max: *SCALES.end(),
        ..product
    }
}

/// A product, or what fills its operands.
pub fn multiplying(random: &mut Random) -> Vec<Command> {
    if random.chance(57) { vec![matvec(random).into()] } else { quant(random) }
}

/// The same, or a command that moves records.
fn any(random: &mut Random) -> Vec<Command> {
    match random.below(10) {
        0..7 => multiplying(random),
        7 => vec![storing(random)],
        _ => vec![reading(random)],
    }
}

/// The operands, filled for every slot.
pub fn fill() -> impl Iterator<Item = Command> {
    [8, 16].map(|blocks| Quant { dst: operand(blocks), blocks, ..Quant::default() }.into()).into_iter()
}

/// All that products leave in the vector buffer, to memory.
pub fn keep() -> [Command; 2] {
    [(0, 4), (16, 5)].map(|(line, family)| programs::store_all(VbLine(line), family).into())
}

/// A program of so many commands between those that fill the buffers and those that show what they hold.
pub fn product_run(random: &mut Random, config: &AccelConfig, length: u64) -> Run {
    let mut commands: Vec<Command> = programs::fill().into_iter().chain(fill()).collect();
    commands.extend((0..length).flat_map(|_| any(random)));
    commands.extend(keep());
    programs::set_out(random, config, commands)
}

/// What runs with products have to meet.
pub fn cover() -> Cover {
    Cover::new(&[
        "static",
        "compact",
        "MXINT8",
        "MXFP4",
        "bias",
        "accumulated",
        "pairs of rows",
        "GELU",
        "read ahead",
        "part of a line",
        "all columns",
        "several passes",
        "for nobody",
        "filled in parts",
    ])
}

/// Notes what a run meets.
pub fn hit(cover: &mut Cover, config: &AccelConfig, run: &Run, policy: Policy) {
    let active = run.table.slots.iter().filter(|slot| slot.flags & ACTIVE != 0).count() as u32;
    let output = run.table.mask(OUTPUT).count_ones();
    let static_policy = policy == Policy::Static;
    cover.hit("static", static_policy);
    cover.hit("compact", !static_policy);
    for command in run.program.commands() {
        cover.hit("filled in parts", matches!(command, Command::Quant(c) if c.before > 0));
        let Command::Matvec(c) = command else { continue };
        let slots = if c.pred == Pred::Output { output } else { active };
        cover.hit("MXINT8", c.format == WeightFormat::Int8);
        cover.hit("MXFP4", c.format == WeightFormat::Fp4);
        cover.hit("bias", c.has_bias);
        cover.hit("accumulated", c.accumulate);
        cover.hit("pairs of rows", c.epilogue == Epilogue::SwiGlu);
        cover.hit("GELU", c.epilogue == Epilogue::Gelu);
        cover.hit("read ahead", c.ahead);
        cover.hit("part of a line", !c.rows.is_multiple_of(32));
        cover.hit("all columns", slots >= config.columns());
        cover.hit("several passes", slots > config.columns());
        cover.hit("for nobody", slots == 0);
    }
}

/// Fills the matrices with weights of every size; rows behind the last are zero.
pub fn weights(random: &mut Random, config: &AccelConfig, memory: &mut Memory) {
    for (which, (rows, blocks, format)) in MATRICES.into_iter().enumerate() {
        let layout = WeightLayout::new(config, rows, blocks.into(), format);
        let addr = WEIGHTS + which as u64 * MATRIX;
        let bytes = layout.local_bytes().get();
        assert!(bytes <= MATRIX, "{rows} rows of {blocks} blocks take {bytes} bytes");
        for channel in 0..config.channels() as usize {
            memory.channel_mut(channel)[addr as usize..(addr + bytes) as usize].fill(0);
        }
        for row in 0..u64::from(rows) {
            for block in 0..u64::from(blocks) {
                let (scale, elements) = layout.place(row, block);
                let channel = memory.channel_mut(scale.channel);
                let low = u64::from(*SCALES.start());
                let number = low + random.below(u64::from(SCALES.end() - SCALES.start()) + 1);
                channel[(addr + scale.offset) as usize] = number as u8;
                let at = (addr + elements.offset) as usize;
                for byte in &mut channel[at..at + WeightLayout::elem_bytes_of(format) as usize] {
                    *byte = random.below(256) as u8;
                }
            }
        }
    }
}
