//! Streams: data with `valid` and `ready`.

use super::builder::Builder;
use super::parts::{Instance, Later};
use super::wire::Wire;

/// A stream as its consumer sees it: `valid` and `data` come, `ready` is to be given.
///
/// The rules: a word passes in a cycle in which both `valid` and `ready` are set; `valid`, once set, stays until then,
/// and `data` with it; `valid` must not wait for `ready`; after reset `valid` is not set.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'m> {
    /// Whether there is a word.
    pub valid: Wire<'m>,
    /// The word.
    pub data: Wire<'m>,
    /// Whether it is taken.
    pub ready: Later<'m>,
}

impl<'m> Stream<'m> {
    /// Whether a word passes in this cycle.
    #[must_use]
    #[track_caller]
    pub fn passes(&self) -> Wire<'m> {
        self.valid & self.ready.wire()
    }

    /// The same stream with other data: `valid` and `ready` go by.
    #[must_use]
    pub fn with_data(self, data: Wire<'m>) -> Self {
        Self { data, ..self }
    }
}

impl Builder {
    /// A stream that comes into the module: ports `<bus>_valid_i`, `<bus>_data_i`, `<bus>_ready_o`.
    #[track_caller]
    pub fn stream_in(&self, bus: &str, width: u32) -> Stream<'_> {
        let valid = self.input(&format!("{bus}_valid_i"), 1);
        let data = self.input(&format!("{bus}_data_i"), width);
        let ready = self.later(&format!("{bus}_ready"), 1);
        self.output(&format!("{bus}_ready_o"), ready.wire());
        Stream { valid, data, ready }
    }

    /// A stream that leaves the module: ports `<bus>_valid_o`, `<bus>_data_o`, `<bus>_ready_i`.
    #[track_caller]
    pub fn stream_out<'m>(&'m self, bus: &str, stream: Stream<'m>) {
        self.output(&format!("{bus}_valid_o"), stream.valid);
        self.output(&format!("{bus}_data_o"), stream.data);
        stream.ready.set(self.input(&format!("{bus}_ready_i"), 1));
    }

    /// A stream made of wires of this module, and whether its consumer takes the word. The name is that of `ready`.
    #[track_caller]
    pub fn stream<'m>(&'m self, name: &str, valid: Wire<'m>, data: Wire<'m>) -> Stream<'m> {
        Stream { valid, data, ready: self.later(name, 1) }
    }
}

impl<'m> Instance<'m> {
    /// Connects a stream to the instance's ports `<bus>_valid_i`, `<bus>_data_i`, `<bus>_ready_o`.
    #[track_caller]
    pub fn stream_in(&self, bus: &str, stream: Stream<'m>) {
        self.set(&format!("{bus}_valid_i"), stream.valid);
        self.set(&format!("{bus}_data_i"), stream.data);
        stream.ready.set(self.get(&format!("{bus}_ready_o")));
    }

    /// The stream that comes out of the instance's ports `<bus>_valid_o`, `<bus>_data_o`, `<bus>_ready_i`.
    #[track_caller]
    pub fn stream_out(&self, bus: &str) -> Stream<'m> {
        let name = self.m.state.borrow().instances[self.index as usize].name.clone();
        let ready = self.m.later(&format!("{name}_{bus}_ready"), 1);
        self.set(&format!("{bus}_ready_i"), ready.wire());
        Stream { valid: self.get(&format!("{bus}_valid_o")), data: self.get(&format!("{bus}_data_o")), ready }
    }
}
