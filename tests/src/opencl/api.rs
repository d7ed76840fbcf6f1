//! An OpenCL library, its functions, and what a call answered.

use libloading::{Library, Symbol};
use opencl_sys::cl_icd::cl_icd_dispatch;
use opencl_sys::*;
use std::ffi::c_void;
use std::path::Path;
use std::ptr;

/// What a call answered: a status, and what else is worth comparing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status.
    pub status: cl_int,
    /// A property of what came back; empty where there is none.
    pub value: String,
}

/// Why a case has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stop {
    /// The library lacks the function.
    #[error("absent {0}")]
    Absent(&'static str),
    /// An object that the case needs could not be made.
    #[error("setup {call} {}", status_name(*.status))]
    Setup {
        /// The call that failed.
        call: &'static str,
        /// Its status.
        status: cl_int,
    },
}

/// What a case gives.
pub type Outcome = Result<Answer, Stop>;

/// Why a library is no OpenCL implementation.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not load, or lacks a function.
    #[error("{library}: {source}")]
    Library {
        /// What was to be loaded.
        library: String,
        /// The loader's account.
        source: libloading::Error,
    },
    /// It has no `clIcdGetPlatformIDsKHR`.
    #[error("{library} is no installable client driver: it does not know clIcdGetPlatformIDsKHR")]
    NoDriver {
        /// What was loaded.
        library: String,
    },
    /// It has no platform.
    #[error("{library} has no platform: clIcdGetPlatformIDsKHR answers {}", status_name(*.status))]
    NoPlatform {
        /// What was loaded.
        library: String,
        /// Its answer.
        status: cl_int,
    },
}

/// The functions of a library, as an OpenCL loader finds them: through the table that each object points at.
pub struct Api {
    platform: cl_platform_id,
    dispatch: *const cl_icd_dispatch,
    _library: Library,
}

type Address = unsafe extern "C" fn(*const std::ffi::c_char) -> *mut c_void;
type Platforms = unsafe extern "C" fn(cl_uint, *mut cl_platform_id, *mut cl_uint) -> cl_int;

impl Api {
    /// Loads a library.
    ///
    /// # Safety
    /// Calls made through it may do anything, since some are wrong on purpose: this process must have nothing to lose.
    ///
    /// # Errors
    /// [`OpenError`].
    pub unsafe fn open(path: &Path) -> Result<Self, OpenError> {
        let name = || path.display().to_string();
        let failed = |source| OpenError::Library { library: name(), source };
        // SAFETY: the caller accepts whatever the library does, its initialisers included.
        let library = unsafe { Library::new(path) }.map_err(failed)?;
        // SAFETY: the symbol has this type in every version of OpenCL.
        let address: Symbol<'_, Address> =
            unsafe { library.get(b"clGetExtensionFunctionAddress\0") }.map_err(failed)?;
        // SAFETY: a C string, as the function wants.
        let found = unsafe { address(c"clIcdGetPlatformIDsKHR".as_ptr()) };
        if found.is_null() {
            return Err(OpenError::NoDriver { library: name() });
        }
        // SAFETY: cl_khr_icd gives the function of this name this type.
        let platforms: Platforms = unsafe { std::mem::transmute(found) };
        let (mut platform, mut count) = (ptr::null_mut(), 0);
        // SAFETY: room for the one platform asked for.
        let status = unsafe { platforms(1, &raw mut platform, &raw mut count) };
        if status != CL_SUCCESS || platform.is_null() {
            return Err(OpenError::NoPlatform { library: name(), status });
        }
        // SAFETY: cl_khr_icd: an object starts with the address of its table of functions.
        let dispatch = unsafe { *platform.cast::<*const cl_icd_dispatch>() };
        Ok(Self { platform, dispatch, _library: library })
    }

    /// The platform.
    #[must_use]
    pub fn platform(&self) -> cl_platform_id {
        self.platform
    }

    /// The functions; none where the library has an empty slot.
    #[must_use]
    pub fn dispatch(&self) -> &cl_icd_dispatch {
        // SAFETY: the table lives as long as the library, which `self` keeps loaded.
        unsafe { &*self.dispatch }
    }
}

/// Calls a function of the library, with whatever arguments; ends the case where the library lacks it.
macro_rules! call {
    ($world:expr, $name:ident($($arg:expr),* $(,)?)) => {
        match $world.api().dispatch().$name {
            // SAFETY: arguments are right or wrong as the case wants; `Api::open` obliges the process to bear it.
            Some(function) => unsafe { function($($arg),*) },
            None => return Err($crate::opencl::Stop::Absent(stringify!($name))),
        }
    };
}

/// A case that makes one call and answers its status.
macro_rules! status {
    ($world:expr, $name:ident($($arg:expr),* $(,)?)) => {
        Ok($crate::opencl::Answer::status($crate::opencl::api::call!($world, $name($($arg),*))))
    };
}

/// A case that creates an object; the call's last argument, the status, is added.
macro_rules! create {
    ($world:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        let mut status = $crate::opencl::api::UNTOUCHED;
        let object = $crate::opencl::api::call!($world, $name($($arg,)* &raw mut status));
        Ok($crate::opencl::Answer::object(object, status))
    }};
}

/// An object that a case needs: like `create`, but gives the object, or ends the case.
macro_rules! made {
    ($world:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        let mut status = opencl_sys::CL_SUCCESS;
        let object = $crate::opencl::api::call!($world, $name($($arg,)* &raw mut status));
        $crate::opencl::api::done(stringify!($name), status)?;
        object
    }};
}

/// A call that a case needs to succeed.
macro_rules! must {
    ($world:expr, $name:ident($($arg:expr),* $(,)?)) => {
        $crate::opencl::api::done(stringify!($name), $crate::opencl::api::call!($world, $name($($arg),*)))?
    };
}

/// A case that asks for a property: the call's last arguments (room, address, size) are added.
macro_rules! info {
    ($world:expr, $show:expr, $name:ident($($arg:expr),* $(,)?)) => {
        $crate::opencl::api::query($show, |room, value, size| {
            Ok($crate::opencl::api::call!($world, $name($($arg,)* room, value, size)))
        })
    };
}

pub(super) use {call, create, info, made, must, status};

/// A status that no function answers: shows that a call left its status alone.
pub(super) const UNTOUCHED: cl_int = 12_345;

impl Answer {
    /// A status alone.
    pub(super) fn status(status: cl_int) -> Self {
        Self { status, value: String::new() }
    }

    /// What a creating call gave.
    pub(super) fn object<T>(object: *mut T, status: cl_int) -> Self {
        let value = if object.is_null() { "null" } else { "object" };
        Self { status, value: value.to_owned() }
    }
}

/// Ends a case whose preparation failed.
pub(super) fn done(call: &'static str, status: cl_int) -> Result<(), Stop> {
    if status == CL_SUCCESS { Ok(()) } else { Err(Stop::Setup { call, status }) }
}

/// What of a property is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Show {
    /// Its size: the value is the device's own.
    Size,
    /// The number, or several of eight bytes.
    Number,
    /// That it is a text with its end.
    Text,
    /// The text.
    Exact,
    /// Nothing but the status: size and value are the device's own.
    Nothing,
}

/// Room for a property: more than any has here.
const ROOM: usize = 1 << 16;

/// Asks for a property with more than enough room.
pub(super) fn query(
    show: Show,
    ask: impl FnOnce(usize, *mut c_void, *mut usize) -> Result<cl_int, Stop>,
) -> Outcome {
    let (mut value, mut size) = (vec![0xEE_u8; ROOM], 0);
    let status = ask(ROOM, value.as_mut_ptr().cast(), &raw mut size)?;
    let value = if status == CL_SUCCESS { describe(show, value.get(..size)) } else { String::new() };
    Ok(Answer { status, value })
}

fn describe(show: Show, bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "more than there is room for".to_owned() };
    let text =
        bytes.split_last().filter(|(end, _)| **end == 0).map(|(_, text)| String::from_utf8_lossy(text));
    match (show, text) {
        (Show::Nothing, _) => String::new(),
        (Show::Size, _) => format!("{} bytes", bytes.len()),
        (Show::Number, _) => {
            let width = bytes.len().clamp(1, size_of::<u64>());
            bytes.chunks(width).map(number).collect::<Vec<_>>().join(" ")
        }
        (Show::Text | Show::Exact, None) => "not a text".to_owned(),
        (Show::Text, Some(_)) => "text".to_owned(),
        (Show::Exact, Some(text)) => format!("'{text}'"),
    }
}

/// A little-endian number of at most eight bytes.
fn number(bytes: &[u8]) -> String {
    bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)).to_string()
}

macro_rules! names {
    ($($name:ident)*) => {
        /// A status as OpenCL names it.
        #[must_use]
        pub fn status_name(status: cl_int) -> String {
            match status {
                $($name => stringify!($name).to_owned(),)*
                UNTOUCHED => "untouched".to_owned(),
                other => other.to_string(),
            }
        }
    };
}

names! {
    CL_SUCCESS CL_DEVICE_NOT_FOUND CL_DEVICE_NOT_AVAILABLE CL_COMPILER_NOT_AVAILABLE
    CL_MEM_OBJECT_ALLOCATION_FAILURE CL_OUT_OF_RESOURCES CL_OUT_OF_HOST_MEMORY CL_PROFILING_INFO_NOT_AVAILABLE
    CL_MEM_COPY_OVERLAP CL_IMAGE_FORMAT_MISMATCH CL_IMAGE_FORMAT_NOT_SUPPORTED CL_BUILD_PROGRAM_FAILURE
    CL_MAP_FAILURE CL_MISALIGNED_SUB_BUFFER_OFFSET CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST
    CL_COMPILE_PROGRAM_FAILURE CL_LINKER_NOT_AVAILABLE CL_LINK_PROGRAM_FAILURE CL_DEVICE_PARTITION_FAILED
    CL_KERNEL_ARG_INFO_NOT_AVAILABLE CL_INVALID_VALUE CL_INVALID_DEVICE_TYPE CL_INVALID_PLATFORM
    CL_INVALID_DEVICE CL_INVALID_CONTEXT CL_INVALID_QUEUE_PROPERTIES CL_INVALID_COMMAND_QUEUE
    CL_INVALID_HOST_PTR CL_INVALID_MEM_OBJECT CL_INVALID_IMAGE_FORMAT_DESCRIPTOR CL_INVALID_IMAGE_SIZE
    CL_INVALID_SAMPLER CL_INVALID_BINARY CL_INVALID_BUILD_OPTIONS CL_INVALID_PROGRAM
    CL_INVALID_PROGRAM_EXECUTABLE CL_INVALID_KERNEL_NAME CL_INVALID_KERNEL_DEFINITION CL_INVALID_KERNEL
    CL_INVALID_ARG_INDEX CL_INVALID_ARG_VALUE CL_INVALID_ARG_SIZE CL_INVALID_KERNEL_ARGS
    CL_INVALID_WORK_DIMENSION CL_INVALID_WORK_GROUP_SIZE CL_INVALID_WORK_ITEM_SIZE CL_INVALID_GLOBAL_OFFSET
    CL_INVALID_EVENT_WAIT_LIST CL_INVALID_EVENT CL_INVALID_OPERATION CL_INVALID_GL_OBJECT
    CL_INVALID_BUFFER_SIZE CL_INVALID_MIP_LEVEL CL_INVALID_GLOBAL_WORK_SIZE CL_INVALID_PROPERTY
    CL_INVALID_IMAGE_DESCRIPTOR CL_INVALID_COMPILER_OPTIONS CL_INVALID_LINKER_OPTIONS
    CL_INVALID_DEVICE_PARTITION_COUNT CL_INVALID_PIPE_SIZE CL_INVALID_DEVICE_QUEUE CL_INVALID_SPEC_ID
    CL_MAX_SIZE_RESTRICTION_EXCEEDED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_header() {
        assert_eq!(status_name(-51), "CL_INVALID_ARG_SIZE");
        assert_eq!(status_name(-1001), "-1001");
    }

    #[test]
    fn values_are_described() {
        let number = 7_u32.to_le_bytes();
        assert_eq!(describe(Show::Number, Some(&number)), "7");
        assert_eq!(describe(Show::Number, Some(&[1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat())), "1 2");
        assert_eq!(describe(Show::Size, Some(&number)), "4 bytes");
        assert_eq!(describe(Show::Exact, Some(b"ab\0")), "'ab'");
        assert_eq!(describe(Show::Text, Some(b"ab")), "not a text");
    }
}
