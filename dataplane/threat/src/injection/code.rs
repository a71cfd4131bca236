//! Code in the language of the server: PHP that runs what a request says, expressions of templates that
//! reach for the system.

use memchr::memmem;

use super::sighting::Sighting;

/// What an expression of a server's template is not for.
const DEEDS: &[&[u8]] = &[
    b"__class__",
    b"__mro__",
    b"__subclasses__",
    b"__globals__",
    b"__builtins__",
    b"__import__",
    b".popen(",
    b"os.system(",
    b"java.lang.Runtime",
    b"java.lang.ProcessBuilder",
    b"getRuntime()",
    b"freemarker.template.utility.Execute",
    b"freemarker.template.utility.ObjectConstructor",
    b"child_process",
    b"process.mainModule",
    b"getClass().forName",
    b".getClass().getClassLoader",
    b"|filter('system')",
    b"|map('system')",
    b"registerUndefinedFilterCallback",
    b"T(java.lang",
    b"javax.script.ScriptEngineManager",
    b"File.open('/etc",
    b"IO.popen",
    b"system('",
    b"system(\"",
    b"passthru(",
];

/// Functions of PHP that run their argument, and where an attacker puts it.
const RUNS: &[&[u8]] = &[
    b"system(",
    b"shell_exec(",
    b"passthru(",
    b"exec(",
    b"popen(",
    b"proc_open(",
    b"eval(",
    b"assert(",
    b"pcntl_exec(",
    b"create_function(",
    b"call_user_func(",
];
const ASKS: &[&[u8]] = &[
    b"$_GET",
    b"$_POST",
    b"$_REQUEST",
    b"$_COOKIE",
    b"$_SERVER",
    b"base64_decode(",
    b"php://input",
    b"gzinflate(",
    b"str_rot13(",
];

/// Code that a server would run.
pub(super) fn look(value: &[u8]) -> Option<Sighting> {
    template(value)
        .or_else(|| php(value))
        .or_else(|| call(value))
}

fn any(value: &[u8], of: &[&[u8]]) -> bool {
    of.iter().any(|what| memmem::find(value, what).is_some())
}

fn template(value: &[u8]) -> Option<Sighting> {
    // Every mark has one of these.
    memchr::memchr3(b'{', b'<', b'#', value)?;
    const MARKS: &[(&[u8], &[u8])] = &[
        (b"{{", b"}}"),
        (b"{%", b"%}"),
        (b"${", b"}"),
        (b"#{", b"}"),
        (b"<%", b"%>"),
        (b"*{", b"}"),
        (b"<#assign", b">"),
        (b"#set(", b"\n"),
    ];
    MARKS
        .iter()
        .find_map(|(open, close)| {
            let start = memmem::find(value, open)?;
            let within = &value[start..];
            // What lies behind the last end of an expression is none.
            let end = memmem::rfind(within, close).or((*close == b"\n").then_some(within.len()))?;
            any(&within[..end], DEEDS).then_some(start)
        })
        .map(|start| Sighting::new("template that runs something", start, value.len()))
}

/// A door for later: code that runs what a request says.
fn php(value: &[u8]) -> Option<Sighting> {
    if memchr::memchr(b'$', value).is_none() && memmem::find(value, b"base64_decode(").is_none() {
        return None;
    }
    let first = ASKS
        .iter()
        .filter_map(|asks| memmem::find(value, asks))
        .min()?;
    let near = &value[first.saturating_sub(64)..];
    let near = near.get(..256).unwrap_or(near);
    let tag = memmem::find(value, b"<?");
    (any(near, RUNS) && (tag.is_some() || value.len() < 512)).then(|| {
        Sighting::new(
            "code of PHP that runs a request",
            tag.unwrap_or(0),
            value.len(),
        )
    })
}

/// `system('id');` on its own, or behind what closes the application's expression.
fn call(value: &[u8]) -> Option<Sighting> {
    let text = value.trim_ascii();
    let skip = text
        .iter()
        .take_while(|byte| {
            matches!(
                byte,
                b'\'' | b'"' | b')' | b';' | b'}' | b'.' | b' ' | b'@' | b'$' | b'{'
            )
        })
        .count();
    let text = &text[skip..];
    const CALLS: &[&[u8]] = &[
        b"system('",
        b"system(\"",
        b"shell_exec('",
        b"shell_exec(\"",
        b"passthru('",
        b"passthru(\"",
        b"phpinfo()",
        b"eval(base64_decode(",
        b"print(`",
        b"popen('",
        b"proc_open('",
        b"__import__('os')",
        b"__import__(\"os\")",
        b"require('child_process')",
        b"require(\"child_process\")",
        b"global.process.mainModule",
        b"Runtime.getRuntime().exec(",
        b"java.lang.Runtime.getRuntime()",
        b"new java.lang.ProcessBuilder",
        b"T(java.lang.Runtime)",
        b"\"\".getClass().forName",
        b"import os;os.",
        b"import os; os.",
    ];
    CALLS
        .iter()
        .any(|call| text.starts_with(call))
        .then(|| Sighting::new("call that runs a command", skip, value.len()))
}
