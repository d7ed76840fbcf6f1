//! A module and all that it is made of, as Verilog files.

use super::error::RtlError;
use super::graph::{CLOCK, Module, Port, RESET};
use super::verilog::module_text;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// A design as text: every module once, what is used before what uses it, the top last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Design {
    modules: Vec<(String, String)>,
    top: String,
    ports: Vec<Port>,
}

/// Prints a module and all that it is made of. The same module gives the same bytes.
///
/// # Errors
/// [`RtlError::ModuleTwice`] where two different modules have one name.
pub fn emit(top: &Arc<Module>) -> Result<Design, RtlError> {
    let mut emitter = Emitter::default();
    emitter.visit(top)?;
    let implicit = [(top.is_clocked(), CLOCK), (top.has_reset(), RESET)];
    let implicit = implicit.into_iter().filter(|one| one.0);
    let ports = implicit.map(|(_, name)| Port { name: name.into(), width: 1, input: true });
    Ok(Design {
        modules: emitter.modules,
        top: top.name().into(),
        ports: ports.chain(top.ports().iter().cloned()).collect(),
    })
}

#[derive(Default)]
struct Emitter {
    modules: Vec<(String, String)>,
    by_name: BTreeMap<String, usize>,
    // Modules looked at already; they are alive as long as the top is.
    seen: HashSet<*const Module>,
}

impl Emitter {
    fn visit(&mut self, module: &Arc<Module>) -> Result<(), RtlError> {
        if !self.seen.insert(Arc::as_ptr(module)) {
            return Ok(());
        }
        for instance in &module.instances {
            self.visit(&instance.module)?;
        }
        let text = format!("`default_nettype none\n\n{}\n`default_nettype wire\n", module_text(module));
        match self.by_name.get(module.name()) {
            Some(&index) if self.modules[index].1 == text => Ok(()),
            Some(_) => Err(RtlError::ModuleTwice { name: module.name().into() }),
            None => {
                self.by_name.insert(module.name().into(), self.modules.len());
                self.modules.push((module.name().into(), text));
                Ok(())
            }
        }
    }
}

impl Design {
    /// Names and texts of the modules, what is used before what uses it.
    #[must_use]
    pub fn modules(&self) -> &[(String, String)] {
        &self.modules
    }

    pub(crate) fn into_modules(self) -> Vec<(String, String)> {
        self.modules
    }

    /// Name of the top module.
    #[must_use]
    pub fn top(&self) -> &str {
        &self.top
    }

    /// Ports of the top module, clock and reset included.
    #[must_use]
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// The same design with another text for one of its modules.
    #[must_use]
    pub fn with_text(mut self, module: &str, text: String) -> Self {
        self.modules.iter_mut().filter(|one| one.0 == module).for_each(|one| one.1.clone_from(&text));
        self
    }

    /// The same design with one more module around it, which is the top then.
    pub(crate) fn within(mut self, top: &str, text: String, ports: Vec<Port>) -> Self {
        self.modules.push((top.into(), text));
        Self { modules: self.modules, top: top.into(), ports }
    }

    /// Names of the files in order, one module each: what `files.f` lists.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.modules.iter().map(|(name, _)| format!("{name}.v")).collect()
    }

    /// Text of `files.f`.
    pub(crate) fn list(&self) -> String {
        self.files().iter().map(|file| format!("{file}\n")).collect()
    }

    /// Writes one file per module and `files.f` into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`RtlError::Write`] with the file and what the system says.
    pub fn write(&self, folder: &Path) -> Result<(), RtlError> {
        let failed = |path: &Path, error: &std::io::Error| RtlError::Write {
            path: path.into(),
            reason: error.to_string(),
        };
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        let list = self.list();
        let texts = self.modules.iter().map(|(_, text)| text).chain([&list]);
        for (file, text) in self.files().into_iter().chain(["files.f".into()]).zip(texts) {
            let path = folder.join(file);
            std::fs::write(&path, text).map_err(|error| failed(&path, &error))?;
        }
        Ok(())
    }
}
