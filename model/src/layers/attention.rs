//! Multi-head self-attention (Vaswani et al. 2017), plain and fused.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::{Linear, packing::Packing};
use crate::{
    Result,
    config::BlockConfig,
    runtime::{
        Autocast, Fused, PackedLinear, Vars, cpu_attention,
        trace::{self, TracePoint},
    },
};

/// How attention is computed. Both give the same numbers within rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttentionKind {
    /// Step by step, in the order of transformers' code: the reference.
    Plain,
    /// Our own on CPUs, libtorch's `scaled_dot_product_attention` elsewhere.
    #[default]
    Fused,
}

/// Which positions are attended to, in the additive form that scores take.
#[derive(Debug)]
pub struct AttentionMask {
    /// \[batch, 1, 1, seq\]: zero to keep, the lowest finite value to drop.
    additive: Tensor,
    /// Whether a row with nothing to attend to will be differentiated, which fused attention does
    /// wrongly.
    needs_plain: bool,
    /// Where the tokens are, if nothing else is to be computed.
    packing: Option<Rc<Packing>>,
}

impl Clone for AttentionMask {
    fn clone(&self) -> Self {
        Self {
            additive: self.additive.shallow_clone(),
            needs_plain: self.needs_plain,
            packing: self.packing.clone(),
        }
    }
}

impl AttentionMask {
    /// From a mask of ones (keep) and zeros (drop), \[batch, seq\], on any device, for `states` of
    /// the same sequence. Where these are differentiated, padding is not computed.
    ///
    /// The lowest finite value stands for minus infinity, so that a row with nothing to attend to
    /// attends evenly to everything instead of giving NaN, as in transformers.
    pub fn new(mask: &Tensor, states: &Tensor) -> Result<Self> {
        let kind = states.kind();
        let lowest = match kind {
            Kind::Half => -65504.0,
            Kind::BFloat16 => f64::from(-3.389_531_4e38_f32),
            _ => f64::from(f32::MIN),
        };
        let packing = if states.requires_grad() && !trace::is_recording() {
            Packing::of(mask, states.device())?.map(Rc::new)
        } else {
            None
        };
        // The backward pass of libtorch's fused kernel recomputes probabilities from a logarithm
        // that such a row rounds away. What is packed has none.
        let needs_plain = states.requires_grad()
            && packing.is_none()
            && mask
                .f_sum_dim_intlist(-1, false, Kind::Int64)?
                .f_min()?
                .int64_value(&[])
                == 0;
        let mask = mask.f_to_device(states.device())?;
        let dropped = mask.f_to_kind(kind)?.f_rsub_scalar(1)?;
        let additive = dropped
            .f_mul_scalar(lowest)?
            .f_unsqueeze(1)?
            .f_unsqueeze(1)?; // [batch, 1, 1, seq]
        Ok(Self {
            additive,
            needs_plain,
            packing,
        })
    }

    /// Where the tokens are, if states are of them alone.
    pub(super) fn packing(&self) -> Option<&Packing> {
        self.packing.as_deref()
    }

    /// The mask of `count` sequences from `start` on.
    pub(super) fn narrow(&self, start: i64, count: i64) -> Result<Self> {
        Ok(Self {
            additive: self.additive.f_narrow(0, start, count)?,
            needs_plain: self.needs_plain,
            packing: None,
        })
    }
}

/// Query, key and value projections and the attention between them, before the output projection.
#[derive(Debug)]
pub struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    packed: Option<PackedLinear>,
    heads: i64,
    dropout: f64,
    kind: AttentionKind,
    site: TracePoint,
}

impl SelfAttention {
    /// Attention of `config`'s width and heads.
    pub fn new(vars: &Vars, config: &BlockConfig, kind: AttentionKind) -> Self {
        let size = config.hidden_size;
        let linear = |name: &str| Linear::with_bias(&(vars / name), size, size, config.qkv_bias);
        Self {
            query: linear("query"),
            key: linear("key"),
            value: linear("value"),
            packed: None,
            heads: config.num_attention_heads,
            dropout: config.attention_probs_dropout_prob,
            kind,
            site: TracePoint::new(vars.name()),
        }
    }

    /// The projections, by their names.
    pub(super) fn projections(&mut self) -> [(&'static str, &mut Linear); 3] {
        [
            ("query", &mut self.query),
            ("key", &mut self.key),
            ("value", &mut self.value),
        ]
    }

    /// Prepares for inference: the three projections become one product.
    #[expect(
        clippy::disallowed_methods,
        reason = "a model is made once, before anything runs"
    )]
    pub fn pack(&mut self) {
        let layers = [&self.query, &self.key, &self.value];
        let weight = tch::no_grad(|| Tensor::cat(&layers.map(|l| &l.weight), 0)); // [3 * size, size]
        let biases: Option<Vec<&Tensor>> = layers.iter().map(|l| l.bias.as_ref()).collect();
        let bias = biases.map(|b| tch::no_grad(|| Tensor::cat(&b, 0)));
        self.packed = PackedLinear::new(&weight, bias.as_ref());
    }

    /// Normed states \[batch, seq, size\] and an additive mask to the context \[batch, seq, size\].
    ///
    /// With `rows`, only so many first rows ask: the context is \[batch, rows, size\]. Where the
    /// mask says that states are of tokens alone, both are \[1, tokens, size\].
    pub fn forward(
        &self,
        xs: &Tensor,
        mask: Option<&AttentionMask>,
        rows: Option<i64>,
        train: bool,
    ) -> Result<Tensor> {
        let (_, seq, _) = xs.size3()?;
        let asking = rows.unwrap_or(seq);
        if let Some(mask) = mask
            && let Some(packing) = mask.packing()
        {
            return self.attend_packed(&self.project(xs, None)?, mask, packing, train);
        }
        let [q, k, v] = match &self.packed {
            None => self.project(xs, rows)?,
            Some(packed) => split_packed(&self.project_packed(packed, xs)?, asking)?,
        }; // [batch, heads, seq, head_dim]
        let context = self.attend([&q, &k, &v], mask, train)?;
        self.site.record(&context);
        Ok(context)
    }

    /// Attention of queries to keys and values \[batch, heads, seq, `head_dim`\], in the way that
    /// is right or fast for them, to \[batch, seq, size\].
    fn attend(
        &self,
        [q, k, v]: [&Tensor; 3],
        mask: Option<&AttentionMask>,
        train: bool,
    ) -> Result<Tensor> {
        let dropout = if train { self.dropout } else { 0.0 };
        let additive = mask.map(|mask| &mask.additive);
        if self.kind == AttentionKind::Fused
            && dropout == 0.0
            && let Some(context) = cpu_attention([q, k, v], None, additive)?
        {
            return Ok(context);
        }
        let context = self.attend_by_libtorch([q, k, v], mask, dropout)?;
        Ok(context.f_transpose(1, 2)?.f_flatten(2, 3)?)
    }

    /// To \[batch, heads, seq, `head_dim`\].
    fn attend_by_libtorch(
        &self,
        [q, k, v]: [&Tensor; 3],
        mask: Option<&AttentionMask>,
        dropout: f64,
    ) -> Result<Tensor> {
        let additive = mask.map(|mask| &mask.additive);
        // libtorch's fused kernel for CPUs multiplies half kinds in f32; the plain products are
        // oneDNN's.
        let slow = q.device() == Device::Cpu && q.kind() != Kind::Float && q.requires_grad();
        let needs_plain = mask.is_some_and(|mask| mask.needs_plain);
        if self.kind == AttentionKind::Plain || slow || needs_plain {
            return self.plain(q, k, v, additive, dropout);
        }
        let scale = None::<f64>;
        Ok(Tensor::f_scaled_dot_product_attention(
            q, k, v, additive, dropout, false, scale, false,
        )?)
    }

    /// Attention of tokens alone, within their sequences: \[1, heads, tokens, `head_dim`\] to \[1,
    /// tokens, size\].
    fn attend_packed(
        &self,
        qkv: &[Tensor; 3],
        mask: &AttentionMask,
        packing: &Packing,
        train: bool,
    ) -> Result<Tensor> {
        if self.kind == AttentionKind::Fused {
            let dropout = if train { self.dropout } else { 0.0 };
            let context = packing.attention(qkv.each_ref(), dropout)?;
            if let Some(context) = context {
                return Ok(context);
            }
        }
        let padded = qkv.each_ref().map(|t| {
            let rows = t.f_transpose(1, 2)?.f_flatten(2, 3)?;
            self.split(&packing.unpack(&rows)?)
        });
        let [q, k, v] = padded;
        packing.pack(&self.attend([&q?, &k?, &v?], Some(mask), train)?)
    }

    /// The three projections by one product: \[batch, seq, 3, heads, `head_dim`\].
    fn project_packed(&self, packed: &PackedLinear, xs: &Tensor) -> Result<Tensor> {
        let (batch, seq, size) = xs.size3()?;
        Ok(packed.forward(xs, Fused::Nothing)?.f_view([
            batch,
            seq,
            3,
            self.heads,
            size / self.heads,
        ])?)
    }

    fn project(&self, xs: &Tensor, rows: Option<i64>) -> Result<[Tensor; 3]> {
        let xs = &Autocast::cast(xs)?; // once for all three
        let layers = [&self.query, &self.key, &self.value];
        if rows.is_none()
            && let Some(qkv) = Linear::joined(layers, xs)?
        {
            let parts = qkv.f_chunk(3, -1)?;
            let [q, k, v] = [0, 1, 2].map(|part| self.split(&parts[part]));
            return Ok([q?, k?, v?]);
        }
        let asking = rows.map_or_else(|| Ok(xs.shallow_clone()), |n| xs.f_narrow(1, 0, n))?;
        Ok([
            self.split(&self.query.forward(&asking)?)?,
            self.split(&self.key.forward(xs)?)?,
            self.split(&self.value.forward(xs)?)?,
        ])
    }

    fn split(&self, xs: &Tensor) -> Result<Tensor> {
        let (batch, seq, size) = xs.size3()?;
        Ok(xs
            .f_view([batch, seq, self.heads, size / self.heads])?
            .f_transpose(1, 2)?) // [batch, heads, seq, head_dim]
    }

    fn plain(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        mask: Option<&Tensor>,
        dropout: f64,
    ) -> Result<Tensor> {
        let (_, _, _, head_dim) = q.size4()?;
        let mut scores = q
            .f_matmul(&k.f_transpose(-1, -2)?)?
            .f_div_scalar((head_dim as f64).sqrt())?; // [batch, heads, seq, seq]
        if let Some(mask) = mask {
            scores = scores.f_add(mask)?;
        }
        let probs = scores.f_softmax(-1, scores.kind())?;
        self.site.see_part("probs", &probs);
        Ok(probs.f_dropout(dropout, dropout > 0.0)?.f_matmul(v)?) // [batch, heads, seq, head_dim]
    }
}

/// Query, key and value of packed projections, of the query the first `asking` rows.
fn split_packed(qkv: &Tensor, asking: i64) -> Result<[Tensor; 3]> {
    let qkv = qkv.f_permute([2, 0, 3, 1, 4])?; // [3, batch, heads, seq, head_dim]
    Ok([
        qkv.f_get(0)?.f_narrow(2, 0, asking)?,
        qkv.f_get(1)?,
        qkv.f_get(2)?,
    ])
}
