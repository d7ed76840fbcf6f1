//! `port`: one channel's AXI port, with the buffers of its streams.
//!
//! # Purpose
//!
//! Decides in each cycle which burst goes out to the memory, by the rules of `docs/cycles.md` (Streams), keeps the beats that come until they are
//! used, and what is to be written until it goes. It serves one wave: the scheduling policies `static` and `compact`.
//!
//! # Interface
//!
//! Reads come as *segments*, runs of consecutive beats, on four *streams*: `control`, `record`, `main` and `ahead`, in order of priority.
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | forgets what is under way; the memory's side has to be reset too |
//! | `start_i` | in | 1 | a run begins: writers are numbered anew. Nothing may be under way |
//! | `base_i` | in | 64 | device address of local address 0, a multiple of 4096 |
//! | `<queue>_segment_{valid,data}_i`, `_ready_o` | | 1, [`Port::segment_bits`], 1 | to read: local address in beats (low), beats, and for `record` and `main` the writer to wait for and whether to wait |
//! | `control_beat_valid_o`, `_data_o` | out | 1, beat | beats of the control queue: a *pipe* |
//! | `<stream>_beat_{valid,data}_o`, `_ready_i` | | 1, beat + 1, 1 | beats of `record`, `main`, `ahead`: *streams*; last of its burst in the top bit. Of `main` and `ahead` one at most is taken a cycle |
//! | `<stream>_free_i`, `<stream>_free_last_i` | in | 1, 1 | a beat, in order, is used up; it is the last of its burst |
//! | `write_segment_{valid,data}_i`, `_ready_o` | | 1, [`Port::write_segment_bits`], 1 | to write: local address in beats (low), beats, last of its job (top) |
//! | `write_data_{valid,data}_i`, `_ready_o` | | 1, [`Port::written_bits`], 1 | the beats of all segments, one behind the other: data low, then a bit for each byte that is to be written |
//! | `commit_valid_i` | in | 1 | the next job may go: its segments and data are here, or on their way |
//! | `commit_beats_i` | in | [`Port::count_bits`] | its beats; 0 for no job |
//! | `commit_closes_i`, `commit_writer_i` | in | 1, [`WRITER_BITS`] | behind it nothing more comes of the writer of this number |
//! | `halt_i` | in | 1 | nothing more is decided for |
//! | `drain_i` | in | 1 | somebody waits for room in the write buffer |
//! | `acknowledged_o` | out | 1 | a job is acknowledged |
//! | `writer_o` | out | [`WRITER_BITS`] | the last writer that is acknowledged, all before it too |
//! | `reading_o`, `writing_o` | out | 1 | reads are queued or under way; writes are queued or not acknowledged |
//! | `quiet_o` | out | 1 | no burst is on AXI, or on its way there |
//! | `read_beat_o`, `written_beat_o` | out | 1 | a beat comes; one goes into the write master |
//! | `clear_i` | in | 1 | forgets the errors |
//! | `read_error_{valid,address,response}_o`, `write_error_...` | out | 1, address, 2 | the first error since: local address of its burst, in beats; response |
//! | `axi_...` | | | AXI4 as [`ReadMaster`] and [`WriteMaster`] have it |
//!
//! Writers are numbered in the order in which they close, modulo `2^`[`WRITER_BITS`], from 0. At most
//! [`WRITERS`] are open, and a guarded read is closer than so many to the last one acknowledged. A record that does not fit the write buffer has to be committed before all its data is
//! there; its beats then go when they come.
//!
//! # Timing
//!
//! | from | to | cycles |
//! |---|---|---|
//! | a segment | the first decision for it | [`Port::SEGMENT_LATENCY`] |
//! | a commit | the first decision for it, its part in the draining, and its closing | [`Port::COMMIT_LATENCY`] |
//! | `drain_i` | the cycle that sees it | [`Port::DRAIN_LATENCY`] |
//! | a decision | AXI, address and first beat | [`PORT_ISSUE`](fastcar_arch::timing::PORT_ISSUE) |
//! | a beat on AXI | the stream's output | 1 |
//! | a burst's last beat, a response on AXI | decisions, `acknowledged_o`, `writer_o` | [`PORT_RETURN`](fastcar_arch::timing::PORT_RETURN) |
//! | `free` | decisions | 1 |
//!
//! One decision, one beat in and one beat out a cycle, unless AXI holds it up.
//!
//! # Numeric contract
//!
//! None.
//!
//! # Cost
//!
//! The buffers (`main` and `ahead` share one), five [`Cutter`]s, the masters.
//!
//! # Verification
//!
//! `tests/tests/rtl_port.rs`: cycle by cycle beside `fastcar_sim::port::Port`, on the simulator's memories.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{port::Port, rtl::Block};
//!
//! let port = Port::new(&AccelConfig::preset("u55c")?)?;
//! assert_eq!(port.module()?.name(), "port_b64_a23_r512_m1024_h3072_w512_n8");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod buffer;
pub mod cutter;
mod reads;
mod writes;

pub use buffer::BeatBuffer;
pub use cutter::Cutter;

use crate::axi::{BurstPort, ReadMaster, WriteMaster};
use crate::rtl::{Block, Builder, Instance, Module, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::step::MAX_REPORT_BYTES;
use fastcar_arch::timing::WRITERS;
use std::sync::Arc;

/// Bits of a writer's number: as many writers again as may be open are told apart from them.
pub const WRITER_BITS: u32 = (2 * WRITERS).ilog2();

/// The queues of reads in order of priority, by the names of their ports.
const QUEUES: [&str; 4] = ["control", "record", "main", "ahead"];
/// Bits that name a queue.
const QUEUE_BITS: u32 = 2;

/// One channel's port. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    reads: BurstPort,
    writes: BurstPort,
    /// Beats of the record, main and read-ahead buffers.
    buffers: [u32; 3],
    write_beats: u32,
    /// Beats of the longest job.
    longest: u32,
}

impl Port {
    /// Cycles from a segment to the first decision for it.
    pub const SEGMENT_LATENCY: u64 = Cutter::LATENCY;
    /// Cycles from a commit to the first decision for it.
    pub const COMMIT_LATENCY: u64 = 2;
    /// Cycles from `drain_i` to the cycle that sees it.
    pub const DRAIN_LATENCY: u64 = 1;

    /// A port of a configuration.
    ///
    /// # Errors
    /// As [`BurstPort::new`], [`Cutter::new`] and [`BeatBuffer::new`].
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        let reads = BurstPort::reads(config, QUEUE_BITS)?;
        let fields = config.fields();
        // The whole vector buffer on one channel, or the report: no job is longer.
        let words = u64::from(fields.vb_lines) * u64::from(LINE_WORDS);
        let longest = (words * 4).max(MAX_REPORT_BYTES) / config.beat().get();
        let longest = longest.max(u64::from(config.write_beats()));
        let port = Self {
            reads,
            // A burst that is written is told by its length and by whether its job ends with it.
            writes: BurstPort::writes(config, reads.length_bits() + 1)?,
            buffers: [config.record_beats(), config.main_beats(), config.ahead_beats()],
            write_beats: config.write_beats(),
            longest: longest as u32,
        };
        port.cutter(WRITER_BITS + 1)?;
        Ok(port)
    }

    /// Bits of a segment to read, guarded or not.
    #[must_use]
    pub fn segment_bits(&self, guarded: bool) -> u32 {
        2 * self.reads.address_bits() + if guarded { WRITER_BITS + 1 } else { 0 }
    }

    /// Bits of a segment to write.
    #[must_use]
    pub fn write_segment_bits(&self) -> u32 {
        2 * self.reads.address_bits() + 1
    }

    /// Bits of a beat to write.
    #[must_use]
    pub fn written_bits(&self) -> u32 {
        self.writes.written_bits()
    }

    /// Bits of a job's number of beats.
    #[must_use]
    pub fn count_bits(&self) -> u32 {
        // What is committed and not acknowledged is the buffer's contents, or one job.
        index_width(u64::from(self.longest) * 2)
    }

    fn cutter(&self, note: u32) -> Result<Cutter, RtlError> {
        Cutter::new(self.reads.address_bits(), self.reads.length_bits(), note)
    }

    fn name(&self) -> String {
        let [record, main, ahead] = self.buffers;
        format!(
            "port_b{}_a{}_r{record}_m{main}_h{ahead}_w{}_n{}",
            self.reads.beat_bits() / 8,
            self.reads.address_bits(),
            self.write_beats,
            self.reads.bursts()
        )
    }
}

/// A burst at the head of a queue.
struct Head<'m> {
    stream: Stream<'m>,
    address: Wire<'m>,
    /// Beats less one.
    length: Wire<'m>,
    note: Wire<'m>,
}

impl Port {
    /// The segments of a queue, cut into bursts.
    fn head<'m>(&self, m: &'m Builder, queue: &str, note: u32) -> Result<Head<'m>, RtlError> {
        let bits = 2 * self.reads.address_bits();
        let mut segment = m.stream_in(&format!("{queue}_segment"), bits + note);
        if note == 0 {
            segment = segment.with_data(m.lit(1, 0).cat(segment.data));
        }
        let cutter = m.instance(&format!("{queue}_cutter"), &self.cutter(note.max(1))?)?;
        cutter.stream_in("in", segment);
        let stream = cutter.stream_out("out");
        let (address, length) = (self.reads.address_bits(), self.reads.length_bits());
        Ok(Head {
            stream,
            address: stream.data.trunc(address),
            length: stream.data.slice(address, length),
            // The last of its segment is the top bit.
            note: stream.data.slice(address + length, note.max(1) + 1),
        })
    }

    /// A master of the channel: its AXI ports are the port's, its errors have the direction's name.
    fn master<'m>(&self, m: &'m Builder, name: &str, block: &impl Block) -> Result<Instance<'m>, RtlError> {
        let master = m.instance(name, block)?;
        for port in master.module().ports().to_vec() {
            match (port.name.as_str(), port.input) {
                (axi, true) if axi.starts_with("axi_") => master.set(axi, m.input(axi, port.width)),
                (axi, false) if axi.starts_with("axi_") => m.output(axi, master.get(axi)),
                (error, false) if error.starts_with("error_") => {
                    m.output(&format!("{name}_{error}"), master.get(error));
                }
                _ => {}
            }
        }
        Ok(master)
    }
}

impl Block for Port {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(self.name());
        let (base, clear) = (m.input("base_i", 64), m.input("clear_i", 1));
        let read = self.master(&m, "read", &ReadMaster::new(self.reads))?;
        let write = self.master(&m, "write", &WriteMaster::new(self.writes))?;
        for master in [&read, &write] {
            master.set("base_i", base);
            master.set("clear_i", clear);
        }
        let goes_on = !m.input("halt_i", 1);
        let reads = self.reads(&m, &read, goes_on)?;
        let writes = self.writes(&m, &write, goes_on)?;
        m.output("quiet_o", m.register_valid("quiet", !reads.under_way & !writes.under_way));

        // Control goes first; writes that cannot wait go next, others when nothing is to be read.
        let waits = reads.waits(writes.acknowledged);
        let wants = reads.wants(&waits);
        let write_could = writes.could & (writes.draining | m.concat(&waits).any() | !m.concat(&wants).any());
        let write_could = write_could.named("write_could");
        let control = (reads.heads[0].stream.valid & reads.could).named("control_first");
        reads.decide(&m, &read, &wants, write_could);
        writes.decide(self, &write, (write_could & !control).named("write_goes"));
        m.finish()
    }
}
