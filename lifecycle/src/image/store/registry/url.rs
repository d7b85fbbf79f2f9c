//! URLs as far as registries need them: joining a `Location`, comparing hosts, and showing one
//! without its secrets.

/// Scheme and authority of an absolute URL, for example `https://r.example:5000`; `None` when it
/// is not an http or https URL with a host.
pub fn origin(url: &str) -> Option<&str> {
    let after = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = after.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    Some(&url[..url.len() - after.len() + host.len()])
}

/// `location`, absolute or relative, as seen from `base`. `None` when it is neither, and when it is
/// no http.
pub fn join(base: &str, location: &str) -> Option<String> {
    if origin(location).is_some() {
        return Some(location.to_owned());
    }
    if has_scheme(location) {
        return None;
    }
    let origin = origin(base)?;
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = origin.split_once("://")?.0;
        return Some(format!("{scheme}://{rest}"));
    }
    if location.starts_with('/') {
        return Some(format!("{origin}{location}"));
    }
    let path = base[origin.len()..].split(['?', '#']).next().unwrap_or("");
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{origin}{folder}/{location}"))
}

/// Spec: RFC 3986 section 3.1.
fn has_scheme(url: &str) -> bool {
    let Some((scheme, _)) = url.split_once(':') else { return false };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_part)
}

/// `target` as it may be gone to from `base`: from https never to http. On the same host that becomes
/// https again, `None` for any other.
pub fn kept_secret(base: &str, target: String) -> Option<String> {
    let (Some(base), Some(rest)) = (base.strip_prefix("https://"), target.strip_prefix("http://")) else {
        return Some(target);
    };
    let host = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    (host(base) == host(rest)).then(|| format!("https://{rest}"))
}

/// Adds a query parameter, its value escaped.
pub fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{name}={}", escape(value))
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a String takes any text");
        }
        escaped
    })
}

/// A URL as it may be shown: user information and the query (which may be a signature) are left out.
pub fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    match plain.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_joined_as_rfc_3986_has_it() {
        let base = "http://127.0.0.1:5000/v2/a/blobs/uploads/";
        for (location, expected) in [
            ("https://cdn.example/x?y", Some("https://cdn.example/x?y")),
            ("/v2/b?c=d", Some("http://127.0.0.1:5000/v2/b?c=d")),
            ("//cdn.example/x", Some("http://cdn.example/x")),
            ("uuid?state=1", Some("http://127.0.0.1:5000/v2/a/blobs/uploads/uuid?state=1")),
        ] {
            assert_eq!(join(base, location).as_deref(), expected);
        }
        assert_eq!(join("nonsense", "/x"), None);
        for location in ["ftp://h/x", "file:///etc/passwd", "javascript:x", "https:///"] {
            assert_eq!(join(base, location), None, "{location}");
        }
    }

    #[test]
    fn origins_compare_scheme_host_and_port() {
        assert_eq!(origin("https://a.example:1/x"), Some("https://a.example:1"));
        assert_eq!(origin("https://a.example?x"), Some("https://a.example"));
        assert_eq!(origin("ftp://a"), None);
        assert_eq!(origin("https:///x"), None);
    }

    #[test]
    fn https_stays_https_on_the_same_host_and_leads_to_no_other_by_http() {
        let kept = |base, target: &str| kept_secret(base, target.to_owned());
        let found = kept("https://r.example:5000/v2/", "http://r.example:5000/up?x");
        assert_eq!(found.as_deref(), Some("https://r.example:5000/up?x"));
        assert_eq!(kept("https://r.example/v2/", "http://cdn.example/up"), None);
        for (base, target) in [("https://r.example/", "https://cdn.example/"), ("http://a/", "http://b/")] {
            assert_eq!(kept(base, target).as_deref(), Some(target));
        }
    }

    #[test]
    fn shown_urls_hold_no_secret() {
        assert_eq!(shown("https://user:pass@h.example/x?sig=1#f"), "https://h.example/x");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(base in ".*", location in ".*") {
            let _ = (join(&base, &location), origin(&base), shown(&base), escape(&location));
        }
    }
}
