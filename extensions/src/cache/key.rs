//! Keys: digests of all that a step depends on, each with the key of the step before it.

use sha2::{Digest as _, Sha256};

/// What a step is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Returns the key as hexadecimal digits.
    pub fn hex(&self) -> String {
        super::record::hex(&self.0)
    }
}

/// Collects what a key depends on. Parts are named, and no two lists of parts have the same bytes.
#[derive(Debug, Clone)]
pub struct KeyBuilder(Sha256);

impl KeyBuilder {
    /// Starts a key of that kind.
    pub fn new(kind: &str) -> Self {
        let mut builder = Self(Sha256::new());
        builder.put(kind.as_bytes());
        builder
    }

    /// Starts the key of a step after another.
    pub fn after(previous: &Key, kind: &str) -> Self {
        let mut builder = Self::new(kind);
        builder.put(&previous.0);
        builder
    }

    /// Adds a named part.
    #[must_use]
    pub fn part(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.put(name.as_bytes());
        self.put(value.as_ref());
        self
    }

    /// Adds a named list.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values: Vec<T> = values.into_iter().collect();
        self.put(name.as_bytes());
        self.put(&(values.len() as u64).to_le_bytes());
        for value in values {
            self.put(value.as_ref());
        }
        self
    }

    /// Returns the key.
    pub fn finish(self) -> Key {
        Key(self.0.finalize().into())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let key = |a: &str, b: &str| KeyBuilder::new("run").part("x", a).part("y", b).finish();
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("ab", "c"), key("ab", "c"));
        let list = |values: &[&str]| KeyBuilder::new("run").list("x", values).finish();
        assert_ne!(list(&["ab"]), list(&["a", "b"]));
        assert_ne!(list(&[]), list(&[""]));
        assert_ne!(KeyBuilder::new("a").finish(), KeyBuilder::after(&list(&[]), "a").finish());
    }
}
