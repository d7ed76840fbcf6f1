//! Commands on their way.

use super::{Scene, scene};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{Command, End, Pred};
use fastcar_hw::cmd::{Check, Prefetch, Ranges, TableReader, Writers};
use fastcar_hw::rtl::Block;

pub fn scenes() -> Vec<Scene> {
    let ranges = Ranges::new(8, 4, 4).and_then(|block| block.module());
    let writers = Writers::new(2, 8, 1).and_then(|block| block.module());
    let tiny = AccelConfig::preset("tiny").unwrap();
    let table = TableReader::new(&tiny, 1).and_then(|block| block.module());
    let prefetch = Prefetch::new(16).and_then(|block| block.module());
    let check = Check::new(16).and_then(|block| block.module());
    let end = Command::End(End { pred: Pred::All }).encode()[0];
    vec![
        scene(
            "cmd/ranges",
            "a range from 4 to 7 with number 9; 6 and 7 overlap with it, 8 and 9 do not.",
            ranges,
            6,
        )
        .input("push_i", &[1])
        .with("push_start_i", "push_i", &[4])
        .with("push_end_i", "push_i", &[8])
        .with("push_number_i", "push_i", &[9])
        .input("start_i", &[0, 6, 8])
        .input("end_i", &[0, 8, 10])
        .shown(&["found_o"])
        .counts("number_o", "found_o"),

        scene("cmd/writers", "a command that writes 10 for slot 0, and one behind it that reads the same, until the first is done.", writers, 12)
            .input("push_valid_i", &[0, 1])
            .with("push_i", "push_valid_i", &[0, 0])
            .with("push_family_i", "push_valid_i", &[0, 0x10])
            .held("push_known_i", 1)
            .with("push_slots_i", "push_valid_i", &[0, 1])
            .held("before_0_i", 1)
            .always("family_0_i", 0x10)
            .always("slots_0_i", 1)
            .shown(&["oldest_valid_o"])
            .input("done_i", &[0, 0, 0, 0, 0, 0, 1])
            .shown(&["guard_valid_0_o"])
            .counts("guard_0_o", "guard_valid_0_o"),
        scene("cmd/table", "the head is asked for; it names no slot, so that nothing more is.", table, 10)
            .input("start_i", &[1])
            .shown(&["request_valid_o"])
            .counts("request_data_o", "request_valid_o")
            .always("request_ready_i", 1)
            .input("beat_valid_i", &[0, 0, 0, 1, 1, 1, 1])
            .with("beat_data_i", "beat_valid_i", &[0])
            .shown(&["wrong_o", "ready_o"]),
        scene("cmd/prefetch", "a program of one command of four beats.", prefetch, 22)
            .input("start_i", &[1])
            .held("commands_i", 1)
            .held("enable_i", 1)
            .shown(&["request_valid_o"])
            .counts("request_data_o", "request_valid_o")
            .held("request_ready_i", 1)
            .input("beat_valid_i", &[0, 0, 0, 1, 1, 1, 1])
            .with("beat_data_i", "beat_valid_i", &[0, 0, 0, 0xa0, 0xa1, 0xa2, 0xa3])
            .shown(&["command_valid_o"])
            .part("command_data_o", 0..8, Some("command_valid_o"))
            .part("command_data_o", 384..392, Some("command_valid_o"))
            .counts("last_o", "command_valid_o")
            .always("command_ready_i", 1)
            .shown(&["bursts_o"])
            .without(11..19),
        scene("cmd/check", "an `end`, one with a byte that no field uses, and an opcode that there is not.", check, 6)
            .input("valid_i", &[1, 1, 1])
            .given("command_i", &[end.into(), 1 << 16 | u64::from(end), 0xff])
            .part("command_i", 0..64, Some("valid_i"))
            .shown(&["valid_o"])
            .counts("opcode_o", "valid_o")
            .counts("operand_o", "valid_o"),
    ]
}
