//! What is said of scenes. Words for colours, numbers, sizes, places and kinds occur in every
//! split; names of things that are kept for testing do not, so what is asked there can be told from
//! what was learned of the others.

use rand::{Rng, seq::SliceRandom};

use super::{
    scene::{MOST, Scene, Single, pick},
    words::{Naming, answers, colour, phrase, position},
};

impl Scene {
    /// The same facts in two wordings.
    pub(super) fn captions(&self, naming: Naming) -> [String; 2] {
        let [a, b] = self.groups.map(|group| phrase(group, naming));
        let (colour, there, back) = (
            colour(self.background),
            position(self.relation),
            position(self.relation.inverse()),
        );
        [
            format!("{a} {there} {b} on a {colour} background"),
            format!("a {colour} picture with {b} {back} {a}"),
        ]
    }

    /// A text that goes with the image: a caption, a true statement, or a question with its
    /// answer.
    pub(super) fn text(&self, rng: &mut impl Rng) -> String {
        match rng.random_range(0..10) {
            0..4 => pick(&self.captions(Naming::Name), rng).clone(),
            4..6 => pick(&self.captions(Naming::Kind), rng).clone(),
            6..8 => self.statement(0, rng),
            _ => {
                let (question, answer) = self.question(rng.random_range(0..3), rng);
                format!("{question} {}", answers()[answer])
            }
        }
    }
}

impl Single {
    /// What the image shows, up to the name: a class of the mini zero-shot task, whose names the
    /// registry has.
    pub(super) fn look(&self) -> usize {
        (self.background * MOST + self.group.count - 1) * 2 + usize::from(self.group.large)
    }

    /// A text that goes with the image.
    pub(super) fn text(&self, rng: &mut impl Rng) -> String {
        let naming = [Naming::Name, Naming::Kind, Naming::Thing][rng.random_range(0..3)];
        let text = format!(
            "{} on a {} background",
            phrase(self.group, naming),
            colour(self.background)
        );
        if rng.random() {
            text
        } else {
            format!("a picture of {text}")
        }
    }

    /// The same of an image of one thing alone.
    pub(super) fn text_alone(&self, rng: &mut impl Rng) -> String {
        let (name, kind, colour) = (
            &self.group.concept.name,
            self.group.concept.kind(),
            colour(self.background),
        );
        match rng.random_range(0..5) {
            0 => format!("a picture of {name} , {}", kind.phrase),
            1 => format!("{name} on a {colour} background"),
            2 => format!("a picture of {}", kind.phrase),
            3 => format!("one {} on a {colour} background", kind.one),
            _ => format!("{name} : {}", kind.phrase),
        }
    }
}

/// A document: some sentences about a scene, true in each other's light.
pub(super) fn document(scene: &Scene, rng: &mut impl Rng) -> String {
    let mut sentences: Vec<String> = (0..rng.random_range(1..=2))
        .map(|_| scene.text(rng))
        .collect();
    if rng.random() {
        let by_name: bool = rng.random();
        let naming = if by_name { Naming::Name } else { Naming::Kind };
        sentences = scene.captions(naming).into();
    }
    if rng.random_range(0..4) == 0 {
        sentences.push(scene.statement(1, rng));
    }
    sentences.join(" . ")
}

/// The words of `sentence` in another order.
pub(super) fn shuffled(sentence: &str, rng: &mut impl Rng) -> String {
    let mut words: Vec<&str> = sentence.split(' ').collect();
    while words.join(" ") == sentence {
        words.shuffle(rng);
    }
    words.join(" ")
}
