//! Instructions that only change the image configuration: CMD, ENTRYPOINT, EXPOSE, VOLUME, STOPSIGNAL,
//! HEALTHCHECK, MAINTAINER, ONBUILD.

use super::run::argv;
use super::{BuildState, Recorded, ValueError};
use crate::expand;

/// The signals of Linux by name.
const SIGNALS: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

impl BuildState {
    pub(super) fn record(&mut self, recorded: &Recorded) -> Result<(), ValueError> {
        let mut volatile = false;
        match recorded {
            Recorded::Cmd(command) => {
                self.config.cmd = Some(argv(command, &self.config.shell));
                self.cmd_set = true;
            }
            Recorded::Entrypoint(command) => {
                self.config.entrypoint = Some(argv(command, &self.config.shell));
                // A base's CMD makes no sense as arguments of another ENTRYPOINT.
                if !self.cmd_set {
                    self.config.cmd = Some(Vec::new());
                }
            }
            Recorded::Expose(words) => self.expose(words)?,
            Recorded::Healthcheck(check) => self.config.healthcheck = Some(check.clone()),
            Recorded::Maintainer(text) => self.config.author = Some(text.clone()),
            Recorded::Onbuild(text) => self.config.on_build.push(text.clone()),
            Recorded::StopSignal(text) => {
                self.config.stop_signal = Some(signal(self.word(text, &mut volatile)?)?);
            }
            Recorded::Volume(paths) => {
                for path in paths {
                    let expanded = self.word(path, &mut volatile)?;
                    if expanded.is_empty() {
                        return Err(ValueError::Invalid { what: "volume", value: path.clone() });
                    }
                    self.config.volumes.insert(expanded);
                }
            }
        }
        Ok(())
    }

    fn expose(&mut self, words: &[String]) -> Result<(), ValueError> {
        let lookup = |name: &str| self.variables.get(name).cloned();
        let mut ports = Vec::new();
        for word in words {
            for word in expand::words(word, self.scope.escape(), &lookup)? {
                let invalid = || ValueError::Invalid { what: "port", value: word.clone() };
                ports.extend(self::ports(&word).ok_or_else(invalid)?);
            }
        }
        self.config.exposed_ports.extend(ports);
        Ok(())
    }
}

/// Reads `[[ip:]host:]port[-port][/protocol]`; returns each port as `port/protocol`. The host's part
/// says nothing about an image.
fn ports(word: &str) -> Option<Vec<String>> {
    let container = word.rsplit(':').next()?;
    let (range, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_lowercase() };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    (first <= last).then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Checks that a signal is a number or has a known name.
fn signal(text: String) -> Result<String, ValueError> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = text.parse::<i32>().is_ok_and(|number| number != 0);
    let realtime = |base: &str, sign: char, last: u8| {
        let offset = name.strip_prefix(base)?;
        let digits = offset.strip_prefix(sign);
        let known = digits.is_some_and(|digits| digits.parse::<u8>().is_ok_and(|digits| digits <= last));
        (offset.is_empty() || known).then_some(())
    };
    let realtime = realtime("RTMIN", '+', 15).or_else(|| realtime("RTMAX", '-', 14));
    if number || SIGNALS.contains(&name) || realtime.is_some() {
        Ok(text)
    } else {
        Err(ValueError::Invalid { what: "signal", value: text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_with_ranges_and_protocols() {
        let strings = |ports: &[&str]| Some(ports.iter().map(|port| (*port).to_owned()).collect::<Vec<_>>());
        assert_eq!(ports("80"), strings(&["80/tcp"]));
        assert_eq!(ports("80-82/UDP"), strings(&["80/udp", "81/udp", "82/udp"]));
        assert_eq!(ports("127.0.0.1:8080:80"), strings(&["80/tcp"]));
        for bad in ["", "x", "80/foo", "2-1", "70000", "-1", "1-", "80/"] {
            assert_eq!(ports(bad), if bad == "80/" { strings(&["80/tcp"]) } else { None }, "{bad}");
        }
    }

    #[test]
    fn signals_are_numbers_or_known_names() {
        for good in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-1", "RTMAX", "SIGXFSZ"] {
            assert_eq!(signal(good.to_owned()).as_deref(), Ok(good));
        }
        for bad in ["", "SIG", "FOO", "0", "RTMIN+99", "RTMIN-1", "RTMAX+1", "RTMAX-15", "RTMINé"] {
            assert!(signal(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
