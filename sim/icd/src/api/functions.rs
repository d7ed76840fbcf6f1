//! What every function of the interface has around its body, and the macro that makes of a list of functions the
//! dispatch table and the exported symbols.

use super::info;
use crate::refusal::{Answer, Refusal, log};
use opencl_sys as cl;
use opencl_sys::cl_int;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a function's body: no panic leaves it, and what it refuses is logged.
fn guarded<T>(name: &str, body: impl FnOnce() -> Answer<T>) -> Answer<T> {
    let broken = || Refusal::new(cl::CL_OUT_OF_RESOURCES, "the simulator itself has failed");
    let answer = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| Err(broken()));
    answer.inspect_err(|refusal| log(|| format!("{name} = {}: {refusal}", refusal.status)))
}

/// What a function answers that answers a status.
pub(super) fn status(name: &str, body: impl FnOnce() -> Answer<()>) -> cl_int {
    guarded(name, body).map_or_else(|refusal| refusal.status, |()| cl::CL_SUCCESS)
}

/// The object, or null; and the status to where the caller wants it.
///
/// # Safety
/// `code` is null or writable.
pub(super) unsafe fn object(
    name: &str,
    code: *mut cl_int,
    body: impl FnOnce() -> Answer<*mut c_void>,
) -> *mut c_void {
    let answer = guarded(name, body);
    let found = answer.as_ref().map_or_else(|refusal| refusal.status, |_| cl::CL_SUCCESS);
    // SAFETY: as the caller promises.
    unsafe { info::set(code, found) };
    answer.unwrap_or(std::ptr::null_mut())
}

/// Functions by kind: `status` and `object` with the function that does it; `enqueue` with the arguments that stand
/// between the queue and the wait list, and the request that they make; and what there is not.
macro_rules! functions {
    (
        status { $($s:ident ($($sa:ident: $st:ty),* $(,)?) => $sb:path;)* }
        enqueue { $($e:ident ($($ea:ident: $et:ty),* $(,)?) => enqueue::$ef:ident ($($ex:expr),* $(,)?);)* }
        object { $($o:ident ($($oa:ident: $ot:ty),* $(,)?) => $ob:path;)* }
        refuse { $($r:ident ($($ra:ident)*) = $rc:ident;)* }
        refuse_object { $($q:ident ($($qa:ident)*) = $qc:ident;)* }
        unexported { $($u:ident = $ux:expr;)* }
        other { $($x:ident ($($xa:ident: $xt:ty),*) -> $xr:ty = $xb:path;)* }
    ) => {
        /// What the table points at.
        #[allow(non_snake_case, reason = "named as the functions of the interface")]
        mod inner {
            use super::*;
            $(pub(super) unsafe extern "C" fn $s($($sa: $st),*) -> cl_int {
                // SAFETY: the caller gives what the specification asks of this function's arguments.
                status(stringify!($s), || unsafe { $sb($($sa),*) })
            })*
            $(pub(super) unsafe extern "C" fn $e(
                queue: cl_command_queue,
                $($ea: $et,)*
                num_events: cl_uint,
                events: *const cl_event,
                event: *mut cl_event,
            ) -> cl_int {
                // SAFETY: as above.
                status(stringify!($e), || unsafe {
                    enqueue::$ef(Target::new(queue, num_events, events, event)? $(, $ex)*)
                })
            })*
            $(pub(super) unsafe extern "C" fn $o($($oa: $ot,)* errcode_ret: *mut cl_int) -> *mut c_void {
                // SAFETY: as above; `errcode_ret` is null or writable.
                unsafe { object(stringify!($o), errcode_ret, || $ob($($oa),*)) }
            })*
            $(pub(super) unsafe extern "C" fn $x($($xa: $xt),*) -> $xr {
                // SAFETY: as above.
                unsafe { $xb($($xa),*) }
            })*
        }

        /// The exported symbols.
        #[allow(non_snake_case, reason = "named as the functions of the interface")]
        mod exported {
            use super::*;
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $s($($sa: $st),*) -> cl_int {
                // SAFETY: the same function under another name.
                unsafe { inner::$s($($sa),*) }
            })*
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $e(
                queue: cl_command_queue,
                $($ea: $et,)*
                num_events: cl_uint,
                events: *const cl_event,
                event: *mut cl_event,
            ) -> cl_int {
                // SAFETY: the same function under another name.
                unsafe { inner::$e(queue, $($ea,)* num_events, events, event) }
            })*
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $o($($oa: $ot,)* errcode_ret: *mut cl_int) -> *mut c_void {
                // SAFETY: the same function under another name.
                unsafe { inner::$o($($oa,)* errcode_ret) }
            })*
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $x($($xa: $xt),*) -> $xr {
                // SAFETY: the same function under another name.
                unsafe { inner::$x($($xa),*) }
            })*
            // Every argument of these is an integer or a pointer, so a word; none is looked at.
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $r($(_: functions!(@word $ra)),*) -> cl_int {
                cl::$rc
            })*
            $(#[unsafe(no_mangle)]
            pub(super) unsafe extern "C" fn $q(
                $(_: functions!(@word $qa),)*
                errcode_ret: *mut cl_int,
            ) -> *mut c_void {
                // SAFETY: null or writable, as every function that makes an object asks.
                unsafe { info::set(errcode_ret, cl::$qc) };
                std::ptr::null_mut()
            })*
        }

        static DISPATCH: cl_icd_dispatch = cl_icd_dispatch {
            $($s: Some(inner::$s),)*
            $($e: Some(inner::$e),)*
            $($o: Some(inner::$o),)*
            $($x: Some(inner::$x),)*
            $($r: stub::refuse::<{ cl::$rc }, _>(),)*
            $($q: stub::refuse_object::<{ cl::$qc }, _>(),)*
            $($u: $ux,)*
        };

        /// The addresses of the exported symbols: whoever uses them keeps the linker from leaving them out.
        pub(crate) fn keep() -> Vec<*const ()> {
            vec![
                $(exported::$s as *const (),)*
                $(exported::$e as *const (),)*
                $(exported::$o as *const (),)*
                $(exported::$x as *const (),)*
                $(exported::$r as *const (),)*
                $(exported::$q as *const (),)*
                clIcdGetPlatformIDsKHR as *const (),
            ]
        }
    };
    (@word $name:ident) => { usize };
}
pub(super) use functions;
