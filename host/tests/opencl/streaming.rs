//! Models whose weights are copied to the device while it decodes, and what is left when there is no memory for them.

use crate::alone::alone;
use crate::{bytes, cause, decoded, model_of, refusal};
use fastcar_arch::units::Bytes;
use fastcar_host::backend::{Backend, GoldenBackend, OpenClBackend};
use fastcar_host::compile::{CompileOptions, compile};
use fastcar_host::model::testing::LlamaSpec;
use fastcar_host::opencl::{DeviceOptions, OpenClError};
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::Policy;
use fastcar_host::session::{Session, SessionError, SessionOptions};
use std::sync::Arc;

const SIZE: SessionOptions = SessionOptions { slots: 1, positions: 40 };

fn model() -> Arc<PackedModel> {
    model_of(LlamaSpec { layers: 6, ..LlamaSpec::default() }, "tiny")
}

/// Two thirds of what the model takes with everything in memory: some layers are streamed.
fn tight(model: &PackedModel) -> Bytes {
    let options = CompileOptions {
        slots: SIZE.slots,
        positions: SIZE.positions,
        period: model.image().period.unwrap_or(0),
    };
    bytes(compile(model.plan(), &Policy::dense(), options).unwrap().map.used().get() * 2 / 3)
}

/// A device by its number.
fn device(number: u32, model: &PackedModel) -> OpenClBackend {
    let options = DeviceOptions { device: Some(number.to_string()), ..DeviceOptions::default() };
    OpenClBackend::open(&options, model.config()).unwrap()
}

fn session(
    backend: impl Backend + 'static,
    model: &Arc<PackedModel>,
    memory: Bytes,
) -> Result<Session, SessionError> {
    Session::open_streamed(Box::new(backend), Arc::clone(model), Policy::dense(), SIZE, memory)
}

#[test]
fn more_memory_than_the_bank_has_is_not_asked_for() {
    if alone("streaming::more_memory_than_the_bank_has_is_not_asked_for", &[]) {
        let model = model();
        let bank = model.config().channel_capacity();
        let mut streamed = session(device(0, &model), &model, bytes(u64::MAX)).unwrap();
        assert!(streamed.compiled().map.used() <= bank);
        let (tokens, failed) = decoded(&mut streamed);
        assert!(failed.is_none() && tokens.len() == 30);
    }
}

#[test]
fn a_bank_that_is_taken_is_refused_with_the_numbers() {
    let name = "streaming::a_bank_that_is_taken_is_refused_with_the_numbers";
    if alone(name, &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        let model = model();
        let bank = model.config().channel_capacity();
        let mut other = device(0, &model);
        other.load_parts(&model, &[], bytes(bank.get() - (64 << 10))).unwrap();
        let refused = session(device(0, &model), &model, bytes(2 * bank.get())).err().unwrap();
        match cause(&refused) {
            OpenClError::Taken { what, bank: number, asked, left, capacity } => {
                assert_eq!((&what[..], *number, *left, *capacity), ("channel 0", 0, bank, bank));
                assert!(*asked > bytes(64 << 10) && *asked <= bank, "{asked}");
            }
            other => panic!("{other}"),
        }
        // The other user has lost nothing, and when it is gone there is room.
        other.write_channel(0, 0, &[7; 8]).unwrap();
        let mut back = [0; 8];
        other.read_channel(0, 0, &mut back).unwrap();
        assert_eq!(back, [7; 8]);
        drop(other);
        session(device(0, &model), &model, bytes(2 * bank.get())).unwrap();
    }
}

/// Memory runs out in the middle of a decode: that session ends with a reason, and nothing else is touched.
#[test]
fn memory_that_runs_out_in_mid_decode_ends_one_session_only() {
    let name = "streaming::memory_that_runs_out_in_mid_decode_ends_one_session_only";
    let environment = [("FASTCAR_SIM_DEVICES", "tiny*2"), ("FASTCAR_SIM_FAULT", "memory@400:0")];
    if alone(name, &environment) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.fcar");
        model().save(&path).unwrap();
        let before = blake3::hash(&std::fs::read(&path).unwrap());
        let model = Arc::new(PackedModel::open(&path).unwrap());
        let memory = tight(&model);
        let (expected, _) = decoded(&mut session(GoldenBackend::new(), &model, memory).unwrap());
        let mut failing = session(device(0, &model), &model, memory).unwrap();
        let mut other = session(device(1, &model), &model, memory).unwrap();
        let (tokens, failed) = decoded(&mut failing);
        assert!(failing.streamed() > Bytes(0));
        assert!(!tokens.is_empty() && tokens.len() < expected.len(), "{} positions", tokens.len());
        assert_eq!(tokens, expected[..tokens.len()]);
        let failed = failed.unwrap();
        match cause(&failed) {
            OpenClError::Call { name, context, hint, .. } => {
                assert_eq!(*name, "CL_MEM_OBJECT_ALLOCATION_FAILURE");
                assert!(context.contains("on device 'tiny (simulated)'"), "{context}");
                assert!(hint.starts_with("the memory bank is full"), "{hint}");
            }
            other => panic!("{other}"),
        }
        let lost = failing.step().err().unwrap();
        assert!(matches!(cause(&lost), OpenClError::Lost { .. }), "{lost}");
        assert!(refusal(failing.step()).contains("CL_MEM_OBJECT_ALLOCATION_FAILURE"));
        drop(failing);
        // The other device's session never noticed; and the first device goes on for whoever opens it again.
        assert_eq!(decoded(&mut other).0, expected);
        let mut again = session(device(0, &model), &model, memory).unwrap();
        assert_eq!(decoded(&mut again).0, expected);
        assert_eq!(blake3::hash(&std::fs::read(&path).unwrap()), before);
    }
}
