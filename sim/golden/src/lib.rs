//! Bit-exact functional model.
