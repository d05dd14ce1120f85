//! The steps of self-distillation, and what is saved of it.

use std::{ops::Range, path::Path, sync::Arc};

use flava_model::checkpoint::{
    Architecture, Checkpoint, load_exactly, read_tensors, write_directory, write_tensors,
};
use flava_training::{
    BatchRows, Batches, Learner, ParameterSet, Step, StepMetrics, TrainingState, Update,
};
use tch::{Tensor, nn::VarStore};

use super::{distillation::Dino, views::Views};
use crate::{Error, Result, flops, sampling::prefetch};

/// What is saved beside the model.
const STATE: &str = "dino.safetensors";

impl Learner for Dino {
    type Batch = Views;
    type Error = Error;

    fn batches(&self, steps: Range<usize>) -> Batches<Views, Error> {
        let (source, local_crops) = (Arc::clone(&self.source), self.stage.local_crops);
        let largest = source.samples.own_size();
        let pieces = prefetch(steps, largest, self.threads, move |step, piece| {
            source.piece(step as u64, piece)
        });
        Box::new(pieces.map(move |sampled| Ok(Views::new(sampled, local_crops))))
    }

    fn backward(&mut self, batch: &Views, step: &Step) -> Result<StepMetrics> {
        let mut metrics = StepMetrics::default();
        let mut teacher_centre = self.centre.f_zeros_like()?;
        for part in step.parts(&batch.own) {
            if part.rows.is_empty() {
                continue;
            }
            step.begin(&part);
            let share = step.share(&part);
            let of_part = self.loss(batch, part.rows.clone(), step.number)?;
            let loss = of_part.loss.f_mul_scalar(share)?;
            step.begin_backward(&part);
            loss.f_mul_scalar(step.loss_scale)?.f_backward()?;
            metrics.add_loss("dino", &loss)?;
            let centre_of_part = of_part.teacher_centre.f_mul_scalar(share)?;
            teacher_centre = teacher_centre.f_add(&centre_of_part)?;
        }
        if batch.own.ids.is_empty() {
            metrics.add_no_loss("dino")?; // others have it
        }
        self.teacher_centre_of_step = teacher_centre;
        Ok(metrics)
    }

    fn before_update(&mut self, update: &mut Update, step: &Step) -> Result<()> {
        update.set_weight_decay(self.weight_decay(step.number));
        if self.stage.clip_each > 0.0 {
            update.clip_each(self.stage.clip_each)?;
        }
        Ok(())
    }

    fn after_update(&mut self, step: &Step) -> Result<()> {
        let centre = &self.teacher_centre_of_step;
        step.group.sum(centre)?.wait()?;
        self.update_teacher(step.number)
    }

    fn parameters(&self) -> Vec<ParameterSet> {
        vec![ParameterSet::of(&self.student.store)]
    }

    fn rows<'b>(&self, batch: &'b Views) -> &'b BatchRows {
        &batch.own
    }

    fn extra_metrics(&self) -> Vec<(&'static str, f64)> {
        let centre = self
            .centre
            .f_norm()
            .map_or(f64::NAN, |norm| norm.double_value(&[]));
        vec![("centre_norm", centre)]
    }

    fn flops(&self, batch: &Views) -> f64 {
        let (global, local) = (batch.global.len() as f64, batch.local.len() as f64);
        flops::distillation(&self.model.config, &self.stage, global, local)
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
        let mut all = prefixed("student.", &self.student.store);
        all.extend(prefixed("teacher.", &self.teacher_head.store));
        all.push(("centre".into(), self.centre.shallow_clone()));
        Ok(write_tensors(&folder.join(STATE), all)?)
    }

    fn load(&mut self, folder: &Path) -> Result<()> {
        Checkpoint::open(folder)?
            .load_into(&self.saved)?
            .require(&["flava"])?;
        let path = folder.join(STATE);
        let all = read_tensors(&path)?;
        let student = without_prefix(&all, "student.");
        load_exactly(self.student.store.variables(), student, &path)?;
        let teacher = without_prefix(&all, "teacher.");
        load_exactly(self.teacher_head.store.variables(), teacher, &path)?;
        let centre = all
            .iter()
            .find(|(name, _)| name == "centre")
            .ok_or_else(|| Error::Input(format!("{}: centre is missing", path.display())))?;
        self.centre = centre.1.f_to_device(self.saved.device())?;
        Ok(())
    }
}

/// The variables of a store, their names after a prefix.
fn prefixed(prefix: &str, store: &VarStore) -> Vec<(String, Tensor)> {
    let variables = store.variables().into_iter();
    variables
        .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
        .collect()
}

/// The tensors whose names have a prefix, by what follows it.
fn without_prefix(all: &[(String, Tensor)], prefix: &str) -> Vec<(String, Tensor)> {
    let named = all.iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix(prefix)?;
        Some((name.to_owned(), tensor.shallow_clone()))
    });
    named.collect()
}
