//! Expressions.

use super::bits::Bits;
use super::builder::Builder;
use super::error::{Place, RtlError};
use super::graph::{Binary, Id, Node, Unary};
use super::index_width;
use std::ops::{Add, BitAnd, BitOr, BitXor, Not, Shl, Shr, Sub};

/// A value in a circuit: a number of bits, without sign.
///
/// Operands have to be of one width; nothing is extended or cut unsaid. Integers take the width of the other operand
/// and have to fit it.
#[derive(Clone, Copy)]
pub struct Wire<'m> {
    pub(crate) m: &'m Builder,
    pub(crate) id: Id,
    width: u32,
}

impl std::fmt::Debug for Wire<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wire({} of {}, {} bits)", self.id, self.m.name(), self.width)
    }
}

/// A wire, or an integer that becomes a constant of the other operand's width.
pub trait Operand<'m> {
    /// The wire.
    #[track_caller]
    fn wire(self, like: Wire<'m>) -> Wire<'m>;
}

impl<'m> Operand<'m> for Wire<'m> {
    fn wire(self, _like: Wire<'m>) -> Wire<'m> {
        self
    }
}

impl<'m> Operand<'m> for u64 {
    #[track_caller]
    fn wire(self, like: Wire<'m>) -> Wire<'m> {
        like.m.lit(like.width, self)
    }
}

impl<'m> Wire<'m> {
    pub(crate) fn new(m: &'m Builder, id: Id, width: u32) -> Self {
        Self { m, id, width }
    }

    /// Width in bits.
    #[must_use]
    pub fn width(self) -> u32 {
        self.width
    }

    /// The module that is being built.
    #[must_use]
    pub fn builder(self) -> &'m Builder {
        self.m
    }

    /// The same wire, called so in the Verilog. Of several wires of one name, the later ones get a number.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        // A node of its own if the value has a name already: ports and registers keep theirs.
        let named = {
            let state = self.m.state.borrow();
            let item = &state.items[self.id as usize];
            let declared =
                matches!(item.node, Node::Input(_) | Node::Reg(_) | Node::Later(_) | Node::Const(_));
            if declared || item.name.is_some() { None } else { Some(self.id) }
        };
        let wire = named.map_or_else(|| self.m.push(Node::Zext(self.id), self.width), |_| self);
        self.m.state.borrow_mut().items[wire.id as usize].name = Some(name.into());
        wire
    }

    /// The wire if it has the width; otherwise the difference is noted.
    #[track_caller]
    pub(crate) fn sized(self, op: &'static str, width: u32) -> Self {
        if self.width == width {
            return self;
        }
        self.m.fail(RtlError::Width { op, left: width, right: self.width, place: Place::here() });
        self.m.push(Node::Const(Bits::zero(width)), width)
    }

    #[track_caller]
    fn binary(self, op: Binary, name: &'static str, other: impl Operand<'m>, width: u32) -> Self {
        let other = self.m.own(other.wire(self)).sized(name, self.width);
        self.m.push(Node::Binary(op, self.id, other.id), width)
    }

    fn unary(self, op: Unary, width: u32) -> Self {
        self.m.push(Node::Unary(op, self.id), width)
    }

    /// Whether both are equal.
    #[must_use]
    #[track_caller]
    pub fn eq(self, other: impl Operand<'m>) -> Self {
        self.binary(Binary::Eq, "==", other, 1)
    }

    /// Whether they differ.
    #[must_use]
    #[track_caller]
    pub fn ne(self, other: impl Operand<'m>) -> Self {
        self.binary(Binary::Ne, "!=", other, 1)
    }

    /// Whether this is less, as unsigned numbers.
    #[must_use]
    #[track_caller]
    pub fn lt(self, other: impl Operand<'m>) -> Self {
        self.binary(Binary::Lt, "<", other, 1)
    }

    /// Whether this is at most the other, as unsigned numbers.
    #[must_use]
    #[track_caller]
    pub fn le(self, other: impl Operand<'m>) -> Self {
        self.binary(Binary::Le, "<=", other, 1)
    }

    /// Whether this is more, as unsigned numbers.
    #[must_use]
    #[track_caller]
    pub fn gt(self, other: impl Operand<'m>) -> Self {
        !self.le(other)
    }

    /// Whether this is at least the other, as unsigned numbers.
    #[must_use]
    #[track_caller]
    pub fn ge(self, other: impl Operand<'m>) -> Self {
        !self.lt(other)
    }

    /// Whether this is less, as signed numbers.
    #[must_use]
    #[track_caller]
    pub fn lt_signed(self, other: impl Operand<'m>) -> Self {
        self.binary(Binary::LtSigned, "signed <", other, 1)
    }

    /// Whether this is at most the other, as signed numbers.
    #[must_use]
    #[track_caller]
    pub fn le_signed(self, other: impl Operand<'m>) -> Self {
        self.binary(Binary::LeSigned, "signed <=", other, 1)
    }

    /// Exact product of unsigned numbers, as wide as both together. The widths may differ.
    #[must_use]
    #[track_caller]
    pub fn mul_unsigned(self, other: Self) -> Self {
        self.product(Binary::Mul, other)
    }

    /// Exact product of signed numbers, as wide as both together. The widths may differ.
    #[must_use]
    #[track_caller]
    pub fn mul_signed(self, other: Self) -> Self {
        self.product(Binary::MulSigned, other)
    }

    #[track_caller]
    fn product(self, op: Binary, other: Self) -> Self {
        let other = self.m.own(other);
        let width = self.m.checked_width(u64::from(self.width) + u64::from(other.width));
        self.m.push(Node::Binary(op, self.id, other.id), width)
    }

    /// Shifted left by a number that is itself a signal.
    #[must_use]
    #[track_caller]
    pub fn shl_by(self, count: Self) -> Self {
        self.shift(Binary::Shl, count)
    }

    /// Shifted right by a signal, zeros coming in.
    #[must_use]
    #[track_caller]
    pub fn shr_by(self, count: Self) -> Self {
        self.shift(Binary::Shr, count)
    }

    /// Shifted right by a signal, copies of the sign coming in.
    #[must_use]
    #[track_caller]
    pub fn sar_by(self, count: Self) -> Self {
        self.shift(Binary::Sar, count)
    }

    /// Shifted right by a number, copies of the sign coming in.
    #[must_use]
    #[track_caller]
    pub fn sar(self, count: u32) -> Self {
        let kept = count.min(self.width - 1);
        self.slice(kept, self.width - kept).sext(self.width)
    }

    #[track_caller]
    fn shift(self, op: Binary, count: Self) -> Self {
        let mut count = self.m.own(count);
        // A wider count is not understood by every tool.
        if count.width > 31 {
            let far = count.slice(31, count.width - 31).any();
            count = far.mux(self.m.lit(31, (1 << 31) - 1), count.slice(0, 31));
        }
        self.m.push(Node::Binary(op, self.id, count.id), self.width)
    }

    /// Bits `low` to `low + width - 1`.
    #[must_use]
    #[track_caller]
    pub fn slice(self, low: u32, width: u32) -> Self {
        let end = u64::from(low) + u64::from(width);
        if width == 0 || end > u64::from(self.width) {
            let high = end.saturating_sub(1);
            self.m.fail(RtlError::Slice { low, high, width: self.width, place: Place::here() });
            return self.m.push(Node::Const(Bits::zero(width)), width.max(1));
        }
        if width == self.width {
            return self;
        }
        self.m.push(Node::Slice(self.id, low), width)
    }

    /// One bit.
    #[must_use]
    #[track_caller]
    pub fn bit(self, index: u32) -> Self {
        self.slice(index, 1)
    }

    /// The highest bit: the sign of a signed number.
    #[must_use]
    #[track_caller]
    pub fn msb(self) -> Self {
        self.bit(self.width - 1)
    }

    /// All bits, the lowest first.
    #[must_use]
    pub fn bits(self) -> Vec<Self> {
        (0..self.width).map(|index| self.bit(index)).collect()
    }

    /// Parts of `width` bits each, the lowest first. The width has to divide the wire's.
    #[must_use]
    #[track_caller]
    pub fn chunks(self, width: u32) -> Vec<Self> {
        if width == 0 || !self.width.is_multiple_of(width) {
            self.m.fail(RtlError::Width {
                op: "chunks",
                left: self.width,
                right: width,
                place: Place::here(),
            });
            return vec![self];
        }
        (0..self.width / width).map(|index| self.slice(index * width, width)).collect()
    }

    /// The same unsigned number in more bits.
    #[must_use]
    #[track_caller]
    pub fn zext(self, width: u32) -> Self {
        self.extended(Node::Zext(self.id), "zext", width)
    }

    /// The same signed number in more bits.
    #[must_use]
    #[track_caller]
    pub fn sext(self, width: u32) -> Self {
        self.extended(Node::Sext(self.id), "sext", width)
    }

    #[track_caller]
    fn extended(self, node: Node, op: &'static str, width: u32) -> Self {
        if width == self.width {
            return self;
        }
        let width = self.m.checked_width(u64::from(width));
        if width < self.width {
            self.m.fail(RtlError::Width { op, left: self.width, right: width, place: Place::here() });
            return self.m.push(Node::Const(Bits::zero(width)), width);
        }
        self.m.push(node, width)
    }

    /// The low bits.
    #[must_use]
    #[track_caller]
    pub fn trunc(self, width: u32) -> Self {
        self.slice(0, width)
    }

    /// This wire in the high bits, the other in the low ones.
    #[must_use]
    #[track_caller]
    pub fn cat(self, low: Self) -> Self {
        self.m.concat(&[self, low])
    }

    /// This bit repeated.
    #[must_use]
    #[track_caller]
    pub fn repeat(self, count: u32) -> Self {
        self.sized("repeat", 1).sext(count)
    }

    /// Whether any bit is set.
    #[must_use]
    pub fn any(self) -> Self {
        if self.width == 1 { self } else { self.unary(Unary::Any, 1) }
    }

    /// Whether all bits are set.
    #[must_use]
    pub fn all(self) -> Self {
        if self.width == 1 { self } else { self.unary(Unary::All, 1) }
    }

    /// Whether an odd number of bits is set.
    #[must_use]
    pub fn parity(self) -> Self {
        if self.width == 1 { self } else { self.unary(Unary::Parity, 1) }
    }

    /// Whether no bit is set.
    #[must_use]
    pub fn is_zero(self) -> Self {
        !self.any()
    }

    /// Two's complement.
    #[must_use]
    #[track_caller]
    pub fn negated(self) -> Self {
        self.m.push(Node::Const(Bits::zero(self.width)), self.width) - self
    }

    /// `yes` where this bit is set, `no` otherwise.
    #[must_use]
    #[track_caller]
    pub fn mux(self, yes: Self, no: impl Operand<'m>) -> Self {
        let m = self.m;
        let yes = m.own(yes);
        let no = m.own(no.wire(yes)).sized("mux", yes.width);
        let condition = self.sized("condition of a mux", 1);
        m.push(Node::Mux(condition.id, yes.id, no.id), yes.width)
    }

    /// The value with this wire's number; the last one for numbers beyond.
    #[must_use]
    #[track_caller]
    pub fn choose(self, values: &[Self]) -> Self {
        let Some((&first, rest)) = values.split_first() else {
            self.m.fail(RtlError::Empty { op: "choose", place: Place::here() });
            return self;
        };
        if rest.is_empty() {
            return first;
        }
        // The highest bit that tells values apart splits them in two.
        let bits = index_width(values.len() as u64);
        let (low, high) = values.split_at(1 << (bits - 1));
        let index = if self.width >= bits { self } else { self.zext(bits) };
        let below = if bits > 1 { index.trunc(bits - 1) } else { index };
        let chosen = if low.len() == 1 {
            index.bit(0).mux(high[0], low[0])
        } else {
            index.bit(bits - 1).mux(below.choose(high), below.choose(low))
        };
        if index.width == bits {
            return chosen;
        }
        let beyond = index.slice(bits, index.width - bits).any();
        beyond.mux(values[values.len() - 1], chosen)
    }
}

impl Builder {
    /// Wires side by side, the first one in the high bits.
    #[must_use]
    #[track_caller]
    pub fn concat<'m>(&'m self, parts: &[Wire<'m>]) -> Wire<'m> {
        if let [one] = parts {
            return self.own(*one);
        }
        let parts: Vec<_> = parts.iter().map(|&part| self.own(part)).collect();
        let width = self.checked_width(parts.iter().map(|part| u64::from(part.width)).sum());
        self.push(Node::Concat(parts.iter().map(|part| part.id).collect()), width)
    }

    /// Wires side by side, the first one in the low bits: lane 0 first.
    #[must_use]
    #[track_caller]
    pub fn pack<'m>(&'m self, lanes: &[Wire<'m>]) -> Wire<'m> {
        let parts: Vec<_> = lanes.iter().rev().copied().collect();
        self.concat(&parts)
    }

    /// The value that goes with the first condition that is set, or `default`.
    #[must_use]
    #[track_caller]
    pub fn select<'m>(&'m self, default: Wire<'m>, cases: &[(Wire<'m>, Wire<'m>)]) -> Wire<'m> {
        let mut value = default;
        for (condition, case) in cases.iter().rev() {
            value = condition.mux(*case, value);
        }
        value
    }

    /// The or of the values whose condition is set: a mux for conditions of which at most one is.
    #[must_use]
    #[track_caller]
    pub fn one_hot<'m>(&'m self, cases: &[(Wire<'m>, Wire<'m>)]) -> Wire<'m> {
        let masked: Vec<_> = cases.iter().map(|(bit, value)| bit.repeat(value.width) & *value).collect();
        self.tree(&masked, |a, b| a | b)
    }

    /// Operands put together in a balanced tree.
    #[must_use]
    #[track_caller]
    pub fn tree<'m>(&'m self, operands: &[Wire<'m>], f: impl Fn(Wire<'m>, Wire<'m>) -> Wire<'m>) -> Wire<'m> {
        let mut level = operands.to_vec();
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| if let [a, b] = pair { f(*a, *b) } else { pair[0] }).collect();
        }
        level.first().copied().unwrap_or_else(|| {
            self.fail(RtlError::Empty { op: "tree", place: Place::here() });
            self.constant(Bits::zero(1))
        })
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $op:expr, $name:literal) => {
        impl<'m, T: Operand<'m>> $trait<T> for Wire<'m> {
            type Output = Self;

            #[track_caller]
            fn $method(self, other: T) -> Self {
                self.binary($op, $name, other, self.width)
            }
        }
    };
}

operator!(Add, add, Binary::Add, "+");
operator!(Sub, sub, Binary::Sub, "-");
operator!(BitAnd, bitand, Binary::And, "&");
operator!(BitOr, bitor, Binary::Or, "|");
operator!(BitXor, bitxor, Binary::Xor, "^");

impl Not for Wire<'_> {
    type Output = Self;

    fn not(self) -> Self {
        self.unary(Unary::Not, self.width)
    }
}

/// By a constant number of bits; what is shifted out is lost.
impl Shl<u32> for Wire<'_> {
    type Output = Self;

    #[track_caller]
    fn shl(self, count: u32) -> Self {
        let zeros = self.m.push(Node::Const(Bits::zero(count.min(self.width))), count.clamp(1, self.width));
        match count {
            0 => self,
            _ if count >= self.width => zeros,
            _ => self.trunc(self.width - count).cat(zeros),
        }
    }
}

/// By a constant number of bits, zeros coming in.
impl Shr<u32> for Wire<'_> {
    type Output = Self;

    #[track_caller]
    fn shr(self, count: u32) -> Self {
        if count >= self.width {
            return self.m.push(Node::Const(Bits::zero(self.width)), self.width);
        }
        self.slice(count, self.width - count).zext(self.width)
    }
}
