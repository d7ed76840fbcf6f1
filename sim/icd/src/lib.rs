//! The fastcar simulator as an OpenCL platform.
