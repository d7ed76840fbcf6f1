//! Time of the host a step, sampling included: on a device that answers at once in this process, and on simulated
//! OpenCL devices that take no time, where all that is left is the host, the OpenCL layer and waking threads.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};
use fastcar_arch::program::Program;
use fastcar_arch::step::{GateReport, StepReport, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_host::backend::{Backend, BackendError, OpenClBackend};
use fastcar_host::compile::Part;
use fastcar_host::model::Model;
use fastcar_host::opencl::DeviceOptions;
use fastcar_host::pack::PackOptions;
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session, SessionOptions};
use fastcar_tests::opencl::platforms::simulator_library;
use fastcar_tests::{moving_digits, packed};
use std::process::{Command, ExitCode};
use std::sync::Arc;

/// Set in the process that measures: the platform's variables must be there before its first call.
const MEASURING: &str = "FASTCAR_BENCH_STEP";
const PRESET: &str = "u55c";
/// Steps of a measurement: two frames behind the first.
const STEPS: u32 = 128;

/// Answers at once, with zeros.
struct Nothing;

impl Backend for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn load_parts(&mut self, _: &Arc<PackedModel>, _: &[Part], _: Bytes) -> Result<(), BackendError> {
        Ok(())
    }

    fn run(&mut self, _: &Program, table: &StepTable) -> Result<StepReport, BackendError> {
        Ok(StepReport { gates: vec![GateReport::default(); table.gates.len()] })
    }

    fn read_record(&self, _: u64, out: &mut [u8]) -> Result<(), BackendError> {
        out.fill(0);
        Ok(())
    }

    fn read_channel(&self, _: usize, _: u64, out: &mut [u8]) -> Result<(), BackendError> {
        out.fill(0);
        Ok(())
    }

    fn write_channel(&mut self, _: usize, _: u64, _: &[u8]) -> Result<(), BackendError> {
        Ok(())
    }
}

/// A session with all slots taken, one frame behind its prompts.
fn started(backend: Box<dyn Backend>, model: &Arc<PackedModel>, slots: u32) -> Session {
    let options = SessionOptions { slots, positions: 64 + STEPS + 8 };
    let policy = Policy::replay(Gate::Budget { ratio: 0.5 }).expect("a policy");
    let mut session = Session::open(backend, Arc::clone(model), policy, options).expect("a session");
    for seed in 0..u64::from(slots) {
        let request = Request {
            prompt: vec![2, 3, 5, 4],
            guidance: None,
            positions: 64 + STEPS,
            sampling: Sampling { seed, ..Sampling::GREEDY },
            allowed: 8..48,
            given: Vec::new(),
        };
        session.start(request).expect("a sequence");
    }
    session.prefill().expect("the prompts");
    (0..64).for_each(|_| assert_eq!(session.step().expect("a step").len(), slots as usize));
    session
}

/// A backend's name, and how one is made for a model.
type Made = (&'static str, fn(&PackedModel) -> Box<dyn Backend>);

fn steps(c: &mut Criterion) {
    let model = Model::open(moving_digits()).expect("the shipped model");
    let model = packed(&model, PRESET, PackOptions::default()).expect("packed");
    let mut group = c.benchmark_group("step");
    group.sample_size(20).throughput(Throughput::Elements(STEPS.into()));
    for slots in [1, 8, 32] {
        let backends: [Made; 2] = [
            ("in this process", |_| Box::new(Nothing)),
            ("opencl", |model| {
                let options = DeviceOptions::default();
                Box::new(OpenClBackend::open(&options, model.config()).expect("a device"))
            }),
        ];
        for (name, backend) in backends {
            group.bench_function(BenchmarkId::new(name, slots), |b| {
                b.iter_batched_ref(
                    || started(backend(&model), &model, slots),
                    |session| (0..STEPS).for_each(|_| drop(session.step().expect("a step"))),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, steps);

fn main() -> ExitCode {
    if std::env::var_os(MEASURING).is_some() {
        benches();
        Criterion::default().configure_from_args().final_summary();
        return ExitCode::SUCCESS;
    }
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(std::env::args_os().skip(1)).env(MEASURING, "1");
    command.env("OPENCL_DYLIB_PATH", simulator_library().expect("the simulator's platform"));
    command
        .env("FASTCAR_SIM_DEVICES", PRESET)
        .env("FASTCAR_SIM_MODE", "instant")
        .env("FASTCAR_SIM_LINK", "none");
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
