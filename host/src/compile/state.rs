//! What a sequence keeps in device memory between steps, and its block lists.

use super::lists::ListRecords;
use super::{CompileError, CompileOptions, SlotRecords};
use crate::image::{Layer, Matrix, Transformer};
use crate::policy::{Gate, Method, Policy};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::layout::{KvLayout, MemoryMap, RecordLayout};
use fastcar_arch::units::Bytes;
use std::ops::Range;

/// A record per slot and ring position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ring {
    pub(super) addr: u64,
    pub(super) slot_stride: u64,
    pub(super) index_stride: u64,
}

/// Something that every slot keeps from one step to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// Keys and values of one layer.
    Cache {
        /// Of slot 0.
        addr: u64,
        /// From one slot to the next.
        stride: u64,
        /// Where a token's lie.
        layout: KvLayout,
    },
    /// One record for each position of a frame.
    Ring(Ring),
    /// One record.
    Record(SlotRecords),
}

impl Kept {
    /// What a slot has written of it behind `processed` positions, of which `generated` behind the prompt: the same
    /// local bytes on every channel. How long the ranges are does not depend on slots or on the room for positions.
    #[must_use]
    pub fn used(&self, slot: usize, processed: u32, generated: u32) -> Vec<Range<u64>> {
        let (addr, stride, length) = match *self {
            Self::Cache { addr, stride, layout } => {
                let start = addr + slot as u64 * stride;
                return layout.used(processed.into()).map(|r| start + r.start..start + r.end).collect();
            }
            Self::Ring(Ring { addr, slot_stride, index_stride }) => {
                (addr, slot_stride, slot_stride.min(u64::from(generated) * index_stride))
            }
            Self::Record(SlotRecords { addr, stride, .. }) => (addr, stride, stride),
        };
        let start = addr + slot as u64 * stride;
        std::iter::once(start..start + length).collect()
    }
}

/// Reference rings of one linear layer in delta decode: its input, and its output per tile.
#[derive(Clone, Debug)]
pub(super) struct DeltaRings {
    pub(super) input: Ring,
    pub(super) outputs: Vec<Ring>,
}

/// Addresses of the per-sequence state, by layer.
pub(super) struct State {
    pub(super) kv: Vec<u64>,
    pub(super) kv_stride: u64,
    kv_layout: KvLayout,
    /// Replay: MLP outputs.
    pub(super) outputs: Vec<Ring>,
    /// Input-delta gate: the inputs of those outputs.
    pub(super) references: Vec<Ring>,
    /// Delta decode: in the order in which a layer uses its linear inputs.
    pub(super) deltas: Vec<[DeltaRings; 4]>,
    /// Sparse attention.
    pub(super) lists: Vec<ListRecords>,
    /// Which of `lists` a layer reads; none where it is dense.
    pub(super) list_of: Vec<Option<usize>>,
}

impl State {
    pub(super) fn allocate(
        config: &AccelConfig,
        map: &mut MemoryMap,
        prefix: &str,
        transformer: &Transformer,
        policy: &Policy,
        options: CompileOptions,
    ) -> Result<Self, CompileError> {
        let shape = &transformer.shape;
        let kv_layout = KvLayout::new(config, shape.kv_heads, shape.head_dim, options.positions);
        let kv_stride = kv_layout.local_bytes().get();
        let size = Bytes(kv_stride * u64::from(options.slots));
        let kv = (0..shape.layers).map(|layer| map.allocate(format!("{prefix}kv.{layer}"), size));
        let kv = kv.collect::<Result<_, _>>()?;
        let (outputs, references, deltas) = (Vec::new(), Vec::new(), Vec::new());
        let (lists, list_of) = (Vec::new(), Vec::new());
        let mut state = Self { kv, kv_stride, kv_layout, outputs, references, deltas, lists, list_of };
        state.rings(&mut Rings { layout: RecordLayout::new(config), map, options }, transformer, policy)?;
        state.lists(map, config, prefix, transformer, policy, options)?;
        Ok(state)
    }

    /// Everything but the block lists, which the host writes.
    pub(super) fn kept(&self) -> impl Iterator<Item = Kept> {
        let (stride, layout) = (self.kv_stride, self.kv_layout);
        let caches = self.kv.iter().map(move |&addr| Kept::Cache { addr, stride, layout });
        let linear = |d: &DeltaRings| std::iter::once(d.input).chain(d.outputs.clone());
        let deltas = self.deltas.iter().flatten().flat_map(linear);
        let rings = self.outputs.iter().chain(&self.references).copied().chain(deltas);
        caches.chain(rings.map(Kept::Ring))
    }

    fn rings(
        &mut self,
        rings: &mut Rings<'_>,
        transformer: &Transformer,
        policy: &Policy,
    ) -> Result<(), CompileError> {
        let hidden = transformer.shape.hidden;
        for (index, layer) in transformer.layers.iter().enumerate() {
            match policy.method() {
                Method::Dense => {}
                Method::Replay { gate, .. } => {
                    self.outputs.push(rings.vector(format!("ring.{index}"), hidden)?);
                    if matches!(gate, Gate::InputDelta { .. }) {
                        self.references.push(rings.act(format!("ring_input.{index}"), hidden)?);
                    }
                }
                Method::Delta { .. } => self.deltas.push(rings.layer(index, layer)?),
            }
        }
        Ok(())
    }

    /// One set of lists for all layers whose heads have the same patterns.
    fn lists(
        &mut self,
        map: &mut MemoryMap,
        config: &AccelConfig,
        prefix: &str,
        transformer: &Transformer,
        policy: &Policy,
        options: CompileOptions,
    ) -> Result<(), CompileError> {
        let kv_heads = transformer.shape.kv_heads as usize;
        let CompileOptions { slots, positions, .. } = options;
        for layer in 0..transformer.layers.len() {
            let patterns = policy.attention().patterns(layer, kv_heads);
            if patterns.iter().all(|p| p.is_dense()) {
                self.list_of.push(None);
                continue;
            }
            let known = self.lists.iter().position(|l| l.patterns == patterns);
            if known.is_none() {
                let name = format!("{prefix}lists.{}", self.lists.len());
                self.lists.push(ListRecords::allocate(map, config, name, patterns, slots, positions)?);
            }
            self.list_of.push(known.or(self.lists.len().checked_sub(1)));
        }
        Ok(())
    }
}

/// Allocates rings.
struct Rings<'a> {
    layout: RecordLayout,
    map: &'a mut MemoryMap,
    options: CompileOptions,
}

impl Rings<'_> {
    fn ring(&mut self, name: String, index_stride: Bytes) -> Result<Ring, CompileError> {
        let index_stride = index_stride.get();
        let slot_stride = index_stride * u64::from(self.options.period);
        let addr = self.map.allocate(name, Bytes(slot_stride * u64::from(self.options.slots)))?;
        Ok(Ring { addr, slot_stride, index_stride })
    }

    fn vector(&mut self, name: String, words: u32) -> Result<Ring, CompileError> {
        self.ring(name, self.layout.vector_bytes(words.into()))
    }

    fn act(&mut self, name: String, words: u32) -> Result<Ring, CompileError> {
        self.ring(name, self.layout.act_bytes(u64::from(words / LINE_WORDS)))
    }

    fn layer(&mut self, index: usize, layer: &Layer) -> Result<[DeltaRings; 4], CompileError> {
        Ok([
            self.linear(format!("delta.{index}.qkv"), &layer.qkv)?,
            self.linear(format!("delta.{index}.o"), &layer.o)?,
            self.linear(format!("delta.{index}.up"), &layer.up)?,
            self.linear(format!("delta.{index}.down"), &layer.down)?,
        ])
    }

    fn linear(&mut self, name: String, matrix: &Matrix) -> Result<DeltaRings, CompileError> {
        let input = self.vector(format!("{name}.x"), matrix.blocks * LINE_WORDS)?;
        let outputs = matrix.tiles.iter().map(|tile| self.vector(format!("{name}.y"), tile.rows));
        Ok(DeltaRings { input, outputs: outputs.collect::<Result<_, _>>()? })
    }
}
