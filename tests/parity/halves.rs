//! Training in half kinds, and without padding, against f32 with it.

use flava_model::{
    FlavaConfig, ImageInputs, TextInputs,
    layers::{AttentionKind, Rows},
    runtime::{Autocast, Fill, Precision, Vars},
};
use flava_model::{ImageEncoder, TextEncoder};
use tch::{Device, Kind, Tensor, nn::VarStore};

use crate::support::{fixtures::DrawingAlone, place::device};

/// The encoders of one small model whose width GPUs have kernels for.
struct Encoders {
    store: VarStore,
    image: ImageEncoder,
    text: TextEncoder,
}

/// States of an encoder, and the gradients of its parameters, by name.
type Computed = (Tensor, Vec<(String, Tensor)>);

const LENGTHS: [i64; 4] = [9, 1, 5, 3];
const SEQ: i64 = 9;

impl Encoders {
    /// Always of the same weights.
    fn new(device: Device, kind: AttentionKind) -> Self {
        tch::manual_seed(3);
        let mut config = FlavaConfig::default();
        let text = &mut config.text_config;
        (text.hidden_size, text.num_hidden_layers) = (256, 2);
        (text.num_attention_heads, text.intermediate_size) = (4, 512);
        text.vocab_size = 50;
        let image = &mut config.image_config;
        (image.hidden_size, image.num_hidden_layers) = (256, 2);
        (image.num_attention_heads, image.intermediate_size) = (4, 512);
        (image.image_size, image.patch_size) = (32, 8);
        let mut store = VarStore::new(Device::Cpu); // so that each device has the same
        let vars = Vars::root(&store, Fill::New(0.05));
        let (image, text) = (
            ImageEncoder::new(&(&vars / "image"), &config.image_config, kind),
            TextEncoder::new(&(&vars / "text"), &config.text_config, kind),
        );
        let mut variables: Vec<_> = store.variables().into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0)); // else drawn in another order each time
        for (_, mut tensor) in variables {
            let _moved = tch::no_grad(|| tensor.f_add_(&(tensor.randn_like() * 0.05)).unwrap());
        }
        store.set_device(device);
        Self { store, image, text }
    }

    /// Of a text encoder with padding, or of an image encoder.
    fn computed(&self, of_texts: bool, rows: &Rows, precision: Precision) -> Computed {
        let device = self.store.device();
        tch::manual_seed(4);
        let states = {
            let _autocast = Autocast::new(device, precision).unwrap();
            let output = if of_texts {
                self.text.forward(&texts(device), rows, true)
            } else {
                let pixels = Tensor::randn([4, 3, 32, 32], (Kind::Float, Device::Cpu));
                let inputs = ImageInputs::new(pixels.to_device(device));
                self.image.forward(&inputs, rows, true)
            };
            output.unwrap().last_hidden_state
        };
        let factors = Tensor::randn(states.size(), (Kind::Float, Device::Cpu));
        let mut factors = factors.to_device(device);
        if of_texts && matches!(rows, Rows::All) {
            factors *= mask().unsqueeze(-1).to_device(device); // nobody reads padding
        }
        (states.to_kind(Kind::Float) * &factors)
            .sum(Kind::Float)
            .backward();
        let mut gradients = Vec::new();
        for (name, mut variable) in self.store.variables() {
            if variable.grad().defined() {
                gradients.push((name, variable.grad().to_device(Device::Cpu).copy()));
                variable.zero_grad();
            }
        }
        gradients.sort_by(|a, b| a.0.cmp(&b.0));
        let read = states.detach() * factors.ne(0.0);
        (read.to_device(Device::Cpu).to_kind(Kind::Float), gradients)
    }
}

fn mask() -> Tensor {
    let lengths = Tensor::from_slice(&LENGTHS).unsqueeze(-1);
    Tensor::arange(SEQ, (Kind::Int64, Device::Cpu))
        .lt_tensor(&lengths)
        .to_kind(Kind::Int64)
}

fn texts(device: Device) -> TextInputs {
    let ids = Tensor::randint(50, [4, SEQ], (Kind::Int64, Device::Cpu));
    TextInputs {
        attention_mask: Some(mask()),
        ..TextInputs::new(ids.to_device(device))
    }
}

fn far(a: &Tensor, b: &Tensor) -> f64 {
    let norm = |t: Tensor| t.norm().to_kind(Kind::Double).double_value(&[]);
    norm(a - b) / norm(b.shallow_clone()).max(1e-3)
}

/// Both encoders, all rows, the first, and some; what a bias of keys gets is zero in truth.
#[test]
fn halves_and_packed_sequences_compute_what_f32_and_padding_do() {
    let _alone = DrawingAlone::new();
    let of_device = Encoders::new(device(), AttentionKind::Fused);
    let plain = Encoders::new(Device::Cpu, AttentionKind::Plain);
    let at = Tensor::from_slice(&[0i64, 2, 8, 9, 20, 29]);
    let at = |device: Device| Rows::At(at.to_device(device).into());
    for of_texts in [true, false] {
        let kinds: [&dyn Fn(Device) -> Rows; 3] = [&|_| Rows::All, &|_| Rows::Cls, &at];
        for rows in kinds {
            let (states, gradients) = plain.computed(of_texts, &rows(Device::Cpu), Precision::F32);
            for (precision, bound) in [
                (Precision::F32, 2e-5),
                (Precision::F16, 4e-3),
                (Precision::Bf16, 3e-2),
            ] {
                let found = of_device.computed(of_texts, &rows(device()), precision);
                let said = format!("texts: {of_texts}, {:?}, {precision:?}", rows(Device::Cpu));
                let distance = far(&found.0, &states);
                assert!(distance < bound, "{said}: states differ by {distance}");
                assert_eq!(found.1.len(), gradients.len(), "{said}");
                for ((name, gradient), (same, expected)) in found.1.iter().zip(&gradients) {
                    let distance = far(gradient, expected);
                    assert!(
                        name == same && (distance < bound || name.ends_with("key.bias")),
                        "{said}: {name} differs by {distance}"
                    );
                }
            }
        }
    }
}

/// Activations that are computed again give the gradients of those that are kept.
#[test]
fn blocks_that_are_computed_again_pack_the_same_sequences() {
    let _alone = DrawingAlone::new();
    let mut encoders = Encoders::new(device(), AttentionKind::Fused);
    for (precision, bound) in [(Precision::F32, 1e-5), (Precision::Bf16, 2e-2)] {
        encoders.text.set_recompute(false);
        let kept = encoders.computed(true, &Rows::All, precision);
        encoders.text.set_recompute(true);
        let again = encoders.computed(true, &Rows::All, precision);
        assert!(far(&again.0, &kept.0) < bound, "{precision:?}");
        for ((name, a), (_, b)) in kept.1.iter().zip(&again.1) {
            let distance = far(a, b);
            assert!(
                distance < bound || name.ends_with("key.bias"),
                "{precision:?}: {name} differs by {distance}"
            );
        }
    }
}
