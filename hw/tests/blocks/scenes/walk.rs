//! Walks over memory.

use super::{Scene, packed, scene};
use fastcar_arch::config::AccelConfig;
use fastcar_hw::rtl::Block;
use fastcar_hw::walk::{CacheWalker, HeadQueue, RunFinder, Turns, WeightQueue, WeightSizes, WeightWalker};

pub fn scenes() -> Vec<Scene> {
    let tiny = AccelConfig::preset("tiny").unwrap();
    let (walker, sizes) = (WeightWalker::new(&tiny).unwrap(), WeightSizes::new(&tiny));
    let first_run = walker.latency() as usize;
    let matrix =
        |address, blocks| [(sizes.common.address, address), (16, blocks), (sizes.granules, 0), (1, 0)];
    let product = |address, blocks, rounds: u128| {
        packed(&[&matrix(address, blocks)[..], &[(sizes.rounds, rounds - 1)]].concat())
    };
    // A product for slot 0 alone, which is in place 0.
    let finder = RunFinder::new(&tiny);
    let job = |address, masked| {
        let filled = [(sizes.rounds, 0), (1, masked), (finder.group_bits(), 0), (1, 0), (8, 0)];
        packed(&[&matrix(address, 16)[..], &filled, &[(tiny.slots(), 1), (tiny.slots(), 1)]].concat())
    };
    // Where a piece has the blocks that begin a run; behind them are those that end one.
    let begins = matrix(0, 0).iter().map(|field| field.0).sum::<u32>() + sizes.rounds + 1 + 12;
    // Its number, of all slots, with no gate before it; this queue reads its weights.
    let waiting = |number, address| {
        packed(&[&[(8, number), (2, 0), (1, 0), (8, 0), (1, 1)], &matrix(address, 16)[..]].concat())
    };
    let address = sizes.common.address;
    let head = [(sizes.common.heads, 1), (6, 1)];
    let caches = packed(&[&[(tiny.slots(), 5), (address, 0x100), (address, 0x40)], &head[..]].concat());
    // Its number, of all slots, with no gate and no writes before it, without lists.
    let attention = |number, base| {
        let cache = [(address, base), (address, 0x40)];
        packed(&[&[(8, number), (2, 0), (1, 0), (8, 0), (8, 0)], &cache[..], &head].concat())
    };
    let turns = Turns::new(8, 8).and_then(|block| block.module());
    vec![
        scene(
            "walk/turns",
            "a product, then attention, whose job waits until nothing of weights is left.",
            turns,
            9,
        )
        .input("push_valid_i", &[1, 1])
        .with("push_i", "push_valid_i", &[0, 1])
        .shown(&["turn_weights_o", "turn_heads_o"])
        .input("leaves_i", &[0, 0, 1, 1])
        .input("weights_valid_i", &[0, 0, 1])
        .with("weights_data_i", "weights_valid_i", &[0, 0, 0xa0])
        .input("heads_valid_i", &[0, 0, 0, 1])
        .with("heads_data_i", "heads_valid_i", &[0, 0, 0, 0xb0])
        .shown(&["weights_job_valid_o"])
        .counts("weights_job_data_o", "weights_job_valid_o")
        .held("weights_job_ready_i", 1)
        .input("weights_idle_i", &[1, 1, 1, 1, 0, 0, 1, 1, 1])
        .shown(&["heads_job_valid_o"])
        .counts("heads_job_data_o", "heads_job_valid_o")
        .held("heads_job_ready_i", 1),
        scene(
            "walk/weights",
            "a product of two rounds over 3 blocks at beat 100, and one of one round over 1 block at beat 200, which is taken with the last round before it.",
            walker.module(),
            first_run + 6,
        )
        .input("job_valid_i", &[1, 1, 1])
        .wide("job_data_i", &[product(0x100, 3, 2), product(0x200, 1, 1), product(0x200, 1, 1)])
        .part("job_data_i", 0..sizes.common.address, Some("job_valid_i"))
        .shown(&["job_ready_o"])
        .always("go_i", 1)
        .shown(&["run_valid_o"])
        .counts("run_address_o", "run_valid_o")
        .counts("run_length_o", "run_valid_o"),
        scene(
            "walk/run_finder",
            "a whole product at beat 100; then a masked one at beat 200 of 16 blocks, of which 0, 1 and 4 are active in slot 0: runs begin with 0 and 4 and end with 1 and 4.",
            finder.module(),
            16,
        )
        .input("job_valid_i", &[1, 0, 0, 0, 1])
        .wide("job_data_i", &[job(0x100, 0), 0, 0, 0, job(0x200, 1)])
        .part("job_data_i", 0..sizes.common.address, Some("job_valid_i"))
        .held("all_i", 1)
        .held("look_i", 0x1_0011)
        .shown(&["look_o", "piece_valid_o"])
        .part("piece_data_o", 0..sizes.common.address, Some("piece_valid_o"))
        .part("piece_data_o", begins..begins + 16, Some("piece_valid_o"))
        .part("piece_data_o", begins + 16..begins + 32, Some("piece_valid_o"))
        .always("piece_ready_i", 1)
        .shown(&["idle_o"]),
        scene(
            "walk/weights_queue",
            "two products; it is known from cycle 2 on that they run for slot 0.",
            WeightQueue::new(&tiny).module(),
            12,
        )
        .input("push_valid_i", &[1, 1])
        .wide("push_i", &[waiting(1, 0x100), waiting(2, 0x200)])
        .part("push_i", 0..8, Some("push_valid_i"))
        .shown(&["front_valid_o"])
        .counts("front_o", "front_valid_o")
        .input("known_i", &[&[0; 2][..], &[1; 10]].concat())
        .held("slots_i", 1)
        .shown(&["leaves_o", "job_valid_o"])
        .part("job_data_o", 0..sizes.common.address, Some("job_valid_o"))
        .always("job_ready_i", 1),
        scene(
            "walk/caches",
            "caches of one head of a block, at beat 100 and 40 beats apart, of slots 0 and 2: their tokens are at positions 5 and 26 (in hexadecimal), in blocks 0 and 1.",
            CacheWalker::new(&tiny).module(),
            9,
        )
        .input("job_valid_i", &[1])
        .wide("job_data_i", &[caches])
        .part("job_data_i", 0..tiny.slots(), Some("job_valid_i"))
        .always("go_i", 1)
        .held("blocks_i", 4)
        .shown(&["slot_o"])
        .given("entry_i", &[0, 0, 5, 0x26])
        .part("entry_i", 0..15, None)
        .shown(&["visit_valid_o"])
        .part("visit_o", 1..1 + address, Some("visit_valid_o"))
        .part("visit_o", 1 + address..1 + 2 * address, Some("visit_valid_o")),
        scene(
            "walk/head_queue",
            "two commands with caches at beats 100 and 200; it is known from cycle 2 on that they run for slots 0 and 2.",
            HeadQueue::new(&tiny).module(),
            12,
        )
        .input("push_valid_i", &[1, 1])
        .wide("push_i", &[attention(1, 0x100), attention(2, 0x200)])
        .part("push_i", 0..8, Some("push_valid_i"))
        .shown(&["front_valid_o"])
        .counts("front_o", "front_valid_o")
        .input("known_i", &[&[0; 2][..], &[1; 10]].concat())
        .held("slots_i", 5)
        .shown(&["leaves_o", "job_valid_o"])
        .part("job_data_o", 0..tiny.slots(), Some("job_valid_o"))
        .part("job_data_o", tiny.slots()..tiny.slots() + address, Some("job_valid_o"))
        .always("job_ready_i", 1),
    ]
}
