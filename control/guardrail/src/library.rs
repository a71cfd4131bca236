//! The guardrails that come with Weir, each a Rego file with its tests beside it, below `library/`.
//!
//! They are in force only where somebody says so: `weir guardrail show NAME` prints one as a document.

use crate::guardrail::Definition;
use crate::module::Module;

/// A guardrail that comes with Weir.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// "no-external-to-stores".
    pub name: &'static str,
    /// Its Rego; the comment that it begins with says what it is for and which parameters it has.
    pub rego: &'static str,
    /// Its tests.
    pub tests: &'static str,
}

macro_rules! shipped {
    ($($name:literal = $file:literal),* $(,)?) => {
        /// Every guardrail that comes with Weir.
        pub const SHIPPED: &[Shipped] = &[$(Shipped {
            name: $name,
            rego: include_str!(concat!("../library/", $file, ".rego")),
            tests: include_str!(concat!("../library/", $file, "_test.rego")),
        }),*];
    };
}

shipped! {
    "applications-named" = "applications_named",
    "deny-stays" = "deny_stays",
    "no-any-in-protect" = "no_any_in_protect",
    "no-external-to-stores" = "no_external_to_stores",
    "no-metadata-address" = "no_metadata_address",
    "no-wildcard-egress" = "no_wildcard_egress",
    "owner-named" = "owner_named",
    "ports-named" = "ports_named",
    "protect-stays" = "protect_stays",
}

/// One of them.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

impl Shipped {
    /// What it is for: the first sentence of its comment.
    pub fn summary(&self) -> String {
        let comment = self.rego.lines().map_while(|line| line.strip_prefix('#'));
        let paragraph = comment.map(str::trim).take_while(|line| !line.is_empty());
        paragraph.collect::<Vec<_>>().join(" ")
    }

    /// As a document to apply.
    pub fn document(&self) -> String {
        let rego: String = self.rego.lines().map(indented).collect();
        format!(
            "apiVersion: {}\nkind: Guardrail\nmetadata:\n  name: {}\nspec:\n  rego: |\n{rego}",
            weir_model::API_VERSION,
            self.name
        )
    }

    /// As a definition without parameters.
    pub fn definition(&self) -> Definition {
        Definition {
            name: self.name.to_owned(),
            modules: vec![Module {
                path: format!("{}.rego", self.name),
                text: self.rego.to_owned(),
            }],
            ..Definition::default()
        }
    }
}

/// A line of a block of YAML, which tabs may not begin.
fn indented(line: &str) -> String {
    match line {
        "" => "\n".to_owned(),
        line => format!("    {}\n", line.replace('\t', "  ")),
    }
}
