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
    /// The device does not take the image, and may run another one.
    #[error(
        "the device does not take {what}: it is in use by another process that runs another image on it, or its driver cannot load this one (its log says which); end that process, choose another device by --device, or load the image that it runs by --xclbin"
    )]
    InUse {
        /// The image, and the device.
        what: String,
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
    /// A memory bank has less room than this program knows of.
    #[error(
        "{what} needs {asked} on memory bank {bank}, of which this program has left {left} of {capacity}, and the device has less: another user holds memory on this bank; end it, or use fewer slots, shorter sequences or a smaller weight format"
    )]
    Taken {
        /// What was to be placed.
        what: String,
        /// The bank.
        bank: u32,
        /// Bytes asked for.
        asked: Bytes,
        /// Bytes that this program has not taken.
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

#[cfg(test)]
mod tests {
    use super::OpenClError as E;
    use super::*;

    /// Number of a variant: a new one does not compile here until it is in the table below, too.
    fn number(error: &E) -> usize {
        match error {
            E::Library { .. } => 0,
            E::LinkedTooLate { .. } => 1,
            E::NoPlatform => 2,
            E::NoDevice { .. } => 3,
            E::UnknownDevice { .. } => 4,
            E::AmbiguousDevice { .. } => 5,
            E::Call { .. } => 6,
            E::ImageFile { .. } => 7,
            E::Container { .. } => 8,
            E::Image { .. } => 9,
            E::NoImage { .. } => 10,
            E::Identity { .. } => 11,
            E::InUse { .. } => 12,
            E::Memory { .. } => 13,
            E::Taken { .. } => 14,
            E::NotLoaded { .. } => 15,
            E::Range { .. } => 16,
            E::Reach { .. } => 17,
            E::Step(_) => 18,
            E::Timeout { .. } => 19,
            E::Lost { .. } => 20,
            E::Cancelled { .. } => 21,
        }
    }

    /// Every variant as it is read.
    fn table() -> Vec<(E, &'static str)> {
        let mut all = finding();
        all.extend(images());
        all.extend(memory());
        all.extend(running());
        all
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn finding() -> Vec<(E, &'static str)> {
        vec![
            (
                E::Library { asked: text("/a.so"), reason: text("no such file") },
                "OPENCL_DYLIB_PATH is '/a.so', and none of it loads (no such file): correct the path, or unset it to \
                 use the system's OpenCL library",
            ),
            (
                E::LinkedTooLate { threads: 3 },
                "the OpenCL library must be settled before other threads start, and 3 threads run: set \
                 OPENCL_DYLIB_PATH to an empty text before the program starts",
            ),
            (
                E::NoPlatform,
                "the OpenCL library knows no platform: install the device's runtime (for a card, XRT) or use the \
                 simulator by --device sim",
            ),
            (
                E::NoDevice { platforms: text("Xilinx") },
                "no OpenCL device on Xilinx: check that the card is seated and its driver is loaded, or use the \
                 simulator by --device sim",
            ),
            (
                E::UnknownDevice { asked: text("u51"), known: text("0 'u55c' of Xilinx") },
                "no OpenCL device is 'u51': there is 0 'u55c' of Xilinx",
            ),
            (
                E::AmbiguousDevice {
                    asked: text("u5"),
                    found: text("0 'u50' of Xilinx, 1 'u55c' of Xilinx"),
                },
                "several OpenCL devices are 'u5': 0 'u50' of Xilinx, 1 'u55c' of Xilinx; name one by its number with \
                 --device",
            ),
            (
                E::Call {
                    call: "clFinish",
                    code: -5,
                    name: "CL_OUT_OF_RESOURCES",
                    hint: "reset it",
                    context: text("the queue"),
                },
                "clFinish answered CL_OUT_OF_RESOURCES (-5) for the queue: reset it",
            ),
        ]
    }

    fn images() -> Vec<(E, &'static str)> {
        let (path, source) = (PathBuf::from("a.xclbin"), std::io::Error::other("no such file"));
        let short = XclbinError::Short { found: 3, needed: 456 };
        let foreign = ImageError::Foreign { found: text("an xclbin without a bitstream") };
        let identity = E::Identity {
            image: text("1234"),
            image_preset: text("edge"),
            model: text("abcd"),
            model_preset: text("tiny"),
        };
        vec![
            (E::ImageFile { path, source }, "cannot read image a.xclbin: no such file"),
            (
                E::Container { origin: text("image a.xclbin"), source: short },
                "image a.xclbin: not an xclbin: 3 bytes, and the header alone has 456",
            ),
            (
                E::Image { origin: text("image a.xclbin"), source: foreign },
                "image a.xclbin: this is no fastcar image but an xclbin without a bitstream: make one with `fastcar \
                 xclbin pack`, or add the metadata to a fastcar bitstream with `fastcar xclbin pack --bitstream`",
            ),
            (
                E::NoImage { device: text("card"), preset: text("u55c") },
                "device 'card' needs an image of the accelerator for preset 'u55c': name its file by --xclbin",
            ),
            (
                identity,
                "the image is of identity 1234 (preset 'edge'), the weights are packed for identity abcd (preset \
                 'tiny'): load an image of preset 'tiny', or pack the model for preset 'edge'",
            ),
            (
                E::InUse { what: text("image a.xclbin on device 'card'") },
                "the device does not take image a.xclbin on device 'card': it is in use by another process that runs \
                 another image on it, or its driver cannot load this one (its log says which); end that process, choose \
                 another device by --device, or load the image that it runs by --xclbin",
            ),
        ]
    }

    fn memory() -> Vec<(E, &'static str)> {
        let (asked, left, capacity) = (Bytes(8192), Bytes(4096), Bytes(16384));
        vec![
            (
                E::Memory { what: text("channel 3"), bank: 3, asked, left, capacity },
                "channel 3 needs 8192 bytes on memory bank 3, which has 4096 bytes of 16384 bytes left: use fewer slots, \
                 shorter sequences or a smaller weight format",
            ),
            (
                E::Taken { what: text("channel 3"), bank: 3, asked, left: capacity, capacity },
                "channel 3 needs 8192 bytes on memory bank 3, of which this program has left 16384 bytes of 16384 bytes, and \
                 the device has less: another user holds memory on this bank; end it, or use fewer slots, shorter \
                 sequences or a smaller weight format",
            ),
            (E::NotLoaded { device: text("card") }, "no model is loaded on device 'card'"),
            (
                E::Range { channel: 1, start: 4, end: 12, channels: 2, size: Bytes(8) },
                "bytes 4 to 12 of channel 1: 2 channels of 8 bytes are loaded",
            ),
            (
                E::Reach { reach: asked, size: left },
                "the program reaches 8192 bytes of each channel, and 4096 bytes are loaded: load the model that it was \
                 compiled for",
            ),
        ]
    }

    fn running() -> Vec<(E, &'static str)> {
        vec![
            (
                E::Step(ProgramError::End { found: 2, commands: 2 }),
                "a program ends with its only 'end': found 2 of 2 commands before the first 'end'",
            ),
            (
                E::Timeout { what: text("a run of the kernel"), device: text("card"), seconds: 1.25 },
                "a run of the kernel on device 'card' has not ended after 1.2 s: the device hangs; reset it (for a card, \
                 xbutil reset), or allow more time by --timeout",
            ),
            (
                E::Lost { device: text("card"), reason: text("it hangs") },
                "device 'card' is lost (it hangs): open it again",
            ),
            (
                E::Cancelled { done: 3, total: 9 },
                "loading was cancelled after 3 of 9 bytes; no model is loaded",
            ),
        ]
    }

    #[test]
    fn every_error_says_what_was_found_and_what_to_do() {
        let table = table();
        let numbers: Vec<usize> = table.iter().map(|(error, _)| number(error)).collect();
        assert_eq!(numbers, (0..=21).collect::<Vec<_>>());
        for (error, expected) in table {
            assert_eq!(error.to_string(), expected);
        }
    }
}
