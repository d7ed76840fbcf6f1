//! Block lists: asked for when a command is dispatched, kept at the channels, read out for the walks.

use super::control_reads::ListRead;
use super::segments::{hop, hop_word};
use super::streams::Streams;
use super::{Center, ControlReads, Issue, Segments};
use crate::port::Port;
use crate::prim::times;
use crate::rtl::{Builder, Instance, Reg, RtlError, Stream, Wire};
use crate::walk::heads::CacheSizes;
use crate::walk::{ListJob, Lists, Note};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::layout::LIST_BANKS;
use fastcar_arch::timing::{HOP, LIST_KNOWN, WINDOW};

/// Cycles from the way to the queues to the queues, and from there to the request.
const REQUEST: u64 = 1 + ControlReads::LISTS;
/// Bits of a number of commands whose lists are on their way.
const PENDING: u32 = index_bits(WINDOW as u64);

const fn index_bits(most: u64) -> u32 {
    u64::BITS - most.leading_zeros()
}

/// Where the lists of commands stand.
pub(super) struct ListState<'m> {
    /// A command with lists is on its way to the queues; the bank that it gets.
    comes: Wire<'m>,
    pub(super) bank: Wire<'m>,
    /// By bank: its lists have come.
    pub(super) there: Wire<'m>,
    /// None is on its way.
    pub(super) idle: Wire<'m>,
    /// By bank: the command's number in the program.
    positions: [Wire<'m>; 2],
    pub(super) keepers: Vec<Instance<'m>>,
}

/// The keepers of all channels, between the control queue's walker and the ports.
pub(super) fn keepers<'m>(
    m: &'m Builder,
    config: &AccelConfig,
    reads: &Instance<'m>,
    ports: &[Instance<'m>],
) -> Result<Vec<Instance<'m>>, RtlError> {
    let (block, walker) = (Lists::new(config), ControlReads::new(config));
    let address = Port::new(config)?.segment_bits(false) / 2;
    let segments = Segments::new(walker.run_bits(), config.channels(), ControlReads::AHEAD)?.some();
    let segments = m.instance("u_control_segments", &segments)?;
    segments.set("run_valid_i", reads.get("run_valid_o"));
    segments.set("run_i", reads.get("run_o"));
    // Table and program lie on channel 0.
    let list = reads.get("list_o");
    let channels: Vec<_> = (0..ports.len()).map(|c| if c == 0 { m.lit(1, 1) } else { list }).collect();
    segments.set("run_channels_i", m.pack(&channels));
    reads.set("go_i", segments.get("go_o"));
    let each = ports.iter().enumerate().map(|(c, port)| {
        let keeper = m.instance(&format!("u_lists_{c}"), &block)?;
        let run = segments.stream_out(&format!("segment{c}"));
        let note = run.data.slice(address, block.note_bits());
        let beats = Note::of(&block, note).beats;
        let beats = beats.zext(address.max(beats.width())).trunc(address);
        let [to_port, to_keeper] = ["port", "keeper"].map(|to| m.later(&format!("control_{to}_{c}"), 1));
        let data = beats.cat(run.data.trunc(address));
        port.stream_in(
            "control_segment",
            Stream { valid: run.valid & to_keeper.wire(), data, ready: to_port },
        );
        keeper.stream_in("note", Stream { valid: run.valid & to_port.wire(), data: note, ready: to_keeper });
        run.ready.set(to_port.wire() & to_keeper.wire());
        for name in ["valid", "data"] {
            keeper.set(&format!("beat_{name}_i"), port.get(&format!("control_beat_{name}_o")));
        }
        Ok(keeper)
    });
    each.collect()
}

impl<'m> ListState<'m> {
    /// Gives each command that has lists a bank, and waits for these.
    pub(super) fn new(
        m: &'m Builder,
        (start, issue): (Wire<'m>, &Issue<'m>),
        active: Wire<'m>,
        keepers: Vec<Instance<'m>>,
    ) -> Result<Self, RtlError> {
        let fields = &issue.fields;
        let comes = issue.valid & fields.is("attn")? & fields.field("attn", "list_entries")?.any();
        let bank = m.reg("list_bank", 1).reset(0);
        bank.update(&[(start, m.lit(1, 0)), (comes, !bank.q())]);
        let of_bank = |b: u32| comes & if b == 0 { !bank.q() } else { bank.q() };
        let pending: Vec<_> =
            (0..LIST_BANKS).map(|b| Self::pending(m, b, of_bank(b) & active.any(), &keepers)).collect();
        let there = (0..).zip(&pending).map(|(b, pending)| {
            let there = m.reg(&format!("list_{b}_there"), 1).reset(0);
            there.update(&[(of_bank(b), active.is_zero()), (m.lit(1, 1), !*pending)]);
            there.q()
        });
        let there: Vec<_> = there.collect();
        let idle = m.reg("lists_idle", 1).reset(1);
        idle.set(!m.pack(&pending).any());
        let positions = [0, 1].map(|b| {
            let reg: Reg<'m> = m.reg(&format!("list_command_{b}"), issue.position.width());
            reg.set_when(of_bank(b), issue.position);
            reg.q()
        });
        Ok(Self { comes, bank: bank.q(), there: m.pack(&there), idle: idle.q(), positions, keepers })
    }

    /// Whether lists of a bank are on their way: a command for nobody is through with the array before its lists are here, and gives its bank away.
    fn pending(m: &'m Builder, bank: u32, asked: Wire<'m>, keepers: &[Instance<'m>]) -> Wire<'m> {
        let each: Vec<_> = keepers
            .iter()
            .enumerate()
            .map(|(c, keeper)| {
                let arrived = hop(m, &format!("list_{bank}_{c}"), HOP, keeper.get("arrived_o").bit(bank));
                let pending = m.reg(&format!("list_{bank}_{c}_pending"), PENDING).reset(0);
                let (more, less) = (asked & !arrived, arrived & !asked);
                pending.update(&[(more, pending.q() + 1), (less, pending.q() - 1)]);
                pending.q().any()
            })
            .collect();
        m.pack(&each).any()
    }
}

const _: () = assert!(LIST_KNOWN == 2, "counted, and there");

impl<'m> Center<'m> {
    /// Asks for the lists of a command on its way to the queues.
    pub(super) fn ask_for_lists(&self, reads: &Instance<'m>) -> Result<(), RtlError> {
        let Self { m, config, sizes, issue, lists, table, .. } = self;
        let later = |name: &str, cycles: u64, wire: Wire<'m>| {
            (0..cycles).fold(wire, |wire, n| m.register(&format!("asked_lists_{name}_{n}"), wire))
        };
        let (fields, walker) = (&issue.fields, ControlReads::new(config));
        // Places of heads, then the entries of all, then beats.
        let heads = fields.field("attn", "kv_heads")?;
        let heads = heads.trunc(sizes.heads.min(heads.width())).zext(sizes.heads);
        let last = CacheSizes::new(config).last_unit(heads);
        let bits = ListJob::place_bits();
        let places = later("places", 1, last.zext(bits.max(last.width())).trunc(bits).zext(bits + 1) + 1);
        let words = sizes.beat - 3;
        let to_beats = |count: Wire<'m>| {
            let wide = count.zext(count.width() + 1) + ((1_u64 << words) - 1);
            wide >> words
        };
        let room = later("room", 1, fields.field("attn", "list_entries")?);
        let entries = later("entries", 1, times(room, places));
        let headers = later("headers", 1, to_beats(places));
        let entries = to_beats(entries);
        let width = entries.width().max(headers.width()) + 1;
        let beats = later("beats", 1, entries.zext(width) + headers.zext(width));
        let fit = |wire: Wire<'m>, width: u32| wire.zext(width.max(wire.width())).trunc(width);
        let [addr, stride] = ["list", "list_stride"].map(|name| fields.field("attn", name));
        let read = ListRead {
            slots: table.get("active_o"),
            addr: later("addr", REQUEST, sizes.beats(addr?)),
            stride: later("stride", REQUEST, sizes.beats(stride?)),
            beats: later("beats_on", REQUEST - 3, fit(beats, 16)),
            headers: later("headers_on", REQUEST - 2, fit(headers, Lists::new(config).header_bits())),
            bank: later("bank", REQUEST, lists.bank),
        };
        let some = table.get("active_o").any();
        reads.set("list_valid_i", hop(m, "asks_for_lists", REQUEST, lists.comes & some));
        reads.set("list_i", read.word(m));
        debug_assert_eq!(walker.list_bits(), read.word(m).width());
        Ok(())
    }

    /// The channels' lists are read out for the walks over keys and values.
    pub(super) fn read_lists(&self, streams: &Streams<'m>) {
        for (c, keeper) in self.lists.keepers.iter().enumerate() {
            for (stream, heads, entries) in
                [("main", &streams.main[c], "own"), ("ahead", &streams.ahead[c], "older")]
            {
                let queue = &streams.queues[usize::from(stream == "ahead")];
                let valid = hop(self.m, &format!("{stream}_list_{c}"), HOP, queue.get("list_valid_o"));
                let job = hop_word(self.m, &format!("{stream}_list_job_{c}"), HOP, queue.get("list_o"));
                let ready = self.m.later(&format!("{stream}_list_room_{c}"), 1);
                keeper.stream_in(&format!("{stream}_job"), Stream { valid, data: job, ready });
                heads.stream_in("entry", keeper.stream_out(entries));
            }
        }
    }

    /// Whether a list that is walked is wrong, and its command.
    pub(super) fn wrong_list(&self, streams: &Streams<'m>) -> [Wire<'m>; 2] {
        let m = self.m;
        let each: Vec<_> = self
            .lists
            .keepers
            .iter()
            .enumerate()
            .map(|(c, keeper)| {
                let walks = streams.main[c].get("wrong_o") | streams.ahead[c].get("wrong_o");
                let wrong = m.register_valid(&format!("wrong_list_{c}"), keeper.get("wrong_o") | walks);
                hop(m, &format!("wrong_list_on_way_{c}"), HOP, wrong)
            })
            .collect();
        let wrong = m.register_valid("wrong_list", m.tree(&each, |a, b| a | b));
        let [first, second] = self.lists.positions;
        [wrong.any(), wrong.bit(0).mux(first, second)]
    }
}
