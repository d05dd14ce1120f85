//! What is asked and stated about one group of a scene.

use rand::Rng;

use super::{
    concepts::{KINDS, Kind},
    scene::{COLOURS, Copies, MOST, Relation, Scene, other, pick},
    words::{NUMBERS, SIZES, colour, number_label, position, yes_label},
};

/// Things said of a kind that no image shows.
const UNKNOWABLE: [&str; 4] = [
    "was bought last week",
    "belongs to somebody famous",
    "is very old",
    "will be gone tomorrow",
];

/// A question and its answer's label.
type Question = (String, usize);

impl Scene {
    /// A question of one of three sorts (colour, number, yes or no) and its answer's label.
    pub(super) fn question(&self, sort: usize, rng: &mut impl Rng) -> Question {
        let view = self.view(rng);
        match (sort, rng.random_range(0..3)) {
            (0, _) => ("what color is the background ?".into(), self.background),
            (1, way) => view.number_question(way),
            (_, 0) => self.kind_question(view.kind(), rng),
            (_, 1) => view.size_question(rng),
            (_, _) => view.position_question(rng),
        }
    }

    fn kind_question(&self, kind: &Kind, rng: &mut impl Rng) -> Question {
        let there: bool = rng.random();
        let kind = if there { kind } else { self.absent_kind(rng) };
        (format!("is there any {} ?", kind.one), yes_label(there))
    }

    /// A statement that follows (0), may be so (1) or contradicts the scene (2).
    pub(super) fn statement(&self, label: usize, rng: &mut impl Rng) -> String {
        let view = self.view(rng);
        if label == 1 {
            return format!("the {} {}", view.kind().one, pick(&UNKNOWABLE, rng));
        }
        let right = label == 0;
        match rng.random_range(0..5) {
            0 => self.background_statement(right, rng),
            1 => view.number_statement(right, rng),
            2 => view.size_statement(right),
            3 => self.kind_statement(view.kind(), right, rng),
            _ => view.position_statement(right),
        }
    }

    fn background_statement(&self, right: bool, rng: &mut impl Rng) -> String {
        let background = if right {
            self.background
        } else {
            other(self.background, COLOURS.len(), rng)
        };
        format!("the background is {}", colour(background))
    }

    fn kind_statement(&self, kind: &Kind, right: bool, rng: &mut impl Rng) -> String {
        let kind = if right { kind } else { self.absent_kind(rng) };
        format!("the picture shows {}", kind.phrase)
    }

    fn absent_kind(&self, rng: &mut impl Rng) -> &'static Kind {
        loop {
            let kind = rng.random_range(0..KINDS.len());
            if self.groups.iter().all(|group| group.concept.kind != kind) {
                return &KINDS[kind];
            }
        }
    }

    /// One of its groups, at random, seen from the other.
    fn view(&self, rng: &mut impl Rng) -> View {
        let asked = rng.random_range(0..2);
        View {
            group: self.groups[asked],
            rest: self.groups[1 - asked],
            relation: if asked == 0 {
                self.relation
            } else {
                self.relation.inverse()
            },
        }
    }
}

/// One group of a scene, and where it is, seen from the other.
struct View {
    group: Copies,
    rest: Copies,
    relation: Relation,
}

impl View {
    fn kind(&self) -> &'static Kind {
        self.group.concept.kind()
    }

    fn number_question(&self, way: i32) -> Question {
        let Self { group, rest, .. } = self;
        let (asked, count) = match way {
            0 => ("things".to_owned(), group.count + rest.count),
            1 if group.large != rest.large => {
                let size = SIZES[usize::from(group.large)];
                (format!("{size} things"), group.count)
            }
            _ => (self.kind().many.to_owned(), group.count),
        };
        (format!("how many {asked} are there ?"), number_label(count))
    }

    fn size_question(&self, rng: &mut impl Rng) -> Question {
        let large: bool = rng.random();
        let (many, size) = (self.kind().many, SIZES[usize::from(large)]);
        let right = large == self.group.large;
        (format!("are the {many} {size} ?"), yes_label(right))
    }

    fn position_question(&self, rng: &mut impl Rng) -> Question {
        let right: bool = rng.random();
        let (many, position, others) = self.relation(right);
        (
            format!("are the {many} {position} the {others} ?"),
            yes_label(right),
        )
    }

    fn number_statement(&self, right: bool, rng: &mut impl Rng) -> String {
        let (kind, count) = (self.kind(), self.group.count);
        let count = if right {
            count
        } else {
            other(count - 1, MOST, rng) + 1
        };
        let (verb, noun) = if count == 1 {
            ("is", kind.one)
        } else {
            ("are", kind.many)
        };
        format!("there {verb} {} {noun}", NUMBERS[count - 1])
    }

    fn size_statement(&self, right: bool) -> String {
        let size = SIZES[usize::from(self.group.large == right)];
        format!("the {} are {size}", self.kind().many)
    }

    fn position_statement(&self, right: bool) -> String {
        let (many, position, others) = self.relation(right);
        format!("the {many} are {position} the {others}")
    }

    /// Its things, where they are, or are not, and the other things.
    fn relation(&self, right: bool) -> (&'static str, &'static str, &'static str) {
        let said = if right {
            self.relation
        } else {
            self.relation.inverse()
        };
        let others = self.rest.concept.kind().many;
        (self.kind().many, position(said), others)
    }
}
