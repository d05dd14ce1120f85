//! DINO's projection head: three layers, unit length, and an output layer whose rows have unit
//! length too.

use flava_model::{
    layers::Linear,
    runtime::{Vars, linear},
};
use tch::Tensor;

use crate::{Result, recipe::DinoStage};

/// The head of student and teacher.
#[derive(Debug)]
pub struct DinoHead {
    mlp: [Linear; 3],
    last_layer: Tensor,
}

/// Rows \[.., size\] brought to unit length.
fn unit(xs: &Tensor) -> Result<Tensor> {
    Ok(xs.f_div(
        &xs.f_norm_scalaropt_dim(2.0, [-1], true)?
            .f_clamp_min(1e-12)?,
    )?)
}

impl DinoHead {
    /// From states of `size` to a stage's outputs.
    pub fn new(vars: &Vars, size: i64, stage: &DinoStage) -> Self {
        let (hidden, bottleneck) = (stage.hidden, stage.bottleneck);
        let mlp = vars / "mlp";
        let linear = |position: i64, input, output| Linear::new(&(&mlp / position), input, output);
        Self {
            mlp: [
                linear(0, size, hidden),
                linear(2, hidden, hidden),
                linear(4, hidden, bottleneck),
            ],
            last_layer: (vars / "last_layer").weight("weight_v", &[stage.outputs, bottleneck]),
        }
    }

    /// CLS states \[batch, size\] to \[batch, outputs\]; `frozen` gives the output layer no
    /// gradient.
    pub fn forward(&self, cls: &Tensor, frozen: bool) -> Result<Tensor> {
        let [first, second, third] = &self.mlp;
        let hidden = first.forward(cls)?.f_gelu("none")?;
        let hidden = second.forward(&hidden)?.f_gelu("none")?;
        let narrow = unit(&third.forward(&hidden)?)?;
        let rows = if frozen {
            self.last_layer.f_detach()?
        } else {
            self.last_layer.shallow_clone()
        };
        Ok(linear(&narrow, &unit(&rows)?, None)?)
    }
}
