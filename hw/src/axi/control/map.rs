//! From the register map to the words that reads give.

use crate::rtl::{Bits, Builder, RtlError, Wire};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::regs::{BitField, Register, RegisterMap, Reset};
use std::collections::BTreeMap;

/// Bits of a word.
const WORD: u32 = 32;

/// The map, and the values that its registers and fields have been given.
pub(super) struct Map<'m> {
    module: String,
    pub registers: RegisterMap,
    identity: Identity,
    values: BTreeMap<String, Wire<'m>>,
}

impl<'m> Map<'m> {
    pub fn new(module: &str, config: &AccelConfig) -> Self {
        Self {
            module: module.into(),
            registers: RegisterMap::new(config),
            identity: Identity::of(config),
            values: BTreeMap::new(),
        }
    }

    fn missing(&self, what: String) -> RtlError {
        RtlError::Undriven { module: self.module.clone(), what }
    }

    /// A register that has to be there.
    pub fn register(&self, name: &str) -> Result<&Register, RtlError> {
        self.registers
            .get(name)
            .ok_or_else(|| self.missing(format!("register {name}, which the map does not have,")))
    }

    /// Offset and field of a register's field that has to be there.
    pub fn field(&self, register: &str, field: &str) -> Result<(u32, &'static BitField), RtlError> {
        let register = self.register(register)?;
        let found = register.fields.iter().find(|f| f.name == field);
        let what = || format!("field {field}, which register {} does not have,", register.name);
        Ok((register.offset, found.ok_or_else(|| self.missing(what()))?))
    }

    /// What a field is after reset.
    pub fn field_reset(&self, register: &str, field: &BitField) -> Result<u64, RtlError> {
        let Reset::Value(value) = self.register(register)?.reset else { return Ok(0) };
        Ok(value >> field.low & ((1 << field.width) - 1))
    }

    /// Gives a register its value.
    pub fn set(&mut self, register: &str, value: Wire<'m>) {
        self.values.insert(register.into(), value);
    }

    /// Gives a field its value.
    pub fn set_field(&mut self, register: &str, field: &str, value: Wire<'m>) {
        self.values.insert(format!("{register}.{field}"), value);
    }

    fn value_of(&self, name: &str) -> Result<Wire<'m>, RtlError> {
        self.values.get(name).copied().ok_or_else(|| self.missing(format!("register {name}")))
    }

    /// What a register reads as.
    fn value(&self, m: &'m Builder, register: &Register) -> Result<Wire<'m>, RtlError> {
        if !register.fields.is_empty() {
            return self.fields(m, register);
        }
        match register.reset {
            Reset::Constant(value) | Reset::Configuration(value) => Ok(m.lit(register.bits, value)),
            Reset::Identity(word) => Ok(m.lit(register.bits, self.identity.words()[word].into())),
            Reset::Value(_) => self.value_of(&register.name),
        }
    }

    /// Fields at their places, zeros between them.
    fn fields(&self, m: &'m Builder, register: &Register) -> Result<Wire<'m>, RtlError> {
        let zeros = |count| m.constant(Bits::zero(count));
        let mut lanes = Vec::new();
        let mut next = 0;
        for field in register.fields {
            if field.low > next {
                lanes.push(zeros(field.low - next));
            }
            lanes.push(self.value_of(&format!("{}.{}", register.name, field.name))?);
            next = field.low + field.width;
        }
        if next < register.bits {
            lanes.push(zeros(register.bits - next));
        }
        Ok(m.pack(&lanes))
    }

    /// The words from offset 0 on; the last one is for all offsets beyond.
    pub fn words(&self, m: &'m Builder) -> Result<Vec<Wire<'m>>, RtlError> {
        let end = self.registers.registers().iter().map(|r| r.offset + r.bits / 8).max().unwrap_or_default();
        let mut words = vec![m.lit(WORD, 0); (end / 4) as usize + 1];
        for register in self.registers.registers() {
            let value = self.value(m, register)?;
            let first = (register.offset / 4) as usize;
            for (word, part) in words[first..].iter_mut().zip(value.chunks(WORD)) {
                *word = part;
            }
        }
        Ok(words)
    }
}
