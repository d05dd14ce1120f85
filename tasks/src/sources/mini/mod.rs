//! The mini world: scenes of emoji with captions, questions, hypotheses and sentences, drawn by a
//! seeded generator.
//!
//! The mini suite measures on it, and the mini recipes pretrain on it, at no cost of data. Concepts
//! of the test split never occur in the other splits, and neither do their scenes.

mod concepts;
mod facts;
mod scene;
mod wording;
mod words;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Example, ImageOrigin, Label};
use crate::{Result, random::stream};
use concepts::{Concept, KINDS, Part, of_part};
use scene::{Scene, Single, pick};
use words::Naming;

/// What is drawn, and what is asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MiniWorld {
    /// One emoji; its group.
    Groups,
    /// One emoji of a few that no other training split shows; which one. Both splits have images
    /// of each.
    Things,
    /// Copies of one emoji; their number, size and background as one class of many.
    Looks,
    /// A scene and its captions.
    Captions,
    /// A scene, a question and one of the possible answers.
    Questions,
    /// A scene and a statement that follows from it, may be so, or contradicts it.
    Hypotheses,
    /// A caption, well formed or with its words in another order.
    Sentences,
    /// Two captions, of one scene or of two that differ in one detail.
    Paraphrases,
    /// For pretraining: images and a text that goes with each.
    Pairs,
    /// For pretraining: images alone, of one thing each.
    Pictures,
    /// For pretraining: texts alone, some sentences about a scene each.
    Texts,
}

/// Raised when the same rows are drawn otherwise.
pub(super) const DRAWING: &str = "mini world 2";
/// Classes of [`MiniWorld::Things`].
const THINGS: usize = 60;
/// Questions asked about each scene.
const QUESTIONS: usize = 3;

/// A split of the mini world; every row depends on the seed, the split and its index alone.
pub(super) struct Mini {
    world: MiniWorld,
    split: String,
    rows: usize,
    seed: u64,
    concepts: Vec<&'static Concept>,
    /// The concepts of each kind.
    kinds: Vec<Vec<&'static Concept>>,
}

/// What an image shows.
enum Content {
    Scene(Scene),
    Single(Single),
    Alone(Single),
}

impl Content {
    fn draw(&self) -> Vec<u8> {
        match self {
            Self::Scene(scene) => scene.draw(),
            Self::Single(single) => single.draw(false),
            Self::Alone(single) => single.draw(true),
        }
    }

    fn text(&self, rng: &mut ChaCha8Rng) -> String {
        match self {
            Self::Scene(scene) => scene.text(rng),
            Self::Single(single) => single.text(rng),
            Self::Alone(single) => single.text_alone(rng),
        }
    }
}

impl Mini {
    pub(super) fn new(world: MiniWorld, split: &str, rows: usize, seed: u64) -> Self {
        let part = if split == "test" || world == MiniWorld::Things {
            Part::Test
        } else {
            Part::Train
        };
        let concepts = of_part(part);
        let of_kind = |kind| {
            concepts
                .iter()
                .filter(|c| c.kind == kind)
                .copied()
                .collect()
        };
        let kinds = (0..KINDS.len()).map(of_kind).collect();
        Self {
            world,
            split: split.to_owned(),
            rows,
            seed,
            concepts,
            kinds,
        }
    }

    /// Random numbers for one thing of this split.
    fn rng(&self, what: &str, index: usize) -> ChaCha8Rng {
        stream(&format!("mini {} {} {what} {index}", self.seed, self.split))
    }

    fn scene(&self, index: usize) -> Scene {
        Scene::sample(&self.concepts, &mut self.rng("scene", index))
    }

    /// One thing of a random kind.
    fn alone(&self, index: usize) -> Single {
        let mut rng = self.rng("alone", index);
        let kind = pick(&self.kinds, &mut rng);
        Single::sample(kind, true, &mut rng)
    }

    /// One of the things, in turn.
    fn thing(&self, index: usize) -> Single {
        let concept = self.concepts[index % THINGS * self.concepts.len() / THINGS];
        Single::sample(&[concept], true, &mut self.rng("thing", index))
    }

    fn single(&self, index: usize) -> Single {
        Single::sample(&self.concepts, false, &mut self.rng("single", index))
    }

    /// What a row's image shows; none where there is no image.
    fn content(&self, index: usize) -> Option<Content> {
        Some(match self.world {
            MiniWorld::Groups => Content::Alone(self.alone(index)),
            MiniWorld::Things => Content::Alone(self.thing(index)),
            MiniWorld::Looks => Content::Single(self.single(index)),
            MiniWorld::Captions | MiniWorld::Hypotheses => Content::Scene(self.scene(index)),
            MiniWorld::Questions => Content::Scene(self.scene(index / QUESTIONS)),
            MiniWorld::Sentences | MiniWorld::Paraphrases | MiniWorld::Texts => return None,
            MiniWorld::Pictures => Content::Alone(self.alone(index)),
            // Two scenes to one image of each other sort.
            MiniWorld::Pairs => match index % 4 {
                0 => Content::Alone(self.alone(index)),
                1 => Content::Single(self.single(index)),
                _ => Content::Scene(self.scene(index)),
            },
        })
    }

    fn texts_and_label(&self, index: usize) -> (Vec<String>, Label) {
        let mut rng = self.rng("text", index);
        let class = Label::Class;
        match self.world {
            MiniWorld::Groups => (Vec::new(), class(self.alone(index).group.concept.kind)),
            MiniWorld::Things => (Vec::new(), class(index % THINGS)),
            MiniWorld::Looks => (Vec::new(), class(self.single(index).look())),
            MiniWorld::Captions => (self.scene(index).captions(Naming::Name).into(), Label::None),
            MiniWorld::Questions => {
                let scene = self.scene(index / QUESTIONS);
                let (question, answer) = scene.question(index % QUESTIONS, &mut rng);
                (vec![question], class(answer))
            }
            MiniWorld::Hypotheses => {
                let label = index % 3;
                let statement = self.scene(index).statement(label, &mut rng);
                (vec![statement], class(label))
            }
            MiniWorld::Sentences => self.sentence(index, &mut rng),
            MiniWorld::Paraphrases => self.paraphrase(index, &mut rng),
            MiniWorld::Pairs => {
                let text = self.content(index).map(|content| content.text(&mut rng));
                (text.into_iter().collect(), Label::None)
            }
            MiniWorld::Pictures => (Vec::new(), Label::None),
            MiniWorld::Texts => {
                let document = wording::document(&self.scene(index), &mut rng);
                (vec![document], Label::None)
            }
        }
    }

    /// A caption and whether its words are in order: those of the odd rows.
    fn sentence(&self, index: usize, rng: &mut ChaCha8Rng) -> (Vec<String>, Label) {
        let [caption, _] = self.scene(index).captions(Naming::Name);
        let well_formed = index % 2 == 1;
        let sentence = if well_formed {
            caption
        } else {
            wording::shuffled(&caption, rng)
        };
        (vec![sentence], Label::Class(well_formed.into()))
    }

    /// Two captions and whether they are of the same scene: those of the odd rows.
    fn paraphrase(&self, index: usize, rng: &mut ChaCha8Rng) -> (Vec<String>, Label) {
        let scene = self.scene(index);
        let same = index % 2 == 1;
        let other = if same {
            scene.clone()
        } else {
            scene.with_one_change(rng)
        };
        let [first, _] = scene.captions(Naming::Name);
        let [_, second] = other.captions(Naming::Name);
        (vec![first, second], Label::Class(same.into()))
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
        if self.world == MiniWorld::Questions {
            index / QUESTIONS
        } else {
            index
        }
    }

    fn texts(&self, index: usize) -> usize {
        self.texts_and_label(index).0.len()
    }

    fn texts_of(&self, index: usize) -> Result<Vec<String>> {
        Ok(self.texts_and_label(index).0)
    }

    fn image_origin(&self, index: usize) -> ImageOrigin {
        let Self {
            world, split, seed, ..
        } = self;
        let drawn =
            || ImageOrigin::SampledBatch(format!("{DRAWING} {world:?} {split} {seed} {index}"));
        if self.content(index).is_some() {
            drawn()
        } else {
            ImageOrigin::None
        }
    }

    fn get(&self, index: usize) -> Result<Example> {
        let (texts, label) = self.texts_and_label(index);
        Ok(Example {
            id: self.id(index),
            image: self.content(index).map(|content| content.draw()),
            texts,
            label,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const WORLDS: [MiniWorld; 11] = [
        MiniWorld::Groups,
        MiniWorld::Things,
        MiniWorld::Looks,
        MiniWorld::Captions,
        MiniWorld::Questions,
        MiniWorld::Hypotheses,
        MiniWorld::Sentences,
        MiniWorld::Paraphrases,
        MiniWorld::Pairs,
        MiniWorld::Pictures,
        MiniWorld::Texts,
    ];

    #[test]
    fn rows_repeat_and_do_not_depend_on_what_else_is_drawn() {
        for world in WORLDS {
            let (long, short) = (
                Mini::new(world, "train", 50, 7),
                Mini::new(world, "train", 10, 7),
            );
            assert_eq!(long.get(9).unwrap(), short.get(9).unwrap());
            assert_ne!(
                long.get(9).unwrap(),
                Mini::new(world, "train", 50, 8).get(9).unwrap()
            );
        }
    }

    #[test]
    fn no_concept_of_the_test_split_occurs_in_training() {
        let train: HashSet<&str> = of_part(Part::Train)
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        let test = of_part(Part::Test);
        assert!(
            train.len() > 400 && test.len() > 100,
            "{} and {}",
            train.len(),
            test.len()
        );
        assert!(test.iter().all(|c| !train.contains(c.name.as_str())));
    }

    /// What is asked on test scenes is asked in words of the training splits, names of things
    /// apart.
    #[test]
    fn images_decode_and_only_names_are_new_words() {
        let texts = |world, split: &str, rows| {
            let rows = Mini::new(world, split, rows, 0);
            (0..rows.len())
                .flat_map(|index| rows.texts_of(index).unwrap())
                .collect::<Vec<_>>()
        };
        let split = |text: &String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut known: HashSet<String> = texts(MiniWorld::Pairs, "train", 4000)
            .iter()
            .flat_map(split)
            .collect();
        known.extend(
            texts(MiniWorld::Texts, "train", 4000)
                .iter()
                .flat_map(split),
        );
        known.extend(
            of_part(Part::Test)
                .iter()
                .flat_map(|concept| split(&concept.name)),
        );
        for world in WORLDS {
            let rows = Mini::new(world, "test", 40, 0);
            for index in 0..rows.len() {
                let example = rows.get(index).unwrap();
                if let Some(bytes) = example.image {
                    let image = image::load_from_memory(&bytes).unwrap();
                    assert_eq!((image.width(), image.height()), (scene::SIDE, scene::SIDE));
                }
                let strange = example
                    .texts
                    .iter()
                    .flat_map(split)
                    .find(|word| !known.contains(word));
                assert_eq!(strange, None, "of {:?}", example.texts);
            }
        }
    }

    /// The registry's prompts stand in the order of the labels, in words that are known.
    #[test]
    fn class_names_say_what_the_images_show() {
        let registry = crate::Registry::built_in().unwrap();
        let crate::Method::ZeroShot { class_names, .. } =
            &registry.get("mini-zero-shot").unwrap().method
        else {
            panic!("zero-shot")
        };
        let rows = Mini::new(MiniWorld::Looks, "test", 200, 0);
        for index in 0..rows.len() {
            let single = rows.single(index);
            let (name, group) = (&class_names[single.look()], single.group);
            let words = [
                words::NUMBERS[group.count - 1],
                if group.large { "large" } else { "small" },
                scene::COLOURS[single.background].0,
            ];
            assert!(
                words
                    .iter()
                    .all(|word| name.split(' ').any(|other| other == *word)),
                "{name}: {words:?}"
            );
        }
    }

    /// Answers differ between the scenes of a question: the words alone do not tell them.
    #[test]
    fn statements_are_true_or_false_of_their_scene() {
        let rows = Mini::new(MiniWorld::Hypotheses, "test", 600, 0);
        for index in (0..rows.len()).filter(|index| index % 3 != 1) {
            let (scene, texts) = (rows.scene(index), rows.texts_of(index).unwrap());
            if let Some(said) = texts[0].strip_prefix("the background is ") {
                assert_eq!(
                    said == scene::COLOURS[scene.background].0,
                    index % 3 == 0,
                    "{texts:?}"
                );
            }
        }
    }

    /// The registry's chance levels are the share of the largest class.
    #[test]
    fn chance_levels_are_those_of_the_test_splits() {
        let registry = crate::Registry::built_in().unwrap();
        let tasks = registry
            .tasks()
            .iter()
            .filter(|t| t.suite == crate::Suite::Mini && t.classes > 0);
        for task in tasks {
            let source = &task.sources[0];
            let split = task
                .open_split(source, &source.test, std::path::Path::new("."), 0)
                .unwrap();
            let mut counts = vec![0usize; task.classes];
            for index in 0..split.dataset.len() {
                let Label::Class(class) = split.dataset.label(index) else {
                    panic!("{} has no class", task.name)
                };
                counts[class] += 1;
            }
            let largest = *counts.iter().max().unwrap() as f64 / split.dataset.len() as f64;
            assert!(
                (largest - task.chance).abs() < 0.06,
                "{}: {largest} for {}",
                task.name,
                task.chance
            );
            assert!(counts.iter().all(|&c| c > 0), "{}: {counts:?}", task.name);
        }
    }
}
