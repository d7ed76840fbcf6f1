//! When a feeder takes which beat, written from its documentation.

use crate::work::{Beat, Operand};
use fastcar_tests::rtl::Cover;
use std::collections::VecDeque;

/// What comes in a cycle.
pub struct Inputs {
    /// A product that wants to come: whether it is read ahead, its beats.
    pub product: Option<(bool, Vec<Beat>)>,
    /// Whether there is a beat on the streams.
    pub beats: [bool; 2],
    pub operand: Option<Operand>,
    /// It is weights' turn.
    pub turn: bool,
}

/// What is seen in a cycle.
#[derive(Default)]
pub struct Outputs {
    pub product_ready: bool,
    pub ready: [bool; 2],
    /// The stream from which a beat is taken.
    pub taken: Option<usize>,
    /// A beat is used up in the next cycle: read ahead, last of its burst.
    pub free: Option<(bool, bool)>,
    pub credit: u32,
    pub done: bool,
    /// A product's last beat is taken; none is in use behind this cycle.
    pub over: bool,
    pub unused: bool,
    pub busy: bool,
    pub starved: bool,
}

struct Product {
    ahead: bool,
    beats: VecDeque<Beat>,
    begun: bool,
}

/// A beat that is being used.
struct InUse {
    /// The cycle in which it is used up.
    end: u64,
    ahead: bool,
    beat: Beat,
}

pub struct Model {
    pub cycle: u64,
    /// Cycles that a beat occupied, and that one was missing.
    pub counted: [u64; 2],
    room: usize,
    products: VecDeque<Product>,
    in_use: Option<InUse>,
    /// Headers that are there, and how many of each one's operands are to come; the first is that of the next beat.
    blocks: VecDeque<u32>,
}

impl Model {
    pub fn new(room: usize) -> Self {
        let (products, blocks) = (VecDeque::new(), VecDeque::new());
        Self { cycle: 0, counted: [0; 2], room, products, in_use: None, blocks }
    }

    /// The cycle's outputs; what came in it is there from the next one on.
    pub fn predict(&mut self, inputs: &Inputs, cover: &mut Cover) -> Outputs {
        let mut out = Outputs { product_ready: self.products.len() < self.room, ..Outputs::default() };
        cover.hit("queue full", !out.product_ready && inputs.product.is_some());
        // What ends in this cycle lets the next beat in.
        let ended = self.in_use.take_if(|used| used.end == self.cycle);
        if let Some(InUse { beat, .. }) = &ended {
            out.credit = if beat.ends_block { beat.passes } else { 0 };
            out.done = beat.ends_product;
        }
        let occupies = |used: &InUse| !used.beat.none;
        out.busy = ended.as_ref().is_some_and(occupies) || self.in_use.as_ref().is_some_and(occupies);
        out.unused = self.in_use.is_none();
        cover.hit("not its turn", !inputs.turn && out.unused && !self.products.is_empty());
        self.offer(inputs, &mut out, ended.as_ref(), cover);
        let ending = self.in_use.as_ref().filter(|used| used.end == self.cycle + 1 && !used.beat.none);
        out.free = ending.map(|used| (used.ahead, used.beat.ends_burst));
        self.counted[0] += u64::from(out.busy);
        self.counted[1] += u64::from(out.starved);
        self.arrive(inputs, out.product_ready);
        out
    }

    fn offer(&mut self, inputs: &Inputs, out: &mut Outputs, ended: Option<&InUse>, cover: &mut Cover) {
        let turn = inputs.turn && self.in_use.is_none();
        let Some(product) = self.products.front_mut().filter(|_| turn) else { return };
        let beat = &product.beats[0];
        let prepared = match self.blocks.front() {
            Some(&left) => beat.scale || left == 0,
            None => false,
        };
        let stream = usize::from(product.ahead);
        let passes_over = beat.none && prepared;
        let there = inputs.beats[stream] || passes_over;
        out.ready[stream] = prepared && !passes_over;
        out.starved = !there;
        cover.hit("starved", !there);
        cover.hit("header late", there && self.blocks.is_empty());
        cover.hit("operands late", there && !prepared && !self.blocks.is_empty());
        if !(there && prepared) {
            return;
        }
        cover.hit("passed over", passes_over);
        cover.hit("scale bytes before operands", self.blocks[0] > 0);
        if let Some(before) = ended {
            cover.hit("product right behind another", !product.begun);
            cover.hit("of the other stream", before.ahead != product.ahead);
            cover.hit("passes change", before.beat.passes != beat.passes);
            cover.hit("beat of one pass right behind another", before.beat.passes == 1 && beat.passes == 1);
            cover.hit("int8 behind fp4", before.beat.fp4 && !beat.fp4);
        }
        let (beat, ahead) = (product.beats.pop_front().unwrap(), product.ahead);
        product.begun = true;
        if beat.ends_block {
            self.blocks.pop_front();
        }
        if beat.ends_product {
            self.products.pop_front();
        }
        out.over = beat.ends_product;
        out.taken = (!passes_over).then_some(stream);
        self.in_use = Some(InUse { end: self.cycle + u64::from(beat.passes), ahead, beat });
    }

    fn arrive(&mut self, inputs: &Inputs, product_ready: bool) {
        if let Some((ahead, beats)) = inputs.product.as_ref().filter(|_| product_ready) {
            self.products.push_back(Product { ahead: *ahead, beats: beats.clone().into(), begun: false });
        }
        match &inputs.operand {
            Some(operand) if operand.is_header() => self.blocks.push_back(operand.follow),
            Some(_) => *self.blocks.iter_mut().find(|left| **left > 0).unwrap() -= 1,
            None => {}
        }
    }
}
