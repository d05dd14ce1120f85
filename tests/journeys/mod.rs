//! What people come for, from the first command to the files it leaves.

mod embed;
mod evaluate;
mod examples;
mod finetune;
mod given;
mod leaderboard;
mod lora;
mod own;
mod pretrain;
mod processes;
mod prolonged;
mod reports;
mod resume;
mod scores;
mod trainer;
mod trainer_processes;
mod training_faults;
mod training_memory;
mod training_processes;
mod zero_shot;
