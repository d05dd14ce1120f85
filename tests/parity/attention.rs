//! Attention on CPUs against its definition in f64: values, and gradients of queries, keys and
//! values.

use flava_model::runtime::cpu_attention;
use tch::{Device, Kind, Tensor};

use crate::support::fixtures::DrawingAlone;

/// Queries and keys of so many tokens, or sequences of various lengths one after another.
enum Tokens {
    Dense { queries: i64, keys: i64 },
    Sequences(Vec<i64>),
}

/// Context and gradients, all f64.
type Computed = [Tensor; 4];

const BATCH: i64 = 3;
const HEADS: i64 = 2;

/// \[batch, tokens, heads, dim\], which attention sees turned.
fn leaf(batch: i64, tokens: i64, dim: i64, kind: Kind) -> Tensor {
    let drawn = Tensor::randn([batch, tokens, HEADS, dim], (Kind::Float, Device::Cpu)) * 2.0;
    drawn.to_kind(kind).set_requires_grad(true)
}

fn by_head(leaf: &Tensor) -> Tensor {
    leaf.transpose(1, 2)
}

/// Additive, of random lengths; of the last sequence, nothing is kept.
fn mask(keys: i64) -> Tensor {
    let kept = Tensor::from_slice(&[keys, (keys + 1) / 2, 0]).view([BATCH, 1]);
    let dropped = Tensor::arange(keys, (Kind::Int64, Device::Cpu)).ge_tensor(&kept);
    (dropped.to_kind(Kind::Double) * f64::from(f32::MIN)).view([BATCH, 1, 1, keys])
}

fn defined(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let scores = q.matmul(&k.transpose(-1, -2)) / (q.size()[3] as f64).sqrt();
    let scores = mask.map_or_else(|| scores.shallow_clone(), |mask| &scores + mask);
    let context = scores.softmax(-1, Kind::Double).matmul(v);
    context.transpose(1, 2).flatten(2, 3)
}

fn differentiated(context: &Tensor, factors: &Tensor, leaves: [&Tensor; 3]) -> Computed {
    (context.to_kind(Kind::Double) * factors)
        .sum(Kind::Double)
        .backward();
    let gradients = leaves.map(|leaf| leaf.grad().to_kind(Kind::Double));
    let [q, k, v] = gradients;
    [context.detach().to_kind(Kind::Double), q, k, v]
}

/// Ours and the definition's. None where the processor's own products of a half kind are faster.
fn both(tokens: &Tokens, dim: i64, kind: Kind, is_masked: bool) -> Option<(Computed, Computed)> {
    let (batch, queries, keys) = match tokens {
        Tokens::Dense { queries, keys } => (BATCH, *queries, *keys),
        Tokens::Sequences(lengths) => (1, lengths.iter().sum(), lengths.iter().sum()),
    };
    let leaves = [queries, keys, keys].map(|tokens| leaf(batch, tokens, dim, kind));
    let exact = leaves
        .each_ref()
        .map(|leaf| leaf.detach().to_kind(Kind::Double).set_requires_grad(true));
    let mask = is_masked.then(|| mask(keys));
    let [q, k, v] = exact.each_ref().map(by_head);
    let (context, starts) = match tokens {
        Tokens::Dense { .. } => (defined(&q, &k, &v, mask.as_ref()), None),
        Tokens::Sequences(lengths) => {
            let mut first = 0;
            let parts: Vec<Tensor> = lengths
                .iter()
                .map(|&length| {
                    let [q, k, v] = [&q, &k, &v].map(|t| t.narrow(2, first, length));
                    first += length;
                    defined(&q, &k, &v, None)
                })
                .collect();
            let ends = lengths.iter().scan(0, |end, length| {
                *end += *length as i32;
                Some(*end)
            });
            let starts: Vec<i32> = std::iter::once(0).chain(ends).collect();
            (Tensor::cat(&parts, 1), Some(Tensor::from_slice(&starts)))
        }
    };
    let factors = Tensor::randn(context.size(), (Kind::Double, Device::Cpu));
    let exactly = differentiated(&context, &factors, exact.each_ref());
    let [q, k, v] = leaves.each_ref().map(by_head);
    let mask = mask.map(|mask| mask.to_kind(Kind::Float));
    let context = cpu_attention([&q, &k, &v], starts.as_ref(), mask.as_ref());
    let Some(context) = context.unwrap() else {
        assert_ne!(kind, Kind::Float);
        return None;
    };
    let found = differentiated(&context, &factors, leaves.each_ref());
    Some((found, exactly))
}

fn assert_near(found: &Computed, exact: &Computed, tolerance: f64, what: &str) {
    for (name, (found, exact)) in ["context", "by q", "by k", "by v"]
        .iter()
        .zip(found.iter().zip(exact))
    {
        assert_eq!(found.size(), exact.size(), "{what}: {name}");
        let largest = exact.abs().max().double_value(&[]).max(1e-3);
        let apart = (found - exact).abs().max().double_value(&[]);
        assert!(apart <= tolerance * largest, "{what}: {name} {apart:e}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn attention_on_cpus_is_its_definition() {
    let _alone = DrawingAlone::new();
    tch::manual_seed(11);
    let dense = |queries, keys| Tokens::Dense { queries, keys };
    for (tokens, dim) in [
        (dense(1, 1), 4),
        (dense(7, 7), 32),
        (dense(8, 8), 20),
        (dense(1, 50), 64),
        (dense(197, 197), 64),
        (Tokens::Sequences(vec![1, 9, 77, 1, 16]), 64),
        (Tokens::Sequences(vec![5]), 8),
    ] {
        let is_dense = matches!(tokens, Tokens::Dense { .. });
        for (kind, tolerance) in [
            (Kind::Float, 2e-6),
            (Kind::BFloat16, 6e-3),
            (Kind::Half, 8e-4),
        ] {
            for is_masked in [false, is_dense] {
                let Some((found, exact)) = both(&tokens, dim, kind, is_masked) else {
                    continue;
                };
                let what = format!("{:?} of {kind:?}, masked: {is_masked}", found[0].size());
                assert_near(&found, &exact, tolerance, &what);
            }
        }
    }
}
