//! `--chmod`: octal, or symbolic as chmod(1) reads it.

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chmod {
    /// Exactly these bits.
    Octal(u32),
    /// What each clause does, in order.
    Symbolic(Vec<Clause>),
}

/// One operation on the bits of some classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    /// The bits that may change.
    who: u32,
    operation: Operation,
    permissions: Vec<Permission>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permission {
    /// These bits, in the places of all classes.
    Bits(u32),
    /// Execution, for what can be executed or searched already, and for directories.
    Search,
    /// The bits of the class that stands so many places from the right.
    Class(u32),
}

const STICKY: u32 = 0o1000;
const ALL: u32 = 0o6777;

impl Chmod {
    /// Reads the flag's value. `None` if it is no mode.
    ///
    /// `X` works with `=` as BuildKit's manual says (`u=rwX`), which its code leaves out:
    /// spec-notes/decisions.md#copy-semantics.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let bits = u32::from_str_radix(text, 8).ok()?;
            return (bits <= 0o7777).then_some(Self::Octal(bits));
        }
        let mut clauses = Vec::new();
        for clause in text.split(',') {
            parse_clause(clause, &mut clauses)?;
        }
        Some(Self::Symbolic(clauses))
    }

    /// Returns the bits that an entry has afterwards.
    pub(super) fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(clauses) => {
                let search = is_dir || mode & 0o111 != 0;
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, search))
            }
        }
    }

    /// Returns the bits of a directory made on the way: only octal modes reach it.
    pub(super) fn of_new_parent(&self) -> Option<u32> {
        match self {
            // Go's file modes, which these pass through, keep the special bits elsewhere.
            Self::Octal(bits) => Some(bits & 0o777),
            Self::Symbolic(_) => None,
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, search: bool) -> u32 {
        let mut bits = 0;
        let mut cleared = 0;
        for permission in &self.permissions {
            let (set, range) = match *permission {
                Permission::Bits(bits) => (bits, STICKY | ALL),
                Permission::Search => (if search { 0o111 } else { 0 }, STICKY | ALL),
                Permission::Class(places) => ((mode >> places & 7) * 0o111, 0o777),
            };
            bits |= set & self.who;
            cleared |= range & self.who;
        }
        match self.operation {
            Operation::Add => mode | bits,
            Operation::Remove => mode & !bits,
            Operation::Set if self.permissions.is_empty() => mode & !self.who,
            Operation::Set => mode & !cleared | bits,
        }
    }
}

/// Reads `[ugoa]*([+-=][rwxXstugo]*)+`.
fn parse_clause(text: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    let first = text.find(['+', '-', '='])?;
    let mut who = 0;
    for class in text[..first].chars() {
        who |= match class {
            'a' => ALL,
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o0007,
            _ => return None,
        };
    }
    let others_only = who == 0o0007;
    let mut who = if who == 0 { ALL } else { who };
    let mut rest = &text[first..];
    while let Some(operation) = rest.chars().next() {
        let operation = match operation {
            '+' => Operation::Add,
            '-' => Operation::Remove,
            '=' => Operation::Set,
            _ => return None,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
        let mut permissions = Vec::new();
        for letter in rest[1..end].chars() {
            permissions.push(match letter {
                'r' => Permission::Bits(0o444),
                'w' => Permission::Bits(0o222),
                'x' => Permission::Bits(0o111),
                'X' => Permission::Search,
                // For others there is no such bit.
                's' | 't' if others_only => continue,
                's' => Permission::Bits(0o6000),
                't' => {
                    who |= STICKY;
                    Permission::Bits(STICKY)
                }
                'u' => Permission::Class(6),
                'g' => Permission::Class(3),
                'o' => Permission::Class(0),
                _ => return None,
            });
        }
        clauses.push(Clause { who, operation, permissions });
        rest = &rest[end..];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, file: (u32, u32), dir: (u32, u32)) {
        let chmod = Chmod::parse(text).expect(text);
        assert_eq!(chmod.apply(file.0, false), file.1, "{text} on {:o}", file.0);
        assert_eq!(chmod.apply(dir.0, true), dir.1, "{text} on {:o}", dir.0);
    }

    #[test]
    fn octal_modes_replace_all_bits() {
        check("4755", (0o600, 0o4755), (0o700, 0o4755));
        check("0", (0o600, 0), (0o700, 0));
        for text in ["8", "10000", "77777777777", "0x1"] {
            assert_eq!(Chmod::parse(text), None, "{text}");
        }
    }

    /// What the library that BuildKit uses makes of these modes.
    #[test]
    fn symbolic_modes_change_the_bits_they_name() {
        check("+x", (0o600, 0o711), (0o700, 0o711));
        check("g=u", (0o644, 0o664), (0o4711, 0o4771));
        check("go=", (0o644, 0o600), (0o4711, 0o4700));
        check("u+s", (0o644, 0o4644), (0o700, 0o4700));
        check("a+rX", (0o600, 0o644), (0o700, 0o755));
        check("g+s,o+t", (0o644, 0o2644), (0o700, 0o2700));
        check("-w", (0o755, 0o555), (0o700, 0o500));
        check("=", (0o4711, 0), (0o700, 0));
        check("u=g,g-w", (0o644, 0o444), (0o4711, 0o4111));
        check("ugo+rw-x", (0o755, 0o666), (0o4711, 0o4666));
        check("o=u-w", (0o600, 0o604), (0o4711, 0o4715));
        check("+t", (0o421, 0o1421), (0o700, 0o1700));
    }

    /// What its manual says, and its library does not do.
    #[test]
    fn search_permission_can_be_set() {
        check("u=rwX,go=rX", (0o600, 0o644), (0o700, 0o755));
        check("u=rwX,go=rX", (0o4711, 0o755), (0o700, 0o755));
    }

    #[test]
    fn other_texts_are_no_modes() {
        for text in ["", ",", "q+r", "z", "u", "go", "u=rwx,", "u=rwx,g=rx,o", "u=q", "=r,+"] {
            let parsed = Chmod::parse(text);
            assert_eq!(parsed.is_some(), text == "=r,+", "{text}");
        }
    }
}
