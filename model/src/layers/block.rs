//! The pre-norm transformer block of all three encoders (FLAVA section 3.1; `ViT`'s block).

use tch::Tensor;

use super::{Activation, AttentionKind, AttentionMask, LayerNorm, Linear, Rows, SelfAttention};
use crate::{
    Result,
    config::BlockConfig,
    runtime::{Vars, trace::TracePoint},
};

/// Attention and its output projection.
#[derive(Debug)]
struct Attention {
    attention: SelfAttention,
    output: Linear,
    site: TracePoint,
}

/// h = x + attention(norm(x)); y = h + feed-forward(norm(h)).
#[derive(Debug)]
pub struct Block {
    name: String,
    attention: Attention,
    intermediate: Linear,
    output: Linear,
    layernorm_before: LayerNorm,
    layernorm_after: LayerNorm,
    activation: Activation,
    dropout: f64,
    site: TracePoint,
    intermediate_site: TracePoint,
}

impl Block {
    /// A block of `config`'s sizes.
    pub fn new(vars: &Vars, config: &BlockConfig, kind: AttentionKind) -> Self {
        let (size, wide) = (config.hidden_size, config.intermediate_size);
        let attention = vars / "attention";
        let norm = |name| LayerNorm::new(&(vars / name), size, config.layer_norm_eps);
        Self {
            name: vars.name(),
            attention: Attention {
                attention: SelfAttention::new(&(&attention / "attention"), config, kind),
                output: Linear::new(&(&attention / "output" / "dense"), size, size),
                site: TracePoint::new(attention.name()),
            },
            intermediate: Linear::new(&(vars / "intermediate" / "dense"), size, wide),
            output: Linear::new(&(vars / "output" / "dense"), wide, size),
            layernorm_before: norm("layernorm_before"),
            layernorm_after: norm("layernorm_after"),
            activation: config.hidden_act,
            dropout: config.hidden_dropout_prob,
            site: TracePoint::new(vars.name()),
            intermediate_site: TracePoint::new((vars / "intermediate").name()),
        }
    }

    /// What the names of its variables begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does something with each projection of the attention, which is told by its name.
    pub(super) fn each_projection<E>(
        &mut self,
        act: &mut impl FnMut(&str, &mut Linear) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Attention {
            attention, output, ..
        } = &mut self.attention;
        for (name, linear) in attention.projections() {
            act(&format!("{}.attention.attention.{name}", self.name), linear)?;
        }
        act(&format!("{}.attention.output.dense", self.name), output)
    }

    /// Prepares for inference.
    pub fn pack(&mut self) {
        self.attention.attention.pack();
        for linear in [
            &mut self.attention.output,
            &mut self.intermediate,
            &mut self.output,
        ] {
            linear.pack();
        }
    }

    /// States \[batch, seq, size\] and a mask to the states of `rows`.
    pub fn forward(
        &self,
        xs: &Tensor,
        mask: Option<&AttentionMask>,
        rows: &Rows,
        train: bool,
    ) -> Result<Tensor> {
        let (xs, normed) = self.layernorm_before.forward_added(xs, None)?;
        let asking = matches!(rows, Rows::Cls).then_some(1);
        let Attention {
            attention,
            output,
            site,
        } = &self.attention;
        let context = rows.of(&attention.forward(&normed, mask, asking, train)?)?;
        let residual = rows.of(&xs)?;
        let (hidden, normed) = if residual.device().is_cuda() {
            let branch = self.branch(output, &context, Some(site), train)?;
            self.layernorm_after
                .forward_added(&residual, Some(&branch))?
        } else {
            let hidden = self.add(output, &context, &residual, Some(site), train)?;
            self.layernorm_after.forward_added(&hidden, None)?
        };
        let wide = self
            .intermediate
            .forward_activated(&normed, self.activation)?; // [batch, seq, wide]
        self.intermediate_site.record(&wide);
        let ys = self.add(&self.output, &wide, &hidden, None, train)?; // [batch, seq, size]
        self.site.record(&ys);
        Ok(ys)
    }

    /// A branch and the residual sum after it.
    fn add(
        &self,
        linear: &Linear,
        xs: &Tensor,
        residual: &Tensor,
        site: Option<&TracePoint>,
        train: bool,
    ) -> Result<Tensor> {
        match linear.forward_added(xs, residual) {
            Some(sum) => sum,
            None => Ok(self.branch(linear, xs, site, train)?.f_add(residual)?),
        }
    }

    /// What a branch gives.
    fn branch(
        &self,
        linear: &Linear,
        xs: &Tensor,
        site: Option<&TracePoint>,
        train: bool,
    ) -> Result<Tensor> {
        let ys = linear.forward(xs)?.f_dropout(self.dropout, train)?;
        if let Some(site) = site {
            site.record(&ys);
        }
        Ok(ys)
    }
}
