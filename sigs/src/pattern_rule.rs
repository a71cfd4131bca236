//! Reading rules. Trusts nothing: a rule file is input like any other.

use std::fmt;

use weir_wire::Direction;

/// What a match does to the packet, where the flow's mode blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is told.
    Alert,
    /// It is told and the connection ends.
    Drop,
}

/// One rule: one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What a match does.
    pub action: Action,
    /// Signature id.
    pub sid: u32,
    /// For people.
    pub message: String,
    /// Only in this direction; None: in both.
    pub direction: Option<Direction>,
    /// Over TCP streams.
    pub tcp: bool,
    /// Over UDP and ICMP datagrams.
    pub datagrams: bool,
    /// The pattern as a Hyperscan expression.
    pub expression: String,
    /// Upper and lower case are equal.
    pub caseless: bool,
    /// A full stop matches line ends.
    pub dot_all: bool,
    /// `^` and `$` match at lines.
    pub multi_line: bool,
}

/// A rule that is not loaded, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its id, where it could be read.
    pub sid: Option<u32>,
    /// Why.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: ", self.file, self.line)?;
        if let Some(sid) = self.sid {
            write!(out, "rule {sid} ")?;
        }
        write!(out, "is not loaded: {}", self.why)
    }
}

/// Reads the rules of a file: one per line, `#` begins a comment line, a backslash at the end of a
/// line continues it.
pub fn parse_rules(file: &str, text: &str) -> (Vec<Rule>, Vec<Refusal>) {
    let (mut rules, mut refused) = (Vec::new(), Vec::new());
    let (mut pending, mut first_line) = (String::new(), 1);
    for (index, line) in text.lines().enumerate() {
        if pending.is_empty() {
            first_line = index + 1;
        }
        if let Some(continued) = line.strip_suffix('\\') {
            pending.push_str(continued);
            continue;
        }
        pending.push_str(line);
        let rule = std::mem::take(&mut pending);
        let rule = rule.trim();
        if rule.is_empty() || rule.starts_with('#') {
            continue;
        }
        match parse_rule(rule) {
            Ok(rule) => rules.push(rule),
            Err(why) => refused.push(Refusal {
                file: file.to_owned(),
                line: first_line,
                sid: sid_of(rule),
                why,
            }),
        }
    }
    (rules, refused)
}

/// The id of a rule that may be otherwise unreadable.
fn sid_of(rule: &str) -> Option<u32> {
    let behind = rule.split("sid:").nth(1)?.trim_start();
    behind
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn parse_rule(text: &str) -> Result<Rule, String> {
    let (header, options) = text
        .split_once('(')
        .ok_or("the options in parentheses are missing")?;
    let options = options
        .trim_end()
        .strip_suffix(')')
        .ok_or("the closing parenthesis is missing")?;
    let mut rule = parse_header(header)?;
    let mut patterns = 0;
    for option in split_options(options)? {
        let (keyword, value) = option
            .split_once(':')
            .map_or((option.as_str(), ""), |(keyword, value)| {
                (keyword.trim(), value.trim())
            });
        match keyword {
            "msg" => rule.message = unquote(value)?.to_owned(),
            "sid" => {
                rule.sid = value
                    .parse()
                    .map_err(|_| format!("sid {value:?} is no number"))?
            }
            "rev" | "gid" | "classtype" | "reference" | "metadata" | "priority" => {}
            "flow" => rule.direction = parse_flow(value)?,
            "content" => {
                patterns += 1;
                rule.expression = content_expression(value)?;
                rule.dot_all = true;
            }
            "nocase" => rule.caseless = true,
            "pcre" => {
                patterns += 1;
                parse_pcre(value, &mut rule)?;
            }
            other => return Err(format!("the keyword {other:?} is not supported")),
        }
    }
    match (rule.sid, patterns) {
        (0, _) => Err("sid is missing".into()),
        (_, 0) => Err("it has neither content nor pcre".into()),
        (_, 1) => Ok(rule),
        _ => Err("more than one content or pcre is not supported".into()),
    }
}

fn parse_header(header: &str) -> Result<Rule, String> {
    let words: Vec<&str> = header.split_whitespace().collect();
    let [
        action,
        protocol,
        source,
        source_port,
        arrow,
        destination,
        destination_port,
    ] = words[..]
    else {
        return Err("the header is not `action protocol address port -> address port`".into());
    };
    let action = match action {
        "alert" => Action::Alert,
        "drop" => Action::Drop,
        other => return Err(format!("the action {other:?} is not supported")),
    };
    let (tcp, datagrams) = match protocol {
        "tcp" => (true, false),
        "udp" | "icmp" => (false, true),
        "ip" => (true, true),
        other => return Err(format!("the protocol {other:?} is not supported")),
    };
    if let Some(word) = [source, source_port, destination, destination_port]
        .iter()
        .find(|word| **word != "any")
    {
        return Err(format!(
            "only `any` is supported for addresses and ports, not {word:?}"
        ));
    }
    if !matches!(arrow, "->" | "<>") {
        return Err(format!("{arrow:?} is no direction; write -> or <>"));
    }
    Ok(Rule {
        action,
        sid: 0,
        message: String::new(),
        direction: None,
        tcp,
        datagrams,
        expression: String::new(),
        caseless: false,
        dot_all: false,
        multi_line: false,
    })
}

/// Splits at semicolons outside quotes; a backslash quotes the character behind it.
fn split_options(text: &str) -> Result<Vec<String>, String> {
    let mut options = Vec::new();
    let (mut option, mut quoted, mut escaped) = (String::new(), false, false);
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                let complete = std::mem::take(&mut option);
                options.push(complete.trim().to_owned());
                continue;
            }
            _ => {}
        }
        option.push(character);
    }
    if quoted {
        return Err("a quotation mark is not closed".into());
    }
    if !option.trim().is_empty() {
        return Err("the last option does not end with a semicolon".into());
    }
    options.retain(|option| !option.is_empty());
    Ok(options)
}

fn unquote(value: &str) -> Result<&str, String> {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .ok_or_else(|| format!("{value} is not in quotation marks"))
}

fn parse_flow(value: &str) -> Result<Option<Direction>, String> {
    let mut direction = None;
    for word in value.split(',').map(str::trim) {
        match word {
            "established" => {}
            "to_server" | "from_client" => direction = Some(Direction::ToServer),
            "to_client" | "from_server" => direction = Some(Direction::ToClient),
            other => return Err(format!("flow:{other} is not supported")),
        }
    }
    Ok(direction)
}

/// The bytes of a content as an expression: every byte written as `\xNN`, which means itself in both
/// cases where `nocase` is given.
fn content_expression(value: &str) -> Result<String, String> {
    let bytes = content_bytes(unquote(value)?)?;
    if bytes.is_empty() {
        return Err("content is empty".into());
    }
    Ok(bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect())
}

/// `GET |0d 0a|` → bytes.
fn content_bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for (index, part) in text.split('|').enumerate() {
        if index % 2 == 1 {
            for pair in part.split_whitespace() {
                bytes.push(
                    u8::from_str_radix(pair, 16)
                        .map_err(|_| format!("{pair:?} is no hexadecimal byte"))?,
                );
            }
            continue;
        }
        let mut characters = part.bytes();
        while let Some(byte) = characters.next() {
            bytes.push(if byte == b'\\' {
                characters.next().ok_or("content ends with a backslash")?
            } else {
                byte
            });
        }
    }
    if text.split('|').count().is_multiple_of(2) {
        return Err("a | in content is not closed".into());
    }
    Ok(bytes)
}

fn parse_pcre(value: &str, rule: &mut Rule) -> Result<(), String> {
    let text = unquote(value)?;
    let body = text.strip_prefix('/').ok_or("pcre does not begin with /")?;
    let (expression, flags) = body.rsplit_once('/').ok_or("pcre has no closing /")?;
    for flag in flags.chars() {
        match flag {
            'i' => rule.caseless = true,
            's' => rule.dot_all = true,
            'm' => rule.multi_line = true,
            other => return Err(format!("the pcre flag {other:?} is not supported")),
        }
    }
    rule.expression = expression.replace("\\/", "/");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(options: &str) -> Result<Rule, String> {
        parse_rule(&format!("alert tcp any any -> any any ({options})"))
    }

    #[test]
    fn content_means_its_bytes() {
        let rule = rule(r#"msg:"a; b"; content:"a\;|0d 0a|b"; nocase; sid:7;"#).unwrap();
        assert_eq!(
            (
                rule.expression.as_str(),
                rule.caseless,
                rule.message.as_str()
            ),
            (r"\x61\x3b\x0d\x0a\x62", true, "a; b")
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (options, named) in [
            (r#"content:"a"; depth:3; sid:1;"#, "depth"),
            (r#"content:"a"; content:"b"; sid:1;"#, "more than one"),
            (r#"pcre:"/a/U"; sid:1;"#, "'U'"),
            (r#"content:"a|0|"; sid:1"#, "semicolon"),
            (r#"content:"a"; sid:x;"#, "no number"),
            (r#"content:"|zz|"; sid:1;"#, "zz"),
            (r#"content:!"a"; sid:1;"#, "quotation"),
            ("sid:1;", "neither"),
        ] {
            let why = rule(options).unwrap_err();
            assert!(why.contains(named), "{options}: {why}");
        }
    }

    #[test]
    fn lines_and_ids_are_told() {
        let (rules, refused) = parse_rules(
            "a.rules",
            "# x\nalert tcp any any -> any any (content:\"a\"; \\\n sid:1;)\nalert tcp $HOME any -> any any (content:\"a\"; sid:22;)\n",
        );
        assert_eq!((rules.len(), refused.len()), (1, 1));
        assert_eq!((refused[0].line, refused[0].sid), (4, Some(22)));
        assert!(refused[0].to_string().contains("$HOME"));
    }
}
