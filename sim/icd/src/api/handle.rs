//! Handles: what an application holds, and whether it is alive.
//!
//! A handle is the address of a [`Head`], whose first word is the dispatch table that a loader follows. What it
//! stands for is looked up in a registry, so a wrong or released handle is found out and never followed. Heads are
//! never freed, as a loader reads them before the platform is asked; they are used again, long after their objects
//! are gone.

use super::table::dispatch;
use crate::context::{Context, Queue};
use crate::device::Device;
use crate::engine;
use crate::kernel::Kernel;
use crate::program::Program;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use std::collections::{HashMap, VecDeque};
use std::ffi::c_void;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::MemObject;

/// Heads of released objects that rest before one of them is used again.
const RESTING_HEADS: usize = 4096;

/// What a handle points to.
#[repr(C)]
struct Head {
    dispatch: &'static cl::cl_icd::cl_icd_dispatch,
}

/// The platform's handle stands for nothing but itself.
pub(super) struct PlatformObject;

/// A command's event as the application knows it.
pub(super) struct EventObject {
    pub(super) event: Arc<engine::Event>,
    pub(super) context: Arc<Context>,
    pub(super) command: cl::cl_command_type,
    /// Whether its queue keeps times.
    pub(super) profiles: bool,
}

/// What a handle stands for.
#[derive(Clone)]
pub(super) enum Object {
    Platform(Arc<PlatformObject>),
    Device(Arc<Device>),
    Context(Arc<Context>),
    Queue(Arc<Queue>),
    Mem(Arc<MemObject>),
    Program(Arc<Program>),
    Kernel(Arc<Kernel>),
    Event(Arc<EventObject>),
}

/// A kind of object: how it is found and what a handle that is none is called.
pub(super) trait Kind: Sized {
    /// Name in messages.
    const NAME: &'static str;
    /// Status for a handle that is none of these.
    const INVALID: cl::cl_int;
    fn of(object: &Object) -> Option<&Arc<Self>>;
    fn object(this: Arc<Self>) -> Object;
}

macro_rules! kinds {
    ($($type:ty, $variant:ident, $name:literal, $invalid:ident;)+) => {$(
        impl Kind for $type {
            const NAME: &'static str = $name;
            const INVALID: cl::cl_int = cl::$invalid;
            fn of(object: &Object) -> Option<&Arc<Self>> {
                match object {
                    Object::$variant(this) => Some(this),
                    _ => None,
                }
            }
            fn object(this: Arc<Self>) -> Object {
                Object::$variant(this)
            }
        }
    )+};
}

kinds! {
    PlatformObject, Platform, "platform", CL_INVALID_PLATFORM;
    Device, Device, "device", CL_INVALID_DEVICE;
    Context, Context, "context", CL_INVALID_CONTEXT;
    Queue, Queue, "command queue", CL_INVALID_COMMAND_QUEUE;
    MemObject, Mem, "memory object", CL_INVALID_MEM_OBJECT;
    Program, Program, "program", CL_INVALID_PROGRAM;
    Kernel, Kernel, "kernel", CL_INVALID_KERNEL;
    EventObject, Event, "event", CL_INVALID_EVENT;
}

struct Entry {
    object: Object,
    /// The application's references.
    references: u32,
    /// Objects and callbacks that need this one.
    children: u32,
    /// Objects that this one needs, alive as long as it is.
    parents: Vec<usize>,
    head: &'static Head,
}

#[derive(Default)]
struct Registry {
    entries: HashMap<usize, Entry>,
    resting: VecDeque<&'static Head>,
}

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(Mutex::default);

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn invalid<K: Kind>(handle: *mut c_void) -> Refusal {
    let state = if handle.is_null() { "null" } else { "not alive" };
    Refusal::new(K::INVALID, format!("{} {handle:p} is {state}", K::NAME))
}

/// A new handle with one reference. Its parents stay alive as long as it does.
pub(super) fn create<K: Kind>(object: Arc<K>, parents: &[*mut c_void]) -> *mut c_void {
    let parents: Vec<usize> = parents.iter().map(|p| p.addr()).collect();
    let mut registry = registry();
    let head = registry.head();
    let handle = head.handle();
    for parent in &parents {
        if let Some(entry) = registry.entries.get_mut(parent) {
            entry.children += 1;
        }
    }
    let entry = Entry { object: K::object(object), references: 1, children: 0, parents, head };
    registry.entries.insert(handle.addr(), entry);
    handle
}

/// What a handle stands for.
pub(super) fn get<K: Kind>(handle: *mut c_void) -> Answer<Arc<K>> {
    let registry = registry();
    let entry = registry.entries.get(&handle.addr());
    entry.and_then(|e| K::of(&e.object)).cloned().ok_or_else(|| invalid::<K>(handle))
}

/// The first object of a kind that this one needs.
pub(super) fn parent<K: Kind>(handle: *mut c_void) -> *mut c_void {
    let registry = registry();
    let parents = registry.entries.get(&handle.addr()).map_or(&[][..], |e| &e.parents);
    let is_kind = |p: &&usize| registry.entries.get(p).is_some_and(|e| K::of(&e.object).is_some());
    let found = parents.iter().find(is_kind).and_then(|p| registry.entries.get(p));
    found.map_or(std::ptr::null_mut(), |e| e.head.handle())
}

/// The application's references to a live object.
pub(super) fn references(handle: *mut c_void) -> u32 {
    registry().entries.get(&handle.addr()).map_or(0, |e| e.references)
}

/// Adds a reference.
pub(super) fn retain<K: Kind>(handle: *mut c_void) -> Answer<()> {
    let mut registry = registry();
    let entry = registry.entries.get_mut(&handle.addr()).filter(|e| K::of(&e.object).is_some());
    let entry = entry.ok_or_else(|| invalid::<K>(handle))?;
    entry.references = entry.references.saturating_add(1);
    Ok(())
}

/// Takes a reference away. The object goes with the last one, once no other object needs it.
pub(super) fn release<K: Kind>(handle: *mut c_void) -> Answer<()> {
    // Dropped when the registry is free again: objects may call back.
    let gone = {
        let mut registry = registry();
        let entry = registry.entries.get_mut(&handle.addr()).filter(|e| K::of(&e.object).is_some());
        let entry = entry.filter(|e| e.references > 0).ok_or_else(|| invalid::<K>(handle))?;
        entry.references -= 1;
        registry.bury(handle.addr())
    };
    drop(gone);
    Ok(())
}

/// Keeps an object alive that the application may have released.
pub(super) struct Hold(usize);

impl Hold {
    /// A hold of a live object.
    pub(super) fn new(handle: *mut c_void) -> Self {
        if let Some(entry) = registry().entries.get_mut(&handle.addr()) {
            entry.children += 1;
        }
        Self(handle.addr())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let gone = {
            let mut registry = registry();
            if let Some(entry) = registry.entries.get_mut(&self.0) {
                entry.children = entry.children.saturating_sub(1);
            }
            registry.bury(self.0)
        };
        // As in `release`.
        drop(gone);
    }
}

impl Head {
    fn handle(&'static self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

impl Registry {
    fn head(&mut self) -> &'static Head {
        if self.resting.len() > RESTING_HEADS
            && let Some(head) = self.resting.pop_front()
        {
            return head;
        }
        Box::leak(Box::new(Head { dispatch: dispatch() }))
    }

    /// Removes an object that nothing needs, and then its parents that nothing needs.
    fn bury(&mut self, handle: usize) -> Vec<Object> {
        let mut gone = Vec::new();
        let mut next = vec![handle];
        while let Some(handle) = next.pop() {
            let unused = |e: &Entry| e.references == 0 && e.children == 0;
            if !self.entries.get(&handle).is_some_and(unused) {
                continue;
            }
            let Some(entry) = self.entries.remove(&handle) else { continue };
            for parent in entry.parents {
                if let Some(parent) = self.entries.get_mut(&parent) {
                    parent.children -= 1;
                }
                next.push(parent);
            }
            self.resting.push_back(entry.head);
            gone.push(entry.object);
        }
        gone
    }
}

/// Objects that are alive, platform and devices left out.
pub(crate) fn live() -> usize {
    let lasting = |o: &Object| matches!(o, Object::Platform(_) | Object::Device(_));
    registry().entries.values().filter(|e| !lasting(&e.object)).count()
}
