//! What a sequence keeps in device memory between steps, and its block lists.

use super::lists::ListRecords;
use super::{CompileError, CompileOptions};
use crate::image::{Layer, Matrix, Transformer};
use crate::policy::{Gate, Method, Policy};
use fastcar_arch::config::{AccelConfig, LINE_WORDS};
use fastcar_arch::layout::{KvLayout, MemoryMap, RecordLayout};
use fastcar_arch::units::Bytes;

/// A record per slot and ring position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    pub(super) addr: u64,
    pub(super) slot_stride: u64,
    pub(super) index_stride: u64,
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
        let kv_stride =
            KvLayout::new(config, shape.kv_heads, shape.head_dim, options.positions).local_bytes().get();
        let size = Bytes(kv_stride * u64::from(options.slots));
        let kv = (0..shape.layers).map(|layer| map.allocate(format!("{prefix}kv.{layer}"), size));
        let kv = kv.collect::<Result<_, _>>()?;
        let (outputs, references, deltas) = (Vec::new(), Vec::new(), Vec::new());
        let mut state =
            Self { kv, kv_stride, outputs, references, deltas, lists: Vec::new(), list_of: Vec::new() };
        state.rings(&mut Rings { layout: RecordLayout::new(config), map, options }, transformer, policy)?;
        state.lists(map, &RecordLayout::new(config), prefix, transformer, policy, options)?;
        Ok(state)
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
        layout: &RecordLayout,
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
                self.lists.push(ListRecords::allocate(map, layout, name, patterns, slots, positions)?);
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
