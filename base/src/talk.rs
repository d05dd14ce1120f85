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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(escaped("a\x1b[2Jb\nc\u{9b}"), "a\\u{1b}[2Jb\\nc\\u{9b}");
        assert_eq!(escaped("häschen 🐇"), "häschen 🐇");
    }
}
