//! The memory: DRAM timing against a naive model and parameter by parameter, AXI ports beat by beat, data files, and
//! published measurements.

mod data;
#[path = "../../examples/shuhai/measure.rs"]
mod measure;
mod naive;
mod ports;
mod published;
mod random;
mod tight;
