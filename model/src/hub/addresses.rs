//! Addresses and headers of HTTP, as far as the Hub's protocol needs them.

use std::time::{Duration, SystemTime};

/// Scheme, host and port, without a name or password.
pub(super) fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
}

/// The address that a `Link` header gives for `rel="next"`.
pub(super) fn next_page(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    Some(next.split_once('<')?.1.split_once('>')?.0.to_owned())
}

/// Seconds, or a date.
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    let until = |date: &str| {
        let date = httpdate::parse_http_date(date).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    };
    let seconds = value.trim().parse().map(Duration::from_secs).ok();
    seconds.or_else(|| until(value.trim()))
}

/// A path with every byte escaped that has a meaning in addresses.
pub(super) fn escaped(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_addresses_are_read() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after("Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        assert!(
            retry_after("Fri, 01 Jan 2100 00:00:00 GMT").unwrap() > Duration::from_secs(1_000_000)
        );
        assert_eq!(retry_after("soon"), None);
        assert_eq!(
            next_page("<https://x/a?cursor=b>; rel=\"next\"").as_deref(),
            Some("https://x/a?cursor=b")
        );
        assert_eq!(origin("http://user:word@host:81/a?b"), "http://host:81");
        assert_eq!(escaped("a b/ü#.txt"), "a%20b/%C3%BC%23.txt");
    }
}
