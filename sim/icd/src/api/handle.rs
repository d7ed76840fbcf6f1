//! Handles: what an application holds, and whether it is alive.
//!
//! A handle is the address of a [`Head`], whose first word is the dispatch table that a loader follows. Heads lie side
//! by side in blocks, and what a head stands for has its place in a registry by the head's number: the address gives the
//! number and is never followed, so a wrong or released handle is found out. Heads are never freed, as a loader reads
//! them before the platform is asked; they are used again, long after their objects are gone.

use super::table::dispatch;
use crate::context::{Context, Queue};
use crate::device::Device;
use crate::engine;
use crate::kernel::Kernel;
use crate::program::Program;
use crate::refusal::{Answer, Refusal};
use opencl_sys as cl;
use smallvec::{SmallVec, smallvec};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::MemObject;

/// Heads of released objects that rest before one of them is used again.
const RESTING_HEADS: usize = 4096;
/// Heads of a block: as many as rest, and some for what is alive, so that most programs need no second block.
const BLOCK_HEADS: usize = RESTING_HEADS + 1024;

/// What a handle points to.
#[derive(Clone, Copy)]
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

/// A head by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot(usize);

/// What an object needs: at most what holds it and the context.
type Parents = SmallVec<[Slot; 2]>;
/// Objects to be dropped when the registry is free again: they may call back.
type Gone = SmallVec<[Object; 1]>;

struct Entry {
    object: Object,
    /// The application's references.
    references: u32,
    /// Objects and callbacks that need this one.
    children: u32,
    /// Objects that this one needs, alive as long as it is.
    parents: Parents,
}

impl Entry {
    fn is_needed(&self) -> bool {
        self.references > 0 || self.children > 0
    }
}

#[derive(Default)]
struct Registry {
    blocks: Vec<&'static [Head]>,
    /// What each head stands for that was ever used, while its object is alive.
    entries: Vec<Option<Entry>>,
    resting: VecDeque<Slot>,
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
    registry().create(K::object(object), parents)
}

/// What a handle stands for.
pub(super) fn get<K: Kind>(handle: *mut c_void) -> Answer<Arc<K>> {
    let registry = registry();
    let entry = registry.find(handle).map(|(_, entry)| entry);
    entry.and_then(|e| K::of(&e.object)).cloned().ok_or_else(|| invalid::<K>(handle))
}

/// The first object of a kind that this one needs.
pub(super) fn parent<K: Kind>(handle: *mut c_void) -> *mut c_void {
    let registry = registry();
    let parents = registry.find(handle).map_or(&[][..], |(_, e)| &e.parents);
    let is_kind = |p: &&Slot| registry.entry(**p).is_some_and(|e| K::of(&e.object).is_some());
    parents.iter().find(is_kind).map_or(std::ptr::null_mut(), |p| registry.handle(*p))
}

/// The application's references to a live object.
pub(super) fn references(handle: *mut c_void) -> u32 {
    registry().find(handle).map_or(0, |(_, e)| e.references)
}

/// Adds a reference.
pub(super) fn retain<K: Kind>(handle: *mut c_void) -> Answer<()> {
    let mut registry = registry();
    let entry = registry.find_mut(handle).filter(|(_, e)| K::of(&e.object).is_some());
    let (_, entry) = entry.ok_or_else(|| invalid::<K>(handle))?;
    entry.references = entry.references.saturating_add(1);
    Ok(())
}

/// Takes a reference away. The object goes with the last one, once no other object needs it.
pub(super) fn release<K: Kind>(handle: *mut c_void) -> Answer<()> {
    let gone = {
        let mut registry = registry();
        let alive = |e: &Entry| e.references > 0 && K::of(&e.object).is_some();
        let entry = registry.find_mut(handle).filter(|(_, e)| alive(e));
        let (slot, entry) = entry.ok_or_else(|| invalid::<K>(handle))?;
        entry.references -= 1;
        registry.bury(slot)
    };
    drop(gone);
    Ok(())
}

/// Keeps an object alive that the application may have released; nothing, where it was not alive.
pub(super) struct Hold(Option<Slot>);

impl Hold {
    /// A hold of a live object.
    pub(super) fn new(handle: *mut c_void) -> Self {
        let mut registry = registry();
        Self(registry.find_mut(handle).map(|(slot, entry)| {
            entry.children += 1;
            slot
        }))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let gone = self.0.map(|slot| {
            let mut registry = registry();
            registry.leave(slot);
            registry.bury(slot)
        });
        drop(gone);
    }
}

impl Registry {
    /// The number of a handle, wherever it points.
    fn slot(&self, handle: *mut c_void) -> Option<Slot> {
        self.blocks.iter().enumerate().find_map(|(number, block)| {
            let offset = handle.addr().wrapping_sub(block.as_ptr().addr());
            let inside = offset < size_of_val(*block) && offset.is_multiple_of(size_of::<Head>());
            inside.then(|| Slot(number * BLOCK_HEADS + offset / size_of::<Head>()))
        })
    }

    fn handle(&self, Slot(number): Slot) -> *mut c_void {
        let head = self.blocks.get(number / BLOCK_HEADS).and_then(|b| b.get(number % BLOCK_HEADS));
        head.map_or(std::ptr::null_mut(), |head| std::ptr::from_ref(head).cast_mut().cast())
    }

    fn entry(&self, Slot(number): Slot) -> Option<&Entry> {
        self.entries.get(number)?.as_ref()
    }

    fn entry_mut(&mut self, Slot(number): Slot) -> Option<&mut Entry> {
        self.entries.get_mut(number)?.as_mut()
    }

    fn find(&self, handle: *mut c_void) -> Option<(Slot, &Entry)> {
        let slot = self.slot(handle)?;
        Some((slot, self.entry(slot)?))
    }

    fn find_mut(&mut self, handle: *mut c_void) -> Option<(Slot, &mut Entry)> {
        let slot = self.slot(handle)?;
        Some((slot, self.entry_mut(slot)?))
    }

    fn create(&mut self, object: Object, parents: &[*mut c_void]) -> *mut c_void {
        let mut alive = Parents::new();
        for &parent in parents {
            if let Some((slot, entry)) = self.find_mut(parent) {
                entry.children += 1;
                alive.push(slot);
            }
        }
        let Slot(number) = self.vacant();
        self.entries[number] = Some(Entry { object, references: 1, children: 0, parents: alive });
        self.handle(Slot(number))
    }

    /// A head for a new object.
    fn vacant(&mut self) -> Slot {
        if self.resting.len() > RESTING_HEADS
            && let Some(slot) = self.resting.pop_front()
        {
            return slot;
        }
        let number = self.entries.len();
        if number == self.blocks.len() * BLOCK_HEADS {
            self.blocks.push(Box::leak(vec![Head { dispatch: dispatch() }; BLOCK_HEADS].into_boxed_slice()));
        }
        self.entries.push(None);
        Slot(number)
    }

    /// One object less needs this one.
    fn leave(&mut self, slot: Slot) {
        if let Some(entry) = self.entry_mut(slot) {
            entry.children = entry.children.saturating_sub(1);
        }
    }

    /// Removes an object that nothing needs, and then its parents that nothing needs.
    fn bury(&mut self, slot: Slot) -> Gone {
        let mut gone = Gone::new();
        let mut next: Parents = smallvec![slot];
        while let Some(slot) = next.pop() {
            let Some(place) = self.entries.get_mut(slot.0) else { continue };
            let Some(entry) = place.take_if(|e| !e.is_needed()) else { continue };
            for &parent in &entry.parents {
                self.leave(parent);
                next.push(parent);
            }
            self.resting.push_back(slot);
            gone.push(entry.object);
        }
        gone
    }
}

/// Objects that are alive, platform and devices left out.
pub(crate) fn live() -> usize {
    let lasting = |o: &Object| matches!(o, Object::Platform(_) | Object::Device(_));
    registry().entries.iter().flatten().filter(|e| !lasting(&e.object)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        Object::Platform(Arc::new(PlatformObject))
    }

    fn bury(registry: &mut Registry, handle: *mut c_void) -> usize {
        let Some((slot, entry)) = registry.find_mut(handle) else { return 0 };
        entry.references = 0;
        registry.bury(slot).len()
    }

    #[test]
    fn only_addresses_of_live_heads_are_handles() {
        let mut registry = Registry::default();
        assert!(registry.find(std::ptr::null_mut()).is_none());
        // More than two blocks.
        let handles: Vec<_> = (0..2 * BLOCK_HEADS + 3).map(|_| registry.create(object(), &[])).collect();
        assert_eq!(registry.blocks.len(), 3);
        for (number, &handle) in handles.iter().enumerate() {
            assert_eq!(registry.find(handle).map(|found| found.0), Some(Slot(number)));
            for offset in 1..size_of::<Head>() {
                assert!(registry.find(handle.wrapping_byte_add(offset)).is_none(), "inside of a head");
            }
        }
        for block in &registry.blocks {
            let ends = [block.as_ptr().wrapping_sub(1), block.as_ptr_range().end];
            let found = ends.map(|end| registry.slot(end.cast_mut().cast()));
            let begins = |end: &*const Head| registry.blocks.iter().any(|b| b.as_ptr() == *end);
            // Unless blocks lie side by side.
            assert!(found[0].is_none_or(|Slot(n)| n % BLOCK_HEADS == BLOCK_HEADS - 1));
            assert_eq!(found[1].is_some(), begins(&ends[1]));
        }
        // A head that was never used.
        let unused = handles[handles.len() - 1].wrapping_byte_add(size_of::<Head>());
        assert!(registry.slot(unused).is_some() && registry.find(unused).is_none());
        assert_eq!(bury(&mut registry, handles[BLOCK_HEADS]), 1);
        assert!(registry.find(handles[BLOCK_HEADS]).is_none(), "released");
        assert!(registry.find(handles[BLOCK_HEADS + 1]).is_some());
    }

    #[test]
    fn heads_are_used_again_after_a_rest() {
        let mut registry = Registry::default();
        let first = registry.create(object(), &[]);
        assert_eq!(bury(&mut registry, first), 1);
        for _ in 0..RESTING_HEADS {
            let other = registry.create(object(), &[]);
            assert_ne!(other, first);
            assert_eq!(bury(&mut registry, other), 1);
        }
        assert_eq!(registry.create(object(), &[]), first);
        assert_eq!((registry.blocks.len(), registry.entries.len()), (1, RESTING_HEADS + 1));
    }

    #[test]
    fn parents_go_with_the_last_that_needs_them() {
        let mut registry = Registry::default();
        let context = registry.create(object(), &[]);
        let queue = registry.create(object(), &[context]);
        let events = [(); 2].map(|()| registry.create(object(), &[context, queue]));
        assert_eq!(bury(&mut registry, context), 0);
        assert_eq!(bury(&mut registry, queue), 0);
        assert_eq!(bury(&mut registry, events[0]), 1);
        assert!(registry.find(context).is_some() && registry.find(queue).is_some());
        // The event, its queue, and then their context.
        assert_eq!(bury(&mut registry, events[1]), 3);
        assert!(registry.entries.iter().all(Option::is_none));
    }
}
