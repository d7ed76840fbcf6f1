//! Why an engine refuses, or ends a stream.

use crate::session::SessionError;
use std::sync::Arc;
use std::time::Duration;

/// What lost a device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceFault {
    /// It answered with an error.
    #[error(transparent)]
    Failed(#[from] SessionError),
    /// Its backend panicked.
    #[error("its backend panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// It did not answer in time.
    #[error("it gave no sign for {:.1} s: it hangs; reset it, or allow more time by EngineOptions::timeout", limit.as_secs_f64())]
    Hung {
        /// Time allowed.
        limit: Duration,
    },
}

/// Why an engine refuses, or ends a stream.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The request or the snapshot cannot be served.
    #[error(transparent)]
    Session(#[from] Arc<SessionError>),
    /// An engine of no devices.
    #[error("an engine needs at least one device")]
    Empty,
    /// A device does not open.
    #[error("device '{device}' does not open: {source}")]
    Open {
        /// Which.
        device: String,
        /// Why.
        source: Arc<DeviceFault>,
    },
    /// The system gives no further thread.
    #[error("no thread can be started: {0}")]
    Thread(Arc<std::io::Error>),
    /// The queue is full.
    #[error(
        "all {slots} slots are taken, and {waiting} of at most {queue} requests wait: try again when one has ended, or allow a longer queue"
    )]
    Busy {
        /// Slots of the live devices.
        slots: usize,
        /// Requests that wait.
        waiting: usize,
        /// Requests that may wait.
        queue: usize,
    },
    /// The device on which the sequence ran is lost.
    #[error("device '{device}' is lost, {position} positions into the sequence: {source}")]
    Device {
        /// Which.
        device: String,
        /// Positions that the stream has given.
        position: u32,
        /// What lost it.
        source: Arc<DeviceFault>,
    },
    /// No device is left.
    #[error("no device is left: all {devices} are lost, '{device}' last: {source}")]
    NoDevice {
        /// Devices that there were.
        devices: usize,
        /// The one lost last.
        device: String,
        /// What lost it.
        source: Arc<DeviceFault>,
    },
    /// The engine has been shut down.
    #[error("the engine has been shut down")]
    Closed,
    /// Devices that did not answer while the engine was shut down; their threads are left behind.
    #[error("shut down, but {devices} did not answer within {:.1} s: left behind", limit.as_secs_f64())]
    Stuck {
        /// Their names.
        devices: String,
        /// Time allowed.
        limit: Duration,
    },
}

impl From<SessionError> for EngineError {
    fn from(error: SessionError) -> Self {
        Self::Session(Arc::new(error))
    }
}
