//! Hardware generator of the fastcar accelerator (see `docs/ARCHITECTURE.md`, section 4).
