//! Channels' shares of the array, with the middle of the machine between them.

use crate::heads::machine::Middle;
use fastcar_arch::config::AccelConfig;
use fastcar_hw::array::Share;
use fastcar_hw::rtl::{Block, Builder, Instance, Module, RtlError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is for all channels comes to all in the same cycle.
const ALL: [&str; 6] = ["send_i", "ask_i", "arm_valid_i", "arm_i", "query_valid_i", "query_i"];
/// What the middle gives, and takes.
const MIDDLE: [&str; 8] =
    ["in_valid_i", "in_first_i", "in_i", "out_valid_o", "out_first_o", "out_o", "total_valid_o", "total_o"];

/// The machine. Ports of channel n are called `c<n>_` and as the share's own.
pub struct Machine {
    pub config: AccelConfig,
}

impl Block for Machine {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let (channels, share) = (self.config.channels(), Share::new(&self.config)?);
        let m = Builder::new(format!("channels_n{channels}_{}", share.module()?.name()));
        let mut all = BTreeMap::new();
        let mut shares: Vec<Instance<'_>> = Vec::new();
        for n in 0..channels {
            let share = m.instance(&format!("u_share{n}"), &share)?;
            for port in share.module().ports().to_vec() {
                let (name, own) = (port.name.as_str(), format!("c{n}_{}", port.name));
                match port.input {
                    _ if MIDDLE.contains(&name) => {}
                    true if ALL.contains(&name) => {
                        let wire = all.entry(port.name.clone()).or_insert_with(|| m.input(name, port.width));
                        share.set(name, *wire);
                    }
                    true => share.set(name, m.input(&own, port.width)),
                    false => m.output(&own, share.get(name)),
                }
            }
            shares.push(share);
        }
        Middle { config: &self.config }.join(&m, &shares)?;
        m.finish()
    }
}
