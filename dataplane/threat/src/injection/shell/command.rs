//! Commands, and which arguments fit them.

use super::is_option;
use super::words::{Word, read_word};

/// A command, by what it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Tells something without any argument: `id`, `whoami`, `dir`.
    Tells { english: bool },
    /// Does something to files.
    File { english: bool },
    /// Speaks to a host.
    Net,
    /// Runs what it is given.
    Runs,
    /// `sleep`, `timeout`
    Waits,
    /// `echo`, `printf`
    Says,
    /// `sudo`, `nohup`, `xargs`: the next word is the command.
    Wraps,
    /// Changes the machine: `rm`, `kill`, `useradd`, `net user`.
    Changes,
}

/// How well what follows a command fits it. Each holds where the arguments end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    No,
    /// It could be a word of a sentence or of a list.
    Weak(usize),
    /// Arguments as only a command has them.
    Strong(usize),
    /// No honest visitor's, whatever stands around it: a password file, a shell for somebody else.
    Unmistakable(usize),
}

impl Fit {
    pub(super) fn to(self) -> usize {
        match self {
            Self::No => 0,
            Self::Weak(to) | Self::Strong(to) | Self::Unmistakable(to) => to,
        }
    }
}

impl Command {
    /// The command of this name, with or without a path.
    pub(super) fn of(word: &Word) -> Option<Self> {
        let name = name(&word.text);
        let is_pattern = memchr::memchr2(b'?', b'*', &word.text).is_some();
        if is_pattern
            && word.text.starts_with(b"/")
            && memchr::memchr(b'/', &word.text[1..]).is_some()
        {
            return Some(Self::Runs);
        }
        let english = |english| Self::Tells { english };
        Some(match name {
            b"whoami" | b"uname" | b"ifconfig" | b"ipconfig" | b"netstat" | b"printenv"
            | b"pwd" | b"lsb_release" | b"systeminfo" | b"tasklist" | b"ps" | b"lscpu"
            | b"phpinfo" | b"lsof" | b"dmesg" | b"hostnamectl" => english(false),
            b"ls" => english(false),
            b"id" | b"who" | b"w" | b"dir" | b"env" | b"set" | b"ver" | b"hostname" | b"uptime"
            | b"groups" | b"last" | b"df" | b"date" => english(true),
            b"cat" | b"tac" | b"head" | b"tail" | b"more" | b"less" | b"sort" | b"find"
            | b"type" | b"cut" | b"file" | b"touch" | b"strings" | b"tee" | b"copy" | b"paste"
            | b"rev" | b"move" | b"fold" | b"split" => Self::File { english: true },
            b"nl" | b"od" | b"xxd" | b"hexdump" | b"grep" | b"egrep" | b"awk" | b"sed"
            | b"base64" | b"cp" | b"mv" | b"chmod" | b"chown" | b"dd" | b"ln" | b"stat"
            | b"tar" | b"zip" | b"mkdir" | b"uniq" | b"diff" | b"attrib" | b"xcopy" | b"mkfifo" => {
                Self::File { english: false }
            }
            b"curl" | b"wget" | b"nc" | b"ncat" | b"netcat" | b"telnet" | b"ping" | b"ping6"
            | b"nslookup" | b"dig" | b"host" | b"ftp" | b"tftp" | b"ssh" | b"scp" | b"socat"
            | b"traceroute" | b"tracert" | b"fetch" | b"lynx" | b"certutil" | b"bitsadmin"
            | b"invoke-webrequest" | b"iwr" | b"rsync" => Self::Net,
            b"sh" | b"bash" | b"zsh" | b"ksh" | b"dash" | b"csh" | b"ash" | b"python"
            | b"python2" | b"python3" | b"perl" | b"ruby" | b"php" | b"node" | b"lua"
            | b"powershell" | b"pwsh" | b"cmd" | b"wscript" | b"cscript" | b"mshta"
            | b"rundll32" | b"regsvr32" | b"eval" | b"exec" | b"source" | b"iex" | b"java"
            | b"gcc" => Self::Runs,
            b"sleep" | b"timeout" | b"usleep" => Self::Waits,
            b"echo" | b"printf" => Self::Says,
            b"sudo" | b"nohup" | b"xargs" | b"busybox" | b"command" | b"time" | b"nice"
            | b"setsid" | b"start" | b"call" => Self::Wraps,
            b"rm" | b"kill" | b"killall" | b"reboot" | b"halt" | b"poweroff" | b"useradd"
            | b"adduser" | b"passwd" | b"crontab" | b"iptables" | b"net" | b"reg" | b"sc"
            | b"schtasks" | b"wmic" | b"vssadmin" | b"del" | b"rmdir" | b"taskkill"
            | b"shutdown" | b"init" | b"mount" | b"insmod" => Self::Changes,
            _ => return None,
        })
    }

    /// Whether prose says it too.
    pub(super) fn is_a_word_of_english(self) -> bool {
        match self {
            Self::Tells { english } | Self::File { english } => english,
            Self::Net | Self::Runs | Self::Waits | Self::Says => false,
            Self::Wraps | Self::Changes => true,
        }
    }

    /// The command that a wrapper runs, or this one.
    pub(super) fn behind_wrapper(self, value: &[u8], word: Word) -> (Self, Word) {
        if self != Self::Wraps {
            return (self, word);
        }
        let next = read_word(value, word.to);
        match Self::of(&next) {
            Some(command) => (command, next),
            None => (self, word),
        }
    }

    /// How what follows `word` fits.
    pub(super) fn fit(self, value: &[u8], word: &Word) -> Fit {
        let mut argument = read_word(value, word.to);
        let first = argument.clone();
        // Options say that it is a command; what it is for comes behind them.
        let mut options = false;
        for _ in 0..4 {
            if !is_option(&argument) {
                break;
            }
            options = true;
            argument = read_word(value, argument.to);
        }
        let to = argument.to;
        if is_unmistakable(self, value, word, &first, &argument) {
            return Fit::Unmistakable(to);
        }
        let has_path = word.text.contains(&b'/') && word.text.first() != Some(&b'-');
        if word.disguised
            || (has_path && Self::of(word).is_some() && word.text.first() == Some(&b'/'))
        {
            return Fit::Strong(to);
        }
        let ends = argument.text.is_empty() && ends_command(value, argument.to);
        self.fit_arguments(name(&word.text), &first, &argument, options, ends)
    }

    fn fit_arguments(
        self,
        name: &[u8],
        first: &Word,
        argument: &Word,
        options: bool,
        ends: bool,
    ) -> Fit {
        let to = argument.to;
        let text = argument.text.as_slice();
        let strong = |fits: bool| if fits { Fit::Strong(to) } else { Fit::No };
        match self {
            Self::Tells { english } => {
                if options && (ends || is_path(text)) && is_short(first) {
                    Fit::Strong(to)
                } else if ends || is_path(text) || (!english && (is_switch(text) || text.len() < 8))
                {
                    Fit::Weak(to)
                } else {
                    Fit::No
                }
            }
            Self::File { .. } => {
                strong(is_path(text) || (options && is_short(first) && (ends || is_file(text))))
                    .or(|| is_file(text).then_some(Fit::Weak(to)))
            }
            Self::Net => strong(is_host(text) || (options && is_short(first) && !text.is_empty())),
            Self::Runs => strong(
                (options && is_short(first))
                    || is_path(text)
                    || is_switch(text)
                    || is_file(text)
                    || text.starts_with(b"$")
                    || text.starts_with(b"http"),
            )
            .or(|| (ends && is_shell(name)).then_some(Fit::Weak(to))),
            Self::Waits => {
                if !text.is_empty()
                    && text
                        .iter()
                        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b's'))
                {
                    Fit::Weak(to)
                } else {
                    strong(is_switch(text))
                }
            }
            Self::Says => {
                if text.is_empty() {
                    Fit::No
                } else {
                    Fit::Weak(to)
                }
            }
            Self::Changes => strong(
                (options && is_short(first))
                    || is_path(text)
                    || is_switch(text)
                    || matches!(
                        text,
                        b"user" | b"localgroup" | b"view" | b"query" | b"process"
                    ),
            ),
            Self::Wraps => Fit::No,
        }
    }
}

impl Fit {
    fn or(self, other: impl FnOnce() -> Option<Self>) -> Self {
        if self == Self::No {
            other().unwrap_or(Self::No)
        } else {
            self
        }
    }
}

fn is_shell(name: &[u8]) -> bool {
    matches!(
        name,
        b"sh" | b"bash" | b"zsh" | b"ksh" | b"dash" | b"ash" | b"powershell" | b"cmd"
    )
}

/// Tools that only documentation and scripts start with.
pub(super) fn is_tool(text: &[u8]) -> bool {
    matches!(
        name(text),
        b"cd"
            | b"make"
            | b"git"
            | b"docker"
            | b"podman"
            | b"kubectl"
            | b"helm"
            | b"npm"
            | b"npx"
            | b"yarn"
            | b"pip"
            | b"pip3"
            | b"cargo"
            | b"go"
            | b"apt"
            | b"apt-get"
            | b"yum"
            | b"dnf"
            | b"brew"
            | b"apk"
            | b"systemctl"
            | b"service"
            | b"journalctl"
            | b"export"
            | b"for"
            | b"while"
            | b"if"
            | b"test"
            | b"mvn"
            | b"gradle"
            | b"ansible"
            | b"terraform"
            | b"psql"
            | b"mysql"
            | b"cmake"
            | b"./configure"
            | b"configure"
            | b"sudo"
            | b"function"
            | b"local"
    )
}

/// The last part of a path, without what Windows adds.
fn name(text: &[u8]) -> &[u8] {
    let last = text
        .rsplit(|byte| matches!(byte, b'/' | b'\\'))
        .next()
        .unwrap_or(text);
    last.strip_suffix(b".exe").unwrap_or(last)
}

/// Nothing of the command is left: the end, another separator, a comment, a quote of the application's.
fn ends_command(value: &[u8], at: usize) -> bool {
    match value.get(at) {
        None => true,
        Some(byte) => matches!(
            byte,
            b';' | b'|'
                | b'&'
                | b')'
                | b'`'
                | b'\n'
                | b'\r'
                | b'#'
                | b'\''
                | b'"'
                | b'>'
                | b'<'
                | b'}'
                | 0
        ),
    }
}

/// `-la`, not `-- or so`.
fn is_short(option: &Word) -> bool {
    option.text.len() > 1 && option.text.get(1).is_some_and(u8::is_ascii_alphabetic)
        || option.text.starts_with(b"--") && option.text.len() > 3
}

/// `/c`, `/all`: Windows' options.
fn is_switch(text: &[u8]) -> bool {
    text.len() <= 12
        && matches!(text, [b'/', letters @ ..] if !letters.is_empty() && letters.iter().all(u8::is_ascii_alphabetic))
}

fn is_path(text: &[u8]) -> bool {
    matches!(
        text,
        [b'/', _, ..] | [b'.', b'/', ..] | [b'.', b'.', b'/' | b'\\', ..] | [b'~', b'/', ..]
    ) || matches!(
        text,
        [b'a'..=b'z', b':', b'\\' | b'/', ..] | [b'\\', b'\\', ..]
    ) || (text.starts_with(b"$") && text.len() > 1)
        || matches!(text, b"*" | b"/")
}

/// A name with an ending.
fn is_file(text: &[u8]) -> bool {
    let Some(dot) = memchr::memrchr(b'.', text) else {
        return false;
    };
    let ending = &text[dot + 1..];
    dot > 0 && (1..=5).contains(&ending.len()) && ending.iter().all(u8::is_ascii_alphanumeric)
}

/// A URL, an address, a name with a dot.
fn is_host(text: &[u8]) -> bool {
    let scheme = memchr::memmem::find(text, b"://").is_some();
    let inner_dot = text.windows(3).any(|part| {
        part[1] == b'.' && part[0].is_ascii_alphanumeric() && part[2].is_ascii_alphanumeric()
    });
    scheme || inner_dot || text == b"localhost" || text.starts_with(b"$") || text.starts_with(b"`")
}

/// What no honest value says.
fn is_unmistakable(
    command: Command,
    value: &[u8],
    word: &Word,
    first: &Word,
    argument: &Word,
) -> bool {
    const FILES: &[&[u8]] = &[
        b"/etc/passwd",
        b"/etc/shadow",
        b"/etc/group",
        b"/proc/self/",
        b"/dev/tcp/",
        b"/dev/udp/",
        b"/root/.ssh",
        b"win.ini",
        b"boot.ini",
        b"/etc/p?ss",
        b"/etc/pas*",
        b"/???/",
    ];
    let text = argument.text.as_slice();
    let names = |text: &[u8]| {
        FILES
            .iter()
            .any(|file| memchr::memmem::find(text, file).is_some())
    };
    match command {
        Command::File { .. } | Command::Changes | Command::Tells { english: false } => names(text),
        Command::Runs => {
            let rest = value.get(word.to..).unwrap_or_default();
            let rest = rest.get(..160).unwrap_or(rest);
            memchr::memmem::find(rest, b"/dev/tcp/").is_some()
                || (memchr::memmem::find(rest, b"socket").is_some()
                    && memchr::memmem::find(rest, b"-e")
                        .or(memchr::memmem::find(rest, b"-c"))
                        .is_some())
                || matches!(first.text.as_slice(), b"-enc" | b"-encodedcommand" | b"-e")
                    && name(&word.text).starts_with(b"p")
                    && name(&word.text).ends_with(b"sh")
                || matches!(first.text.as_slice(), b"-enc" | b"-encodedcommand")
        }
        Command::Net => {
            let rest = value.get(word.to..).unwrap_or_default();
            let rest = rest.get(..96).unwrap_or(rest);
            matches!(name(&word.text), b"nc" | b"ncat" | b"netcat")
                && (memchr::memmem::find(rest, b"-e ").is_some()
                    || memchr::memmem::find(rest, b"-e/").is_some())
        }
        _ => false,
    }
}
