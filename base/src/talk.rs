//! What is said to people, on stderr, and what is printed for programs, on stdout. Neither ends the
//! work where nobody listens any more, and no name from a file moves the cursor.

use std::{
    borrow::Cow,
    io::{Write, stderr, stdout},
};

/// Says one line on stderr.
pub fn say(line: &str) {
    let _heard = writeln!(stderr().lock(), "{}", escaped(line));
}

/// What stands between an error's message and each hint what to do about it.
pub const HINT: &str = "\nhint: ";
/// What stands between the several things that are wrong with one file.
pub const ALSO: &str = "\nalso: ";

/// Says what went wrong on stderr, each of its hints on a line of its own.
pub fn say_error(error: &str) {
    for line in error_lines(&format!("error: {error}")) {
        say(&line);
    }
}

/// An error's message, what is wrong besides, and each of its hints, a line each for what is said
/// line by line.
pub fn error_lines(error: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut all = error.split(ALSO);
    let first = all.next().unwrap_or_default();
    let also = all.map(|also| format!("also: {also}"));
    [first.to_owned()].into_iter().chain(also).flat_map(|part| {
        let mut parts = part.split(HINT).map(str::to_owned);
        let message = parts.next().map(Cow::from);
        let hints = parts.map(|hint| Cow::from(format!("hint: {hint}")));
        message.into_iter().chain(hints).collect::<Vec<_>>()
    })
}

/// Prints text with a line end on stdout, as it is.
pub fn print(text: &str) {
    let mut out = stdout().lock();
    let _read = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A text without control characters: a name may hold the terminal's escape sequences or a newline.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        let plain = |c: char| {
            if c.is_control() {
                c.escape_default().collect::<String>()
            } else {
                c.to_string()
            }
        };
        text.chars().map(plain).collect::<String>().into()
    } else {
        text.into()
    }
}

/// A time to wait as people say it.
pub fn human_duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..120 => format!("{whole} s"),
        // Of few minutes the seconds are a good part.
        120..600 => format!("{} min {} s", whole / 60, whole % 60 / 10 * 10),
        600..5400 => format!("{} min", (whole + 30) / 60),
        5400..172_800 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(escaped("a\x1b[2Jb\nc\u{9b}"), "a\\u{1b}[2Jb\\nc\\u{9b}");
        assert_eq!(escaped("häschen 🐇"), "häschen 🐇");
    }

    #[test]
    fn durations_are_told_as_closely_as_they_matter() {
        for (seconds, told) in [
            (0.4, "0 s"),
            (89.0, "89 s"),
            (139.0, "2 min 10 s"),
            (599.9, "10 min"),
            (3000.0, "50 min"),
            (7200.0, "2.0 h"),
        ] {
            assert_eq!(human_duration(seconds), told);
        }
    }

    #[test]
    fn an_error_and_its_hints_are_lines_of_their_own() {
        let lines: Vec<_> = error_lines("a\nb: broken\nhint: mend it\nhint: or not").collect();
        assert_eq!(lines, ["a\nb: broken", "hint: mend it", "hint: or not"]);
        assert_eq!(error_lines("plain").collect::<Vec<_>>(), ["plain"]);
    }
}
