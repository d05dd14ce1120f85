//! Student, teacher, and the loss between them.

use std::{ops::Range, sync::Arc};

use flava_model::{
    FlavaConfig, ImageEncoder, ImageInputs, Rows,
    layers::AttentionKind,
    processor::{
        ImageProcessorConfig, ImageTransform, PassOrder, Pixels, TextProcessor, image_batch,
    },
    runtime::{Autocast, Fill, Precision, Vars},
};
use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{
    average::{copy, ema_update},
    head::DinoHead,
    views::{GLOBAL, ViewSource, Views},
};
use crate::{FlavaForPreTraining, Result, recipe::DinoStage, sampling::CorpusSampler};

/// How the names of the encoder's variables begin.
const ENCODER: &str = "flava.image_model.";
/// And those of the head.
const HEAD: &str = "head.";

/// What self-distillation works on.
pub struct DinoSetup {
    /// The model whose image encoder is what student and teacher begin with.
    pub model: FlavaForPreTraining,
    /// Its variables.
    pub store: VarStore,
    /// How its images are prepared.
    pub processor: ImageProcessorConfig,
    /// In which order they are resized.
    pub pass_order: PassOrder,
    /// Its tokenizer.
    pub text: Arc<TextProcessor>,
    /// Images.
    pub samples: CorpusSampler,
    /// Of new weights and of views.
    pub seed: u64,
    /// Threads that make views.
    pub threads: usize,
    /// Kind of products.
    pub precision: Precision,
    /// Whether the student's activations are computed again.
    pub recompute: bool,
}

/// Student and teacher in training.
pub struct Dino {
    pub(super) stage: DinoStage,
    /// The model whose image encoder is the teacher, as it is saved.
    pub(super) model: FlavaForPreTraining,
    pub(super) saved: VarStore,
    pub(super) student: Student,
    pub(super) teacher_head: TeacherHead,
    pub(super) centre: Tensor,
    /// The mean of what the teacher said in this step, which the centre follows once the step is
    /// made.
    pub(super) teacher_centre_of_step: Tensor,
    pub(super) source: Arc<ViewSource>,
    pub(super) processor: ImageProcessorConfig,
    pub(super) text: Arc<TextProcessor>,
    pub(super) threads: usize,
    precision: Precision,
}

/// What is trained.
pub(super) struct Student {
    encoder: ImageEncoder,
    head: DinoHead,
    /// The variables of both.
    pub(super) store: VarStore,
}

/// The head over the model's encoder.
pub(super) struct TeacherHead {
    head: DinoHead,
    pub(super) store: VarStore,
}

/// What some rows of a batch give.
pub(super) struct PartLoss {
    /// A mean over their views.
    pub(super) loss: Tensor,
    /// The mean of what the teacher says of them, \[1, outputs\].
    pub(super) teacher_centre: Tensor,
}

impl Student {
    fn new(config: &FlavaConfig, stage: &DinoStage, recompute: bool) -> Self {
        let store = VarStore::new(Device::Cpu);
        let root = Vars::root(&store, Fill::New(config.initializer_range));
        let vars = &root / "flava" / "image_model";
        let mut encoder = ImageEncoder::new(&vars, &config.image_config, AttentionKind::Fused);
        encoder.set_recompute(recompute);
        let head = DinoHead::new(&(&root / "head"), config.hidden_size, stage);
        Self {
            encoder,
            head,
            store,
        }
    }
}

impl TeacherHead {
    fn new(config: &FlavaConfig, stage: &DinoStage) -> Self {
        let store = VarStore::new(Device::Cpu);
        let root = Vars::root(&store, Fill::New(config.initializer_range));
        let head = DinoHead::new(&(&root / "head"), config.hidden_size, stage);
        Self { head, store }
    }
}

/// Embeddings of some views, \[views, size\].
fn cls(encoder: &ImageEncoder, views: &[&Pixels], device: Device) -> Result<Tensor> {
    let inputs = image_batch(views.iter().copied(), device, Kind::Float)?;
    let inputs = ImageInputs {
        interpolate_pos_encoding: true,
        ..inputs
    };
    Ok(encoder.forward(&inputs, &Rows::Cls, true)?.cls())
}

impl Dino {
    /// Student and teacher that begin alike.
    pub fn new(setup: DinoSetup, stage: &DinoStage) -> Result<Self> {
        let config: &FlavaConfig = &setup.model.config;
        let device = setup.store.device();
        tch::manual_seed(setup.seed as i64);
        let mut student = Student::new(config, stage, setup.recompute);
        let mut teacher_head = TeacherHead::new(config, stage);
        student.store.set_device(device);
        teacher_head.store.set_device(device);
        // Both begin alike: the encoder as in the model, the head as the student's.
        copy(&setup.store, &student.store, ENCODER)?;
        copy(&student.store, &teacher_head.store, HEAD)?;
        let centre = Tensor::f_zeros([1, stage.outputs], (Kind::Float, device))?;
        let source = ViewSource {
            samples: setup.samples,
            transform: ImageTransform {
                size: None,
                crop: None,
                ..setup.processor.transform(setup.pass_order)
            },
            side: config.image_config.image_size as usize,
            stage: stage.clone(),
            seed: setup.seed,
        };
        Ok(Self {
            stage: stage.clone(),
            model: setup.model,
            saved: setup.store,
            student,
            teacher_head,
            teacher_centre_of_step: centre.shallow_clone(),
            centre,
            source: Arc::new(source),
            processor: setup.processor,
            text: setup.text,
            threads: setup.threads,
            precision: setup.precision,
        })
    }

    /// How far the teacher stays what it is: from the recipe's value up to 1, along half a cosine.
    fn momentum(&self, step: usize) -> f64 {
        1.0 - (1.0 - self.stage.momentum) * self.falling(step)
    }

    pub(super) fn weight_decay(&self, step: usize) -> f64 {
        let (first, last) = (
            self.stage.schedule.weight_decay,
            self.stage.final_weight_decay,
        );
        last + (first - last) * self.falling(step)
    }

    /// Half a cosine from 1 to 0 over all steps.
    fn falling(&self, step: usize) -> f64 {
        0.5 * (1.0 + (std::f64::consts::PI * step as f64 / self.stage.schedule.steps as f64).cos())
    }

    fn teacher_temperature(&self, step: usize) -> f64 {
        let [first, last] = self.stage.teacher_temperature;
        first
            + (last - first)
                * (step as f64 / self.stage.teacher_temperature_steps.max(1) as f64).min(1.0)
    }

    /// The loss over the views of some of a batch's rows.
    pub(super) fn loss(&self, batch: &Views, part: Range<usize>, step: usize) -> Result<PartLoss> {
        let rows = part.len() as i64;
        let _autocast = Autocast::new(self.saved.device(), self.precision)?;
        let global = batch.of_rows(&batch.global, &part);
        let local = batch.of_rows(&batch.local, &part);
        let teacher_outputs = self.teacher_outputs(&global)?;
        let student_log_probs = self.student_log_probs(&global, &local, step)?;
        let teacher_probs = teacher_outputs
            .f_sub(&self.centre)?
            .f_div_scalar(self.teacher_temperature(step))?
            .f_softmax(-1, Kind::Float)?;
        Ok(PartLoss {
            loss: self.cross_entropy(&teacher_probs, &student_log_probs, rows)?,
            teacher_centre: teacher_outputs.f_mean_dim([0].as_slice(), true, Kind::Float)?,
        })
    }

    /// What the teacher says of large views, \[views, outputs\].
    fn teacher_outputs(&self, global: &[&Pixels]) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let encoder = self.model.flava.encoders().0;
        let cls = cls(encoder, global, self.saved.device())?;
        Ok(self
            .teacher_head
            .head
            .forward(&cls, true)?
            .f_to_kind(Kind::Float)?)
    }

    /// What the student says of all views, the large ones first, \[views, outputs\].
    fn student_log_probs(
        &self,
        global: &[&Pixels],
        local: &[&Pixels],
        step: usize,
    ) -> Result<Tensor> {
        let (student, device) = (&self.student, self.saved.device());
        let mut states = vec![cls(&student.encoder, global, device)?];
        if !local.is_empty() {
            states.push(cls(&student.encoder, local, device)?);
        }
        let frozen = step < self.stage.frozen_steps;
        let outputs = student.head.forward(&Tensor::f_cat(&states, 0)?, frozen)?;
        Ok(outputs
            .f_to_kind(Kind::Float)?
            .f_div_scalar(self.stage.student_temperature)?
            .f_log_softmax(-1, Kind::Float)?)
    }

    /// The mean over each large view of the teacher with each other view of the student.
    fn cross_entropy(
        &self,
        teacher_probs: &Tensor,
        student_log_probs: &Tensor,
        rows: i64,
    ) -> Result<Tensor> {
        let views = (GLOBAL + self.stage.local_crops) as i64;
        let mut loss = Tensor::f_zeros([], (Kind::Float, self.saved.device()))?;
        for teacher in 0..GLOBAL as i64 {
            let probs = teacher_probs.f_narrow(0, teacher * rows, rows)?;
            for student in (0..views).filter(|student| *student != teacher) {
                let log_probs = student_log_probs.f_narrow(0, student * rows, rows)?;
                let agreement = probs
                    .f_mul(&log_probs)?
                    .f_sum_dim_intlist(-1, false, Kind::Float)?
                    .f_mean(Kind::Float)?;
                loss = loss.f_sub(&agreement)?;
            }
        }
        Ok(loss.f_div_scalar((GLOBAL as i64 * (views - 1)) as f64)?)
    }

    /// The centre and the teacher's weights follow a step.
    pub(super) fn update_teacher(&mut self, step: usize) -> Result<()> {
        let share = 1.0 - self.stage.centre_momentum;
        self.centre = tch::no_grad(|| self.centre.f_lerp(&self.teacher_centre_of_step, share))?;
        let momentum = self.momentum(step);
        let student = &self.student.store;
        ema_update(&self.saved, student, ENCODER, momentum)?;
        ema_update(&self.teacher_head.store, student, HEAD, momentum)
    }
}
