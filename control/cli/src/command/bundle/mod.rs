//! `weir bundle`: policy signed by keys that the cluster does not hold. Asks no controller.

mod arguments;
mod view;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use weir_bundle::{
    Algorithm, Bundle, FILE_BYTES_MAX, KEY_BYTES_MAX, PrivateKey, PublicKey, SignedBundle,
    VerifyError, may_be_signed, weakening,
};
use weir_model::{Document, Located, parse_documents};

pub use self::arguments::BundleCommand;
use self::arguments::{Content, KeyAlgorithm, SignArguments, VerifyArguments};
use self::view::{Changes, Header, Made, Shown, Verdict};
use crate::Answer;
use crate::documents;
use crate::error::Failure;
use crate::output::Output;

/// The name of the first bundle, where none is given.
const FIRST_NAME: &str = "policy";

/// Does what the command says.
pub fn run(command: BundleCommand, output: &mut Output) -> Result<Answer, Failure> {
    match command {
        BundleCommand::Sign(arguments) => sign(&arguments, output),
        BundleCommand::Verify(arguments) => verify(&arguments, output),
        BundleCommand::Show { bundle, documents } => show(&bundle, documents, output),
        BundleCommand::Diff { old, new } => diff(&old, &new, output),
        BundleCommand::Keygen { prefix, algorithm } => keygen(&prefix, algorithm, output),
        BundleCommand::Payload { content, out } => {
            let bundle = content.bundle(None)?;
            write(&out, &bundle.payload().map_err(failed)?)?;
            output.print(&Made::of(&bundle, &[], &out, Vec::new()))?;
            Ok(Answer::Yes)
        }
        BundleCommand::Attach {
            bundle,
            signature,
            key,
            out,
        } => attach(&bundle, &signature, &key, &out, output),
        BundleCommand::Manifest { bundle, namespace } => {
            let signed = read_bundle(&bundle)?;
            output.print_text(&view::manifest(&signed, &namespace))?;
            Ok(Answer::Yes)
        }
    }
}

fn sign(arguments: &SignArguments, output: &mut Output) -> Result<Answer, Failure> {
    let previous = match &arguments.previous {
        Some(path) => Some(read_bundle(path)?),
        // Whatever else stands there is not overwritten.
        None if arguments.out.exists() => Some(read_bundle(&arguments.out)?),
        None => None,
    };
    let previous = previous.as_ref().map(read_payload).transpose()?;
    let mut signed = match arguments.content.files.as_slice() {
        [only] if is_bundle(only) => read_bundle(only)?,
        _ => {
            let bundle = arguments.content.bundle(previous.as_ref())?;
            SignedBundle::new(bundle.payload().map_err(failed)?)
        }
    };
    let bundle = read_payload(&signed)?;
    for path in arguments.keys.iter().chain(&arguments.second_key) {
        let key = PrivateKey::from_pem(&read_text(path, KEY_BYTES_MAX)?);
        let key = key.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
        signed.sign(&key).map_err(failed)?;
    }
    let opens = match &previous {
        Some(previous) => weakening(previous.documents(), bundle.documents()),
        None => Vec::new(),
    };
    write(&arguments.out, signed.to_file().as_bytes())?;
    output.print(&Made::of(
        &bundle,
        &signed.signatures,
        &arguments.out,
        opens,
    ))?;
    Ok(Answer::Yes)
}

fn verify(arguments: &VerifyArguments, output: &mut Output) -> Result<Answer, Failure> {
    let mut signed = read_bundle(&arguments.bundle)?;
    let keys = arguments.keys.iter().map(|path| public_key(path));
    let keys: Vec<PublicKey> = keys.collect::<Result<_, _>>()?;
    if let (Some(path), Some(key)) = (&arguments.signature, keys.first())
        && !signed.attach(key, &detached(path)?)
    {
        let path = path.display();
        let problem = format!("{path} is no signature of {} over this payload", key.id());
        return refused(problem, output);
    }
    let previous = arguments.previous.as_deref().map(read_bundle).transpose()?;
    let previous = previous.as_ref().map(read_payload).transpose()?;
    let verified = match signed.verify(&keys, usize::from(arguments.threshold)) {
        Ok(verified) => verified,
        Err(error @ VerifyError::Signatures { .. }) => return refused(error.to_string(), output),
        Err(error) => return Err(failed(error)),
    };
    let bundle = &verified.bundle;
    let mut problems = Vec::new();
    if bundle
        .expires_unix_s
        .is_some_and(|expires| expires <= now_unix_s())
    {
        problems.push("it has expired; sign it again".to_owned());
    }
    let mut opens = Vec::new();
    if let Some(previous) = &previous {
        opens = weakening(previous.documents(), bundle.documents());
        if bundle.name != previous.name {
            let (name, other) = (&bundle.name, &previous.name);
            problems.push(format!(
                "it is for {name}, and the previous one for {other}"
            ));
        }
        if bundle.sequence <= previous.sequence && bundle != previous {
            let (sequence, other) = (bundle.sequence, previous.sequence);
            problems.push(format!(
                "its sequence {sequence} is not above {other}, that of the previous one"
            ));
        }
        let wanted = usize::from(arguments.weakening_threshold);
        if !opens.is_empty() && verified.signers.len() < wanted {
            problems.push(format!(
                "it opens what was shut, and {} of the {wanted} signatures that this needs are good",
                verified.signers.len()
            ));
        }
    }
    let good = problems.is_empty();
    let signers = verified.signers.iter().map(ToString::to_string).collect();
    output.print(&Verdict {
        verified: good,
        header: Some(Header::of(bundle)),
        signers,
        opens: view::lines(&opens),
        problems,
    })?;
    Ok(if good { Answer::Yes } else { Answer::No })
}

fn refused(problem: String, output: &mut Output) -> Result<Answer, Failure> {
    output.print(&Verdict {
        verified: false,
        header: None,
        signers: Vec::new(),
        opens: Vec::new(),
        problems: vec![problem],
    })?;
    Ok(Answer::No)
}

fn show(path: &Path, documents: bool, output: &mut Output) -> Result<Answer, Failure> {
    let signed = read_bundle(path)?;
    let bundle = read_payload(&signed)?;
    if documents {
        output.print_text(&weir_model::to_yaml_stream(bundle.documents()))?;
    } else {
        output.print(&Shown::of(&bundle, &signed.signatures))?;
    }
    Ok(Answer::Yes)
}

fn diff(old: &Path, new: &Path, output: &mut Output) -> Result<Answer, Failure> {
    let (old, new) = (documents_in(old)?, documents_in(new)?);
    let changes = Changes::between(&old, &new);
    let none = changes.is_empty();
    output.print(&changes)?;
    Ok(if none { Answer::Yes } else { Answer::No })
}

fn keygen(prefix: &Path, algorithm: KeyAlgorithm, output: &mut Output) -> Result<Answer, Failure> {
    let algorithm = match algorithm {
        KeyAlgorithm::Ed25519 => Algorithm::Ed25519,
        KeyAlgorithm::EcdsaP256 => Algorithm::EcdsaP256,
    };
    let made = weir_bundle::generate(algorithm).map_err(failed)?;
    let with = |suffix: &str| {
        let mut path = prefix.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    };
    let (private, public) = (with(".key"), with(".pub"));
    new_file(&private, &made.private_pem, 0o600)?;
    new_file(&public, &made.public_pem, 0o644)?;
    output.print(&view::NewPair {
        id: made.id.to_string(),
        algorithm: algorithm.name(),
        private: private.display().to_string(),
        public: public.display().to_string(),
    })?;
    Ok(Answer::Yes)
}

fn attach(
    path: &Path,
    signature: &Path,
    key: &Path,
    out: &Path,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let mut signed = read_bundle(path)?;
    let bundle = read_payload(&signed)?;
    let key = public_key(key)?;
    if !signed.attach(&key, &detached(signature)?) {
        return Err(Failure::Failed(format!(
            "{} is no signature of {} over this payload; sign the file that weir bundle payload wrote",
            signature.display(),
            key.id()
        )));
    }
    write(out, signed.to_file().as_bytes())?;
    output.print(&Made::of(&bundle, &signed.signatures, out, Vec::new()))?;
    Ok(Answer::Yes)
}

impl Content {
    /// A bundle of the documents that files hold.
    fn bundle(&self, previous: Option<&Bundle>) -> Result<Bundle, Failure> {
        let created = now_unix_s();
        let sequence = self.sequence.unwrap_or(created);
        let name = self.name.as_deref();
        let name = name.or(previous.map(|previous| previous.name.as_str()));
        if let Some(previous) = previous.filter(|previous| sequence <= previous.sequence) {
            return Err(Failure::Failed(format!(
                "the sequence {sequence} is not above {}, that of the previous bundle: no node would \
                 take it; give a higher --sequence",
                previous.sequence
            )));
        }
        let mut documents = parsed(&self.files)?;
        documents.retain(|located| {
            let kind = located.value.kind();
            weir_bundle::is_policy(kind) || (self.workloads && may_be_signed(kind))
        });
        if documents.is_empty() {
            return Err(Failure::Failed(
                "no policy is in these files; give allowlists, modes, settings or sensors"
                    .to_owned(),
            ));
        }
        let documents = documents.into_iter().map(|located| located.value).collect();
        let expires = self.expires.map(unix_s);
        let name = name.unwrap_or(FIRST_NAME);
        Bundle::new(name, sequence, created, expires, documents).map_err(failed)
    }
}

/// The documents of files, if every one can be enforced: what is signed is not refused later.
fn parsed(paths: &[PathBuf]) -> Result<Vec<Located<Document>>, Failure> {
    let (mut parsed, mut problems) = (Vec::new(), Vec::new());
    for file in documents::read(paths, false)? {
        let (found, mistakes) = parse_documents(&file.name, &file.content);
        parsed.extend(found);
        problems.extend(mistakes);
    }
    if problems.is_empty() {
        problems = weir_compile::compile(&parsed, None).problems;
    }
    if problems.is_empty() {
        return Ok(parsed);
    }
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Failure::Failed(format!(
        "nothing is signed:\n{}",
        told.join("\n")
    )))
}

/// The policy documents of a bundle, or of files.
fn documents_in(path: &Path) -> Result<Vec<Document>, Failure> {
    if is_bundle(path) {
        return Ok(read_payload(&read_bundle(path)?)?.documents().to_vec());
    }
    let documents = parsed(&[path.to_owned()])?.into_iter();
    let documents = documents.map(|located| located.value);
    Ok(documents
        .filter(|document| weir_bundle::is_policy(document.kind()))
        .collect())
}

/// Documents are no bundle, nor is a directory.
fn is_bundle(path: &Path) -> bool {
    let yaml = ["yaml", "yml"].map(|end| path.extension().is_some_and(|found| found == end));
    path != Path::new("-") && !yaml.contains(&true) && path.is_file() && read_bundle(path).is_ok()
}

fn read_bundle(path: &Path) -> Result<SignedBundle, Failure> {
    let bytes = read(path, FILE_BYTES_MAX)?;
    let signed = SignedBundle::from_file(&bytes);
    signed.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

fn read_payload(signed: &SignedBundle) -> Result<Bundle, Failure> {
    Bundle::read(&signed.payload).map_err(failed)
}

fn public_key(path: &Path) -> Result<PublicKey, Failure> {
    let key = PublicKey::from_pem(&read_text(path, KEY_BYTES_MAX)?);
    key.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

/// A signature in base64, as cosign writes it, or as it is.
fn detached(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(path, KEY_BYTES_MAX)?;
    let text: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    Ok(STANDARD.decode(text).unwrap_or(bytes))
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let wrong = |what: String| Failure::Failed(format!("{}: {what}", path.display()));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    opened
        .and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(format!("{error}; check the path and its permissions")))?;
    if bytes.len() > bytes_max {
        return Err(wrong(format!("has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

fn read_text(path: &Path, bytes_max: usize) -> Result<String, Failure> {
    let text = String::from_utf8(read(path, bytes_max)?);
    text.map_err(|_| Failure::Failed(format!("{} is no text", path.display())))
}

/// Written beside and renamed: whoever reads it meanwhile finds the old or the new one.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| unwritable(path, &error))
}

/// Never in place of another one: a key that is gone cannot be had again.
fn new_file(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let next = match error.kind() {
        std::io::ErrorKind::AlreadyExists => "move it away, or choose another name",
        _ => "check the path, its permissions and the space",
    };
    Failure::Failed(format!("cannot write {}: {error}; {next}", path.display()))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

fn now_unix_s() -> u64 {
    unix_s(SystemTime::now())
}

fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
