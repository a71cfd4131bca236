//! What a module calls: nothing unknown, nothing that reaches out, no function that calls itself.
//!
//! Read from the tokens, since that is where every call stands with its place.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Engine;
use regorus::unstable::{BUILTINS, Expr, Lexer, Token, TokenKind};
use weir_model::{Problem, did_you_mean};

use crate::module::{self, Declared};

/// Builtins of OPA that reach out of the evaluation, each with what to do instead.
const REFUSED: [(&str, &str); 5] = [
    ("http.send", "bring what it fetches as data: data.json"),
    (
        "net.lookup_ip_addr",
        "bring the addresses as data: data.json",
    ),
    ("opa.runtime", "bring what it tells as parameters"),
    ("io.jwt.decode_verify", "guardrails judge policy documents"),
    ("bits.lsh", "multiply instead"),
];
/// Calls that are no builtins of the table: the engine knows them by itself.
const OTHERS: [&str; 2] = ["print", "set"];
/// Words that a parenthesis can follow without being called.
const KEYWORDS: [&str; 12] = [
    "if", "in", "not", "some", "every", "contains", "else", "with", "as", "default", "import",
    "package",
];
/// `sprintf` pads to the width that it is given.
const WIDTH_DIGITS_MAX: usize = 3;

/// A call, or what stands in for a function in a test.
struct Call {
    path: Vec<String>,
    line: u32,
    column: u32,
}

/// The mistakes in what the engine's modules call.
pub(crate) fn check(engine: &mut Engine, declared: &[Declared]) -> Vec<Problem> {
    let functions: BTreeSet<&str> = declared.iter().map(|it| it.path.as_str()).collect();
    let mut problems = Vec::new();
    let mut calls: BTreeMap<String, Vec<(String, Problem)>> = BTreeMap::new();
    for module in engine.get_modules() {
        let source = &module.package.span.source;
        let file = source.get_path().clone();
        let Ok(tokens) = tokens(source) else {
            continue;
        };
        let package = format!("data.{}", path_of(&module.package.refr).join("."));
        let aliases: BTreeMap<String, String> = module
            .imports
            .iter()
            .filter_map(|import| {
                let path = path_of(&import.refr);
                let name = match &import.r#as {
                    Some(alias) => alias.text().to_owned(),
                    None => path.last()?.clone(),
                };
                Some((name, path.join(".")))
            })
            .collect();
        problems.extend(tokens.iter().filter_map(|token| too_wide(&file, token)));
        let starts: Vec<u32> = module.policy.iter().map(|rule| rule.span().start).collect();
        let names: Vec<String> = module.policy.iter().map(|rule| name_of(rule)).collect();
        for (start, call) in called(&tokens) {
            let resolved = resolve(&call.path, &package, &aliases);
            let place = |message: String, next: String| Problem {
                file: file.clone(),
                line: call.line,
                column: call.column,
                field: String::new(),
                message,
                next_step: next,
            };
            if functions.contains(resolved.as_str()) {
                let owner = starts.partition_point(|it| *it <= start).checked_sub(1);
                // The head of a function looks like a call of it.
                let owner = owner.filter(|index| starts.get(*index) != Some(&start));
                if let Some(owner) = owner.and_then(|index| names.get(index)) {
                    let message = format!("{} calls itself", call.path.join("."));
                    let next = "Rego has no recursion; walk(…) visits nested values";
                    let edge = (resolved, place(message, next.to_owned()));
                    let owner = format!("{package}.{owner}");
                    calls.entry(owner).or_default().push(edge);
                }
            } else if let Some((message, next)) = unknown(&call.path.join("."), declared) {
                problems.push(place(message, next));
            }
        }
    }
    if problems.is_empty() {
        problems.extend(recursion(&calls));
    }
    problems
}

fn unknown(name: &str, declared: &[Declared]) -> Option<(String, String)> {
    if let Some((_, next)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        let message = format!("{name} is not available to guardrails");
        return Some((message, (*next).to_owned()));
    }
    if BUILTINS.contains_key(name) || OTHERS.contains(&name) {
        return None;
    }
    let own = declared.iter().filter(|it| it.function);
    let known = BUILTINS.keys().copied();
    let known = known.chain(own.map(|it| it.name.as_str()));
    let next = match did_you_mean(name, known) {
        Some(near) => format!("did you mean {near}?"),
        None => "define it, or use a builtin of the policy reference".to_owned(),
    };
    Some((format!("unknown function {name}"), next))
}

/// A call of the first function that can come back to itself.
fn recursion(calls: &BTreeMap<String, Vec<(String, Problem)>>) -> Option<Problem> {
    // What calls nothing, and what nobody calls, is in no circle: take those away until only circles
    // are left.
    let mut left: BTreeMap<&str, Vec<&(String, Problem)>> = calls
        .iter()
        .map(|(owner, edges)| (owner.as_str(), edges.iter().collect()))
        .collect();
    loop {
        let before = left.len();
        let names: BTreeSet<&str> = left.keys().copied().collect();
        let edges = left.values_mut();
        edges.for_each(|edges| edges.retain(|(to, _)| names.contains(to.as_str())));
        let edges = left.values().flatten();
        let called: BTreeSet<&str> = edges.map(|(to, _)| to.as_str()).collect();
        left.retain(|name, edges| !edges.is_empty() && called.contains(name));
        if left.len() == before {
            break;
        }
    }
    let edges = left.values().next()?;
    edges.first().map(|(_, problem)| problem.clone())
}

/// "data.lib.covers" for `lib.covers` after `import data.lib`, or for `covers` within it.
fn resolve(path: &[String], package: &str, aliases: &BTreeMap<String, String>) -> String {
    let Some((first, rest)) = path.split_first() else {
        return String::new();
    };
    let head = match (first.as_str(), aliases.get(first)) {
        ("data", _) => "data".to_owned(),
        (_, Some(imported)) => imported.clone(),
        (own, None) => format!("{package}.{own}"),
    };
    std::iter::once(head)
        .chain(rest.iter().cloned())
        .collect::<Vec<_>>()
        .join(".")
}

fn tokens(source: &regorus::Source) -> Result<Vec<Token>, ()> {
    let mut lexer = Lexer::new(source);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token().map_err(|_| ())?;
        if token.0 == TokenKind::Eof {
            return Ok(tokens);
        }
        tokens.push(token);
    }
}

/// Every path that a parenthesis follows at once, and every path after `as`, by where it begins.
fn called(tokens: &[Token]) -> Vec<(u32, Call)> {
    let mut calls = Vec::new();
    let mut at = 0;
    while let Some(Token(kind, first)) = tokens.get(at) {
        let begin = at;
        at += 1;
        if *kind != TokenKind::Ident {
            continue;
        }
        let mut path = vec![first.text().to_owned()];
        let mut end = first.end;
        while let (Some(Token(_, dot)), Some(Token(TokenKind::Ident, name))) =
            (tokens.get(at), tokens.get(at + 1))
            && dot.text() == "."
            && dot.start == end
            && name.start == dot.end
        {
            path.push(name.text().to_owned());
            end = name.end;
            at += 2;
        }
        let opens = tokens
            .get(at)
            .is_some_and(|Token(_, next)| next.text() == "(" && next.start == end);
        let keyword = path.len() == 1 && KEYWORDS.contains(&first.text());
        // `x[0].y` is the end of a longer reference, and what follows `default` is defined.
        let continued = begin.checked_sub(1).is_some_and(|before| {
            let Token(_, before) = &tokens[before];
            (before.text() == "." && before.end == first.start) || before.text() == "default"
        });
        if opens && !keyword && !continued {
            let (line, column) = (first.line, first.col);
            calls.push((first.start, Call { path, line, column }));
        }
    }
    calls
}

fn too_wide(file: &str, token: &Token) -> Option<Problem> {
    let Token(TokenKind::String | TokenKind::RawString, span) = token else {
        return None;
    };
    let wide = span.text().split('%').skip(1).any(|verb| {
        let digits = verb.trim_start_matches(['-', '+', '#', ' ', '.']);
        digits.bytes().take_while(u8::is_ascii_digit).count() > WIDTH_DIGITS_MAX
    });
    wide.then(|| Problem {
        file: file.to_owned(),
        line: span.line,
        column: span.col,
        field: String::new(),
        message: "pads to more than 999 characters".to_owned(),
        next_step: "write a smaller width".to_owned(),
    })
}

fn path_of(refr: &regorus::unstable::Ref<Expr>) -> Vec<String> {
    module::components(refr).unwrap_or_default()
}

fn name_of(rule: &regorus::unstable::Rule) -> String {
    let (refr, _) = module::head(rule);
    path_of(refr).into_iter().next().unwrap_or_default()
}
