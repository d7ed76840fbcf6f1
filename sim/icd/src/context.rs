//! Contexts and command queues.

use crate::device::Device;
use crate::engine::{Engine, LineId};
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use std::sync::Arc;

/// Told of errors in words.
pub(crate) type Notify = Box<dyn Fn(&str) + Send + Sync>;

/// Devices that share buffers and events.
pub(crate) struct Context {
    pub(crate) devices: Vec<Arc<Device>>,
    /// The properties that it was made with, the closing 0 included.
    pub(crate) properties: Vec<cl::cl_context_properties>,
    pub(crate) notify: Option<Notify>,
}

impl Context {
    /// Whether a device belongs to it.
    pub(crate) fn has(&self, device: &Arc<Device>) -> bool {
        self.devices.iter().any(|d| Arc::ptr_eq(d, device))
    }

    /// Tells the application of an error.
    pub(crate) fn notify(&self, text: &str) {
        if let Some(notify) = &self.notify {
            notify(text);
        }
    }

    /// Its only device, if it has only one.
    pub(crate) fn single(&self) -> Option<&Arc<Device>> {
        match &self.devices[..] {
            [device] => Some(device),
            _ => None,
        }
    }
}

/// A command queue.
pub(crate) struct Queue {
    pub(crate) context: Arc<Context>,
    pub(crate) device: Arc<Device>,
    pub(crate) properties: cl::cl_command_queue_properties,
    pub(crate) line: LineId,
    pub(crate) engine: Arc<Engine>,
}

/// The properties that a queue may have.
pub(crate) const QUEUE_PROPERTIES: cl::cl_command_queue_properties =
    cl::CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | cl::CL_QUEUE_PROFILING_ENABLE;

impl Queue {
    /// A queue for a device of a context.
    pub(crate) fn new(
        engine: Arc<Engine>,
        context: Arc<Context>,
        device: Arc<Device>,
        properties: cl::cl_command_queue_properties,
    ) -> Answer<Self> {
        if properties & !QUEUE_PROPERTIES != 0 {
            let text = format!("queue properties {properties:#x}: only {QUEUE_PROPERTIES:#x} are supported");
            return Err(Refusal::value(text));
        }
        if !context.has(&device) {
            let text = format!("device {} does not belong to the context", device.index);
            return Err(Refusal::new(cl::CL_INVALID_DEVICE, text));
        }
        let ordered = properties & cl::CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE == 0;
        let line = engine.open(device.index, ordered);
        Ok(Self { context, device, properties, line, engine })
    }

    /// Whether its events keep their times.
    pub(crate) fn profiles(&self) -> bool {
        self.properties & cl::CL_QUEUE_PROFILING_ENABLE != 0
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.engine.close(self.line);
    }
}
