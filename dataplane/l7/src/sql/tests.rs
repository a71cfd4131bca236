use super::*;

fn kinds(dialect: Dialect, text: &str) -> Vec<&'static str> {
    let mut all = Vec::new();
    for cut in [1, 3, text.len().max(1)] {
        let mut names = Vec::new();
        let mut found = |found| {
            if let Found::Statement(kind) = found {
                names.push(kind.name());
            }
        };
        let mut scanner = Scanner::new(dialect, dialect != Dialect::MySql);
        for piece in text.as_bytes().chunks(cut) {
            scanner.feed(piece, &mut found);
        }
        scanner.finish(&mut found);
        assert!(all.is_empty() || all == names, "{text}: {all:?} {names:?}");
        all = names;
    }
    all
}

#[test]
fn the_words_are_sorted() {
    assert!(kind::KINDS[2..].is_sorted() && kind::KINDS.len() < 128);
}

#[test]
fn mysql_statements_are_named() {
    let cases: &[(&str, &[&str])] = &[
        ("select 1", &["SELECT"]),
        (
            "  /* a */ -- b\n# c\n((Select 1)) union (select 2);",
            &["SELECT"],
        ),
        ("SELECT 1; drop table x", &["SELECT", "DROP"]),
        (
            "select 'a;drop', \"b\\\";delete\", `;`, 'it''s;' ; insert into t values (1)",
            &["SELECT", "INSERT"],
        ),
        ("/*!40101 SET NAMES utf8 */;", &["SET"]),
        ("/*!99999 SELECT */ DROP TABLE t", &["SELECT", "DROP"]),
        (
            "select 1 /*!99999 ' */; drop table t -- '",
            &["SELECT", "OTHER"],
        ),
        ("/*M!100100 delete from t */", &["DELETE"]),
        ("with a as (select 1) update t set x=1", &["UPDATE"]),
        ("with a as (select 1) select * from a", &["SELECT"]),
        ("explain select 1", &["EXPLAIN"]),
        ("analyze delete from t", &["ANALYZE", "DELETE"]),
        (
            "set statement max_statement_time=1 for delete from t",
            &["SET", "DELETE"],
        ),
        (
            "begin not atomic delete from t; end",
            &["BEGIN", "OTHER", "END"],
        ),
        ("begin", &["BEGIN"]),
        ("if 1 then drop table t; end if", &["OTHER", "END"]),
        ("select 1--1; delete from t", &["SELECT", "DELETE"]),
        ("  -- nothing", &[]),
        ("{call x}", &["OTHER"]),
        ("desc t", &["EXPLAIN"]),
        ("/* a /* b */ drop table t", &["DROP"]),
    ];
    for (text, expected) in cases {
        assert_eq!(&kinds(Dialect::MySql, text), expected, "{text}");
    }
}

#[test]
fn postgresql_statements_are_named() {
    let cases: &[(&str, &[&str])] = &[
        (
            "select $1, $a$;drop $b$ $a$; delete from t",
            &["SELECT", "DELETE"],
        ),
        ("do $$ begin delete from t; end $$", &["DO"]),
        (
            "/* a /* b */ c */ select E'\\';x', 'a\\'; drop table t",
            &["SELECT", "DROP"],
        ),
        (
            "with d as (delete from t returning *) select * from d",
            &["DELETE", "SELECT"],
        ),
        (
            "copy (delete from t returning *) to stdout",
            &["COPY", "DELETE"],
        ),
        (
            "explain (analyze, verbose) update t set a=1",
            &["EXPLAIN", "UPDATE"],
        ),
        ("select 1--2; drop table t", &["SELECT"]),
        ("select 1 as a$x$; drop table t --$x$", &["SELECT", "DROP"]),
        ("select $$a$$$x$;$x$; vacuum", &["SELECT", "VACUUM"]),
    ];
    for (text, expected) in cases {
        assert_eq!(&kinds(Dialect::PostgreSql, text), expected, "{text}");
    }
}

#[test]
fn identifiers_are_read() {
    assert_eq!(identifier(b"  shop.photo where"), Some(&b"shop.photo"[..]));
    assert_eq!(identifier(b" `a b`.\"c\"("), Some(&b"`a b`.\"c\""[..]));
    assert_eq!(identifier(b" (select 1)"), None);
    assert_eq!(identifier(b" 12"), None);
}

#[test]
fn transact_sql_statements_are_named_without_anything_between_them() {
    let cases: &[(&str, &[&str])] = &[
        ("select 1 drop table t", &["SELECT", "DROP"]),
        ("select [a;drop]]b], 'x''drop', $$, \"delete\"", &["SELECT"]),
        ("exec sp_who; execute x", &["EXECUTE", "EXECUTE"]),
        ("sp_who", &["OTHER"]),
        (
            "if exists (select 1) delete from t",
            &["OTHER", "SELECT", "DELETE"],
        ),
        ("insert into t select * from u", &["INSERT", "SELECT"]),
        (
            "update t set a = 1 where b in (select c from d)",
            &["UPDATE", "SELECT"],
        ),
        ("with a as (select 1) delete from a", &["SELECT", "DELETE"]),
        (
            "/* /* drop */ drop */ select 1 -- drop\n deny x",
            &["SELECT", "DENY"],
        ),
        ("", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(kinds(Dialect::SqlServer, text), *expected, "{text}");
    }
}

#[test]
fn tables_are_found_behind_conditions_and_in_brackets() {
    let tables = |dialect, text: &str| {
        let mut scanner = Scanner::new(dialect, true);
        let statements = Statements::read(&mut scanner, text.as_bytes(), true);
        let mut all = Vec::new();
        statements.each(text.as_bytes(), &mut |_, tables| {
            all.extend(
                tables
                    .iter()
                    .map(|name| String::from_utf8_lossy(name).into_owned()),
            );
        });
        all
    };
    assert_eq!(tables(Dialect::MySql, "drop table if exists a"), ["a"]);
    assert_eq!(
        tables(
            Dialect::PostgreSql,
            "create table if not exists a.b (c int)"
        ),
        ["a.b"]
    );
    assert_eq!(
        tables(
            Dialect::SqlServer,
            "select * from [dbo].[My Photos] p join x"
        ),
        ["[dbo].[My Photos]", "x"]
    );
}
