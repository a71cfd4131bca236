//! Apache Struts: expressions in OGNL, and objects in XML that run something when they are made.
//!
//! CVE-2017-5638 evaluates a Content-Type, CVE-2017-9805 unmarshals a body; others evaluate parameters,
//! names of parameters and paths. An expression is told by what only an expression says: a variable of
//! the context that is set or asked, a static method of a Java class, a new Java object.

use memchr::memmem;

use super::sighting::Sighting;

/// Things of the context that no honest visitor names.
const CONTEXT: &[&[u8]] = &[
    b"#context[",
    b"#context.",
    b"#context=",
    b"#container=",
    b"#ognlUtil",
    b"#instancemanager",
    b"excludedPackageNames",
    b"excludedClasses",
    b"@java.lang.",
    b"@org.apache.",
    b"#application",
    b"#parameters",
    b"#session",
    b"#request",
    b"#attr",
];

/// Any of these is a way out of the sandbox.
const ESCAPES: &[&[u8]] = &[
    b"_memberAccess",
    b"@ognl.",
    b"OgnlContext",
    b"opensymphony.xwork2",
    b"xwork.MethodAccessor",
    b"denyMethodExecution",
    b"allowStaticMethodAccess",
];

/// What an expression does.
const DEEDS: &[&[u8]] = &[
    b"java.lang.Runtime",
    b"java.lang.ProcessBuilder",
    b"ProcessBuilder(",
    b"getRuntime(",
    b".exec(",
    b"javax.script.",
    b"getClass().forName",
    b".getWriter()",
    b".getInputStream()",
    b"@getResponse",
    b"ServletActionContext",
    b"java.io.File",
    b"java.util.Scanner",
    b"@DEFAULT_MEMBER_ACCESS",
    b".addHeader(",
    b".setHeader(",
    b".println(",
];

/// Elements that unmarshalling turns into a call.
const GADGETS: &[&[u8]] = &[
    b"java.lang.ProcessBuilder",
    b"java.beans.EventHandler",
    b"com.sun.rowset.JdbcRowSetImpl",
    b"javax.imageio.ImageIO$ContainsFilter",
    b"jdk.nashorn.internal.objects.NativeString",
    b"com.sun.xml.internal.bind",
    b"com.sun.org.apache.xalan.internal.xsltc.trax.TemplatesImpl",
    b"org.codehaus.groovy.runtime.MethodClosure",
    b"java.lang.Runtime",
    b"javax.naming.ldap.Rdn_-RdnEntry",
    b"sun.rmi.registry.RegistryImpl",
];

fn contains(value: &[u8], what: &[u8]) -> bool {
    memmem::find(value, what).is_some()
}

/// An expression of OGNL in `value`. `is_media_type` says that it is where no expression can be meant.
pub(super) fn look(value: &[u8], is_media_type: bool) -> Option<Sighting> {
    let start = start_of_expression(value)?;
    let expression = &value[start..];
    let context = CONTEXT.iter().any(|name| contains(expression, name));
    let deed = DEEDS.iter().any(|deed| contains(expression, deed));
    let sets = sets_variable(expression);
    let escapes = ESCAPES.iter().any(|escape| contains(expression, escape));
    let sign = if escapes || (context && (deed || sets)) {
        "expression of OGNL that leaves its sandbox"
    } else if deed && (sets || is_wrapped(expression)) {
        "expression of OGNL that runs something"
    } else if is_media_type && is_wrapped(expression) {
        "expression in a media type"
    } else {
        return None;
    };
    Some(Sighting::new(sign, start, value.len()))
}

/// `%{`, `${`, or a parenthesis around a variable.
fn start_of_expression(value: &[u8]) -> Option<usize> {
    memchr::memchr3(b'{', b'#', b'@', value)?;
    [
        b"%{".as_slice(),
        b"${",
        b"(#",
        b"('#",
        b"(\"#",
        b"#{",
        b"@ognl.",
        b"@java.",
    ]
    .into_iter()
    .filter_map(|start| memmem::find(value, start))
    .min()
}

fn is_wrapped(expression: &[u8]) -> bool {
    matches!(expression, [b'%' | b'$' | b'#', b'{', ..])
}

/// `(#name=`
fn sets_variable(expression: &[u8]) -> bool {
    memchr::memchr_iter(b'#', expression).take(32).any(|hash| {
        let name = &expression[hash + 1..];
        let length = name
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
            .count();
        let rest = name[length..].trim_ascii_start();
        length > 0 && rest.first() == Some(&b'=') && rest.get(1) != Some(&b'=')
    })
}

/// An object in XML that runs something when it is made (XStream, XMLDecoder).
pub(super) fn look_xml(body: &[u8]) -> Option<Sighting> {
    let start = memchr::memchr(b'<', body)?;
    GADGETS
        .iter()
        .flat_map(|gadget| memmem::find_iter(body, gadget).map(move |at| (at, gadget.len())))
        .find(|(at, _)| is_in_markup(&body[start..*at]))
        .map(|(at, length)| Sighting::new("object in XML that runs something", at, at + length))
}

/// Named by an element or an attribute, rather than by a sentence.
fn is_in_markup(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    matches!(before.last(), Some(b'<' | b'"' | b'\'' | b'>'))
}
