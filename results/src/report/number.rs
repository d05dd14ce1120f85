//! Numbers as text, with fixed decimals.

/// With so many decimals; what rounds to zero has no sign.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{value:.decimals$}");
    let is_zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    if is_zero {
        text.trim_start_matches('-').to_owned()
    } else {
        text
    }
}

/// A share or a correlation times 100, to the two decimals that the paper prints.
pub(super) fn percent(share: f64) -> String {
    fixed(share * 100.0, 2)
}

/// The same with its sign: a difference in points.
pub(super) fn points(difference: f64) -> String {
    let text = percent(difference);
    let signed = text.starts_with('-') || text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if signed { text } else { format!("+{text}") }
}

/// The ends of an interval of shares.
pub(super) fn range(low: f64, high: f64) -> String {
    format!("{} to {}", percent(low), percent(high))
}

/// A number of any size in four significant digits.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !value.is_finite() {
        "–".to_owned()
    } else if !(1e-3..1e6).contains(&size) {
        let text = format!("{value:.2e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        format!("{digits}e{power}")
    } else {
        let whole = size.log10().floor().max(0.0) as usize;
        let text = fixed(
            value,
            3usize
                .saturating_sub(whole)
                .max(usize::from(size < 1.0) * 4),
        );
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    }
}

/// A probability.
pub(super) fn probability(p: f64) -> String {
    if p < 0.0001 {
        "< 0.0001".to_owned()
    } else {
        fixed(p, 4)
    }
}

/// A count with its word, in the plural where it is not one.
pub(super) fn count(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

/// A text of so many characters at most.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A text of so many characters at most, its end kept too: that is where variants differ.
pub(super) fn cut_inside(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let tail = most / 2;
    let head: String = letters[..most - tail - 1].iter().collect();
    let tail: String = letters[letters.len() - tail..].iter().collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_fixed_decimals_and_zero_no_sign() {
        assert_eq!(
            [percent(0.88512), percent(-0.000_001), fixed(f64::NAN, 2)],
            ["88.51", "0.00", "–"]
        );
        assert_eq!(
            [points(0.0123), points(-0.0123), points(0.000_01)],
            ["+1.23", "-1.23", "0.00"]
        );
        assert_eq!(
            [1e-6, 0.0001, 0.0456, 1.25, 316.0, 12_345.0, 2e9].map(short),
            ["1e-6", "1e-4", "0.0456", "1.25", "316", "12345", "2e9"]
        );
        assert_eq!([cut("häse", 2), cut("abcd", 4)], ["hä…", "abcd"]);
        assert_eq!(cut_inside("mini-groups.layer9", 9), "mini…yer9");
        assert_eq!([count(1, "row"), count(0, "row")], ["1 row", "0 rows"]);
    }
}
