//! What the masters of a memory channel share: the shape of a request, and how it becomes an AXI4 address.

use crate::prim::SkidBuffer;
use crate::rtl::{Builder, Instance, MAX_WIDTH, RtlError, Stream, Wire, index_width};
use fastcar_arch::config::{AccelConfig, BURST_BYTES};

/// Base addresses are multiples of so many bytes ([`fastcar_arch::regs`]): no burst of a channel crosses a page when none
/// of its local addresses does.
const PAGE_BYTES: u64 = 4096;
/// AXI4: bursts with ascending addresses.
const INCR: u64 = 0b01;
/// AXI4: modifiable and bufferable, what memories want.
const CACHE: u64 = 0b0011;
/// AXI4: the slave failed.
pub(super) const SLVERR: u64 = 0b10;

/// Addresses that a master holds while the slave takes none.
pub const WAITING: u32 = 3;

/// A memory channel as its masters see it: beats, local addresses, bursts under way, tags.
///
/// A **request** is one burst: a tag in the high bits, beats less one, and in the low bits the local address, in beats. A burst has at most
/// [`BURST_BYTES`] bytes and crosses no multiple of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurstPort {
    beat_bytes: u32,
    address: u32,
    bursts: u32,
    tag: u32,
}

impl BurstPort {
    /// A channel with beats of `beat_bytes`, local addresses of `address` bits (in beats), at most `bursts` bursts under
    /// way, and tags of `tag` bits, which come back with what a request gives.
    ///
    /// # Errors
    /// [`RtlError::Parameter`].
    pub fn new(beat_bytes: u32, address: u32, bursts: u32, tag: u32) -> Result<Self, RtlError> {
        let wrong = |parameter, asked: u32, allowed| {
            Err(RtlError::Parameter { block: "axi master", parameter, asked: asked.into(), allowed })
        };
        // AXI4 has buses of 8 to 1024 bits and bursts of at most 256 beats.
        if !beat_bytes.is_power_of_two() || !(4..=128).contains(&beat_bytes) {
            return wrong("beat_bytes", beat_bytes, "a power of two from 4 to 128");
        }
        let page_beats = (PAGE_BYTES / u64::from(beat_bytes)).ilog2();
        if !(page_beats + 1..=64 - beat_bytes.ilog2()).contains(&address) {
            return wrong(
                "address",
                address,
                "more bits than a page has beats, and 64 bits at most in bytes",
            );
        }
        if !(1..=1 << 16).contains(&bursts) {
            return wrong("bursts", bursts, "1 to 65536");
        }
        if !(1..=MAX_WIDTH / 2).contains(&tag) {
            return wrong("tag", tag, "1 to 524288 bits");
        }
        Ok(Self { beat_bytes, address, bursts, tag })
    }

    /// The read side of a configuration's channels.
    ///
    /// # Errors
    /// As [`BurstPort::new`].
    pub fn reads(config: &AccelConfig, tag: u32) -> Result<Self, RtlError> {
        Self::with_bursts(config, config.read_bursts(), tag)
    }

    /// The write side of a configuration's channels: every beat of the write buffer may be a burst of its own.
    ///
    /// # Errors
    /// As [`BurstPort::new`].
    pub fn writes(config: &AccelConfig, tag: u32) -> Result<Self, RtlError> {
        Self::with_bursts(config, config.write_beats(), tag)
    }

    fn with_bursts(config: &AccelConfig, bursts: u32, tag: u32) -> Result<Self, RtlError> {
        let beats = config.channel_capacity().get() / config.beat().get();
        Self::new(config.fields().beat_bytes, index_width(beats), bursts, tag)
    }

    /// Bits of a beat.
    #[must_use]
    pub fn beat_bits(&self) -> u32 {
        8 * self.beat_bytes
    }

    /// Bits of a beat that is written: the beat low, then a bit for each of its bytes, set if it is to be written.
    #[must_use]
    pub fn written_bits(&self) -> u32 {
        9 * self.beat_bytes
    }

    /// Bits of a local address, which counts beats.
    #[must_use]
    pub fn address_bits(&self) -> u32 {
        self.address
    }

    /// Bursts that may be under way.
    #[must_use]
    pub fn bursts(&self) -> u32 {
        self.bursts
    }

    /// Bits of a tag.
    #[must_use]
    pub fn tag_bits(&self) -> u32 {
        self.tag
    }

    /// Bits of the number of beats less one.
    #[must_use]
    pub fn length_bits(&self) -> u32 {
        (BURST_BYTES as u32 / self.beat_bytes).ilog2()
    }

    /// Bits of a request.
    #[must_use]
    pub fn request_bits(&self) -> u32 {
        self.tag + self.length_bits() + self.address
    }

    /// A request put together: local address, beats less one, tag.
    #[must_use]
    #[track_caller]
    pub fn request<'m>(&self, address: Wire<'m>, length: Wire<'m>, tag: Wire<'m>) -> Wire<'m> {
        tag.cat(length).cat(address)
    }

    /// What tells a module apart by its parameters.
    pub(super) fn name(&self) -> String {
        format!("b{}_a{}_n{}_t{}", self.beat_bytes, self.address, self.bursts, self.tag)
    }

    pub(super) fn address_of<'m>(&self, request: Wire<'m>) -> Wire<'m> {
        request.trunc(self.address)
    }

    pub(super) fn length_of<'m>(&self, request: Wire<'m>) -> Wire<'m> {
        request.slice(self.address, self.length_bits())
    }

    pub(super) fn tag_of<'m>(&self, request: Wire<'m>) -> Wire<'m> {
        request.slice(self.address + self.length_bits(), self.tag)
    }

    /// The address channel `ar` or `aw`: a request waits in a register, whoever asks may need the whole cycle before to make it
    /// up; with its base added it waits in a skid buffer, so that nothing on this side hangs on the slave's `ready`.
    pub(super) fn address_channel<'m>(
        &self,
        m: &'m Builder,
        channel: &str,
        request: Stream<'m>,
    ) -> Result<(), RtlError> {
        let request = staged(m, "request", request);
        let address = self.device_address(m, self.address_of(request.data));
        let word = self.length_of(request.data).cat(address);
        let held = SkidBuffer::new(word.width())?.after(m, "address", request.with_data(word))?;
        let port = |name: &str| format!("axi_{channel}{name}_o");
        held.ready.set(m.input(&format!("axi_{channel}ready_i"), 1));
        m.output(&port("valid"), held.valid);
        m.output(&port("addr"), held.data.trunc(64));
        m.output(&port("len"), held.data.slice(64, self.length_bits()).zext(8));
        m.output(&port("size"), m.lit(3, self.beat_bytes.ilog2().into()));
        m.output(&port("burst"), m.lit(2, INCR));
        m.output(&port("cache"), m.lit(4, CACHE));
        m.output(&port("prot"), m.lit(3, 0));
        Ok(())
    }

    /// Base and local address added up. The base is a multiple of a page: only pages are added.
    fn device_address<'m>(&self, m: &'m Builder, local: Wire<'m>) -> Wire<'m> {
        let page_bits = PAGE_BYTES.ilog2();
        let bytes = m.lit(self.beat_bytes.ilog2(), 0);
        let local = local.cat(bytes);
        let within = local.trunc(page_bits);
        let page = local.slice(page_bits, local.width() - page_bits).zext(64 - page_bits);
        (m.input("base_i", 64).slice(page_bits, 64 - page_bits) + page).cat(within)
    }
}

/// A stream behind a register.
fn staged<'m>(m: &'m Builder, name: &str, stream: Stream<'m>) -> Stream<'m> {
    let (valid, data) = (m.reg(&format!("{name}_valid"), 1).reset(0), m.reg(name, stream.data.width()));
    let out = m.stream(&format!("{name}_ready"), valid.q(), data.q());
    let free = !valid.q() | out.ready.wire();
    stream.ready.set(free);
    valid.set_when(free, stream.valid);
    data.set_when(free, stream.data);
    out
}

/// A stream for several consumers that take each word in the same cycle, when all of them can.
pub(super) fn together<'m, const N: usize>(
    m: &'m Builder,
    stream: Stream<'m>,
    names: [&str; N],
) -> [Stream<'m>; N] {
    let readies = names.map(|name| m.later(&format!("{name}_ready"), 1));
    let all = |but: usize| {
        let others = readies.iter().enumerate().filter(|(n, _)| *n != but);
        others.map(|(_, ready)| ready.wire()).reduce(|a, b| a & b)
    };
    if let Some(ready) = all(N) {
        stream.ready.set(ready);
    }
    let mut n = 0;
    readies.map(|ready| {
        let valid = all(n).map_or(stream.valid, |others| stream.valid & others);
        n += 1;
        Stream { valid, data: stream.data, ready }
    })
}

/// The first error since reset or `clear_i`: ports `error_valid_o`, `error_address_o`, `error_response_o`.
pub(super) fn first_error<'m>(m: &'m Builder, found: Wire<'m>, address: Wire<'m>, response: Wire<'m>) {
    let clear = m.input("clear_i", 1);
    let valid = m.reg("error_valid", 1).reset(0);
    // An error in the cycle of the clearing is the first one after it.
    valid.update(&[(found, m.lit(1, 1)), (clear, m.lit(1, 0))]);
    let first = found & (!valid.q() | clear);
    m.output("error_valid_o", valid.q());
    for (name, value) in [("error_address", address), ("error_response", response)] {
        let kept = m.reg(name, value.width());
        kept.set_when(first, value);
        m.output(&format!("{name}_o"), kept.q());
    }
}

/// A queue's number of words as a port: bursts under way.
pub(super) fn under_way(m: &Builder, queue: &Instance<'_>) {
    m.output("under_way_o", queue.get("count_o"));
}
