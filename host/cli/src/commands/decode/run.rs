//! One decode of all sequences.

use super::args::Args;
use super::plan::Plan;
use super::resume::{self, Keeper};
use super::watch::{Watch, Watched};
use crate::exit::usage;
use crate::interrupt;
use crate::progress::Ui;
use crate::source::Opened;
use anyhow::{Error, Result};
use fastcar_host::backend::{Activity, Backend};
use fastcar_host::compile::CompileError;
use fastcar_host::policy::Policy;
use fastcar_host::session::{DecodeStats, SequenceId, Session, SessionError, SessionOptions, Snapshot};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a decode begins with, and what it leaves on its way.
#[derive(Default)]
pub struct Begin<'a> {
    /// Where it goes on.
    pub snapshot: Option<Snapshot>,
    /// Takes snapshots.
    pub keeper: Option<Keeper>,
    /// All tokens of every sequence, where they are not to be chosen.
    pub given: Option<&'a [Vec<Vec<u32>>]>,
}

/// What a decode gave.
pub struct Run {
    /// Tokens by sequence, position and code.
    pub tokens: Vec<Vec<Vec<u32>>>,
    /// What would have been chosen, where tokens were given.
    pub chosen: Vec<Vec<Vec<u32>>>,
    /// Positions by sequence that a snapshot brought along.
    before: Vec<usize>,
    /// Counts by sequence.
    pub stats: Vec<DecodeStats>,
    /// Seconds until the prompts were processed.
    pub prefill: f64,
    /// Seconds from there.
    pub decode: f64,
    /// Time of the device, where it keeps time.
    pub device: DeviceTime,
    /// What the device was busy with, where it keeps time.
    pub activity: Option<Activity>,
    /// Cycles, decisions and timeline, where they were asked for.
    pub watched: Watched,
}

/// Time that a device took, by its own clock.
#[derive(Clone, Copy, Default)]
pub struct DeviceTime {
    /// Until the prompts were processed.
    pub prompt: Duration,
    /// From there.
    pub decode: Duration,
    /// Runs of programs in all.
    pub runs: u64,
}

/// Opens a session for a plan.
///
/// # Errors
/// The model does not fit, or the device fails.
pub fn session(
    args: &Args,
    backend: Box<dyn Backend>,
    opened: &Opened,
    policy: &Policy,
    plan: &Plan,
) -> Result<Session> {
    let options = SessionOptions { slots: plan.slots(), positions: plan.longest() };
    let (model, policy) = (Arc::clone(&opened.packed), policy.clone());
    if !args.streamed {
        return Ok(Session::open(backend, model, policy, options)?);
    }
    let capacity = model.config().channel_capacity();
    let memory = args.device_memory.unwrap_or(capacity);
    if memory > capacity {
        let name = model.config().name();
        return usage(format!(
            "--device-memory {memory}: a channel of preset {name} has {capacity}; give less"
        ));
    }
    let opened = Session::open_streamed(backend, model, policy, options, memory);
    opened.map_err(|error| match error {
        SessionError::Compile(CompileError::Memory(_)) if args.device_memory.is_some() => Error::from(error)
            .context(format!(
                "--device-memory {memory} is too little: give more, up to {capacity} a channel"
            )),
        error => error.into(),
    })
}

/// Decodes all sequences, with progress, watching the runs.
///
/// # Errors
/// A request is refused, the device fails, or the user interrupts.
pub fn run(
    mut session: Session,
    mut watch: Watch,
    plan: &Plan,
    mut begin: Begin<'_>,
    stage: &str,
    ui: Ui,
) -> Result<Run> {
    let ids = begin.sequences(&mut session, plan)?;
    let tokens = begin.tokens(ids.len());
    let mut run = Run {
        before: tokens.iter().map(Vec::len).collect(),
        chosen: tokens.clone(),
        tokens,
        stats: Vec::new(),
        prefill: 0.0,
        decode: 0.0,
        device: DeviceTime::default(),
        activity: None,
        watched: Watched::default(),
    };
    let bar = ui.bar(stage, u64::from(plan.positions), "positions");
    let started = Instant::now();
    while run.tokens.iter().any(|t| t.len() < plan.positions as usize) {
        let done = run.tokens.iter().map(Vec::len).min().unwrap_or(0);
        let place = || place(stage, done, plan);
        if let Some(keeper) = &mut begin.keeper {
            keeper.look(&session, done, place)?;
        }
        interrupt::check(place)?;
        bar.set(done as u64);
        let made = run.step(&mut session, &mut watch, &ids, started);
        made.map_err(|error| Keeper::explain(begin.keeper.as_ref(), error, done))?;
    }
    run.decode = started.elapsed().as_secs_f64() - run.prefill;
    run.activity = session.activity();
    run.watched = watch.finish(&session, ui)?;
    run.stats = ids.into_iter().map(|id| session.finish(id)).collect::<Result<_, _>>()?;
    Ok(run)
}

impl Begin<'_> {
    fn sequences(&self, session: &mut Session, plan: &Plan) -> Result<Vec<SequenceId>> {
        if let Some(snapshot) = &self.snapshot {
            return resume::adopt(session, snapshot);
        }
        let given = |i: usize| self.given.map(|all| &all[i][..]);
        let requests = plan.sequences.iter().enumerate().map(|(i, s)| plan.request(s, given(i)));
        Ok(requests.map(|request| session.start(request)).collect::<Result<_, _>>()?)
    }

    /// Tokens that are there already, by sequence.
    fn tokens(&self, count: usize) -> Vec<Vec<Vec<u32>>> {
        let of = |snapshot: &Snapshot| snapshot.sequences().map(|(_, s)| s.tokens().to_vec()).collect();
        self.snapshot.as_ref().map_or(vec![Vec::new(); count], of)
    }
}

impl Run {
    /// Whether a snapshot brought some of it along.
    pub fn is_resumed(&self) -> bool {
        self.before.iter().any(|&before| before > 0)
    }

    /// The positions made here, by sequence.
    pub fn made(&self) -> impl Iterator<Item = &[Vec<u32>]> {
        self.tokens.iter().zip(&self.before).map(|(tokens, &before)| &tokens[before..])
    }

    fn step(
        &mut self,
        session: &mut Session,
        watch: &mut Watch,
        ids: &[SequenceId],
        started: Instant,
    ) -> Result<()> {
        let mut time = Duration::ZERO;
        let generated = session.step_with(&mut |run| {
            watch.observe(&run);
            time += run.device_time.unwrap_or_default();
            self.device.runs += 1;
        })?;
        watch.check()?;
        if generated.is_empty() {
            self.prefill = started.elapsed().as_secs_f64();
            self.device.prompt += time;
        } else {
            self.device.decode += time;
        }
        for position in generated {
            if let Some(at) = ids.iter().position(|&id| id == position.sequence) {
                self.tokens[at].push(position.tokens);
                self.chosen[at].push(position.chosen);
            }
        }
        Ok(())
    }
}

fn place(stage: &str, done: usize, plan: &Plan) -> String {
    let frame = plan.period.map_or(String::new(), |p| format!(" (frame {})", done / p as usize));
    format!("while {stage}, at position {done} of {}{frame}", plan.positions)
}
