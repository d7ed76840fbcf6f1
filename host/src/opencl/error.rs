//! Why a device cannot be used.

use fastcar_arch::program::ProgramError;
use fastcar_arch::units::Bytes;
use fastcar_xclbin::XclbinError;
use fastcar_xclbin::image::ImageError;
use std::path::PathBuf;

/// The device, its runtime, its image or its memory refuses or fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenClError {
    /// `OPENCL_DYLIB_PATH` names nothing that loads; the library found elsewhere would be another one.
    #[error(
        "OPENCL_DYLIB_PATH is '{asked}', and none of it loads ({reason}): correct the path, or unset it to use the system's OpenCL library"
    )]
    Library {
        /// The variable's value.
        asked: String,
        /// What the system says of each path.
        reason: String,
    },
    /// The platform inside this program can no longer be chosen.
    #[error(
        "the OpenCL library must be settled before other threads start, and {threads} threads run: set OPENCL_DYLIB_PATH to an empty text before the program starts"
    )]
    LinkedTooLate {
        /// Threads running.
        threads: usize,
    },
    /// There is an OpenCL library, and no platform behind it.
    #[error(
        "the OpenCL library knows no platform: install the device's runtime (for a card, XRT) or use the simulator by --device sim"
    )]
    NoPlatform,
    /// No platform has a device.
    #[error(
        "no OpenCL device on {platforms}: check that the card is seated and its driver is loaded, or use the simulator by --device sim"
    )]
    NoDevice {
        /// The platforms asked.
        platforms: String,
    },
    /// No device fits what was asked for.
    #[error("no OpenCL device is '{asked}': there is {known}")]
    UnknownDevice {
        /// What was asked for.
        asked: String,
        /// The devices there are.
        known: String,
    },
    /// Several devices fit what was asked for.
    #[error("several OpenCL devices are '{asked}': {found}; name one by its number with --device")]
    AmbiguousDevice {
        /// What was asked for.
        asked: String,
        /// The devices that fit.
        found: String,
    },
    /// An OpenCL call answered with an error.
    #[error("{call} answered {name} ({code}) for {context}: {hint}")]
    Call {
        /// The call.
        call: &'static str,
        /// The status.
        code: i32,
        /// The status's name in the specification.
        name: &'static str,
        /// What to do.
        hint: &'static str,
        /// What the call was for.
        context: String,
    },
    /// The image cannot be read.
    #[error("cannot read image {}: {source}", path.display())]
    ImageFile {
        /// Its path.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The image is no container.
    #[error("{origin}: {source}")]
    Container {
        /// Where the image comes from.
        origin: String,
        /// Cause.
        source: XclbinError,
    },
    /// The image is no image of this accelerator.
    #[error("{origin}: {source}")]
    Image {
        /// Where the image comes from.
        origin: String,
        /// Cause.
        source: ImageError,
    },
    /// A device that is configured by an image, and no image.
    #[error(
        "device '{device}' needs an image of the accelerator for preset '{preset}': name its file by --xclbin"
    )]
    NoImage {
        /// The device.
        device: String,
        /// The preset wanted.
        preset: String,
    },
    /// Image and weights are of different accelerators.
    #[error(
        "the image is of identity {image} (preset '{image_preset}'), the weights are packed for identity {model} (preset '{model_preset}'): load an image of preset '{model_preset}', or pack the model for preset '{image_preset}'"
    )]
    Identity {
        /// The image's identity.
        image: String,
        /// Its configuration.
        image_preset: String,
        /// The weights' identity.
        model: String,
        /// Their configuration.
        model_preset: String,
    },
    /// A memory bank has no room.
    #[error(
        "{what} needs {asked} on memory bank {bank}, which has {left} of {capacity} left: use fewer slots, shorter sequences or a smaller weight format"
    )]
    Memory {
        /// What was to be placed.
        what: String,
        /// The bank.
        bank: u32,
        /// Bytes asked for.
        asked: Bytes,
        /// Bytes left.
        left: Bytes,
        /// Bytes of the bank.
        capacity: Bytes,
    },
    /// No model is loaded.
    #[error("no model is loaded on device '{device}'")]
    NotLoaded {
        /// The device.
        device: String,
    },
    /// Beyond the memory that was loaded.
    #[error("bytes {start} to {end} of channel {channel}: {channels} channels of {size} are loaded")]
    Range {
        /// Channel asked for.
        channel: usize,
        /// First byte.
        start: u64,
        /// Byte behind the last.
        end: u64,
        /// Channels there are.
        channels: usize,
        /// Bytes of each.
        size: Bytes,
    },
    /// A program uses memory beyond what was loaded.
    #[error(
        "the program reaches {reach} of each channel, and {size} are loaded: load the model that it was compiled for"
    )]
    Reach {
        /// What the program needs.
        reach: Bytes,
        /// What there is.
        size: Bytes,
    },
    /// A step table that does not fit its program.
    #[error(transparent)]
    Step(#[from] ProgramError),
    /// A command does not end.
    #[error(
        "{what} on device '{device}' has not ended after {seconds:.1} s: the device hangs; reset it (for a card, xbutil reset), or allow more time by --timeout"
    )]
    Timeout {
        /// The command.
        what: String,
        /// The device.
        device: String,
        /// How long it was waited for.
        seconds: f64,
    },
    /// An earlier failure left the device in an unknown state.
    #[error("device '{device}' is lost ({reason}): open it again")]
    Lost {
        /// The device.
        device: String,
        /// The earlier failure.
        reason: String,
    },
    /// Stopped on request.
    #[error("loading was cancelled after {done} of {total} bytes; no model is loaded")]
    Cancelled {
        /// Bytes written.
        done: u64,
        /// Bytes to write.
        total: u64,
    },
}
