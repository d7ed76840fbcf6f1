//! Functions that the platform does not have: what the specification lets a device answer that lacks the feature.

use opencl_sys::cl_int;
use std::ffi::c_void;

/// A function that takes whatever it is given and answers `CODE`.
pub(super) trait Refuse<const CODE: cl_int>: Sized {
    const STUB: Self;
}

/// A function that makes an object: it answers none, and `CODE` through its last argument.
pub(super) trait RefuseObject<const CODE: cl_int>: Sized {
    const STUB: Self;
}

macro_rules! arities {
    ($($name:ident $object:ident ($($arg:ident)*);)+) => {$(
        unsafe extern "C" fn $name<const CODE: cl_int, $($arg),*>($(_: $arg),*) -> cl_int {
            CODE
        }
        impl<const CODE: cl_int, $($arg),*> Refuse<CODE> for unsafe extern "C" fn($($arg),*) -> cl_int {
            const STUB: Self = $name::<CODE, $($arg),*>;
        }
        unsafe extern "C" fn $object<const CODE: cl_int, $($arg),*>($(_: $arg,)* code: *mut cl_int) -> *mut c_void {
            // SAFETY: the last argument is null or writable, as every function that makes an object asks.
            unsafe { super::info::set(code, CODE) };
            std::ptr::null_mut()
        }
        impl<const CODE: cl_int, $($arg),*> RefuseObject<CODE>
            for unsafe extern "C" fn($($arg,)* *mut cl_int) -> *mut c_void
        {
            const STUB: Self = $object::<CODE, $($arg),*>;
        }
    )+};
}

arities! {
    f0 o0 ();
    f1 o1 (A);
    f2 o2 (A B);
    f3 o3 (A B C);
    f4 o4 (A B C D);
    f5 o5 (A B C D E);
    f6 o6 (A B C D E F);
    f7 o7 (A B C D E F G);
    f8 o8 (A B C D E F G H);
    f9 o9 (A B C D E F G H I);
    f10 o10 (A B C D E F G H I J);
    f11 o11 (A B C D E F G H I J K);
    f12 o12 (A B C D E F G H I J K L);
}

/// A slot for a function that answers a status.
pub(super) const fn refuse<const CODE: cl_int, F: Refuse<CODE>>() -> Option<F> {
    Some(F::STUB)
}

/// A slot for a function that makes an object.
pub(super) const fn refuse_object<const CODE: cl_int, F: RefuseObject<CODE>>() -> Option<F> {
    Some(F::STUB)
}
