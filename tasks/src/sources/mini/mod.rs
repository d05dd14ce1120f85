//! The mini suite's data: scenes of emoji with captions, questions, hypotheses and sentences, drawn by a seeded generator.
//!
//! A smoke benchmark: it shows that a model sees, reads and joins both, at no cost of data. Concepts of the test split
//! never occur in the training split, and neither do their scenes.

mod concepts;
mod scene;
mod wording;

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Dataset, Example, Label};
use crate::{Result, random::stream};
use concepts::{Concept, Part, of_part};
use scene::Scene;

pub use wording::vocabulary;

/// What is drawn, and what is asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MiniWorld {
    /// One emoji; its group.
    Groups,
    /// A scene and its captions.
    Captions,
    /// A scene, a question and one of the possible answers.
    Questions,
    /// A scene and a statement that follows from it, may be so, or contradicts it.
    Hypotheses,
    /// A caption, well formed or with two words exchanged.
    Sentences,
    /// Two captions, of one scene or of two that differ in one detail.
    Paraphrases,
}

/// Questions asked about each scene.
const QUESTIONS: usize = 3;

/// A split of the mini suite; every row depends on the seed, the split and its index alone.
pub(super) struct Mini {
    world: MiniWorld,
    split: String,
    rows: usize,
    seed: u64,
    concepts: Vec<&'static Concept>,
}

impl Mini {
    pub(super) fn new(world: MiniWorld, split: &str, rows: usize, seed: u64) -> Self {
        let part = if split == "test" { Part::Test } else { Part::Train };
        Self { world, split: split.to_owned(), rows, seed, concepts: of_part(part) }
    }

    /// Random numbers for one thing of this split.
    fn rng(&self, what: &str, index: usize) -> ChaCha8Rng {
        stream(&format!("mini {} {} {what} {index}", self.seed, self.split))
    }

    fn scene(&self, index: usize) -> Scene {
        Scene::sample(&self.concepts, &mut self.rng("scene", index))
    }

    /// A picture of a single concept of a random group, and that group.
    fn single(&self, index: usize) -> (&'static Concept, ChaCha8Rng) {
        let mut rng = self.rng("single", index);
        let group = rng.random_range(0..concepts::GROUPS.len());
        let members: Vec<&&Concept> = self.concepts.iter().filter(|c| c.group == group).collect();
        (members.choose(&mut rng).expect("every group has members"), rng)
    }

    fn texts_and_label(&self, index: usize) -> (Vec<String>, Label) {
        let mut rng = self.rng("text", index);
        let class = Label::Class;
        match self.world {
            MiniWorld::Groups => (Vec::new(), class(self.single(index).0.group)),
            MiniWorld::Captions => (self.scene(index).captions().into(), Label::None),
            MiniWorld::Questions => {
                let (question, answer) = self.scene(index / QUESTIONS).question(index % QUESTIONS, &self.concepts, &mut rng);
                (vec![question], class(answer))
            }
            MiniWorld::Hypotheses => {
                let label = index % 3;
                (vec![self.scene(index).hypothesis(label, &self.concepts, &mut rng)], class(label))
            }
            MiniWorld::Sentences => {
                let [caption, _] = self.scene(index).captions();
                let well_formed = index % 2 == 1;
                (vec![if well_formed { caption } else { wording::exchange_words(&caption, &mut rng) }], class(well_formed.into()))
            }
            MiniWorld::Paraphrases => {
                let scene = self.scene(index);
                let same = index % 2 == 1;
                let other = if same { scene.clone() } else { scene.with_one_change(&mut rng) };
                (vec![scene.captions()[0].clone(), other.captions()[1].clone()], class(same.into()))
            }
        }
    }

    fn picture(&self, index: usize) -> Option<Vec<u8>> {
        match self.world {
            MiniWorld::Groups => {
                let (concept, mut rng) = self.single(index);
                Some(scene::draw_single(concept, &mut rng))
            }
            MiniWorld::Captions | MiniWorld::Hypotheses => Some(self.scene(index).draw()),
            MiniWorld::Questions => Some(self.scene(index / QUESTIONS).draw()),
            MiniWorld::Sentences | MiniWorld::Paraphrases => None,
        }
    }
}

impl Dataset for Mini {
    fn len(&self) -> usize {
        self.rows
    }

    fn id(&self, index: usize) -> String {
        format!("{}-{index}", self.split)
    }

    fn label(&self, index: usize) -> Label {
        self.texts_and_label(index).1
    }

    fn cluster(&self, index: usize) -> usize {
        if self.world == MiniWorld::Questions { index / QUESTIONS } else { index }
    }

    fn texts(&self, index: usize) -> usize {
        self.texts_and_label(index).0.len()
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.texts_and_label(index).0)
    }

    fn get(&self, index: usize) -> Result<Example> {
        let (texts, label) = self.texts_and_label(index);
        Ok(Example { id: self.id(index), image: self.picture(index), texts, label })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const WORLDS: [MiniWorld; 6] =
        [MiniWorld::Groups, MiniWorld::Captions, MiniWorld::Questions, MiniWorld::Hypotheses, MiniWorld::Sentences, MiniWorld::Paraphrases];

    #[test]
    fn rows_repeat_and_do_not_depend_on_what_else_is_drawn() {
        for world in WORLDS {
            let (long, short) = (Mini::new(world, "train", 50, 7), Mini::new(world, "train", 10, 7));
            assert_eq!(long.get(9).unwrap(), short.get(9).unwrap());
            assert_ne!(long.get(9).unwrap(), Mini::new(world, "train", 50, 8).get(9).unwrap());
        }
    }

    #[test]
    fn no_concept_of_the_test_split_occurs_in_training() {
        let train: HashSet<&str> = of_part(Part::Train).iter().map(|c| c.name.as_str()).collect();
        let test = of_part(Part::Test);
        assert!(train.len() > 400 && test.len() > 100, "{} and {}", train.len(), test.len());
        assert!(test.iter().all(|c| !train.contains(c.name.as_str())));
    }

    #[test]
    fn pictures_decode_and_every_word_is_in_the_vocabulary() {
        let words: HashSet<String> = vocabulary().into_iter().collect();
        for world in WORLDS {
            let split = Mini::new(world, "test", 40, 0);
            for index in 0..split.len() {
                let example = split.get(index).unwrap();
                if let Some(bytes) = example.image {
                    let picture = image::load_from_memory(&bytes).unwrap();
                    assert_eq!((picture.width(), picture.height()), (scene::SIDE, scene::SIDE));
                }
                for word in example.texts.iter().flat_map(|t| wording::words(t)) {
                    assert!(words.contains(&word), "{word} of {:?}", example.texts);
                }
            }
        }
    }

    /// The registry's chance levels are the share of the largest class.
    #[test]
    fn chance_levels_are_those_of_the_test_splits() {
        let registry = crate::Registry::built_in().unwrap();
        let tasks = registry.tasks().iter().filter(|t| t.suite == crate::Suite::Mini && t.classes > 0);
        for task in tasks {
            let source = &task.sources[0];
            let split = task.open_split(source, &source.test, std::path::Path::new("."), 0).unwrap();
            let mut counts = vec![0usize; task.classes];
            for index in 0..split.dataset.len() {
                let Label::Class(class) = split.dataset.label(index) else { panic!("{} has no class", task.name) };
                counts[class] += 1;
            }
            let largest = *counts.iter().max().unwrap() as f64 / split.dataset.len() as f64;
            assert!((largest - task.chance).abs() < 0.06, "{}: {largest} for {}", task.name, task.chance);
            assert!(counts.iter().all(|&c| c > 0), "{}: {counts:?}", task.name);
        }
    }
}
