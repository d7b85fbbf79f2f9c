//! Downloads for ADD: plain HTTP and HTTPS, through the platform's proxies.

use std::error::Error;
use std::io::{self, Write};

use extensions::apply::{Fetch, Fetched};
use ureq::http::Method;

use crate::image::store::registry::http::{Request, Response, exchange};
use crate::image::store::registry::trust::Trust;
use crate::image::store::registry::url;
use crate::time;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;

/// Downloads by HTTP.
#[derive(Debug)]
pub struct Download {
    /// Whom we trust, and which proxies are used.
    pub trust: Trust,
}

impl Download {
    /// Asks for a URL until something other than a redirect answers.
    fn get(&self, wanted: &str) -> Result<Response, Box<dyn Error + Send + Sync>> {
        let mut address = wanted.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let (scheme, host) =
                split(&address).ok_or_else(|| format!("`{address}` is no http or https URL"))?;
            let agent = self.trust.agent(host, scheme, true)?;
            let response = exchange(&agent, &Request::new(Method::GET, address.clone()), None, None)?;
            match response.header("location") {
                Some(location) if (300..400).contains(&response.status) => {
                    let next = url::join(&address, location);
                    address = next.ok_or_else(|| format!("redirect to `{location}`, which is no URL"))?;
                }
                _ => return Ok(response),
            }
        }
        Err(format!("more than {MAX_REDIRECTS} redirects").into())
    }
}

impl Fetch for Download {
    fn fetch(&self, url: &str, to: &mut dyn Write) -> Result<Fetched, Box<dyn Error + Send + Sync>> {
        let response = self.get(url)?;
        if !response.is_success() {
            return Err(response.refused(str::to_owned).into());
        }
        let last_modified = response.header("last-modified").and_then(time::from_http);
        io::copy(&mut response.reader(), to)?;
        Ok(Fetched { last_modified })
    }
}

/// Scheme and host, with its port, of a URL.
fn split(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    (matches!(scheme, "http" | "https") && !host.is_empty()).then_some((scheme, host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::store::registry::trust::Proxies;
    use std::io::Read;
    use std::net::TcpListener;

    /// Answers one connection for each of `answers`, in order; gives the address.
    fn serve(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let host = listener.local_addr().expect("an address").to_string();
        let named = host.clone();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.replace("HOST", &named).as_bytes());
            }
        });
        host
    }

    fn fetch(answers: &[&str]) -> Result<(Fetched, Vec<u8>), String> {
        let answers = answers.iter().map(|answer| format!("HTTP/1.1 {answer}")).collect();
        let host = serve(answers);
        let download = Download { trust: Trust::new(Vec::new(), Vec::new(), Proxies::default()) };
        let mut bytes = Vec::new();
        let fetched = download.fetch(&format!("http://{host}/a"), &mut bytes);
        fetched.map(|fetched| (fetched, bytes)).map_err(|error| error.to_string())
    }

    #[test]
    fn redirects_are_followed_and_the_time_is_taken_over() {
        let redirect =
            "302 Found\r\nLocation: http://HOST/b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let file = "200 OK\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let (fetched, bytes) = fetch(&[redirect, file]).expect("a file");
        assert_eq!((fetched.last_modified, bytes.as_slice()), (Some(1_445_412_480), b"hello".as_slice()));
    }

    #[test]
    fn other_answers_than_success_are_errors() {
        let error = fetch(&["404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
        assert!(error.expect_err("an error").contains("404 Not Found"));
        let cut = fetch(&["200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhello"]);
        assert!(cut.is_err());
        let forever = "302 Found\r\nLocation: /a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(fetch(&[forever; 12]).expect_err("an error"), "more than 10 redirects");
    }

    #[test]
    fn only_http_is_spoken() {
        assert_eq!(split("https://u:p@h:1/x@y"), Some(("https", "h:1")));
        assert_eq!(split("ftp://h/x"), None);
        assert_eq!(split("http:///x"), None);
    }
}
