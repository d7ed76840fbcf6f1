//! Reader and writer of .xclbin (axlf) containers, and what fastcar puts into them.
