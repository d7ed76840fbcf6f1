//! The residual codes of VILA-U: their embeddings, the projector, the depth transformer.

use super::OracleError;
use super::net::{Net, Rules, Scratch, State};
use super::ops;
use crate::model::{Linear, ModelError, VilaU};

/// What VILA-U has beside its body, in binary32.
#[derive(Debug)]
pub(super) struct Codes {
    net: Net,
    /// One per distinct codebook.
    tables: Vec<Linear>,
    /// Which table each depth uses.
    table_of: Vec<usize>,
    from_codes: Linear,
    from_body: Linear,
    projector: Vec<Linear>,
    codes: usize,
}

impl Codes {
    pub(super) fn load(model: &VilaU) -> Result<Self, ModelError> {
        let depth = model.config().code_depth();
        let distinct = if model.config().shared_codebook() { 1 } else { depth };
        Ok(Self {
            net: Net::load(model.depth())?,
            tables: (0..distinct).map(|d| model.code_embedding(d)?.load()).collect::<Result<_, _>>()?,
            table_of: (0..depth).map(|d| d.min(distinct - 1)).collect(),
            from_codes: model.input_from_codes()?.load()?,
            from_body: model.input_from_body()?.load()?,
            projector: model.projector()?.iter().map(|l| l.load()).collect::<Result<_, _>>()?,
            codes: model.config().codes(),
        })
    }

    /// Codes of a position.
    pub(super) fn depth(&self) -> usize {
        self.table_of.len()
    }

    fn row(&self, depth: usize, code: u32) -> Result<&[f32], OracleError> {
        let table = &self.tables[self.table_of[depth]];
        let at = code as usize;
        if at >= self.codes {
            return Err(OracleError::Code { code, depth, codes: self.codes });
        }
        Ok(&table.weight[at * table.cols..(at + 1) * table.cols])
    }

    pub(super) fn input(&self, codes: &[u32]) -> Result<Vec<f32>, OracleError> {
        if codes.len() != self.depth() {
            return Err(OracleError::CodeCount { found: codes.len(), expected: self.depth() });
        }
        let mut x = vec![0.0; self.from_codes.cols];
        for (depth, &code) in codes.iter().enumerate() {
            ops::add(&mut x, self.row(depth, code)?);
        }
        let mut out = Vec::new();
        for (i, layer) in self.projector.iter().enumerate() {
            if i > 0 {
                ops::gelu(&mut x);
            }
            ops::linear(layer, &x, &mut out);
            std::mem::swap(&mut x, &mut out);
        }
        Ok(x)
    }

    pub(super) fn begin(&self, hidden: &[f32]) -> Result<DepthSequence<'_>, OracleError> {
        if hidden.len() != self.from_body.cols {
            return Err(OracleError::Width { found: hidden.len(), hidden: self.from_body.cols });
        }
        let mut sequence = DepthSequence {
            codes: self,
            state: self.net.state(),
            scratch: Scratch::default(),
            sum: vec![0.0; self.from_codes.cols],
            input: Vec::new(),
            logits: Vec::new(),
        };
        ops::linear(&self.from_body, hidden, &mut sequence.input);
        sequence.run()?;
        Ok(sequence)
    }
}

/// The codes of one position, chosen one after the other.
#[derive(Debug, Clone)]
pub struct DepthSequence<'a> {
    codes: &'a Codes,
    state: State,
    scratch: Scratch,
    /// Of the embeddings of the codes so far.
    sum: Vec<f32>,
    input: Vec<f32>,
    logits: Vec<f32>,
}

impl DepthSequence<'_> {
    /// The logits of the next code.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Takes a code and gives the logits of the one after it.
    ///
    /// # Errors
    /// [`OracleError::Code`]; [`OracleError::Positions`] where the position already has all but its last
    /// code, which nothing follows.
    pub fn push(&mut self, code: u32) -> Result<&[f32], OracleError> {
        let taken = self.state.position - 1;
        if taken + 1 >= self.codes.depth() {
            return Err(OracleError::Positions { limit: self.codes.depth() });
        }
        let row = self.codes.row(taken, code)?;
        ops::add(&mut self.sum, row);
        ops::linear(&self.codes.from_codes, &self.sum, &mut self.input);
        self.run()?;
        Ok(&self.logits)
    }

    fn run(&mut self) -> Result<(), OracleError> {
        let net = &self.codes.net;
        net.step(&mut self.state, &mut self.scratch, &self.input, Rules::default(), &mut ())?;
        net.logits(&self.state.hidden, &mut self.logits);
        Ok(())
    }
}
