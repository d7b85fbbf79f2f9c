//! `order.toml`: the groups of buildpacks to try, and those of extensions to try before each.
//!
//! The same shape of group stands in the `buildpack.toml` of a composite buildpack.
//!
//! Spec: platform.md "order.toml", buildpack.md "Order".

use serde::Deserialize;

use super::component_id::{ComponentId, ComponentVersion};
use super::{SpecFile, SyntaxError, parse_toml};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct OrderFile {
    /// Groups of buildpacks, the first that fits wins.
    pub order: Vec<OrderGroup>,
    /// Groups of extensions; what they hold is optional always.
    pub order_extensions: Vec<OrderGroup>,
}

/// One group of an order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct OrderGroup {
    /// Its elements in order.
    pub group: Vec<OrderElement>,
}

/// A buildpack or an extension that a group refers to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OrderElement {
    /// Its ID.
    pub id: ComponentId,
    /// Its version.
    pub version: ComponentVersion,
    /// Whether the group can do without it.
    #[serde(default)]
    pub optional: bool,
    /// The execution environments to which the entry is limited; empty is no limit.
    #[serde(default, deserialize_with = "crate::exec_env::deserialize_list")]
    pub exec_env: Vec<String>,
}

impl SpecFile for OrderFile {
    const NAME: &'static str = "order";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::damage::damaged;

    #[test]
    fn keys_have_their_defaults_and_unknown_ones_are_ignored() {
        let order = OrderFile::parse(
            "x = 1\n[[order]]\ny = 2\n[[order.group]]\nid = 'a/b'\nversion = '1'\nz = 3\n\
             [[order.group]]\nid = 'c'\nversion = '2'\noptional = true\nexec-env = ['test']\n\
             [[order]]\n[[order-extensions]]\n[[order-extensions.group]]\nid = 'e'\nversion = '3'\n",
        )
        .unwrap();
        assert_eq!(order.order.len(), 2);
        let [first, second] = order.order[0].group.as_slice() else { panic!("two elements") };
        assert_eq!((first.id.as_str(), first.version.as_str(), first.optional), ("a/b", "1", false));
        assert_eq!((second.optional, second.exec_env.as_slice()), (true, ["test".to_owned()].as_slice()));
        assert_eq!(order.order_extensions[0].group[0].id.as_str(), "e");
    }

    #[track_caller]
    fn refused(element: &str, message: &str) {
        let error = OrderFile::parse(&format!("[[order]]\n[[order.group]]\n{element}\n")).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }

    #[test]
    fn elements_without_name_or_with_a_hostile_one_are_refused() {
        refused("id = 'a'", "missing field `version`");
        refused("version = '1'", "missing field `id`");
        refused("id = '../x'\nversion = '1'", "`../x` is not a component ID");
        refused("id = 'sbom'\nversion = '1'", "`sbom` is reserved");
        refused("id = 'a'\nversion = '../..'", "is not a component version");
        refused("id = 'a'\nversion = 1", "toml: line 4:");
    }

    const SAMPLE: &str = "[[order]]\n\
        [[order.group]]\nid = \"a/b\"\nversion = \"1\"\noptional = true\nexec-env = [\"test\"]\n\
        [[order-extensions]]\n\
        [[order-extensions.group]]\nid = \"e\"\nversion = \"2\"\n";

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in damaged(SAMPLE)) {
            let _ = OrderFile::parse(&text);
        }
    }
}
