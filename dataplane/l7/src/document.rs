//! The registry as a page for people: what can be named in a policy, and what it means.

use std::fmt::Write as _;

use crate::registry::{self, ApplicationInfo};
use crate::{Buffer, FieldKind};

const HEAD: &str = "\
# Applications

What Weir recognises by content, on any port, and what a policy can say about it. This page is
written by `registry::document()`; `UPDATE_DOCUMENT=1 cargo test -p weir-l7 --test document` renews
it. A condition may name the fields marked *yes*: they occur in every request. A rule that names an
application covers its special cases.

";

/// The page.
pub(crate) fn document() -> String {
    let mut page = String::from(HEAD);
    page.push_str(
        "| id | application | carried by | customary ports | what it is | a case of | shown by |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in registry::applications() {
        let transports: Vec<_> = row
            .transports
            .iter()
            .map(|&transport| transport.name())
            .collect();
        let ports: Vec<_> = row.ports.iter().map(u16::to_string).collect();
        let _ = writeln!(
            page,
            "| {} | [{name}](#{name}) | {} | {} | {} | {} | {} |",
            row.id.number(),
            transports.join(", "),
            ports.join(", "),
            cell(row.about),
            row.refines.unwrap_or_default(),
            row.seen.words(),
            name = row.name,
        );
    }
    for row in registry::applications() {
        fields(&mut page, row);
    }
    buffers(&mut page);
    page
}

fn fields(page: &mut String, row: &ApplicationInfo) {
    let _ = write!(
        page,
        "\n## {}\n\n{}.\n",
        row.name,
        row.about.trim_end_matches('.')
    );
    let looked: Vec<_> = row.buffers().map(|buffer| format!("`{buffer}`")).collect();
    if !looked.is_empty() {
        let _ = writeln!(page, "\nLooked into: {}.", looked.join(", "));
    }
    if row.fields.is_empty() {
        page.push_str("\nIt has no fields.\n");
        return;
    }
    page.push_str("\n| field | kind | condition | what it is |\n|---|---|---|---|\n");
    for spec in row.fields {
        let kind = match spec.kind {
            FieldKind::Text => "text",
            FieldKind::Number => "number",
            FieldKind::Address => "address",
        };
        let condition = if spec.condition { "yes" } else { "no" };
        let _ = writeln!(
            page,
            "| `{}.{}` | {kind} | {condition} | {} |",
            row.name,
            spec.name,
            cell(spec.about)
        );
    }
}

/// What can be looked into, and whose it is.
fn buffers(page: &mut String) {
    page.push_str(
        "\n# Buffers\n\nWhat signatures and sensors look into, by its name in rules. One that *comes in pieces* is \
         matched\nacross them; every other is whole. Those that no parser tells are made of others when they \
         are decoded.\n\n| buffer | in pieces | told by | what it is |\n|---|---|---|---|\n",
    );
    for &buffer in Buffer::ALL {
        let told: Vec<_> = registry::applications()
            .iter()
            .filter(|row| row.buffers().any(|told| told == buffer))
            .map(|row| row.name)
            .collect();
        let streamed = if buffer.is_streamed() { "yes" } else { "no" };
        let _ = writeln!(
            page,
            "| `{buffer}` | {streamed} | {} | {} |",
            told.join(", "),
            cell(buffer.about())
        );
    }
}

fn cell(text: &str) -> String {
    text.trim_end_matches('.').replace('|', "\\|")
}
