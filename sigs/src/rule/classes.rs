//! Classes of rules (`classtype`) and how urgent they are.

use std::collections::BTreeMap;

/// What a class is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// In words.
    pub description: String,
    /// 1 is the most urgent.
    pub priority: u8,
}

/// Classes by their short names.
#[derive(Clone, Debug)]
pub struct Classes(BTreeMap<String, Class>);

/// The classes that rules use by custom: short name, priority, in words.
const CUSTOMARY: &[(&str, u8, &str)] = &[
    ("not-suspicious", 3, "Not suspicious"),
    ("unknown", 3, "Unknown"),
    ("bad-unknown", 2, "Potentially bad"),
    ("attempted-recon", 2, "Attempted information leak"),
    ("successful-recon-limited", 2, "Information leak"),
    ("successful-recon-largescale", 2, "Large information leak"),
    ("attempted-dos", 2, "Attempted denial of service"),
    ("successful-dos", 2, "Denial of service"),
    ("attempted-user", 1, "Attempt to gain a user's privileges"),
    (
        "unsuccessful-user",
        1,
        "Failed attempt to gain a user's privileges",
    ),
    ("successful-user", 1, "A user's privileges gained"),
    (
        "attempted-admin",
        1,
        "Attempt to gain an administrator's privileges",
    ),
    (
        "successful-admin",
        1,
        "An administrator's privileges gained",
    ),
    ("rpc-portmap-decode", 2, "Query of a port mapper"),
    ("shellcode-detect", 1, "Executable code in data"),
    ("string-detect", 3, "Suspicious text"),
    ("suspicious-filename-detect", 2, "Suspicious file name"),
    ("suspicious-login", 2, "Login with a suspicious user name"),
    ("system-call-detect", 2, "System call"),
    ("tcp-connection", 4, "TCP connection"),
    ("trojan-activity", 1, "Trojan"),
    (
        "unusual-client-port-connection",
        2,
        "Client with an unusual port",
    ),
    ("network-scan", 3, "Network scan"),
    ("denial-of-service", 2, "Denial of service"),
    ("non-standard-protocol", 2, "Unusual protocol or event"),
    ("protocol-command-decode", 3, "Command of a protocol"),
    (
        "web-application-activity",
        2,
        "Access to a vulnerable web application",
    ),
    ("web-application-attack", 1, "Attack on a web application"),
    ("misc-activity", 3, "Activity of another kind"),
    ("misc-attack", 2, "Attack of another kind"),
    ("icmp-event", 3, "ICMP"),
    ("inappropriate-content", 1, "Inappropriate content"),
    ("policy-violation", 1, "Possible breach of policy"),
    (
        "default-login-attempt",
        2,
        "Login with a default user and password",
    ),
    ("sdf", 2, "Sensitive data"),
    (
        "file-format",
        1,
        "Known malicious file or exploit by a file",
    ),
    ("malware-cnc", 1, "Command and control of malware"),
    ("client-side-exploit", 1, "Exploit of a client"),
    ("targeted-activity", 1, "Targeted activity"),
    ("exploit-kit", 1, "Exploit kit"),
    ("external-ip-check", 2, "Host asks for its outer address"),
    ("domain-c2", 1, "Domain of command and control"),
    ("pup-activity", 2, "Possibly unwanted program"),
    ("credential-theft", 1, "Theft of credentials"),
    ("social-engineering", 2, "Possible social engineering"),
    ("coin-mining", 2, "Mining of a currency"),
    ("command-and-control", 1, "Command and control of malware"),
];

impl Default for Classes {
    fn default() -> Self {
        let classes = CUSTOMARY.iter().map(|&(name, priority, description)| {
            let description = description.to_owned();
            let class = Class {
                description,
                priority,
            };
            (name.to_owned(), class)
        });
        Self(classes.collect())
    }
}

impl Classes {
    /// The class of this short name.
    pub fn get(&self, name: &str) -> Option<&Class> {
        self.0.get(name)
    }

    /// Adds the classes of a `classification.config`: lines `config classification: name,words,priority`.
    /// Gives the numbers of the lines that say something else.
    pub fn read(&mut self, text: &str) -> Vec<u32> {
        let mut unread = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line) {
                Some((name, class)) => drop(self.0.insert(name, class)),
                None => unread.push(u32::try_from(index + 1).unwrap_or(u32::MAX)),
            }
        }
        unread
    }
}

fn parse_line(line: &str) -> Option<(String, Class)> {
    let rest = line.strip_prefix("config")?.trim_start();
    let rest = rest.strip_prefix("classification")?.trim_start();
    let rest = rest.strip_prefix(':')?;
    let (name, rest) = rest.split_once(',')?;
    let (description, priority) = rest.rsplit_once(',')?;
    let class = Class {
        description: description.trim().to_owned(),
        priority: priority
            .trim()
            .parse()
            .ok()
            .filter(|&priority| priority > 0)?,
    };
    Some((name.trim().to_owned(), class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customary_and_own_classes() {
        let mut classes = Classes::default();
        assert_eq!(classes.get("trojan-activity").unwrap().priority, 1);
        let unread = classes.read(
            "# own\nconfig classification: ours,Our, own,5\nconfig classification: bad\nnonsense\n",
        );
        assert_eq!(unread, [3, 4]);
        let ours = classes.get("ours").unwrap();
        assert_eq!((ours.description.as_str(), ours.priority), ("Our, own", 5));
    }
}
