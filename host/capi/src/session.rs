//! Sessions: sequences that advance together on a backend.
#![allow(unsafe_code, reason = "functions that C calls with pointers")]

use crate::memory::{
    Place, Results, Room, empty, give, handle, optional, optional_path, read, sized, slice, take,
};
use crate::model::fastcar_model;
use crate::policy::fastcar_policy;
use crate::progress::{Watch, fastcar_progress};
use crate::status::{Failure, fastcar_status, guard};
use fastcar_arch::step::SlotEntry;
use fastcar_arch::units::{Bytes, Hertz};
use fastcar_host::backend::{Backend, GoldenBackend, OpenClBackend, SimBackend};
use fastcar_host::opencl::DeviceOptions;
use fastcar_host::policy::Policy;
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{
    DecodeStats, Generated, ObservedRun, Request, SequenceId, Session, SessionOptions,
};
use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

/// Most tokens of a position.
pub const FASTCAR_CODES_MAX: usize = 8;

/// Tokens of a position that the machine takes as an input.
const TOKENS: usize = (offset_of!(SlotEntry, reserved) - offset_of!(SlotEntry, token)) / size_of::<u32>();
const _: () = assert!(FASTCAR_CODES_MAX >= TOKENS);

/// Sequences that advance together, one position a step, on one device.
///
/// Any thread may call, one at a time: a call while another is under way answers FASTCAR_BUSY and does nothing.
/// Different sessions are independent.
pub struct fastcar_session(Mutex<Open>);

/// A session and what it last took.
struct Open {
    session: Session,
    /// Tokens that a request may choose unless it says otherwise.
    allowed: Range<u32>,
    clock: Hertz,
    time: Option<Duration>,
}

/// How a session is opened. Set `size` to sizeof(fastcar_session_options); what is 0 or NULL has its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fastcar_session_options {
    /// Bytes of this structure.
    pub size: usize,
    /// What computes: "opencl" (default; a card, or the simulator as a platform), "golden" (the bit-exact functional
    /// model, in this process) or "sim" (the same bits with the machine's cycles, in this process).
    pub backend: *const c_char,
    /// OpenCL device: its number, "PLATFORM:NUMBER", or a part of its name or its platform's. Default: the only one, or
    /// the one that is named after the model's configuration.
    pub device: *const c_char,
    /// File of the accelerator's image. Default: made on the spot for a simulated device; a card needs one.
    pub xclbin: *const c_char,
    /// Seconds after which an OpenCL device that does not answer is given up. Default: by the bytes a command moves.
    pub timeout_seconds: f64,
    /// Sequences at a time, a guided one counted twice. Default: 1.
    pub slots: u32,
    /// Longest sequence, prompt included. No default.
    pub positions: u32,
    /// Bytes of each memory channel to use, for a model that is larger: what does not fit is copied step by step.
    /// Default: the whole model is loaded.
    pub streamed_bytes: u64,
    /// Told how many bytes an OpenCL device was loaded with; NULL for nobody.
    pub progress: fastcar_progress,
    /// Passed to `progress`.
    pub user: *mut c_void,
}

/// What a sequence is to generate. Set `size` to sizeof(fastcar_request); what is 0 or NULL has its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fastcar_request {
    /// Bytes of this structure.
    pub size: usize,
    /// Prompt tokens.
    pub prompt: *const u32,
    /// How many: at least 1.
    pub prompt_count: usize,
    /// Prompt of the unconditional row, as long as `prompt`, for a guided sequence, which takes two slots. Default:
    /// not guided.
    pub null_prompt: *const u32,
    /// Scale of the guidance: unconditional + scale * (conditional - unconditional).
    pub guidance_scale: f32,
    /// Positions to generate: at least 1.
    pub positions: u32,
    /// Divides the logits. Default: 0, which takes the largest logit.
    pub temperature: f32,
    /// Keeps this many of the most likely tokens. Default: 0, which keeps all.
    pub top_k: u32,
    /// Then keeps the fewest most likely tokens that together have this probability. Default: 1.
    pub top_p: f32,
    /// Seed of the draws.
    pub seed: u64,
    /// First token that may be chosen, and the one behind the last. Default (both 0): as fastcar_model_info says.
    pub allowed_first: u32,
    /// See `allowed_first`.
    pub allowed_end: u32,
    /// Tokens of the first positions, given instead of chosen (a true first frame): `codes` a position, one after the
    /// other. Default: none.
    pub given: *const u32,
    /// Number of tokens in `given`.
    pub given_count: usize,
}

/// A position that a step made. Its layout is fixed.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct fastcar_generated {
    /// Whose.
    pub sequence: u64,
    /// Which, counted from 0 behind the prompt.
    pub position: u32,
    /// Number of tokens.
    pub codes: u32,
    /// The tokens.
    pub tokens: [u32; FASTCAR_CODES_MAX],
    /// What would have been chosen: differs from `tokens` only where these were given.
    pub chosen: [u32; FASTCAR_CODES_MAX],
}

/// What a sequence did. Set `size` to sizeof(fastcar_stats) before the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fastcar_stats {
    /// Bytes of this structure.
    pub size: usize,
    /// Positions generated.
    pub positions: u64,
    /// Share of the MLPs that could replay and did.
    pub replay_ratio: f64,
    /// As `replay_ratio`, where both rows of a guided sequence replayed.
    pub joint_ratio: f64,
    /// Weight bytes needed over those of a dense decode, from the second frame on.
    pub traffic: f64,
}

sized!(
    fastcar_session_options to user,
    fastcar_request to given_count,
    fastcar_stats to traffic,
);

/// Compiles a model under a policy (NULL: everything is computed), opens a device and loads it.
///
/// `*session` is the caller's, for fastcar_session_close; NULL when the call fails. Model, policy, options and texts may
/// go after the call. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_open(
    model: *const fastcar_model,
    policy: *const fastcar_policy,
    options: *const fastcar_session_options,
    session: *mut *mut fastcar_session,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (out, model, options) =
            unsafe { (empty(session, "session")?, handle(model, "model")?, read(options)?) };
        let policy = match policy.is_null() {
            true => Policy::dense(),
            // SAFETY: as above.
            false => unsafe { handle(policy, "policy") }?.0.clone(),
        };
        // SAFETY: the texts of the options, too.
        let backend = unsafe { backend(&options, model) }?;
        let size = SessionOptions { slots: options.slots.max(1), positions: options.positions };
        let packed = Arc::clone(&model.packed);
        let opened = match options.streamed_bytes {
            0 => Session::open(backend, packed, policy, size)?,
            bytes => Session::open_streamed(backend, packed, policy, size, Bytes(bytes))?,
        };
        give(out, fastcar_session::new(opened, model.allowed()));
        Ok(())
    })
}

/// The backend that options ask for.
pub unsafe fn backend(
    options: &fastcar_session_options,
    model: &fastcar_model,
) -> Result<Box<dyn Backend>, Failure> {
    // SAFETY: the caller's texts end in NUL.
    let (name, device, image) = unsafe {
        (
            optional(options.backend, "backend")?.unwrap_or("opencl"),
            optional(options.device, "device")?,
            optional_path(options.xclbin),
        )
    };
    let for_devices = device.is_some() || image.is_some() || options.timeout_seconds != 0.0;
    match name {
        "golden" | "sim" if for_devices => Err(Failure::invalid(format!(
            "device, xclbin and timeout_seconds belong to the backend opencl, and this is {name}: leave them 0"
        ))),
        "golden" => Ok(Box::new(GoldenBackend::new())),
        "sim" => Ok(Box::new(SimBackend::default())),
        "opencl" => {
            let timeout = timeout(options.timeout_seconds)?;
            let device = device.map(str::to_owned);
            let image = image.map(Into::into);
            let opened =
                OpenClBackend::open(&DeviceOptions { device, image, timeout }, model.packed.config())?;
            Ok(Box::new(opened.with_watch(Box::new(Watch::new(options.progress, options.user)))))
        }
        _ => Err(Failure::invalid(format!("backend is '{name}': it is opencl, golden or sim"))),
    }
}

fn timeout(seconds: f64) -> Result<Option<Duration>, Failure> {
    if seconds == 0.0 {
        return Ok(None);
    }
    let refuse = |_| {
        Failure::invalid(format!(
            "timeout_seconds is {seconds}: it is a positive number, or 0 for the default"
        ))
    };
    Duration::try_from_secs_f64(seconds).map(Some).map_err(refuse)
}

/// Starts a sequence; its first step comes with the next fastcar_session_step. `*sequence` becomes its number, which no
/// other sequence of the session has had.
///
/// FASTCAR_FULL when no slot is free. The request and its tokens are copied. Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_start(
    session: *mut fastcar_session,
    request: *const fastcar_request,
    sequence: *mut u64,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (session, sequence, request) =
            unsafe { (handle(session, "session")?, Place::new(sequence, "sequence")?, read(request)?) };
        let mut open = session.lock()?;
        // SAFETY: the tokens of the request, too.
        let request = unsafe { open.request(&request) }?;
        sequence.set(open.session.start(request)?.get());
        Ok(())
    })
}

/// Advances every sequence that is not done by one position. `*count` becomes the number of positions made: fewer than
/// there are sequences while some are in their prompts, none when all are done.
///
/// `generated` needs room for every sequence that is not done: with less, nothing is advanced, `*count` says how many
/// and the call answers FASTCAR_BUFFER_TOO_SMALL; NULL and 0 to learn the number alone. After a
/// failure of the device the session cannot go on. Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_step(
    session: *mut fastcar_session,
    generated: *mut fastcar_generated,
    capacity: usize,
    count: *mut usize,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (session, room) =
            unsafe { (handle(session, "session")?, Room::new(generated, capacity, count, "generated")?) };
        let mut open = session.lock()?;
        if !room.fits(open.undone()?)? {
            return Ok(());
        }
        room.fill(&[])?;
        room.fill(&open.step()?)
    })
}

/// Advances every sequence through its prompt, so that the next step makes a position of each.
///
/// After a failure of the device the session cannot go on. Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_prefill(session: *mut fastcar_session) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let session = unsafe { handle(session, "session") }?;
        Ok(session.lock()?.session.prefill()?)
    })
}

/// Lists the sequences that were neither finished nor cancelled, in the order in which they were started: what a
/// restored session goes on with.
///
/// `*count` becomes their number, `sequences` has room for `capacity`; NULL and 0 to learn the number alone. Any thread,
/// one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_sequences(
    session: *mut fastcar_session,
    sequences: *mut u64,
    capacity: usize,
    count: *mut usize,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (session, room) =
            unsafe { (handle(session, "session")?, Room::new(sequences, capacity, count, "sequences")?) };
        let open = session.lock()?;
        room.fill(&open.session.sequences().map(SequenceId::get).collect::<Vec<_>>())
    })
}

/// Says whether a sequence has all its positions: `*done` becomes 1 or 0.
///
/// Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_is_done(
    session: *mut fastcar_session,
    sequence: u64,
    done: *mut i32,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (session, done) = unsafe { (handle(session, "session")?, Place::new(done, "done")?) };
        done.set(session.lock()?.session.is_done(SequenceId::new(sequence))?.into());
        Ok(())
    })
}

/// Ends a sequence, done or not, frees its slots and says what it did. NULL `stats` are not wanted.
///
/// Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_finish(
    session: *mut fastcar_session,
    sequence: u64,
    stats: *mut fastcar_stats,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let session = unsafe { handle(session, "session") }?;
        // SAFETY: as above.
        let results = (!stats.is_null()).then(|| unsafe { Results::new(stats) }).transpose()?;
        let found = session.lock()?.session.finish(SequenceId::new(sequence))?;
        if let Some(results) = results {
            results.write(&totals(&found));
        }
        Ok(())
    })
}

/// Ends a sequence, done or not, and frees its slots.
///
/// Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_cancel(
    session: *mut fastcar_session,
    sequence: u64,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let session = unsafe { handle(session, "session") }?;
        Ok(session.lock()?.session.cancel(SequenceId::new(sequence))?)
    })
}

/// The logits that a sequence's last step left, before guidance and sampling: of its conditional row (0), or of the
/// unconditional row (1) of a guided sequence. Of a VILA-U position they are those of the last code.
///
/// `*count` becomes their number, `logits` has room for `capacity`; NULL and 0 to learn the number alone. Any thread, one
/// at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_logits(
    session: *mut fastcar_session,
    sequence: u64,
    row: u32,
    logits: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (session, room) =
            unsafe { (handle(session, "session")?, Room::new(logits, capacity, count, "logits")?) };
        let open = session.lock()?;
        let slots = open.session.slots(SequenceId::new(sequence))?;
        let slot = usize::try_from(row).ok().and_then(|row| slots.get(row)).ok_or_else(|| {
            let rows = slots.len();
            Failure::invalid(format!("row is {row}: sequence {sequence} has {rows}, counted from 0"))
        })?;
        room.fill(&open.session.logits(*slot)?)
    })
}

/// The time that the device took for the last step, in nanoseconds of its own clock: measured on a card, simulated on
/// the simulator.
///
/// FASTCAR_NOT_AVAILABLE before the first step, and where no time is kept (golden). Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_last_device_time(
    session: *mut fastcar_session,
    nanoseconds: *mut u64,
) -> fastcar_status {
    guard(|| {
        // SAFETY: pointers are as the head of the interface wants them.
        let (session, out) =
            unsafe { (handle(session, "session")?, Place::new(nanoseconds, "nanoseconds")?) };
        let Some(time) = session.lock()?.time else {
            let message = "no time is known: no step has run, or the backend keeps none";
            return Err(Failure::new(fastcar_status::FASTCAR_NOT_AVAILABLE, message));
        };
        out.set(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        Ok(())
    })
}

/// Closes a session and gives its device back; nothing for NULL. A call that is under way in another thread is waited
/// for; no other may begin.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fastcar_session_close(session: *mut fastcar_session) {
    guard(|| {
        // SAFETY: the handle is closed once.
        if let Some(session) = unsafe { take(session) } {
            drop(session.0.lock());
        }
        Ok(())
    });
}

impl fastcar_session {
    pub(crate) fn new(session: Session, allowed: Range<u32>) -> Self {
        let clock = session.model().config().clock();
        Self(Mutex::new(Open { session, allowed, clock, time: None }))
    }

    /// The session for the time of a call.
    fn lock(&self) -> Result<MutexGuard<'_, Open>, Failure> {
        self.0.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => {
                let message = "the session is in a call of another thread: one at a time";
                Failure::new(fastcar_status::FASTCAR_BUSY, message)
            }
            TryLockError::Poisoned(_) => {
                let message = "a defect of libfastcar struck this session in an earlier call: close it";
                Failure::new(fastcar_status::FASTCAR_PANIC, message)
            }
        })
    }

    /// The session between its steps, for a snapshot.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Session) -> Result<T, Failure>) -> Result<T, Failure> {
        f(&self.lock()?.session)
    }
}

impl Open {
    /// Sequences that the next step advances.
    fn undone(&self) -> Result<usize, Failure> {
        let mut undone = 0;
        for id in self.session.sequences() {
            undone += usize::from(!self.session.is_done(id)?);
        }
        Ok(undone)
    }

    fn step(&mut self) -> Result<Vec<fastcar_generated>, Failure> {
        let (clock, mut time) = (self.clock, None);
        let made = self.session.step_with(&mut |run| {
            if let Some(took) = device_time(&run, clock) {
                time = Some(time.unwrap_or_default() + took);
            }
        });
        self.time = time;
        made?.iter().map(generated).collect()
    }

    unsafe fn request(&self, from: &fastcar_request) -> Result<Request, Failure> {
        // SAFETY: the caller's arrays have so many tokens.
        let (prompt, given) = unsafe {
            (
                slice(from.prompt, from.prompt_count, "request.prompt")?.to_vec(),
                slice(from.given, from.given_count, "request.given")?,
            )
        };
        let guidance = match from.null_prompt.is_null() {
            true => None,
            // SAFETY: as above; both prompts have the same length.
            false => Some((
                unsafe { slice(from.null_prompt, from.prompt_count, "request.null_prompt") }?.to_vec(),
                from.guidance_scale,
            )),
        };
        let codes = self.session.compiled().depth.len().max(1);
        Ok(Request {
            prompt,
            guidance,
            positions: from.positions,
            sampling: Sampling {
                temperature: from.temperature,
                top_k: from.top_k as usize,
                top_p: if from.top_p == 0.0 { 1.0 } else { from.top_p },
                seed: from.seed,
            },
            allowed: match (from.allowed_first, from.allowed_end) {
                (0, 0) => self.allowed.clone(),
                (first, end) => first..end,
            },
            given: given.chunks(codes).map(<[u32]>::to_vec).collect(),
        })
    }
}

/// What a run took by the device's clock: measured or simulated by its runtime, or the cycles of a simulator in this
/// process.
fn device_time(run: &ObservedRun<'_>, clock: Hertz) -> Option<Duration> {
    let cycles = || run.details.and_then(|d| d.timing.as_ref()).map(|t| t.cycles());
    let simulated = || cycles().map(|c| Duration::from_secs_f64(c as f64 / clock.get() as f64));
    run.device_time.or_else(simulated)
}

fn generated(from: &Generated) -> Result<fastcar_generated, Failure> {
    let (count, limit) = (from.tokens.len(), FASTCAR_CODES_MAX);
    if count > limit {
        let message = format!("a position of this model has {count} tokens, fastcar_generated takes {limit}");
        return Err(Failure::new(fastcar_status::FASTCAR_DOES_NOT_FIT, message));
    }
    let fixed = |tokens: &[u32]| std::array::from_fn(|i| tokens.get(i).copied().unwrap_or(0));
    Ok(fastcar_generated {
        sequence: from.sequence.get(),
        position: from.position,
        codes: count as u32,
        tokens: fixed(&from.tokens),
        chosen: fixed(&from.chosen),
    })
}

fn totals(stats: &DecodeStats) -> fastcar_stats {
    fastcar_stats {
        size: 0,
        positions: stats.positions.len() as u64,
        replay_ratio: stats.replay_ratio(),
        joint_ratio: stats.joint_ratio(),
        traffic: stats.traffic(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastcar_arch::config::AccelConfig;
    use fastcar_host::model::Model;
    use fastcar_host::model::testing::VideoSpec;
    use fastcar_host::pack::{PackOptions, pack};
    use fastcar_status::{FASTCAR_OK, FASTCAR_PANIC};

    fn open() -> fastcar_session {
        let dir = tempfile::tempdir().unwrap();
        VideoSpec::default().write(dir.path()).unwrap();
        let config = AccelConfig::preset("tiny").unwrap();
        let model = Model::open(dir.path()).unwrap();
        let packed = Arc::new(pack(&model, &config, PackOptions::default(), &()).unwrap());
        let size = SessionOptions { slots: 1, positions: 8 };
        let session = Session::open(Box::new(GoldenBackend::new()), packed, Policy::dense(), size).unwrap();
        fastcar_session::new(session, 0..48)
    }

    #[test]
    fn a_session_that_a_panic_struck_says_so_and_closes() {
        let session = Box::into_raw(Box::new(open()));
        // SAFETY: the handle is open until the last line, which closes it.
        unsafe {
            assert_eq!(fastcar_session_prefill(session), FASTCAR_OK);
            assert_eq!(guard(|| (*session).with(|_| panic!("a defect"))), FASTCAR_PANIC);
            assert_eq!(fastcar_session_prefill(session), FASTCAR_PANIC);
            assert_eq!(fastcar_session_cancel(session, 0), FASTCAR_PANIC);
            fastcar_session_close(session);
        }
    }
}
