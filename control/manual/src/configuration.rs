//! The man page of a configuration file that documents itself: its comments, sections and settings,
//! as an administrator finds them in the file.

/// A file of settings with comments: TOML, or variables with values.
#[derive(Clone, Copy, Debug)]
pub struct Configuration<'a> {
    /// The page's name, `weir-node.toml`.
    pub name: &'a str,
    /// Where the file is installed.
    pub path: &'a str,
    /// What it is, in a few words.
    pub about: &'a str,
    /// The file as it is shipped.
    pub text: &'a str,
    /// The pages that tell more: `weir-node(1)`.
    pub see_also: &'a str,
}

impl Configuration<'_> {
    /// The page in roff.
    pub fn page(&self, version: &str) -> String {
        let upper = self.name.to_uppercase();
        let mut page = format!(
            ".TH \"{}\" 5 \"\" \"weir {}\" \"File formats\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.I {}\n.SH DESCRIPTION\n",
            escaped(&upper),
            escaped(version),
            escaped(self.name),
            escaped(self.about),
            escaped(self.path),
        );
        let mut within = false;
        for line in self.text.lines() {
            let (shown, prose) = rendered(line);
            // Lines of one comment are one paragraph.
            if prose && !within {
                page.push_str(".PP\n");
            }
            page.push_str(&shown);
            within = prose;
        }
        page.push_str(".SH FILES\n.I ");
        page.push_str(&escaped(self.path));
        page.push_str("\n.SH SEE ALSO\n");
        page.push_str(&escaped(self.see_also));
        page.push('\n');
        page
    }
}

/// A line of the file: a section, a setting with what its comment says, or the words of a comment; and
/// whether it is the latter.
fn rendered(line: &str) -> (String, bool) {
    let line = line.trim();
    let shown = line.strip_prefix('#').unwrap_or(line).trim_start();
    if shown.is_empty() {
        return (String::new(), false);
    }
    if shown.starts_with('[') {
        let (header, comment) = split_comment(shown);
        let heading = header.trim();
        let comment = comment.map(|it| format!("{}\n", text(it)));
        let shown = format!(
            ".SS \"{}\"\n{}",
            escaped(heading),
            comment.unwrap_or_default()
        );
        return (shown, false);
    }
    if is_setting(shown) {
        let (setting, comment) = split_comment(shown);
        let comment = comment.map_or_else(|| ".br\n".to_owned(), |it| format!("{}\n", text(it)));
        let shown = format!(".TP\n.B {}\n{comment}", escaped(setting.trim()));
        return (shown, false);
    }
    (format!("{}\n", text(shown)), true)
}

/// Whether a line gives a name a value: words of a sentence are no names.
fn is_setting(line: &str) -> bool {
    let name = line.split('=').next().unwrap_or_default().trim_end();
    let is_name = |it: char| it.is_ascii_alphanumeric() || "_.\"-".contains(it);
    line.contains('=') && !name.is_empty() && name.chars().all(is_name)
}

/// A setting and the comment behind it; a # within quotes belongs to the value.
fn split_comment(line: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    for (at, character) in line.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '#' if !quoted => return (&line[..at], Some(line[at + 1..].trim())),
            _ => {}
        }
    }
    (line, None)
}

/// Text that begins a line: what would be a request to the formatter is no such thing.
fn text(text: &str) -> String {
    let escaped = escaped(text);
    match escaped.starts_with(['.', '\'']) {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '"' => escaped.push_str("\\(dq"),
            '\u{b7}' => escaped.push_str("\\(bu"),
            '\u{2026}' => escaped.push_str("..."),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> String {
        let configuration = Configuration {
            name: "tool.toml",
            path: "/etc/tool.toml",
            about: "what tool does",
            text,
            see_also: "tool(1)",
        };
        configuration.page("1.2")
    }

    #[test]
    fn sections_settings_and_comments() {
        let page = page(
            "# tool: all\n# of it.\n\n[eal]\nmemory_mb = 512  # of a #1\n# name = \"a # b\"\n",
        );
        for expected in [
            ".TH \"TOOL.TOML\" 5",
            ".PP\ntool: all\nof it.\n",
            ".SS \"[eal]\"\n",
            ".TP\n.B memory_mb = 512\nof a #1\n",
            ".B name = \\(dqa # b\\(dq\n",
            ".SH SEE ALSO\ntool(1)\n",
        ] {
            assert!(page.contains(expected), "{expected:?} in {page}");
        }
    }

    #[test]
    fn nothing_of_the_text_is_a_request() {
        let page = page("# .so /etc/passwd\n# 'tis\n# a\\b\n");
        assert!(page.contains("\\&.so /etc/passwd\n"), "{page}");
        assert!(
            page.contains("\\&'tis\n") && page.contains("a\\eb\n"),
            "{page}"
        );
    }
}
