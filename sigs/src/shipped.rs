//! Weir's own rules, as text: what is scanned for where nothing else is said.

use crate::files::RuleFile;

/// Name and text of each file of `rules/`.
const FILES: [(&str, &str); 2] = [
    (
        "weir/platform.rules",
        include_str!("../rules/platform.rules"),
    ),
    ("weir/web.rules", include_str!("../rules/web.rules")),
];

/// The files of rules that Weir brings.
pub fn shipped_rules() -> Vec<RuleFile> {
    let files = FILES.iter().map(|&(name, text)| RuleFile {
        name: name.to_owned(),
        bytes: text.as_bytes().to_vec(),
    });
    files.collect()
}
