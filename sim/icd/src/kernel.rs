//! Kernels: the arguments of a run.

use crate::device::Device;
use crate::memory::Buffer;
use crate::program::Program;
use crate::refusal::{Answer, Refusal};
use crate::run::{Launch, Window};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::regs::RegisterMap;
use fastcar_xclbin::metadata::{Argument, Qualifier};
use opencl_sys as cl;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The value of an argument.
#[derive(Clone)]
enum Value {
    Number(u32),
    Buffer(Arc<Buffer>),
}

/// What an argument is set to.
pub(crate) enum Given<'a> {
    /// The bytes of a number.
    Bytes(&'a [u8]),
    /// A buffer.
    Buffer(Arc<Buffer>),
}

/// A kernel of a program.
pub(crate) struct Kernel {
    pub(crate) program: Arc<Program>,
    numbers: Numbers,
    values: Mutex<Vec<Option<Value>>>,
}

/// Numbers of the arguments, as the register map has them.
struct Numbers {
    program: usize,
    commands: usize,
    step: usize,
    report: usize,
    channels: Vec<usize>,
}

impl Numbers {
    /// None for a register map that has no such arguments, which is none.
    fn of(config: &AccelConfig) -> Option<Self> {
        let map = RegisterMap::new(config);
        let number = |name: &str| Some(map.get(name)?.argument.as_ref()?.index as usize);
        let channels = map.arguments().filter(|(_, register)| register.channel.is_some());
        Some(Self {
            program: number("PROGRAM")?,
            commands: number("COMMANDS")?,
            step: number("STEP")?,
            report: number("REPORT")?,
            channels: channels.map(|(argument, _)| argument.index as usize).collect(),
        })
    }
}

impl Kernel {
    /// The kernel of this name: `fastcar`, or `fastcar:{unit,...}` with compute units that exist.
    pub(crate) fn new(program: Arc<Program>, name: &str) -> Answer<Self> {
        let info = &program.image.info;
        let (kernel, units) = match name.split_once(':') {
            Some((kernel, units)) => (kernel, Some(units)),
            None => (name, None),
        };
        let known = |unit: &str| info.units.iter().any(|u| u.name == unit.trim());
        let exists = units.is_none_or(|units| {
            let list = units.strip_prefix('{').and_then(|u| u.strip_suffix('}'));
            list.is_some_and(|list| list.split(',').all(known))
        });
        if kernel != info.kernel.name || !exists {
            let units: Vec<&str> = info.units.iter().map(|u| &u.name[..]).collect();
            let text = format!(
                "no kernel '{name}': the image has '{}' with the compute units {}",
                info.kernel.name,
                units.join(", ")
            );
            return Err(Refusal::new(cl::CL_INVALID_KERNEL_NAME, text));
        }
        let numbers = Numbers::of(&info.config).ok_or_else(|| {
            let text = "the register map lacks an argument of the kernel";
            Refusal::new(cl::CL_INVALID_KERNEL_DEFINITION, text)
        })?;
        let values = Mutex::new(vec![None; info.kernel.arguments.len()]);
        Ok(Self { program, numbers, values })
    }

    fn values(&self) -> MutexGuard<'_, Vec<Option<Value>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An argument by number.
    pub(crate) fn argument(&self, index: u32) -> Answer<&Argument> {
        let arguments = &self.program.image.info.kernel.arguments;
        arguments.iter().find(|a| a.id == Some(index)).ok_or_else(|| {
            let last = arguments.len().saturating_sub(1);
            let text = format!("argument {index}: the kernel's arguments are 0 to {last}");
            Refusal::new(cl::CL_INVALID_ARG_INDEX, text)
        })
    }

    /// Whether an argument is a pointer.
    pub(crate) fn is_pointer(&self, index: u32) -> Answer<bool> {
        Ok(self.argument(index)?.qualifier == Qualifier::GLOBAL)
    }

    /// Bytes of an argument's value.
    pub(crate) fn argument_bytes(&self, index: u32) -> Answer<u64> {
        Ok(self.argument(index)?.size)
    }

    /// The bank that an argument reaches.
    pub(crate) fn bank(&self, index: u32) -> Answer<u32> {
        self.argument(index)?;
        let banks = &self.program.image.info.argument_banks;
        banks.get(index as usize).copied().flatten().ok_or_else(|| {
            let text = format!("argument {index} is a number and reaches no memory bank");
            Refusal::new(cl::CL_INVALID_ARG_INDEX, text)
        })
    }

    /// Sets an argument. A buffer's bank is settled by the first argument it is given to.
    pub(crate) fn set(&self, index: u32, given: Given<'_>) -> Answer<()> {
        let value = match given {
            Given::Bytes(bytes) => {
                let number = bytes.try_into().map(u32::from_le_bytes).map_err(|_| {
                    let text = format!("argument {index} has 4 bytes, {} are given", bytes.len());
                    Refusal::new(cl::CL_INVALID_ARG_SIZE, text)
                });
                Value::Number(number?)
            }
            Given::Buffer(buffer) => {
                buffer.settle(index, self.bank(index)?)?;
                if let Some(device) = self.program.context.single() {
                    buffer.reside(device.index, &device.banks())?;
                }
                Value::Buffer(buffer)
            }
        };
        // What was set before is dropped when the values are free again: a buffer may call back.
        let before = self.values().get_mut(index as usize).and_then(|place| place.replace(value));
        drop(before);
        Ok(())
    }

    /// The run that the arguments ask for, on a device.
    pub(crate) fn launch(&self, device: &Device) -> Answer<Launch> {
        let values = self.values();
        let missing = |index: usize| {
            let name = self.argument(index as u32).map_or("", |a| &a.name[..]);
            let text = format!("argument {index} ({name}) is not set");
            Refusal::new(cl::CL_INVALID_KERNEL_ARGS, text)
        };
        let banks = device.banks();
        let window = |index: usize| -> Answer<Window> {
            let Some(Some(Value::Buffer(buffer))) = values.get(index) else { return Err(missing(index)) };
            let address = buffer.reside(device.index, &banks)?.ok_or_else(|| missing(index))?;
            Ok(Window { buffer: buffer.clone(), address })
        };
        let Numbers { program, commands, step, report, channels } = &self.numbers;
        let Some(Some(Value::Number(count))) = values.get(*commands) else { return Err(missing(*commands)) };
        Ok(Launch {
            program: window(*program)?,
            commands: *count,
            step: window(*step)?,
            report: window(*report)?,
            channels: channels.iter().map(|c| window(*c)).collect::<Answer<_>>()?,
        })
    }
}
