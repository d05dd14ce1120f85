//! What is said and asked of scenes. Words for colours, numbers, sizes, places and kinds occur in
//! every split; names of things that are kept for testing do not, so what is asked there can be
//! told from what was learned of the others.

use rand::{
    Rng,
    seq::{IndexedRandom, SliceRandom},
};

use super::{
    concepts::{Concept, KINDS},
    scene::{COLOURS, Group, MOST, Relation, Scene, Single, other},
};

/// Counts in words.
pub(super) const NUMBERS: [&str; 6] = ["one", "two", "three", "four", "five", "six"];
const SIZES: [&str; 2] = ["small", "large"];
/// Things said of a kind that no picture shows.
const UNKNOWABLE: [&str; 4] = [
    "was bought last week",
    "belongs to somebody famous",
    "is very old",
    "will be gone tomorrow",
];

/// Answers to questions, in the order of their labels.
pub(super) fn answers() -> Vec<&'static str> {
    COLOURS
        .iter()
        .map(|(name, _)| *name)
        .chain(NUMBERS)
        .chain(["yes", "no"])
        .collect()
}

fn number_label(count: usize) -> usize {
    COLOURS.len() + count - 1
}

fn yes_label(yes: bool) -> usize {
    COLOURS.len() + NUMBERS.len() + usize::from(!yes)
}

fn place(relation: Relation) -> &'static str {
    match relation {
        Relation::Left => "left of",
        Relation::Right => "right of",
        Relation::Above => "above",
        Relation::Below => "below",
    }
}

/// By what name things are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// Their own.
    Name,
    /// Their kind's.
    Kind,
    /// Just things.
    Thing,
}

impl Naming {
    fn noun(self, concept: &'static Concept, count: usize) -> &'static str {
        match (self, count) {
            (Self::Name, _) => &concept.name,
            (Self::Kind, 1) => concept.kind().one,
            (Self::Kind, _) => concept.kind().many,
            (Self::Thing, 1) => "thing",
            (Self::Thing, _) => "things",
        }
    }
}

fn phrase(group: Group, naming: Naming) -> String {
    let Group {
        concept,
        count,
        large,
    } = group;
    format!(
        "{} {} {}",
        NUMBERS[count - 1],
        SIZES[usize::from(large)],
        naming.noun(concept, count)
    )
}

fn colour(background: usize) -> &'static str {
    COLOURS[background].0
}

impl Scene {
    /// The same facts in two wordings.
    pub(super) fn captions(&self, naming: Naming) -> [String; 2] {
        let [a, b] = self.groups.map(|group| phrase(group, naming));
        let (colour, there, back) = (
            colour(self.background),
            place(self.relation),
            place(self.relation.inverse()),
        );
        [
            format!("{a} {there} {b} on a {colour} background"),
            format!("a {colour} picture with {b} {back} {a}"),
        ]
    }

    /// A question of one of three sorts (colour, number, yes or no) and its answer's label.
    pub(super) fn question(&self, sort: usize, rng: &mut impl Rng) -> (String, usize) {
        let asked = rng.random_range(0..2);
        let (group, rest) = (self.groups[asked], self.groups[1 - asked]);
        let (kind, other_kind) = (group.concept.kind(), rest.concept.kind());
        match (sort, rng.random_range(0..3)) {
            (0, _) => ("what color is the background ?".into(), self.background),
            (1, 0) => (
                "how many things are there ?".into(),
                number_label(group.count + rest.count),
            ),
            (1, 1) if group.large != rest.large => (
                format!(
                    "how many {} things are there ?",
                    SIZES[usize::from(group.large)]
                ),
                number_label(group.count),
            ),
            (1, _) => (
                format!("how many {} are there ?", kind.many),
                number_label(group.count),
            ),
            (_, 0) => {
                let there: bool = rng.random();
                let kind = if there { kind } else { self.absent_kind(rng) };
                (format!("is there any {} ?", kind.one), yes_label(there))
            }
            (_, 1) => {
                let large: bool = rng.random();
                (
                    format!("are the {} {} ?", kind.many, SIZES[usize::from(large)]),
                    yes_label(large == group.large),
                )
            }
            (_, _) => {
                let relation = if asked == 0 {
                    self.relation
                } else {
                    self.relation.inverse()
                };
                let right: bool = rng.random();
                let said = if right { relation } else { relation.inverse() };
                (
                    format!(
                        "are the {} {} the {} ?",
                        kind.many,
                        place(said),
                        other_kind.many
                    ),
                    yes_label(right),
                )
            }
        }
    }

    /// A statement that follows (0), may be so (1) or contradicts the scene (2).
    pub(super) fn statement(&self, label: usize, rng: &mut impl Rng) -> String {
        let asked = rng.random_range(0..2);
        let (group, rest) = (self.groups[asked], self.groups[1 - asked]);
        let (kind, right) = (group.concept.kind(), label == 0);
        if label == 1 {
            return format!(
                "the {} {}",
                kind.one,
                UNKNOWABLE.choose(rng).expect("there are some")
            );
        }
        match rng.random_range(0..5) {
            0 => {
                let background = if right {
                    self.background
                } else {
                    other(self.background, COLOURS.len(), rng)
                };
                format!("the background is {}", colour(background))
            }
            1 => {
                let count = if right {
                    group.count
                } else {
                    other(group.count - 1, MOST, rng) + 1
                };
                let (verb, noun) = if count == 1 {
                    ("is", kind.one)
                } else {
                    ("are", kind.many)
                };
                format!("there {verb} {} {noun}", NUMBERS[count - 1])
            }
            2 => format!(
                "the {} are {}",
                kind.many,
                SIZES[usize::from(group.large == right)]
            ),
            3 => {
                let kind = if right { kind } else { self.absent_kind(rng) };
                format!("the picture shows {}", kind.phrase)
            }
            _ => {
                let relation = if asked == 0 {
                    self.relation
                } else {
                    self.relation.inverse()
                };
                let said = if right { relation } else { relation.inverse() };
                format!(
                    "the {} are {} the {}",
                    kind.many,
                    place(said),
                    rest.concept.kind().many
                )
            }
        }
    }

    fn absent_kind(&self, rng: &mut impl Rng) -> &'static super::concepts::Kind {
        loop {
            let kind = rng.random_range(0..KINDS.len());
            if self.groups.iter().all(|group| group.concept.kind != kind) {
                return &KINDS[kind];
            }
        }
    }

    /// A text that goes with the picture: a caption, a true statement, or a question with its
    /// answer.
    pub(super) fn text(&self, rng: &mut impl Rng) -> String {
        match rng.random_range(0..10) {
            0..4 => self
                .captions(Naming::Name)
                .choose(rng)
                .expect("two")
                .clone(),
            4..6 => self
                .captions(Naming::Kind)
                .choose(rng)
                .expect("two")
                .clone(),
            6..8 => self.statement(0, rng),
            _ => {
                let (question, answer) = self.question(rng.random_range(0..3), rng);
                format!("{question} {}", answers()[answer])
            }
        }
    }
}

impl Single {
    /// What the picture shows, up to the name: a class of the mini zero-shot task, whose names the
    /// registry has.
    pub(super) fn look(&self) -> usize {
        (self.background * MOST + self.group.count - 1) * 2 + usize::from(self.group.large)
    }

    /// A text that goes with the picture.
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

    /// The same of a picture of one thing alone.
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
        sentences = scene
            .captions(if rng.random() {
                Naming::Name
            } else {
                Naming::Kind
            })
            .into();
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
