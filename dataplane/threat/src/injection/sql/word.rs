//! What a word means where SQL is spoken.

/// The part a word plays in a statement. Names of functions count only where a parenthesis follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A name of the application's, or prose.
    Name,
    /// Names that attackers ask for: `password`, `users`, `table_name`.
    Wanted,
    /// The database's own tables: `information_schema`, `sys.tables`, `sqlite_master`.
    Catalog,
    /// `and`, `or`, `xor`.
    Logical,
    Not,
    /// `like`, `in`, `between`, `is`, `regexp` …: both sides are operands.
    Compare,
    /// `div`, `mod`.
    Arithmetic,
    /// `null`, `true`, `false`.
    Constant,
    Union,
    Select,
    From,
    Where,
    Having,
    Group,
    Order,
    By,
    Limit,
    Into,
    Procedure,
    As,
    All,
    Exists,
    Case,
    When,
    Then,
    Else,
    End,
    Values,
    /// `collate`, `escape`: something follows that belongs to the operand before.
    Suffix,
    /// `binary`, `any`, `some`, `interval`: something goes before an operand.
    Prefix,
    /// `cross join`, `inner`, `on`, `using`, `natural` …
    Join,
    /// A word that begins a statement.
    Begin(Verb),
    /// A function that any expression may call.
    Function,
    /// A function that tells about the server: `version()`, `database()`.
    Asking,
    /// A function that waits, reads files, runs commands, or is there to raise an error that tells.
    Abuse,
}

/// Verbs of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Alter,
    Begin,
    Call,
    Copy,
    Create,
    Declare,
    Delete,
    Describe,
    Drop,
    Execute,
    Grant,
    If,
    Insert,
    Load,
    Other,
    Replace,
    Set,
    Shutdown,
    Truncate,
    Update,
    Use,
    WaitFor,
    With,
}

/// Longer words than this are names.
const LONGEST_WORD_BYTES: usize = 32;

impl Word {
    /// What `word` is, in any case of its letters.
    pub(super) fn of(word: &[u8]) -> Self {
        let mut lower = [0; LONGEST_WORD_BYTES];
        let Some(lower) = lower.get_mut(..word.len()) else {
            return if is_catalog(word) {
                Self::Catalog
            } else {
                Self::Name
            };
        };
        // Nothing that SQL knows is shorter, and beyond ASCII it knows no letters.
        if word.len() < 2 || !word.is_ascii() {
            return Self::Name;
        }
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        keyword(lower)
            .or_else(|| verb(lower).map(Self::Begin))
            .or_else(|| function(lower))
            .or_else(|| wanted(lower))
            .unwrap_or(Self::Name)
    }

    /// Whether a parenthesis after this word makes it a call of SQL's own.
    pub(super) fn is_function(self) -> bool {
        matches!(self, Self::Function | Self::Asking | Self::Abuse)
    }
}

fn keyword(word: &[u8]) -> Option<Word> {
    Some(match word {
        b"and" | b"or" | b"xor" => Word::Logical,
        b"not" => Word::Not,
        b"like" | b"ilike" | b"rlike" | b"regexp" | b"similar" | b"sounds" | b"glob" | b"match"
        | b"between" | b"in" | b"is" | b"isnull" | b"notnull" => Word::Compare,
        b"div" | b"mod" => Word::Arithmetic,
        b"null" | b"true" | b"false" => Word::Constant,
        b"union" | b"except" | b"intersect" | b"minus" => Word::Union,
        b"select" => Word::Select,
        b"from" => Word::From,
        b"where" => Word::Where,
        b"having" => Word::Having,
        b"group" => Word::Group,
        b"order" => Word::Order,
        b"by" => Word::By,
        b"limit" | b"offset" | b"fetch" => Word::Limit,
        b"into" => Word::Into,
        b"procedure" => Word::Procedure,
        b"as" => Word::As,
        b"all"
        | b"distinct"
        | b"distinctrow"
        | b"top"
        | b"straight_join"
        | b"sql_no_cache"
        | b"sql_calc_found_rows" => Word::All,
        b"exists" => Word::Exists,
        b"case" => Word::Case,
        b"when" => Word::When,
        b"then" => Word::Then,
        b"else" => Word::Else,
        b"end" => Word::End,
        b"values" => Word::Values,
        b"collate" | b"escape" => Word::Suffix,
        b"binary" | b"any" | b"some" | b"interval" | b"prior" => Word::Prefix,
        b"join" | b"inner" | b"outer" | b"cross" | b"natural" | b"on" | b"using" => Word::Join,
        _ => return None,
    })
}

fn verb(word: &[u8]) -> Option<Verb> {
    Some(match word {
        b"alter" => Verb::Alter,
        b"begin" => Verb::Begin,
        b"call" => Verb::Call,
        b"copy" => Verb::Copy,
        b"create" => Verb::Create,
        b"declare" => Verb::Declare,
        b"delete" => Verb::Delete,
        b"describe" | b"desc" | b"explain" | b"show" => Verb::Describe,
        b"drop" => Verb::Drop,
        b"exec" | b"execute" => Verb::Execute,
        b"grant" | b"revoke" => Verb::Grant,
        b"if" => Verb::If,
        b"insert" | b"merge" => Verb::Insert,
        b"load" => Verb::Load,
        b"replace" => Verb::Replace,
        b"set" => Verb::Set,
        b"shutdown" => Verb::Shutdown,
        b"truncate" => Verb::Truncate,
        b"update" => Verb::Update,
        b"use" => Verb::Use,
        b"waitfor" => Verb::WaitFor,
        b"with" => Verb::With,
        b"attach" | b"backup" | b"do" | b"handler" | b"kill" | b"rename" | b"restore"
        | b"reconfigure" | b"vacuum" => Verb::Other,
        _ => return None,
    })
}

fn function(word: &[u8]) -> Option<Word> {
    let asking = |name: &[u8]| {
        matches!(
            name,
            b"user"
                | b"current_user"
                | b"session_user"
                | b"system_user"
                | b"user_name"
                | b"suser_name"
                | b"suser_sname"
                | b"database"
                | b"schema"
                | b"current_database"
                | b"current_schema"
                | b"current_setting"
                | b"version"
                | b"sqlite_version"
                | b"db_name"
                | b"db_id"
                | b"host_name"
                | b"object_id"
                | b"has_dbaccess"
                | b"is_srvrolemember"
                | b"is_member"
                | b"serverproperty"
                | b"connection_id"
                | b"row_count"
                | b"last_insert_id"
                | b"sys_context"
                | b"inet_server_addr"
        )
    };
    if is_abuse(word) {
        return Some(Word::Abuse);
    }
    if asking(word) {
        return Some(Word::Asking);
    }
    is_ordinary_function(word).then_some(Word::Function)
}

/// Functions without an honest use in what a visitor sends.
fn is_abuse(word: &[u8]) -> bool {
    const FAMILIES: &[&[u8]] = &[
        b"xp_",
        b"sp_oa",
        b"utl_",
        b"dbms_",
        b"ctxsys",
        b"pg_sleep",
        b"pg_read_",
        b"pg_ls_",
        b"lo_import",
        b"lo_export",
        b"dblink",
        b"master..xp_",
        b"master.dbo.xp_",
        b"sys.xp_",
        b"ordsys.",
        b"sys.dbms_",
        b"sys.utl_",
        b"owa_util",
        b"pg_catalog.pg_sleep",
        b"pg_catalog.pg_read",
        b"apex_util",
    ];
    matches!(
        word,
        b"sleep"
            | b"benchmark"
            | b"extractvalue"
            | b"updatexml"
            | b"load_file"
            | b"load_extension"
            | b"randomblob"
            | b"zeroblob"
            | b"sys_eval"
            | b"sys_exec"
            | b"openrowset"
            | b"opendatasource"
            | b"openquery"
            | b"sp_executesql"
            | b"sp_makewebtask"
            | b"httpuritype"
            | b"xmltype"
            | b"gtid_subset"
            | b"gtid_subtract"
            | b"name_const"
            | b"analyse"
            | b"query_to_xml"
            | b"database_to_xml"
            | b"table_to_xml"
            | b"fn_xe_file_target_read_file"
            | b"get_lock"
            | b"st_latfromgeohash"
            | b"multipoint"
            | b"geometrycollection"
            | b"linestring"
            | b"multilinestring"
            | b"multipolygon"
    ) || FAMILIES.iter().any(|family| word.starts_with(family))
}

fn is_ordinary_function(word: &[u8]) -> bool {
    matches!(
        word,
        b"ascii"
            | b"ord"
            | b"substr"
            | b"substring"
            | b"substring_index"
            | b"substrb"
            | b"mid"
            | b"left"
            | b"right"
            | b"length"
            | b"lengthb"
            | b"len"
            | b"char_length"
            | b"datalength"
            | b"octet_length"
            | b"bit_length"
            | b"char"
            | b"nchar"
            | b"chr"
            | b"concat"
            | b"concat_ws"
            | b"group_concat"
            | b"string_agg"
            | b"array_agg"
            | b"array_to_string"
            | b"listagg"
            | b"wm_concat"
            | b"stragg"
            | b"hex"
            | b"unhex"
            | b"cast"
            | b"convert"
            | b"try_cast"
            | b"count"
            | b"ifnull"
            | b"iif"
            | b"nullif"
            | b"coalesce"
            | b"nvl"
            | b"elt"
            | b"field"
            | b"find_in_set"
            | b"instr"
            | b"locate"
            | b"position"
            | b"charindex"
            | b"patindex"
            | b"make_set"
            | b"exp"
            | b"floor"
            | b"rand"
            | b"random"
            | b"md5"
            | b"sha1"
            | b"sha"
            | b"sha2"
            | b"lower"
            | b"upper"
            | b"lcase"
            | b"ucase"
            | b"reverse"
            | b"space"
            | b"repeat"
            | b"replicate"
            | b"rpad"
            | b"lpad"
            | b"bin"
            | b"conv"
            | b"to_char"
            | b"to_number"
            | b"to_date"
            | b"unicode"
            | b"quotename"
            | b"decode"
            | b"encode"
            | b"rawtohex"
            | b"row"
            | b"now"
            | b"sysdate"
            | b"getdate"
            | b"newid"
            | b"strcmp"
            | b"sign"
            | b"abs"
            | b"pow"
            | b"power"
            | b"polygon"
            | b"geometry"
            | b"point"
            | b"json_keys"
            | b"json_extract"
            | b"json_object"
            | b"row_to_json"
            | b"to_json"
            | b"xmlelement"
            | b"xmlagg"
            | b"generate_series"
            | b"typeof"
            | b"quote"
            | b"trim"
            | b"ltrim"
            | b"rtrim"
            | b"stuff"
            | b"checksum"
            | b"greatest"
            | b"least"
            | b"max"
            | b"min"
            | b"sum"
            | b"avg"
            | b"bit_count"
            | b"from_base64"
            | b"to_base64"
            | b"insert"
            | b"replace"
            | b"if"
            | b"regexp_substring"
            | b"regexp_like"
            | b"printf"
            | b"compress"
    )
}

fn is_catalog(word: &[u8]) -> bool {
    const FAMILIES: &[&[u8]] = &[
        b"information_schema",
        b"performance_schema",
        b"pg_catalog",
        b"mysql.",
        b"sys.",
        b"sysobjects",
        b"syscolumns",
        b"sysusers",
        b"sysdatabases",
        b"syslogins",
        b"sqlite_master",
        b"sqlite_schema",
        b"sqlite_temp_master",
        b"all_tables",
        b"all_tab_columns",
        b"all_users",
        b"dba_",
        b"user_tables",
        b"user_tab_columns",
        b"v$",
        b"msysobjects",
        b"master..sys",
        b"master.dbo.sys",
        b"master.sys",
        b"pg_shadow",
        b"pg_user",
        b"pg_tables",
        b"pg_class",
        b"pg_database",
        b"pg_roles",
        b"pg_authid",
        b"innodb_table_stats",
        b"sysibm.",
        b"syscat.",
        b"rdb$",
        b"sys_",
    ];
    FAMILIES.iter().any(|family| {
        word.get(..family.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(family))
    })
}

fn wanted(word: &[u8]) -> Option<Word> {
    if is_catalog(word) {
        return Some(Word::Catalog);
    }
    let last = word.rsplit(|byte| *byte == b'.').next().unwrap_or(word);
    matches!(
        last,
        b"password"
            | b"passwd"
            | b"passwords"
            | b"pwd"
            | b"pass"
            | b"password_hash"
            | b"users"
            | b"username"
            | b"user_password"
            | b"user_login"
            | b"user_pass"
            | b"wp_users"
            | b"tblusers"
            | b"administrators"
            | b"credentials"
            | b"creditcard"
            | b"creditcards"
            | b"credit_cards"
            | b"table_name"
            | b"column_name"
            | b"schema_name"
            | b"table_schema"
            | b"dual"
            | b"api_keys"
            | b"secrets"
            | b"authentication_string"
    )
    .then_some(Word::Wanted)
}
