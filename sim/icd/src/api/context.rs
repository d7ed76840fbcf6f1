//! Contexts.

use super::handle;
use super::host::Raw;
use super::info::{self, Place};
use super::platform;
use super::table::ContextNotify;
use crate::context::{Context, Notify};
use crate::device::Device;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use opencl_sys::{cl_bitfield, cl_context, cl_context_properties, cl_device_id, cl_uint};
use std::ffi::{CString, c_void};
use std::sync::Arc;

/// The properties of a list of names and values that ends with a 0, that 0 included.
unsafe fn properties(start: *const cl_context_properties) -> Answer<Vec<cl_context_properties>> {
    let mut list = Vec::new();
    if start.is_null() {
        return Ok(list);
    }
    loop {
        // SAFETY: the list goes on to its closing 0, and each name is followed by a value.
        let name = unsafe { start.add(list.len()).read() };
        list.push(name);
        if name == 0 {
            return Ok(list);
        }
        // SAFETY: as above.
        let value = unsafe { start.add(list.len()).read() };
        check_property(name, value)?;
        // The same name may not stand twice.
        if list.iter().step_by(2).filter(|n| **n == name).count() > 1 {
            return Err(Refusal::new(
                cl::CL_INVALID_PROPERTY,
                format!("context property {name:#x} stands twice"),
            ));
        }
        list.push(value);
    }
}

fn check_property(name: cl_context_properties, value: cl_context_properties) -> Answer<()> {
    match name {
        // The platform named must be one.
        cl::CL_CONTEXT_PLATFORM => {
            platform::platform(std::ptr::with_exposed_provenance_mut(value as usize)).map(|_| ())
        }
        // No other API shares anything with a device, so who synchronises is the same.
        cl::CL_CONTEXT_INTEROP_USER_SYNC => Ok(()),
        _ => {
            Err(Refusal::new(cl::CL_INVALID_PROPERTY, format!("context property {name:#x} is not supported")))
        }
    }
}

/// The caller's function for errors, if there is one.
fn notify(function: ContextNotify, user_data: *mut c_void) -> Answer<Option<Notify>> {
    let Some(function) = function else {
        // Data without a function to give it to.
        return if user_data.is_null() {
            Ok(None)
        } else {
            Err(Refusal::value("user data is given without a function"))
        };
    };
    let data = Raw(user_data);
    Ok(Some(Box::new(move |text| {
        let data = data;
        if let Ok(text) = CString::new(text) {
            // SAFETY: the caller's function, with its own data and a text that ends with a zero byte.
            unsafe { function(text.as_ptr(), std::ptr::null(), 0, data.0) };
        }
    })))
}

fn make(
    devices: Vec<Arc<Device>>,
    properties: Vec<cl_context_properties>,
    notify: Option<Notify>,
) -> cl_context {
    handle::create(Arc::new(Context { devices, properties, notify }), &[])
}

pub(super) unsafe fn create(
    start: *const cl_context_properties,
    count: cl_uint,
    devices: *const cl_device_id,
    function: ContextNotify,
    user_data: *mut c_void,
) -> Answer<cl_context> {
    // SAFETY: what the specification asks of the caller.
    let properties = unsafe { properties(start)? };
    // A context has at least one device.
    if count == 0 || devices.is_null() {
        return Err(Refusal::value("a context needs at least one device"));
    }
    // SAFETY: as above.
    let found = unsafe { platform::devices(devices, count)? };
    let mut unique: Vec<Arc<Device>> = Vec::new();
    for device in found {
        // A device that is listed twice counts once.
        if !unique.iter().any(|d| Arc::ptr_eq(d, &device)) {
            unique.push(device);
        }
    }
    if let Some(lost) = unique.iter().find(|d| !d.is_available()) {
        let text = format!("device {} is lost", lost.index);
        return Err(Refusal::new(cl::CL_DEVICE_NOT_AVAILABLE, text));
    }
    Ok(make(unique, properties, notify(function, user_data)?))
}

pub(super) unsafe fn create_from_type(
    start: *const cl_context_properties,
    kind: cl_bitfield,
    function: ContextNotify,
    user_data: *mut c_void,
) -> Answer<cl_context> {
    // SAFETY: what the specification asks of the caller.
    let properties = unsafe { properties(start)? };
    let notify = notify(function, user_data)?;
    let mut devices = platform::devices_of(kind)?;
    // Devices that are not available are left out.
    devices.retain(|d| d.is_available());
    if devices.is_empty() {
        return Err(Refusal::new(cl::CL_DEVICE_NOT_AVAILABLE, "every device is lost"));
    }
    Ok(make(devices, properties, notify))
}

pub(super) unsafe fn retain(context: cl_context) -> Answer<()> {
    handle::retain::<Context>(context)
}

pub(super) unsafe fn release(context: cl_context) -> Answer<()> {
    handle::release::<Context>(context)
}

pub(super) unsafe fn info(
    handle: cl_context,
    query: cl_uint,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> Answer<()> {
    let context = handle::get::<Context>(handle)?;
    let bytes = match query {
        cl::CL_CONTEXT_REFERENCE_COUNT => info::u32(handle::references(handle)),
        cl::CL_CONTEXT_NUM_DEVICES => info::u32(context.devices.len() as u32),
        cl::CL_CONTEXT_DEVICES => {
            let devices = context.devices.iter().map(|d| platform::device_handle(d));
            info::handles(&devices.collect::<Answer<Vec<_>>>()?)
        }
        cl::CL_CONTEXT_PROPERTIES => context.properties.iter().flat_map(|p| p.to_ne_bytes()).collect(),
        _ => return Err(info::unknown(query)),
    };
    // SAFETY: what the specification asks of the caller.
    unsafe { Place { size, value, size_ret }.give(&bytes) }
}
