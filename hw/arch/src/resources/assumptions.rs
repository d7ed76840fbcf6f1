//! The figures that the model rests on, each with its reason: a circuit that synthesis has measured, or what it will have to
//! correct.

/// One figure, for the page.
pub(super) struct Assumption {
    pub(super) name: &'static str,
    pub(super) value: u64,
    pub(super) unit: &'static str,
    pub(super) reason: &'static str,
}

macro_rules! assumptions {
    ($($(#[doc = $reason:literal])+ $name:ident = $value:literal $unit:literal;)+) => {
        $($(#[doc = $reason])+ pub(super) const $name: u64 = $value;)+

        /// Every figure above.
        pub(super) const ASSUMPTIONS: &[Assumption] = &[$(Assumption {
            name: stringify!($name), value: $value, unit: $unit, reason: concat!($($reason),+),
        }),+];
    };
}

assumptions! {
    /// A slice of eight LUTs stores 32 words of 14 bits with one write and one read port, the eighth LUT's addresses
    /// being the write port's.
    LUTRAM_32_BITS = 14 "bits per 8 LUT";
    /// The same slice stores 64 words of 7 bits.
    LUTRAM_64_BITS = 7 "bits per 8 LUT";
    /// Deeper memories go to block RAM or UltraRAM.
    LUTRAM_WORDS = 64 "words";
    /// A memory goes to UltraRAM when that takes fewer than a third as many as block RAMs: the boards have two to three
    /// block RAMs for each UltraRAM. (A board without UltraRAM takes eight block RAMs for one, which are as large.)
    BRAM_PER_URAM = 3 "block RAMs";
    /// Two products of 8 bits that share an operand fit one DSP48E2 (AMD WP486): two columns share the weight. Their sums
    /// lie 18 bits apart, where up to 7 products fit without touching; chains of 4 divide a block.
    DSP_CHAIN = 4 "products";
    /// Width of a chain's sum.
    DSP_CHAIN_BITS = 18 "bits";
    /// DSPs for the second FP4 code of the bytes of each group of 32, with beats of 64 bytes: as many as a card has. The
    /// other codes are made of LUTs. Narrower beats have DSPs for all.
    WIDE_CODE_DSP = 14 "DSP a group and column pair";
    /// A byte's factor: choice of INT8 byte or decoded FP4 code (one LUT a bit), for all column pairs.
    WEIGHT_UNPACK_LUT = 8 "LUT a lane";
    /// The factor of a second FP4 code that has a DSP.
    CODE_UNPACK_LUT = 5 "LUT a lane";
    /// The links of a chain take their operands one cycle after the other: a DSP has two input registers of its own, the
    /// last two of four links have one and two before them.
    CHAIN_SKEW_FF = 3 "FF for each bit of a chain's operands";
    /// Sum of the factors, which the operands' offset multiplies: the adders of a tree, and its registers, for all column
    /// pairs (hw `pe::block_dot`, Yosys 0.70).
    OFFSET_LUT = 14 "LUT a lane";
    /// An adder: a LUT a bit of two numbers. (With its carry chain it could take three, which Yosys does not find.)
    ADDER_INPUTS = 2 "numbers";
    /// E2M1 in half units is 0, 1, 2, 3, 4, 6, 8 or 12: A + A/2 or A, with A the activation shifted by 0 to 3. Eleven
    /// choices of four, an adder of 12 bits; the sign is that of the tree's adder (hw `pe::block_dot`,
    /// Yosys 0.70).
    FP4_PRODUCT_LUT = 25 "LUT a product";
    /// The shifted activation, half of it, and the product, registered.
    FP4_PRODUCT_FF = 34 "FF a product";
    /// Width of the product of an FP4 and an INT8 element: at most 12 x 128.
    FP4_PRODUCT_BITS = 12 "bits";
    /// A block's sum: what the operands' offset adds is taken off, and one of two chosen.
    BLOCK_SUM_LUT = 42 "LUT a row and column";
    /// A sum's shift into the window: 38 bits by 0 to 37 places, three levels of choices of four, and the distance from the
    /// scale bytes (hw `pe::window_term`, Yosys 0.70: 148).
    ALIGN_LUT = 148 "LUT a row and column";
    /// The levels of the shift and the block's sum, registered.
    ALIGN_FF = 107 "FF a row and column";
    /// Choice between the accumulators' memory and the sum before the last; the adder is a DSP (hw `pe::accumulators`, Yosys
    /// 0.70).
    ACCUMULATE_LUT = 50 "LUT a row and column";
    /// Scale bytes of a beat move up, or a new beat comes.
    SCALE_LUT = 8 "LUT a byte of a beat";
    /// Conversion to binary32: leading zeros of 48 bits, shift, rounding, exponent (hw `fp::integer`, Yosys 0.70: 336).
    CONVERT_LUT = 336 "LUT";
    /// Its pipeline.
    CONVERT_FF = 254 "FF";
    /// Score to fixed point, largest score, distance, weight and its rounding, denominator; the table of exp2 is small
    /// enough for LUTs.
    SOFTMAX_LUT = 700 "LUT a column pair";
    /// Its pipeline.
    SOFTMAX_FF = 900 "FF a column pair";
    /// A table function multiplies twice: d * c2, then d * slope.
    FUNCTION_DSP = 2 "DSP";
    /// Argument to fixed point (shift of 24 bits, rounding) and result to binary32 (hw `func::unit`, Yosys 0.70: 357 with
    /// sigmoid and phi, 223 with the reciprocals).
    FUNCTION_LUT = 357 "LUT";
    /// Its pipeline.
    FUNCTION_FF = 344 "FF";
    /// Product of two significands of 24 bits: 27 x 18 twice.
    MUL_DSP = 2 "DSP";
    /// Exponents, normalisation and rounding of a binary32 product (hw `fp::multiplier`, Yosys 0.70: 109).
    MUL_LUT = 109 "LUT";
    /// Its pipeline.
    MUL_FF = 215 "FF";
    /// Binary32 addition without DSP: two shifts, an adder, leading zeros, rounding (hw `fp::adder`, Yosys 0.70: 391).
    ADD_LUT = 391 "LUT";
    /// Its pipeline.
    ADD_FF = 299 "FF";
    /// Multipliers of a vector lane: a norm multiplies twice per word, SwiGLU too.
    LANE_MULTIPLIERS = 2 "multipliers";
    /// Adders of a vector lane: a row of a matrix may take reference, bias and destination in one pass.
    LANE_ADDERS = 3 "adders";
    /// Table functions of a lane with a memory of their own: sigmoid and the normal distribution function.
    LANE_TABLES = 2 "block RAMs";
    /// Squares of 18 bits, one for a word of each bank of VB, accumulated in the second's DSP.
    LANE_SQUARE_DSP = 2 "DSP";
    /// Alignment and sum of the squares (hw `fp::sums`, Yosys 0.70: 357), shift and rounding for MXINT8 (hw `mx::quantiser`:
    /// 62), choice of three operands among four sources (96).
    LANE_LUT = 515 "LUT";
    /// Their pipelines (498 and 59), operand and result registers (four of 32 bits).
    LANE_FF = 685 "FF";
    /// A word of VB takes half a row of 72 bits, so that it can be written alone.
    VB_WORD_BITS = 36 "bits";
    /// VB has two banks, by the parity of a line (or of a part of it, with fewer lanes): two reads and a write a cycle find
    /// a port each, an addition's pipeline being of odd length.
    VB_BANKS = 2 "banks";
    /// AB is stored once and broadcast block by block in the order of the inputs, which all clusters share. A block is
    /// 32 elements and a scale.
    AB_BLOCK_BITS = 264 "bits";
    /// Blocks that a cluster may lag behind the broadcast: eight steps of four columns.
    BROADCAST_BLOCKS = 32 "blocks";
    /// What travels with a block: column, command, last.
    BROADCAST_TAG_BITS = 16 "bits";
    /// Registers of a bus on its way to or from a cluster, across dies.
    HOP_REGISTERS = 3 "registers a bit";
    /// Walk over blocks under a mask or a list, addresses, scale beats, reservation of buffer room; two streams.
    STREAM_READER_LUT = 1800 "LUT a cluster";
    /// Its state.
    STREAM_READER_FF = 2200 "FF a cluster";
    /// Addresses, burst splitting and transactions under way of one AXI4 master, both directions (hw `axi::read`,
    /// `axi::write`, Yosys 0.70: 515 with 16 bytes, 882 with 64).
    AXI_LUT = 400 "LUT a port";
    /// Its state.
    AXI_FF = 450 "FF a port";
    /// Data are registered twice when written, since they may have to wait, once when read, since room is reserved for them.
    AXI_DATA_FF = 3 "FF a data bit, both directions";
    /// The choice of a write that waits.
    AXI_DATA_LUT = 1 "LUT a data bit, both directions";
    /// Loops over slots and lines, reductions' control, operand addresses.
    VECTOR_CONTROL_LUT = 3000 "LUT";
    /// Its state.
    VECTOR_CONTROL_FF = 4000 "FF";
    /// Comparison, coupling, Index Register, position among the active slots, Mapping Register, report: per slot.
    GATE_SLOT_LUT = 80 "LUT a slot";
    /// Scores, decisions, counts of active blocks: per slot.
    GATE_SLOT_FF = 120 "FF a slot";
    /// Settling order and report.
    GATE_LUT = 1000 "LUT";
    /// Fetch, decode, dispatch, hazards by equal record addresses, watchdog.
    COMMAND_LUT = 8000 "LUT";
    /// Its state.
    COMMAND_FF = 10000 "FF";
    /// Slot times stride plus index times stride, at 40 bits.
    COMMAND_DSP = 8 "DSP";
    /// Operands of a decoded command that a unit needs.
    QUEUE_BITS = 256 "bits an entry";
    /// Units with a queue: reader, writer, MAC array, vector unit, gate unit.
    QUEUES = 5 "queues";
    /// A register of 32 or 64 bits: counting, and its share of the read multiplexer.
    REGISTER_LUT = 50 "LUT a register";
    /// A register's own bits and its copy for reading.
    REGISTER_FF = 64 "FF a register";
    /// Share of a data-centre card's LUTs (and FFs) up to which designs close timing at kernel clocks; the platform's own
    /// share is not subtracted from the board's figures.
    CARD_LOGIC_PERCENT = 65 "%";
    /// Share of its DSPs and memories, which sit in fixed columns.
    CARD_COLUMN_PERCENT = 80 "%";
    /// Share of every resource of a smaller board without a platform.
    SMALL_PERCENT = 70 "%";
}
