//! The figures that the model rests on, each with its reason. They are what synthesis will have to correct.

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
    /// Weight lanes that feed a DSP: choice of INT8 byte or decoded FP4 code (one LUT a bit).
    WEIGHT_UNPACK_LUT = 8 "LUT a lane";
    /// The links of a chain take their weights one cycle after the other: a DSP has two input registers of its own, the last
    /// two of four links have a shift register a bit before them.
    CHAIN_SKEW_LUT = 4 "LUT a lane";
    /// A LUT with its carry chain adds one bit of three numbers.
    ADDER_INPUTS = 3 "numbers";
    /// A DSP's stationary operand is two activations (dot) or one softmax weight of 25 bits (axpy): 25 choices of two,
    /// two to a LUT. Lanes a block apart share it.
    OPERAND_SELECT_LUT = 13 "LUT a lane of a block and column pair";
    /// Its two registers (one in use, one being loaded) of the DSP port's width.
    OPERAND_FF = 54 "FF a lane of a block and column pair";
    /// E2M1 in half units is 0, 1, 2, 3, 4, 6, 8 or 12: A + A/2 or A, with A the activation shifted by 0 to 3. Eleven
    /// choices of four, an adder of 12 bits, decoding.
    FP4_PRODUCT_LUT = 26 "LUT a product";
    /// The shifted activation and the product, registered.
    FP4_PRODUCT_FF = 25 "FF a product";
    /// Width of the product of an FP4 and an INT8 element: at most 12 x 128.
    FP4_PRODUCT_BITS = 12 "bits";
    /// A sum's shift into the window: 37 bits by 0 to 37 places, three levels of choices of four, and the two additions
    /// of scale bytes.
    ALIGN_LUT = 130 "LUT a row and column";
    /// The levels of the shift, registered.
    ALIGN_FF = 120 "FF a row and column";
    /// Conversion to binary32: leading zeros of 48 bits, shift, rounding, exponent.
    CONVERT_LUT = 250 "LUT";
    /// Its pipeline.
    CONVERT_FF = 300 "FF";
    /// Score to fixed point, largest score, distance, weight and its rounding, denominator; the table of exp2 is small
    /// enough for LUTs.
    SOFTMAX_LUT = 700 "LUT a column pair";
    /// Its pipeline.
    SOFTMAX_FF = 900 "FF a column pair";
    /// A table function multiplies twice: d * c2, then d * slope.
    FUNCTION_DSP = 2 "DSP";
    /// Argument to fixed point (shift of 24 bits, rounding) and result to binary32.
    FUNCTION_LUT = 250 "LUT";
    /// Its pipeline.
    FUNCTION_FF = 350 "FF";
    /// Product of two significands of 24 bits: 27 x 18 twice.
    MUL_DSP = 2 "DSP";
    /// Exponents, normalisation and rounding of a binary32 product.
    MUL_LUT = 100 "LUT";
    /// Its pipeline.
    MUL_FF = 200 "FF";
    /// Binary32 addition without DSP: two shifts, an adder, leading zeros, rounding.
    ADD_LUT = 250 "LUT";
    /// Its pipeline.
    ADD_FF = 350 "FF";
    /// Multipliers of a vector lane: a norm multiplies twice per word, SwiGLU too.
    LANE_MULTIPLIERS = 2 "multipliers";
    /// Adders of a vector lane: a row of a matrix may take reference, bias and destination in one pass.
    LANE_ADDERS = 3 "adders";
    /// Table functions of a lane with a memory of their own: sigmoid and the normal distribution function.
    LANE_TABLES = 2 "block RAMs";
    /// Squares of 18 bits, one for a word of each bank of VB, accumulated in the second's DSP.
    LANE_SQUARE_DSP = 2 "DSP";
    /// Alignment for the squares, shift and rounding for MXINT8, choice of three operands among four sources.
    LANE_LUT = 370 "LUT";
    /// Operand and result registers.
    LANE_FF = 440 "FF";
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
    /// Addresses, burst splitting and transactions under way of one AXI4 master, both directions.
    AXI_LUT = 900 "LUT a port";
    /// Its state.
    AXI_FF = 1400 "FF a port";
    /// Data are registered twice. Reads need no more, since room is reserved for them; writes may have to wait, which takes
    /// a choice a bit.
    AXI_DATA_FF = 4 "FF a data bit, both directions";
    /// The choice.
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
