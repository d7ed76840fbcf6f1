//! Several modules in one.

use fastcar_hw::rtl::{Builder, Module, RtlError};
use std::sync::Arc;

/// A module that holds others side by side; their ports get the prefix. One library then serves the tests of all.
///
/// # Errors
/// What is wrong with a name.
pub fn gather(name: &str, parts: &[(&str, Arc<Module>)]) -> Result<Arc<Module>, RtlError> {
    let m = Builder::new(name);
    for (prefix, module) in parts {
        let part = m.instance(&format!("u_{prefix}"), module)?;
        for port in module.ports() {
            let outer = format!("{prefix}_{}", port.name);
            if port.input {
                part.set(&port.name, m.input(&outer, port.width));
            } else {
                m.output(&outer, part.get(&port.name));
            }
        }
    }
    m.finish()
}
