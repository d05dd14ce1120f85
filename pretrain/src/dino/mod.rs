//! The image encoder by self-distillation without labels (DINO, Caron et al. 2021): the student's
//! answer on every view of an image is to be the teacher's on another, large one. The teacher is a
//! moving average of the student.

mod average;
mod distillation;
mod head;
mod learner;
mod views;

pub use distillation::{Dino, DinoSetup};
