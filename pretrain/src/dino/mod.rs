//! The image encoder by self-distillation without labels (DINO, Caron et al. 2021): the student's
//! answer on every view of a picture is to be the teacher's on another, large one. The teacher is a
//! moving average of the student.

mod head;

use std::{ops::Range, path::Path, sync::Arc};

use flava_base::stream;
use flava_model::{
    FlavaConfig, ImageEncoder, ImageInputs, Rows,
    checkpoint::{
        Architecture, Checkpoint, load_exactly, read_tensors, write_directory, write_tensors,
    },
    layers::AttentionKind,
    processor::{
        ImageProcessorConfig, ImageTransform, PassOrder, Pixels, TextProcessor, image_batch,
    },
    runtime::{Autocast, Fill, Precision, Vars},
};
use flava_training::{
    AdamW, Batches, BrokenRows, Learner, ParameterSet, Step, StepMetrics, TrainingState,
};
use tch::{Device, Kind, Tensor, nn::VarStore};

pub use head::DinoHead;

use crate::{
    Error, FlavaForPreTraining, Result,
    augment::view,
    draws::{Drawn, Draws, ahead, picture},
    flops,
    recipe::DinoStage,
};

const STATE: &str = "dino.safetensors";
const ENCODER: &str = "flava.image_model.";
/// Large views of a picture.
const GLOBAL: usize = 2;

/// Student and teacher in training.
pub struct Dino {
    stage: DinoStage,
    /// The model whose image encoder is the teacher, as it is saved.
    model: FlavaForPreTraining,
    saved: VarStore,
    student: ImageEncoder,
    heads: [DinoHead; 2],
    /// The student's encoder and head.
    store: VarStore,
    teacher_head: VarStore,
    centre: Tensor,
    /// The mean of what the teacher said in this step, which the centre follows once the step is
    /// made.
    said: Tensor,
    data: Arc<Data>,
    processor: ImageProcessorConfig,
    text: Arc<TextProcessor>,
    threads: usize,
    precision: Precision,
}

struct Data {
    draws: Draws,
    transform: ImageTransform,
    side: usize,
    stage: DinoStage,
    seed: u64,
}

/// Views of a batch of pictures.
pub struct Views {
    /// Large ones: all rows' first views, then all second ones.
    global: Vec<Pixels>,
    /// Small ones, in the same order.
    local: Vec<Pixels>,
    ids: Vec<String>,
    broken: BrokenRows,
}

impl Views {
    /// Of the views of each row, large ones first.
    fn new(mut drawn: Drawn<Vec<Pixels>>, local_crops: usize) -> Self {
        let mut views = Self {
            global: Vec::new(),
            local: Vec::new(),
            ids: drawn.ids,
            broken: drawn.broken,
        };
        for number in 0..GLOBAL + local_crops {
            let into = if number < GLOBAL {
                &mut views.global
            } else {
                &mut views.local
            };
            into.extend(
                drawn
                    .rows
                    .iter_mut()
                    .map(|pixels| std::mem::take(&mut pixels[number])),
            );
        }
        views
    }

    /// Those of the large or of the small views that are some rows'.
    fn of_rows<'v>(&self, views: &'v [Pixels], rows: &Range<usize>) -> Vec<&'v Pixels> {
        views
            .chunks_exact(self.ids.len())
            .flat_map(|view| &view[rows.clone()])
            .collect()
    }
}

impl Data {
    /// The views of a row: large ones first.
    fn views(&self, row: usize, draw: u64) -> std::result::Result<Vec<Pixels>, String> {
        let example = self.draws.dataset.get(row).map_err(|e| e.to_string())?;
        let whole = picture(example.image.as_deref())?;
        let mut rng = stream(self.seed, &format!("views, draw {draw}"));
        let DinoStage {
            global_crop,
            local_crop,
            local_crops,
            local_size,
            colours,
            blur,
            local_blur,
            ..
        } = &self.stage;
        let number = |number: usize| {
            let (crop, changes) = match number {
                0 => ((global_crop, self.side), (1.0, *blur, 0.0)),
                1 => ((global_crop, self.side), (0.1, *blur, 0.2)),
                _ => ((local_crop, *local_size), (0.5, *local_blur, 0.0)),
            };
            self.transform
                .apply(&view(&whole, crop, colours, changes, &mut rng))
        };
        Ok((0..GLOBAL + local_crops).map(number).collect())
    }
}

impl Dino {
    /// Over the pictures of `draws`; the model's image encoder, in `saved`, is what student and
    /// teacher begin with.
    pub fn new(
        (model, saved): (FlavaForPreTraining, VarStore),
        stage: &DinoStage,
        draws: Draws,
        (processor, text, pass_order): (ImageProcessorConfig, Arc<TextProcessor>, PassOrder),
        (seed, threads): (u64, usize),
        (precision, recompute): (Precision, bool),
    ) -> Result<Self> {
        let config: &FlavaConfig = &model.config;
        let device = saved.device();
        let widths = (stage.hidden, stage.bottleneck, stage.outputs);
        let range = config.initializer_range;
        let (mut store, mut teacher_head) =
            (VarStore::new(Device::Cpu), VarStore::new(Device::Cpu));
        tch::manual_seed(seed as i64);
        let root = Vars::root(&store, Fill::New(range));
        let mut student = ImageEncoder::new(
            &(&root / "flava" / "image_model"),
            &config.image_config,
            AttentionKind::Fused,
        );
        student.set_recompute(recompute);
        let head = DinoHead::new(&(&root / "head"), config.hidden_size, widths);
        let teacher = DinoHead::new(
            &(&Vars::root(&teacher_head, Fill::New(range)) / "head"),
            config.hidden_size,
            widths,
        );
        store.set_device(device);
        teacher_head.set_device(device);
        // Both begin alike: the encoder as in the model, the head as the student's.
        copy(&saved, &store, ENCODER)?;
        copy(&store, &teacher_head, "head.")?;
        let transform = ImageTransform {
            size: None,
            crop: None,
            ..processor.transform(pass_order)
        };
        let side = config.image_config.image_size as usize;
        let centre = Tensor::f_zeros([1, stage.outputs], (Kind::Float, device))?;
        let data = Data {
            draws,
            transform,
            side,
            stage: stage.clone(),
            seed,
        };
        Ok(Self {
            stage: stage.clone(),
            model,
            saved,
            student,
            heads: [head, teacher],
            store,
            teacher_head,
            said: centre.shallow_clone(),
            centre,
            data: Arc::new(data),
            processor,
            text,
            threads,
            precision,
        })
    }

    /// How far the teacher stays what it is: from the recipe's value up to 1, along half a cosine.
    fn momentum(&self, step: usize) -> f64 {
        1.0 - (1.0 - self.stage.momentum) * self.falling(step)
    }

    fn weight_decay(&self, step: usize) -> f64 {
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

    /// Embeddings of some views, \[views, size\].
    fn cls(encoder: &ImageEncoder, views: &[&Pixels], device: Device) -> Result<Tensor> {
        let inputs = image_batch(views.iter().copied(), device, Kind::Float)?;
        let inputs = ImageInputs {
            interpolate_pos_encoding: true,
            ..inputs
        };
        Ok(encoder.forward(&inputs, &Rows::Cls, true)?.cls())
    }

    /// The mean loss over the views of some of a batch's rows, and the mean of what the teacher
    /// says of them, \[1, outputs\].
    fn losses(&self, batch: &Views, part: Range<usize>, step: usize) -> Result<(Tensor, Tensor)> {
        let device = self.saved.device();
        let rows = part.len() as i64;
        let _autocast = Autocast::new(device, self.precision)?;
        let global = batch.of_rows(&batch.global, &part);
        let taught = {
            let _guard = tch::no_grad_guard();
            let cls = Self::cls(self.model.flava.encoders().0, &global, device)?;
            self.heads[1].forward(&cls, true)?.f_to_kind(Kind::Float)? // [2 * rows, outputs]
        };
        let mut cls = vec![Self::cls(&self.student, &global, device)?];
        if !batch.local.is_empty() {
            cls.push(Self::cls(
                &self.student,
                &batch.of_rows(&batch.local, &part),
                device,
            )?);
        }
        let frozen = step < self.stage.frozen_steps;
        let said = self.heads[0]
            .forward(&Tensor::f_cat(&cls, 0)?, frozen)?
            .f_to_kind(Kind::Float)?;
        let said = said
            .f_div_scalar(self.stage.student_temperature)?
            .f_log_softmax(-1, Kind::Float)?;
        let goal = taught
            .f_sub(&self.centre)?
            .f_div_scalar(self.teacher_temperature(step))?
            .f_softmax(-1, Kind::Float)?;
        let views = (GLOBAL + self.stage.local_crops) as i64;
        let mut loss = Tensor::f_zeros([], (Kind::Float, device))?;
        for teacher in 0..GLOBAL as i64 {
            let goal = goal.f_narrow(0, teacher * rows, rows)?;
            for student in (0..views).filter(|student| *student != teacher) {
                let said = said.f_narrow(0, student * rows, rows)?;
                loss = loss.f_sub(
                    &goal
                        .f_mul(&said)?
                        .f_sum_dim_intlist(-1, false, Kind::Float)?
                        .f_mean(Kind::Float)?,
                )?;
            }
        }
        let loss = loss.f_div_scalar((GLOBAL as i64 * (views - 1)) as f64)?;
        Ok((loss, taught.f_mean_dim([0].as_slice(), true, Kind::Float)?))
    }
}

/// Copies the variables whose names begin with `prefix` from one store into another.
fn copy(from: &VarStore, to: &VarStore, prefix: &str) -> Result<()> {
    let _guard = tch::no_grad_guard();
    let from = from.variables();
    for (name, mut variable) in to
        .variables()
        .into_iter()
        .filter(|(name, _)| name.starts_with(prefix))
    {
        let value = from
            .get(&name)
            .ok_or_else(|| Error::Input(format!("{name} is missing")))?;
        variable.f_copy_(value)?;
    }
    Ok(())
}

/// `average` of the names that begin with `prefix` takes a step towards `of`.
fn follow(average: &VarStore, of: &VarStore, prefix: &str, momentum: f64) -> Result<()> {
    let _guard = tch::no_grad_guard();
    let of = of.variables();
    for (name, mut variable) in average
        .variables()
        .into_iter()
        .filter(|(name, _)| name.starts_with(prefix))
    {
        let _moved = variable.f_lerp_(&of[&name], 1.0 - momentum)?;
    }
    Ok(())
}

impl Learner for Dino {
    type Batch = Views;
    type Error = Error;

    fn batches(&self, steps: Range<usize>) -> Batches<Views, Error> {
        let (data, local_crops) = (Arc::clone(&self.data), self.stage.local_crops);
        let pieces = ahead(
            steps,
            data.draws.batch_size,
            self.threads,
            move |step, piece| {
                data.draws
                    .piece(step as u64, piece, |row, draw| data.views(row, draw))
            },
        );
        Box::new(pieces.map(move |drawn| Ok(Views::new(drawn?, local_crops))))
    }

    fn backward(&mut self, batch: &Views, step: &Step) -> Result<StepMetrics> {
        let rows = batch.ids.len();
        let mut metrics = StepMetrics::new(rows);
        metrics.broken = batch.broken.clone();
        let mut taught = self.centre.f_zeros_like()?;
        for (number, part) in step.parts(rows).enumerate() {
            tch::manual_seed(step.seed.wrapping_add(number as i64));
            let share = part.len() as f64 / rows as f64;
            let (of_part, mean) = self.losses(batch, part, step.number)?;
            let of_part = of_part.f_mul_scalar(share)?;
            of_part.f_mul_scalar(step.loss_scale)?.f_backward()?;
            metrics.add_loss("dino", &of_part)?;
            taught = taught.f_add(&mean.f_mul_scalar(share)?)?;
        }
        self.said = taught;
        Ok(metrics)
    }

    fn before_update(&mut self, optimiser: &mut AdamW, step: &Step) -> Result<()> {
        optimiser.set_weight_decay(self.weight_decay(step.number));
        if self.stage.clip_each > 0.0 {
            optimiser.clip_each(self.stage.clip_each)?;
        }
        Ok(())
    }

    fn after_update(&mut self, step: &Step) -> Result<()> {
        self.centre = tch::no_grad(|| {
            self.centre
                .f_lerp(&self.said, 1.0 - self.stage.centre_momentum)
        })?;
        let momentum = self.momentum(step.number);
        follow(&self.saved, &self.store, ENCODER, momentum)?;
        follow(&self.teacher_head, &self.store, "head.", momentum)
    }

    fn parameters(&self) -> Vec<ParameterSet> {
        vec![ParameterSet::of(&self.store)]
    }

    fn ids(&self, batch: &Views) -> Vec<String> {
        batch.ids.clone()
    }

    fn extra_metrics(&self) -> Vec<(&'static str, f64)> {
        let centre = self
            .centre
            .f_norm()
            .map_or(f64::NAN, |norm| norm.double_value(&[]));
        vec![("centre_norm", centre)]
    }

    fn flops(&self, batch: &Views) -> f64 {
        let config = &self.model.config;
        let patches = |side: usize| (side as i64 / config.image_config.patch_size).pow(2) as f64;
        let global = flops::image(
            config,
            batch.global.len() as f64,
            patches(self.data.side),
            1.0,
        );
        let local = flops::image(
            config,
            batch.local.len() as f64,
            patches(self.stage.local_size),
            1.0,
        );
        4.0 * global + 3.0 * local // the teacher has no backward pass
    }

    fn save(&self, folder: &Path, _state: &TrainingState) -> Result<()> {
        let variables = self.saved.variables();
        write_directory(
            folder,
            Architecture::FlavaForPreTraining,
            &self.model.config,
            variables,
            &self.processor,
            &self.text,
        )?;
        let named = |prefix: &'static str, store: &VarStore| {
            store
                .variables()
                .into_iter()
                .map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
        };
        let mut all: Vec<(String, Tensor)> = named("student.", &self.store)
            .chain(named("teacher.", &self.teacher_head))
            .collect();
        all.push(("centre".into(), self.centre.shallow_clone()));
        Ok(write_tensors(&folder.join(STATE), all)?)
    }

    fn load(&mut self, folder: &Path) -> Result<()> {
        Checkpoint::open(folder)?
            .load_into(&self.saved)?
            .require(&["flava"])?;
        let path = folder.join(STATE);
        let all = read_tensors(&path)?;
        let of = |prefix: &str| -> Vec<(String, Tensor)> {
            all.iter()
                .filter_map(|(name, tensor)| {
                    Some((
                        name.strip_prefix(prefix)?.to_owned(),
                        tensor.shallow_clone(),
                    ))
                })
                .collect()
        };
        load_exactly(self.store.variables(), of("student."), &path)?;
        load_exactly(self.teacher_head.variables(), of("teacher."), &path)?;
        let centre = all
            .iter()
            .find(|(name, _)| name == "centre")
            .ok_or_else(|| Error::Input(format!("{}: centre is missing", path.display())))?;
        self.centre = centre.1.f_to_device(self.saved.device())?;
        Ok(())
    }
}
