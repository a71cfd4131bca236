//! One file per stage of the packet's way, each adding its step to [`crate::path::Path`].

mod announce;
mod decide;
mod decode;
mod defragment;
mod detect;
mod hold;
mod inside;
mod inspect;
mod reassemble;
mod record;
mod related;
mod scan;
pub(crate) mod sense;
mod settle;
pub(crate) mod short;
mod track;
