//! Built databases on disk, so that a restart does not build them again.
//!
//! A file is named by what it was built from: every expression, its flags, the version of the library
//! and the processor's abilities. It ends with a checksum; one that is damaged, or is another's, is
//! built anew. Files are written beside and renamed: a reader never sees half of one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::database::{Built, Job};

/// First bytes of a file; the number counts changes of the form.
const MAGIC: &[u8; 8] = b"WEIRSIG1";
/// Bytes of a checksum.
const SUM: usize = 32;

/// What the databases of these jobs depend on.
pub(crate) fn key(jobs: &[Job]) -> [u8; SUM] {
    let mut sum = Sha256::new();
    sum.update(MAGIC);
    sum.update(hyperscan::version_str().to_bytes());
    sum.update(processor());
    for job in jobs {
        let (kind, sources) = match job {
            Job::Block(sources) => (0_u8, sources.as_slice()),
            Job::Stream(sources) => (1, sources.as_slice()),
            Job::Single(source) => (2, &[(0, source.clone())][..]),
        };
        sum.update([kind]);
        sum.update((sources.len() as u64).to_le_bytes());
        for (id, source) in sources {
            sum.update(id.to_le_bytes());
            sum.update(source.flags.to_le_bytes());
            sum.update((source.expression.len() as u64).to_le_bytes());
            sum.update(&source.expression);
        }
    }
    sum.finalize().into()
}

/// The processor's abilities that the library builds for.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        format!(
            "x86_64 {} {} {}",
            is_x86_feature_detected!("avx2"),
            is_x86_feature_detected!("avx512bw"),
            is_x86_feature_detected!("avx512vbmi"),
        )
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH.to_owned()
    }
}

fn file_of(folder: &Path, key: &[u8; SUM]) -> PathBuf {
    let name: String = key[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(format!("{name}.hsdb"))
}

/// What was built before of these jobs; None where there is nothing that can be trusted.
pub(crate) fn load(folder: &Path, key: &[u8; SUM], jobs: usize) -> Option<Vec<Built>> {
    let bytes = fs::read(file_of(folder, key)).ok()?;
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM)?)?;
    if Sha256::digest(content).as_slice() != sum {
        return None;
    }
    let mut rest = content.strip_prefix(MAGIC)?.strip_prefix(key)?;
    let mut built = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        built.push(Built {
            approximate: number(&mut rest)? != 0,
            left_out: (0..number(&mut rest)?)
                .map(|_| number(&mut rest))
                .collect::<Option<_>>()?,
            why: String::from_utf8(part(&mut rest)?.to_vec()).ok()?,
            bytes: part(&mut rest)?.to_vec(),
        });
    }
    rest.is_empty().then_some(built)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    Some(u32::from_le_bytes(*bytes))
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)? as usize;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

/// Keeps what was built.
pub(crate) fn store(folder: &Path, key: &[u8; SUM], built: &[Built]) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(key);
    for one in built {
        bytes.extend(u32::from(one.approximate).to_le_bytes());
        bytes.extend((one.left_out.len() as u32).to_le_bytes());
        bytes.extend(one.left_out.iter().flat_map(|id| id.to_le_bytes()));
        for part in [one.why.as_bytes(), &one.bytes] {
            bytes.extend((part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    fs::create_dir_all(folder)?;
    let file = file_of(folder, key);
    let beside = file.with_extension(format!("{}.part", std::process::id()));
    let written = fs::File::create(&beside)
        .and_then(|mut out| out.write_all(&bytes).and_then(|()| out.sync_all()))
        .and_then(|()| fs::rename(&beside, &file));
    if written.is_err() {
        // Best effort: what is left behind is only space.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::super::expression::Source;
    use super::*;

    #[test]
    fn what_was_stored_is_read_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = [Job::Single(Source::literal(b"abc", false))];
        let key = key(&jobs);
        assert_eq!(load(folder.path(), &key, 1), None);
        let built = vec![Built {
            left_out: vec![7],
            approximate: true,
            bytes: vec![1, 2, 3],
            why: "because".into(),
        }];
        store(folder.path(), &key, &built).unwrap();
        assert_eq!(load(folder.path(), &key, 1), Some(built));
        assert_eq!(load(folder.path(), &key, 2), None);
        let file = file_of(folder.path(), &key);
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&file, &damaged).unwrap();
            assert_eq!(load(folder.path(), &key, 1), None, "byte {at}");
            fs::write(&file, &whole[..at]).unwrap();
            assert_eq!(load(folder.path(), &key, 1), None, "cut at {at}");
        }
    }

    #[test]
    fn the_key_depends_on_everything() {
        let single = |text: &[u8], nocase| key(&[Job::Single(Source::literal(text, nocase))]);
        assert_ne!(single(b"a", false), single(b"a", true));
        assert_ne!(single(b"a", false), single(b"b", false));
        let set = vec![(1, Source::literal(b"a", false))];
        assert_ne!(key(&[Job::Block(set.clone())]), key(&[Job::Stream(set)]));
    }
}
