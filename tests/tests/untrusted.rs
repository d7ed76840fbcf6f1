//! Untrusted bytes: readers refuse them with an error, and never panic, hang or accept a changed file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa;
use fastcar_arch::program::{Limits, Program};
use fastcar_host::compile::{CompileOptions, compile};
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec};
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Policy, TasForm};
use fastcar_host::session::{SequenceSnapshot, Snapshot, SnapshotError};
use fastcar_tests::{forced, golden_session, packed};
use proptest::prelude::*;
use std::path::Path;
use std::sync::{Arc, OnceLock};

fn small_model() -> Arc<PackedModel> {
    let dir = tempfile::tempdir().unwrap();
    let body = LlamaSpec { layers: 1, hidden: 32, heads: 1, kv_heads: 1, ffn: 32, ..LlamaSpec::default() };
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    packed(&Model::open(dir.path()).unwrap(), "tiny", PackOptions::default()).unwrap()
}

/// A valid packed file's bytes.
fn valid() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        small_model().save(file.path()).unwrap();
        std::fs::read(file.path()).unwrap()
    })
}

fn open(bytes: &[u8]) -> Result<PackedModel, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    PackedModel::open(file.path()).map_err(|e| e.to_string())
}

#[test]
fn a_packed_file_is_what_was_packed() {
    let (from_disk, model) = (open(valid()).unwrap(), small_model());
    assert_eq!(from_disk.fingerprint(), model.fingerprint());
    assert_eq!(from_disk.image(), model.image());
    let again = AccelConfig::preset("edge").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), valid()).unwrap();
    let error = PackedModel::open_for(file.path(), &again).unwrap_err().to_string();
    assert!(
        error.contains("(preset 'tiny')") && error.ends_with("run `fastcar pack --preset edge`"),
        "{error}"
    );
}

#[test]
fn a_foreign_identity_is_refused() {
    // Another command set under the same configuration: change the identity and make the manifest's hash fit.
    let bytes = valid();
    let at = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    let text = String::from_utf8(bytes[at..].to_vec()).unwrap();
    let start = text.find("\"identity\":\"").unwrap() + 12;
    let digit = if text.as_bytes()[start] == b'0' { "1" } else { "0" };
    let changed = format!("{}{digit}{}", &text[..start], &text[start + 1..]);
    let mut forged = bytes[..at].to_vec();
    forged[32..64].copy_from_slice(blake3::hash(changed.as_bytes()).as_bytes());
    forged.extend_from_slice(changed.as_bytes());
    let error = open(&forged).unwrap_err();
    assert!(
        error.contains("packed for identity") && error.contains("run `fastcar pack --preset tiny`"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_flipped_bit_goes_unseen(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = valid().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(open(&bytes).is_err(), "byte {at}, bit {bit}");
    }

    #[test]
    fn no_header_byte_goes_unchecked(at in 0usize..4096, value: u8) {
        let mut bytes = valid().to_vec();
        prop_assume!(bytes[at] != value);
        bytes[at] = value;
        prop_assert!(open(&bytes).is_err());
    }

    #[test]
    fn no_cut_or_longer_file_is_taken(cut in any::<prop::sample::Index>(), more in 0usize..9) {
        let bytes = valid();
        prop_assert!(open(&bytes[..cut.index(bytes.len())]).is_err());
        if more > 0 {
            prop_assert!(open(&[bytes, &vec![0; more][..]].concat()).is_err());
        }
    }

    #[test]
    fn noise_is_no_packed_file(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
        prop_assert!(open(&bytes).is_err());
    }

    #[test]
    fn noise_is_no_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let refused = matches!(Snapshot::from_bytes(&bytes), Err(SnapshotError::Format { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn programs_from_noise_never_panic(
        raw in prop::collection::vec(any::<u8>(), 0..8 * 64), opcodes in prop::collection::vec(0u8..0x44, 8),
    ) {
        let mut raw = raw;
        for (command, opcode) in raw.chunks_mut(64).zip(opcodes) {
            command[0] = opcode;
        }
        let config = AccelConfig::preset("tiny").unwrap();
        let limits = Limits { slots: 4, positions: 512, ring: 64, tokens: 1024, gates: 8 };
        if let Ok(commands) = isa::decode(&raw) {
            prop_assert_eq!(isa::encode(&commands), raw);
            let _ = Program::new(&config, limits, commands);
        }
    }

    #[test]
    fn configurations_and_policies_from_noise_never_panic(text in "\\PC{0,200}") {
        let _ = AccelConfig::from_toml(&text);
        let _ = Policy::from_toml(&text);
    }

    /// One value of a valid text replaced: what is taken is valid, so it survives its own text.
    #[test]
    fn changed_configurations_are_refused_or_valid(preset in 0usize..5, key in 0usize..12, value in any::<i64>()) {
        let config = AccelConfig::preset(AccelConfig::PRESETS[preset]).unwrap();
        let mut lines: Vec<String> = config.to_toml().lines().map(str::to_owned).collect();
        let key = key % lines.len();
        let name = lines[key].split(' ').next().unwrap().to_owned();
        lines[key] = format!("{name} = {value}");
        if let Ok(changed) = AccelConfig::from_toml(&lines.join("\n")) {
            prop_assert_eq!(AccelConfig::from_toml(&changed.to_toml()), Ok(changed));
        }
    }

    /// A compiled program with bytes overwritten is refused or stays within its bounds: it runs without a panic.
    #[test]
    fn a_damaged_program_is_refused_or_harmless(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        use fastcar_golden::{Golden, Memory};
        use fastcar_arch::step::{ACTIVE, OUTPUT, SlotEntry, StepTable};
        let model = small_model();
        let policy = Policy::replay(Gate::Tas { form: TasForm::Code, thresholds: vec![0.0] }).unwrap();
        let options = CompileOptions { slots: 2, positions: 64, period: 12 };
        let compiled = compile(model.plan(), &policy, options).unwrap();
        let program = &compiled.body[0];
        let mut raw = isa::encode(program.commands());
        for (at, value) in changes {
            let at = at.index(raw.len());
            raw[at] = value;
        }
        let Ok(changed) = Program::from_bytes(model.config(), program.limits(), &raw) else { return Ok(()) };
        let mut machine = Golden::new(model.config().clone(), Memory::new(model.config(), compiled.map.used()));
        let mut table = StepTable::new(2, 1);
        table.slots[0] = SlotEntry { flags: ACTIVE | OUTPUT, pos: 20, ring: 3, ..SlotEntry::idle() };
        table.gates[0].allow = 1;
        let _ = machine.run(&changed, &table);
    }
}

/// A session's snapshot in mid-decode, under a policy with ages.
fn snapshot() -> &'static (Arc<PackedModel>, Vec<u8>) {
    static SNAPSHOT: OnceLock<(Arc<PackedModel>, Vec<u8>)> = OnceLock::new();
    SNAPSHOT.get_or_init(|| {
        let model = small_model();
        let policy = Policy::replay(Gate::Tas { form: TasForm::Code, thresholds: vec![0.0] }).unwrap();
        let mut session = golden_session(&model, policy, 2, 32).unwrap();
        session.start(forced(vec![1, 2, 3, 4], &[5; 20], 0..48)).unwrap();
        (0..18).for_each(|_| drop(session.step().unwrap()));
        let bytes = session.snapshot().unwrap().to_bytes().unwrap();
        (model, bytes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_snapshot_is_taken(at in any::<prop::sample::Index>(), value in 1u8..=255, cut in any::<prop::sample::Index>()) {
        let bytes = &snapshot().1;
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= value;
        prop_assert!(Snapshot::from_bytes(&changed).is_err());
        prop_assert!(Snapshot::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(SequenceSnapshot::from_bytes(&changed).is_err());
    }

    /// Numbers and characters of the head replaced by someone who also makes the hash fit: refused, or decoded to its
    /// end.
    #[test]
    fn no_forged_snapshot_does_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"0123456789[]{},:\"e-.n".to_vec())), 1..4),
        longer in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (model, bytes) = snapshot();
        let length = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
        let mut head = bytes[56..56 + length].to_vec();
        // Digits are where the harm would be.
        let digits: Vec<usize> = (0..head.len()).filter(|&i| head[i].is_ascii_digit()).collect();
        for (at, value) in changes {
            head[*at.get(&digits)] = value;
        }
        if let Some(at) = longer {
            let at = *at.get(&digits);
            head.splice(at..at, *b"429496729");
        }
        let body = [&head, &bytes[56 + length..]].concat();
        let mut forged = bytes[..16].to_vec();
        forged.extend_from_slice(&(head.len() as u64).to_le_bytes());
        forged.extend_from_slice(blake3::hash(&body).as_bytes());
        forged.extend_from_slice(&body);
        let Ok(snapshot) = Snapshot::from_bytes(&forged) else { return Ok(()) };
        let backend = Box::new(fastcar_host::backend::GoldenBackend::new());
        let restored = fastcar_host::session::Session::restore(backend, Arc::clone(model), &snapshot);
        if let Ok(mut session) = restored {
            let made = session.generate().collect::<Vec<_>>();
            prop_assert!(made.len() <= 32 && made.iter().all(Result::is_ok));
        }
    }
}

#[test]
fn a_changed_snapshot_is_refused() {
    let model = small_model();
    let mut session = golden_session(&model, Policy::dense(), 1, 32).unwrap();
    session.start(forced(vec![1, 2, 3, 4], &[5, 6, 7], 0..48)).unwrap();
    session.step().unwrap();
    let mut bytes = session.snapshot().unwrap().to_bytes().unwrap();
    assert!(Snapshot::from_bytes(&bytes).is_ok());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let error = Snapshot::from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("damaged or cut short"), "{error}");
    let other = {
        let dir = tempfile::tempdir().unwrap();
        VideoSpec::default().write(dir.path()).unwrap();
        packed(&Model::open(dir.path()).unwrap(), "tiny", PackOptions::default()).unwrap()
    };
    let snapshot = session.snapshot().unwrap();
    let backend = Box::new(fastcar_host::backend::GoldenBackend::new());
    let error = fastcar_host::session::Session::restore(backend, other, &snapshot).err().unwrap().to_string();
    assert!(error.starts_with("the snapshot belongs to model"), "{error}");
}

#[test]
fn packing_refuses_what_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    VideoSpec::default().write(dir.path()).unwrap();
    let model = Model::open(dir.path()).unwrap();
    let mut fields = AccelConfig::preset("tiny").unwrap().fields().clone();
    fields.channel_bytes = 1 << 20;
    let small = AccelConfig::new(fields).unwrap();
    let packed = fastcar_host::pack::pack(&model, &small, PackOptions::default(), &()).map(Arc::new).unwrap();
    let options = CompileOptions { slots: 4, positions: 256, period: 200 };
    let error = compile(packed.plan(), &Policy::delta(0.1).unwrap(), options).unwrap_err().to_string();
    assert!(error.contains("are left; use fewer slots"), "{error}");

    let cancel = std::sync::atomic::AtomicBool::new(true);
    let error = fastcar_host::pack::pack(&model, &small, PackOptions::default(), &cancel).unwrap_err();
    assert_eq!(error.to_string(), "packing was cancelled; nothing was written");
    let error = packed.save(Path::new("/proc/no/such/file")).unwrap_err().to_string();
    assert!(error.starts_with("/proc/no/such/file: "), "{error}");
}

/// A snapshot whose head was changed by someone who also made the hash fit.
#[test]
fn a_dishonest_snapshot_is_refused() {
    let model = small_model();
    let mut session = golden_session(&model, Policy::dense(), 2, 32).unwrap();
    session.start(forced(vec![1, 2, 3, 4], &[5, 6, 7], 0..48)).unwrap();
    (0..5).for_each(|_| drop(session.step().unwrap()));
    let bytes = session.snapshot().unwrap().to_bytes().unwrap();
    let forge = |from: &str, to: &str| {
        let length = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
        let head = String::from_utf8(bytes[56..56 + length].to_vec()).unwrap();
        assert!(head.contains(from), "{from} is not in {head}");
        let head = head.replacen(from, to, 1);
        let mut body = head.clone().into_bytes();
        body.extend_from_slice(&bytes[56 + length..]);
        let mut forged = bytes[..16].to_vec();
        forged.extend_from_slice(&(head.len() as u64).to_le_bytes());
        forged.extend_from_slice(blake3::hash(&body).as_bytes());
        forged.extend_from_slice(&body);
        let snapshot = Snapshot::from_bytes(&forged).map_err(|e| e.to_string())?;
        let backend = Box::new(fastcar_host::backend::GoldenBackend::new());
        fastcar_host::session::Session::restore(backend, Arc::clone(&model), &snapshot)
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert_eq!(forge("\"next\":5", "\"next\":5"), Ok(()));
    let contradiction = Err("not a snapshot of this version: sequence 0 contradicts itself".to_owned());
    assert_eq!(forge("\"next\":5", "\"next\":50"), contradiction);
    assert_eq!(forge("\"next\":5", "\"next\":4"), contradiction);
    assert_eq!(forge("\"ages\":[{", "\"ages\":[{\"gates\":0,\"ages\":[]},{"), contradiction);
    assert_eq!(forge("\"joint\":0", "\"joint\":9"), contradiction);
    assert_eq!(forge("\"eligible\":0", "\"eligible\":18446744073709551615"), contradiction);
    assert_eq!(forge("\"next_id\":1", "\"next_id\":0"), contradiction);
    assert_eq!(forge("\"tokens\":[[5]", "\"tokens\":[[500]"), contradiction);
    assert!(forge("\"prompt\":[1", "\"prompt\":[999").unwrap_err().contains("request.prompt is 999"));
    assert!(forge("\"slots\":2", "\"slots\":200").unwrap_err().contains("slots is 200"));
    let error = forge("\"state_bytes\":", "\"state_bytes\":1").unwrap_err();
    assert!(error.ends_with("the states are longer than the file"), "{error}");
    let error = forge("\"state_bytes\":", "\"state_bytes\":0,\"unused\":").unwrap_err();
    assert!(error.ends_with("there is more than the states"), "{error}");
}

/// A packed file whose manifest lies, with a hash that fits the lie.
#[test]
fn a_dishonest_manifest_is_refused() {
    let bytes = valid();
    let at = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    let text = String::from_utf8(bytes[at..].to_vec()).unwrap();
    let forge = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        let changed = text.replacen(from, to, 1);
        let mut forged = bytes[..at].to_vec();
        forged[24..32].copy_from_slice(&(changed.len() as u64).to_le_bytes());
        forged[32..64].copy_from_slice(blake3::hash(changed.as_bytes()).as_bytes());
        forged.extend_from_slice(changed.as_bytes());
        let model = open(&forged)?;
        let options = CompileOptions { slots: 2, positions: 64, period: 12 };
        compile(model.plan(), &Policy::dense(), options).map(|_| ()).map_err(|e| e.to_string())
    };
    let refused = |from: &str, to: &str, message: &str| {
        let error = forge(from, to).unwrap_err();
        assert!(error.contains(message), "{error}");
    };
    assert_eq!(forge("\"heads\":1", "\"heads\":1"), Ok(()));
    refused("\"heads\":1", "\"heads\":0", "0 heads cannot share 1");
    refused("\"kv_heads\":1", "\"kv_heads\":0", "1 heads cannot share 0");
    refused("\"head_dim\":32", "\"head_dim\":33", "head_dim is 33, not a multiple of 32");
    refused("\"hidden\":32", "\"hidden\":64", "its matrices do not have the sizes it states");
    refused("\"layers\":1", "\"layers\":2", "its matrices do not have the sizes it states");
    refused("\"first_row\":0", "\"first_row\":1", "its matrices do not have the sizes it states");
    refused(
        "\"inputs\":[{\"tables\":[",
        "\"inputs\":[],\"unused\":[{\"tables\":[",
        "the body's inputs do not fit it",
    );
    refused("\"period\":12", "\"period\":0", "a frame has no positions");
    refused("\"gamma\":", "\"gamma\":1600000000", "end of the memory operand");
    refused("\"scale_max\":1", "\"scale_max\":25", "manifest: ");
}

#[test]
fn a_model_too_wide_for_the_buffers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let body = LlamaSpec { ffn: 2048, layers: 1, ..LlamaSpec::default() };
    VideoSpec { body, ..VideoSpec::default() }.write(dir.path()).unwrap();
    let packed = packed(&Model::open(dir.path()).unwrap(), "tiny", PackOptions::default()).unwrap();
    let options = CompileOptions { slots: 1, positions: 64, period: 12 };
    let error = compile(packed.plan(), &Policy::dense(), options).unwrap_err().to_string();
    assert_eq!(error, "lines of the vector buffer that a layer needs is 70: preset 'tiny' allows 1 to 64");
}
