//! The macro behind [`crate::registry`]: from the table to modules, ids and static dispatch.

/// Expands the table of applications. See [`crate::registry`].
macro_rules! applications {
    ($($id:literal => $module:ident :: $type:ident),* $(,)?) => {
        /// The parsers, one file per application.
        #[path = "proto"]
        pub mod proto {
            $(pub mod $module;)*
        }

        $(use proto::$module::$type;)*

        /// Every row, and unknown.
        pub(crate) const ALL: AppSet = AppSet::of(AppId::UNKNOWN)$(.with(AppId::new($id)))*;
        const TCP: AppSet = carrying(Transport::Tcp);
        const UDP: AppSet = carrying(Transport::Udp);
        const ICMP: AppSet = carrying(Transport::Icmp);
        const ICMPV6: AppSet = carrying(Transport::Icmpv6);
        const ESP: AppSet = carrying(Transport::Esp);

        static TABLE: &[ApplicationInfo] = &[$(ApplicationInfo {
            id: AppId::new($id),
            name: $type::NAME,
            about: $type::ABOUT,
            transports: $type::TRANSPORTS,
            ports: $type::PORTS,
            fields: $type::FIELDS,
            contents: $type::CONTENTS,
            refines: $type::REFINES,
            refinable: $type::REFINABLE,
            turns: $type::TURNS,
            seen: $type::SEEN,
        }),*];

        const fn carrying(transport: Transport) -> AppSet {
            let mut set = AppSet::EMPTY;
            $(if carries($type::TRANSPORTS, transport) {
                set = set.with(AppId::new($id));
            })*
            set
        }

        /// The applications that may begin with `byte` in a direction.
        const fn opening(byte: u8, to_server: bool) -> AppSet {
            let mut set = AppSet::EMPTY;
            $({
                let openings = $type::OPENINGS;
                let bytes = if to_server { openings.to_server } else { openings.to_client };
                if bytes.contains(byte) {
                    set = set.with(AppId::new($id));
                }
            })*
            set
        }

        /// A parser's state, of any application.
        #[derive(Default)]
        #[allow(clippy::large_enum_variant, reason = "sessions are allocated at the start, in one size")]
        pub(crate) enum Parser {
            /// No application: consumes nothing.
            #[default]
            None,
            $($type($type),)*
            /// Does as a test says.
            #[cfg(test)]
            Scripted(fn(&[u8]) -> Step),
        }

        impl Parser {
            /// A fresh parser.
            pub(crate) fn open(app: AppId, transport: Transport, blocks: &mut Blocks) -> Self {
                match app.number() {
                    $($id => Self::$type($type::open(transport, blocks)),)*
                    _ => Self::None,
                }
            }

            /// See [`Application::close`]; nothing is left behind.
            pub(crate) fn close(&mut self, blocks: &mut Blocks) {
                match self {
                    Self::None => {}
                    $(Self::$type(parser) => parser.close(blocks),)*
                    #[cfg(test)]
                    Self::Scripted(_) => {}
                }
                *self = Self::None;
            }

            /// See [`Application::parse`].
            pub(crate) fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
                match self {
                    Self::None => Step::Done,
                    $(Self::$type(parser) => parser.parse(direction, input, sink),)*
                    #[cfg(test)]
                    Self::Scripted(script) => script(input),
                }
            }

            /// See [`Application::overflow`].
            pub(crate) fn overflow(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
                match self {
                    Self::None => Step::Done,
                    $(Self::$type(parser) => parser.overflow(direction, input, sink),)*
                    #[cfg(test)]
                    Self::Scripted(script) => script(input),
                }
            }

            /// See [`Application::gap`].
            pub(crate) fn gap(&mut self, direction: Direction, length: u64) -> bool {
                match self {
                    Self::None => false,
                    $(Self::$type(parser) => parser.gap(direction, length),)*
                    #[cfg(test)]
                    Self::Scripted(_) => true,
                }
            }

            /// See [`Application::rest_in`].
            pub(crate) fn rest_in(&self, direction: Direction) -> Option<u64> {
                match self {
                    Self::None => None,
                    $(Self::$type(parser) => parser.rest_in(direction),)*
                    #[cfg(test)]
                    Self::Scripted(_) => None,
                }
            }

            /// See [`Application::resume`].
            pub(crate) fn resume(&mut self, at_rest: [bool; 2]) -> bool {
                match self {
                    Self::None => false,
                    $(Self::$type(parser) => parser.resume(at_rest),)*
                    #[cfg(test)]
                    Self::Scripted(_) => false,
                }
            }
        }

        /// Asks one application what it says of the first bytes.
        pub fn probe(app: AppId, input: &ProbeInput<'_>) -> Probe {
            match app.number() {
                $($id => $type::probe(input),)*
                _ => Probe::NotMine,
            }
        }
    };
}
