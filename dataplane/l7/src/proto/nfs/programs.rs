//! The RPC programs around NFS: their numbers, versions and procedures.

/// RFC 5531's registry.
pub(super) const NFS: u32 = 100_003;
pub(super) const MOUNT: u32 = 100_005;
/// RFC 5531, 8: the first of those that nobody assigns; where NFS 4's servers call back.
const CALLBACK: u32 = 0x4000_0000;

/// A program, its versions and their procedures.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) number: u32,
    pub(super) name: &'static str,
    versions: &'static [(u32, &'static [&'static str])],
}

impl Program {
    pub(super) fn find(number: u32) -> Option<&'static Self> {
        PROGRAMS.iter().find(|program| program.number == number)
    }

    pub(super) fn has(&self, version: u32, procedure: u32) -> bool {
        !self.procedure(version, procedure).is_empty()
    }

    /// Empty: there is none.
    pub(super) fn procedure(&self, version: u32, procedure: u32) -> &'static str {
        self.versions
            .iter()
            .find(|(number, _)| *number == version)
            .and_then(|(_, names)| names.get(usize::try_from(procedure).ok()?))
            .copied()
            .unwrap_or_default()
    }
}

static PROGRAMS: &[Program] = &[
    Program {
        number: NFS,
        name: "nfs",
        versions: &[(2, NFS_2), (3, NFS_3), (4, &["null", "compound"])],
    },
    Program {
        number: MOUNT,
        name: "mount",
        versions: &[(1, MOUNT_1), (2, MOUNT_1), (3, MOUNT_1)],
    },
    Program {
        number: 100_000,
        name: "portmap",
        versions: &[(2, PORTMAP_2), (3, PORTMAP_3), (4, PORTMAP_3)],
    },
    Program {
        number: 100_021,
        name: "nlm",
        versions: &[(1, NLM), (2, NLM), (3, NLM), (4, NLM)],
    },
    Program {
        number: 100_024,
        name: "status",
        versions: &[(
            1,
            &[
                "null",
                "stat",
                "mon",
                "unmon",
                "unmon-all",
                "simu-crash",
                "notify",
            ],
        )],
    },
    Program {
        number: 100_011,
        name: "rquota",
        versions: &[(1, RQUOTA), (2, RQUOTA)],
    },
    Program {
        number: 100_227,
        name: "acl",
        versions: &[
            (2, &["null", "getacl", "setacl", "getattr", "access"]),
            (3, &["null", "getacl", "setacl"]),
        ],
    },
    Program {
        number: CALLBACK,
        name: "callback",
        versions: &[(1, &["null", "compound"]), (4, &["null", "compound"])],
    },
];

/// RFC 1094, 2.2.
const NFS_2: &[&str] = &[
    "null",
    "getattr",
    "setattr",
    "root",
    "lookup",
    "readlink",
    "read",
    "writecache",
    "write",
    "create",
    "remove",
    "rename",
    "link",
    "symlink",
    "mkdir",
    "rmdir",
    "readdir",
    "statfs",
];

/// RFC 1813, 3.
const NFS_3: &[&str] = &[
    "null",
    "getattr",
    "setattr",
    "lookup",
    "access",
    "readlink",
    "read",
    "write",
    "create",
    "mkdir",
    "symlink",
    "mknod",
    "remove",
    "rmdir",
    "rename",
    "link",
    "readdir",
    "readdirplus",
    "fsstat",
    "fsinfo",
    "pathconf",
    "commit",
];

/// RFC 1813, 5.2; pathconf is version 2's.
const MOUNT_1: &[&str] = &[
    "null",
    "mnt",
    "dump",
    "umnt",
    "umntall",
    "export",
    "exportall",
    "pathconf",
];

/// RFC 1833, 3.1.
const PORTMAP_2: &[&str] = &["null", "set", "unset", "getport", "dump", "callit"];

/// RFC 1833, 2.1.
const PORTMAP_3: &[&str] = &[
    "null",
    "set",
    "unset",
    "getaddr",
    "dump",
    "bcast",
    "gettime",
    "uaddr2taddr",
    "taddr2uaddr",
    "getversaddr",
    "indirect",
    "getaddrlist",
    "getstat",
];

/// X/Open XNFS, 14; 16 to 19 were never assigned.
const NLM: &[&str] = &[
    "null",
    "test",
    "lock",
    "cancel",
    "unlock",
    "granted",
    "test-msg",
    "lock-msg",
    "cancel-msg",
    "unlock-msg",
    "granted-msg",
    "test-res",
    "lock-res",
    "cancel-res",
    "unlock-res",
    "granted-res",
    "",
    "",
    "",
    "",
    "share",
    "unshare",
    "nm-lock",
    "free-all",
];

const RQUOTA: &[&str] = &[
    "null",
    "getquota",
    "getactivequota",
    "setquota",
    "setactivequota",
];
