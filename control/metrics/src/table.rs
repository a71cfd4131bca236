//! The metrics of a daemon: one closed table.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up, until the daemon starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// As documentation says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// As Prometheus has it: with its unit, counters end with `_total`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// A sentence for people.
    pub help: &'static str,
}

/// All metrics of a daemon; made by [`table!`](crate::table).
pub trait Table: Copy {
    /// Every metric, in order.
    const ALL: &'static [Metric];

    /// The place of this one in it.
    fn index(self) -> usize;
}

/// Makes the metrics of a daemon: `Name = Kind "name" ["label", …] "Help.";`
#[macro_export]
macro_rules! table {
    (
        $(#[$about:meta])*
        pub enum $table:ident {
            $($variant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $table { $(#[doc = $help] $variant,)* }

        impl $crate::Table for $table {
            const ALL: &'static [$crate::Metric] = &[$($crate::Metric {
                name: $name,
                kind: $crate::Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            },)*];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
