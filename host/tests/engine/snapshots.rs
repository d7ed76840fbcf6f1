//! Snapshots of an engine's sequences, in other engines and in files.

use crate::{SIZE, collect, controlled, guided, model, next, open, options, request, undisturbed, until};
use fastcar_host::backend::GoldenBackend;
use fastcar_host::engine::{Engine, EngineDevice, EngineError, EngineOptions};
use fastcar_host::policy::Policy;
use fastcar_host::session::{SequenceSnapshot, Session};
use std::num::NonZeroU32;

#[test]
fn a_sequence_goes_on_in_another_engine() {
    let every = EngineOptions { snapshots: NonZeroU32::new(4), ..options() };
    let (engine, controls) = controlled(1, every);
    controls[0].hold();
    let mut stream = engine.submit(guided(1, 30)).unwrap();
    assert!(stream.snapshot().is_none());
    controls[0].allow(3 + 10);
    until("ten positions are there", || controls[0].runs() == 14);
    let (expected, stats) = undisturbed(&guided(1, 30), &crate::policy());
    (0..10).for_each(|position| assert_eq!(next(&mut stream), position));
    let snapshot = stream.snapshot().unwrap();
    assert_eq!(snapshot.tokens(), &expected[..8]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sequence");
    snapshot.save(&path).unwrap();
    controls[0].go();
    drop(engine);

    // On a device that streams its weights.
    let session = Session::open(Box::new(GoldenBackend::new()), model(), crate::policy(), SIZE).unwrap();
    let memory = fastcar_arch::units::Bytes(session.compiled().map.used().get() * 9 / 10);
    let device = EngineDevice::new("streamed", Box::new(GoldenBackend::new())).streamed(memory);
    let engine = open(vec![device], options());
    let mut stream = engine.resume(SequenceSnapshot::load(&path).unwrap()).unwrap();
    assert_eq!(collect(&mut stream, 8).unwrap(), expected[8..]);
    assert_eq!(stream.stats(), Some(&stats));
}

#[test]
fn a_foreign_snapshot_ends_its_stream_and_nothing_else() {
    let dense = Policy::dense();
    let mut session = Session::open(Box::new(GoldenBackend::new()), model(), dense, SIZE).unwrap();
    let id = session.start(request(1, 10)).unwrap();
    (0..6).for_each(|_| drop(session.step().unwrap()));
    let snapshot = session.snapshot_sequence(id).unwrap();
    let (engine, _) = controlled(1, options());
    let mut stream = engine.resume(snapshot.clone()).unwrap();
    let error = stream.next().unwrap().unwrap_err();
    assert!(matches!(error, EngineError::Session(_)), "{error:?}");
    assert!(error.to_string().starts_with("the snapshot was taken under another policy"), "{error}");
    let status = engine.status();
    assert!(status.devices[0].lost.is_none() && status.counts.failed == 1 && status.free() == 4);
    // Of an ended sequence nothing is left to do.
    while !session.step().unwrap().is_empty() {}
    let ended = session.snapshot_sequence(id).unwrap();
    let device = EngineDevice::new("dense", Box::new(GoldenBackend::new()));
    let engine = Engine::open(vec![device], model(), &Policy::dense(), options()).unwrap();
    let mut stream = engine.resume(ended).unwrap();
    assert_eq!(collect(&mut stream, 10).unwrap().len(), 0);
    assert_eq!(stream.stats(), Some(session.stats(id).unwrap()));
    assert_eq!(collect(&mut engine.resume(snapshot).unwrap(), 3).unwrap().len(), 7);
}
