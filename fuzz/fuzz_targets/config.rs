//! Configuration, policy and model configuration parsers never panic.
#![no_main]

use fastcar_arch::config::AccelConfig;
use fastcar_host::model::ModelConfig;
use fastcar_host::policy::Policy;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    if let Ok(config) = AccelConfig::from_toml(text) {
        assert_eq!(AccelConfig::from_toml(&config.to_toml()).as_ref(), Ok(&config));
    }
    let _ = Policy::from_toml(text);
    let _ = ModelConfig::parse(text, Path::new("config.json"));
});
