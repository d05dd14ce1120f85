//! `flava-finetune predict` on new rows: a fine-tuned network answers.

use flava_model::runtime::{Progress, distributed::Group};
use flava_tasks::{Tower, predictions::Meaning};
use tch::Tensor;

use super::{AnsweredRows, Answerer, answer, open_inputs, softmax};
use crate::{
    Result, Settings,
    args::PredictArgs,
    features::Rows,
    finetune::{
        Asked, FinetunedModel, Network, Output, answers_kind, outputs_of_unbroken, tuned_folder,
    },
    plan::columns_of,
};

/// Answers for the new rows of the arguments.
///
/// # Errors
/// If the model is not fine-tuned, or a row cannot be answered for.
pub fn predict(args: &PredictArgs) -> Result<AnsweredRows> {
    let settings = Settings::new(&args.model_args)?;
    let folder = tuned_folder(&args.model)?;
    let saved = FinetunedModel::read_whole(&folder)?;
    let split = open_inputs(&args.input, &columns_of(&args.columns)?, false)?;
    let mut tuned = Tuned {
        network: saved.network(&folder, settings.load.device)?,
        saved,
        settings: &settings,
    };
    answer(&mut tuned, &split, &args.answers, &settings)
}

/// A fine-tuned network.
struct Tuned<'a> {
    network: Network,
    saved: FinetunedModel,
    settings: &'a Settings,
}

impl Answerer for Tuned<'_> {
    fn meaning(&self) -> Meaning {
        match &self.network.output {
            Output::Value => Meaning::Value,
            Output::Answers { answers } => Meaning::Answers(answers.answers.clone()),
            Output::Classes { classes } if self.saved.class_names.is_empty() => {
                Meaning::Classes((0..*classes).map(|class| class.to_string()).collect())
            }
            Output::Classes { .. } => Meaning::Classes(self.saved.class_names.clone()),
        }
    }

    fn reads(&self) -> Tower {
        self.saved.feature.tower
    }

    fn kind(&self) -> String {
        answers_kind(self.reads())
    }

    fn numbers(&mut self, rows: &Rows, progress: &Progress) -> Result<(Vec<usize>, Tensor)> {
        let asked = Asked {
            rows,
            max_tokens: self.saved.recipe.max_tokens,
            settings: self.settings,
            progress,
            group: &Group::alone(),
        };
        let (places, outputs) = outputs_of_unbroken(&mut self.network, &asked)?;
        let numbers = match &self.network.output {
            Output::Value => outputs,
            Output::Classes { .. } => softmax(&outputs)?,
            Output::Answers { .. } => outputs.f_sigmoid()?,
        };
        Ok((places, numbers))
    }
}
