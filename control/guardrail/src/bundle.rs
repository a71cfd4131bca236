//! A directory in the layout of an OPA bundle: Rego files anywhere, `data.json` or `data.yaml` whose
//! content belongs below the directory's own path, and `.manifest` with the roots that all of it must lie
//! below.
//!
//! Distrusts the directory: depth, number and size of its files are bounded, links are followed no
//! deeper than that.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use weir_model::Problem;

use crate::guardrail::{Definition, Guardrail};
use crate::module::Module;

/// A bundle may have this many files.
pub const FILES_MAX: usize = 1_000;
/// All of them together may hold this much.
pub const BYTES_MAX: usize = 8 << 20;
const DEPTH_MAX: usize = 16;

/// What a bundle's directory holds.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// Its Rego files, tests among them.
    pub modules: Vec<Module>,
    /// Its data.
    pub data: Value,
    /// What the manifest calls this state; empty where it does not say.
    pub revision: String,
}

/// The fields of `.manifest` that matter here; the others are for OPA.
#[derive(Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    revision: String,
    roots: Option<Vec<String>>,
}

struct Reader {
    files: Vec<PathBuf>,
    bytes: usize,
}

impl Bundle {
    /// Reads a directory, or a single Rego file.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader {
            files: Vec::new(),
            bytes: 0,
        };
        reader.find(path, 0).map_err(|problem| vec![problem])?;
        let mut bundle = Self {
            data: Value::Object(Map::new()),
            ..Self::default()
        };
        let mut manifest = Manifest::default();
        let mut places = Vec::new();
        let mut problems = Vec::new();
        for file in std::mem::take(&mut reader.files) {
            let name = file.display().to_string();
            let text = match reader.text(&file) {
                Ok(text) => text,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let read = match file.file_name().and_then(|name| name.to_str()) {
                Some(".manifest") => json(&name, &text).map(|read| manifest = read),
                Some("data.json" | "data.yaml" | "data.yml") => {
                    let below = below(path, &file);
                    places.push((name.clone(), below.join("/")));
                    data(&name, &text).and_then(|value| {
                        merge(&mut bundle.data, &below, value).map_err(|field| {
                            let message = format!("data.{field} is given twice, differently");
                            Problem::of_file(&name, message, "keep one of the two")
                        })
                    })
                }
                _ => {
                    bundle.modules.push(Module { path: name, text });
                    Ok(())
                }
            };
            problems.extend(read.err());
        }
        bundle.revision = manifest.revision;
        if let Some(roots) = &manifest.roots {
            problems.extend(bundle.outside(roots, &places));
        }
        if problems.is_empty() {
            Ok(bundle)
        } else {
            Err(problems)
        }
    }

    /// The bundle as one guardrail, whose findings bear the names of their packages; its tests are
    /// left out.
    pub fn guardrail(self, name: &str) -> Result<Guardrail, Vec<Problem>> {
        let policy = |module: &Module| !module.path.ends_with("_test.rego");
        Guardrail::compile(Definition {
            name: name.to_owned(),
            modules: self.modules.into_iter().filter(policy).collect(),
            data: self.data,
            by_package: true,
            ..Definition::default()
        })
    }

    /// Adds another bundle's data; why not, where the two differ.
    pub(crate) fn add_data(&mut self, data: Value) -> Result<(), String> {
        if self.data.is_null() {
            self.data = Value::Object(Map::new());
        }
        join(&mut self.data, data, String::new())
            .map_err(|field| format!("data.{field} is given twice, differently"))
    }

    /// What lies outside the manifest's roots.
    fn outside(&self, roots: &[String], places: &[(String, String)]) -> Vec<Problem> {
        let within = |path: &str| {
            roots.iter().any(|root| {
                let rest = path.strip_prefix(root.trim_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || root.is_empty())
            })
        };
        let next = "add its path to roots in .manifest";
        let modules = self.modules.iter().filter_map(|module| {
            let package = package(&module.text)?;
            let outside = !within(&package.replace('.', "/"));
            outside.then(|| {
                let message = format!("package {package} lies outside the bundle's roots");
                Problem::of_file(&module.path, message, next)
            })
        });
        let data = places.iter().filter(|(_, place)| !within(place));
        let data = data.map(|(file, place)| {
            let message = format!("its data, below {place:?}, lies outside the bundle's roots");
            Problem::of_file(file, message, next)
        });
        modules.chain(data).collect()
    }
}

impl Reader {
    fn find(&mut self, path: &Path, depth: usize) -> Result<(), Problem> {
        let unreadable = |error| unreadable(path, &error);
        if !fs::metadata(path).map_err(unreadable)?.is_dir() {
            self.files.push(path.to_owned());
            if self.files.len() > FILES_MAX {
                let message =
                    format!("more than the {FILES_MAX} files of a bundle, up to this one");
                return Err(of(path, message, "name a directory of guardrails alone"));
            }
            return Ok(());
        }
        if depth > DEPTH_MAX {
            return Err(of(path, "lies too deep".to_owned(), "name it by itself"));
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            entries.push(entry.map_err(unreadable)?.path());
        }
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            let known = name.ends_with(".rego")
                || ["data.json", "data.yaml", "data.yml", ".manifest"].contains(&&*name);
            if known || (!name.starts_with('.') && entry.is_dir()) {
                self.find(&entry, depth + 1)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, path: &Path) -> Result<String, Problem> {
        let left = BYTES_MAX - self.bytes;
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(left as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| unreadable(path, &error))?;
        if bytes.len() > left {
            let message = format!("more than the {BYTES_MAX} bytes of a bundle, up to this file");
            return Err(of(path, message, "name a directory of guardrails alone"));
        }
        self.bytes += bytes.len();
        String::from_utf8(bytes)
            .map_err(|_| of(path, "is not UTF-8 text".to_owned(), "save it as UTF-8"))
    }
}

/// The directories between a bundle and its file.
fn below(bundle: &Path, file: &Path) -> Vec<String> {
    let within = file.strip_prefix(bundle).unwrap_or(Path::new(""));
    let directories = within.parent().into_iter().flat_map(Path::iter);
    directories
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

fn data(file: &str, text: &str) -> Result<Value, Problem> {
    let value: Value = if file.ends_with(".json") {
        json(file, text)?
    } else {
        serde_yaml_ng::from_str(text).map_err(|error| {
            let place = error.location();
            Problem {
                line: place.as_ref().map_or(0, |it| number(it.line())),
                column: place.as_ref().map_or(0, |it| number(it.column())),
                ..Problem::of_file(file, error.to_string(), "")
            }
        })?
    };
    if value.is_object() {
        return Ok(value);
    }
    let next = "begin it with {, or a field";
    Err(Problem::of_file(file, "data is not an object", next))
}

fn json<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| Problem {
        line: number(error.line()),
        column: number(error.column()),
        ..Problem::of_file(file, error.to_string(), "")
    })
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Puts a value below a path; the path of what is there already and differs otherwise.
fn merge(into: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    let mut into = into;
    for name in path {
        let Value::Object(fields) = into else {
            return Err(path.join("."));
        };
        into = fields
            .entry(name.clone())
            .or_insert_with(|| Value::Object(Map::new()));
    }
    join(into, value, path.join("."))
}

fn join(into: &mut Value, value: Value, path: String) -> Result<(), String> {
    match (into, value) {
        (Value::Object(fields), Value::Object(more)) => {
            for (name, value) in more {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match fields.get_mut(&name) {
                    Some(there) => join(there, value, path)?,
                    None => {
                        fields.insert(name, value);
                    }
                }
            }
            Ok(())
        }
        (into, value) if *into == value => Ok(()),
        _ => Err(path),
    }
}

/// The package that a module's text begins with.
fn package(text: &str) -> Option<&str> {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let name = line.strip_prefix("package")?.trim_start();
    name.split(|letter: char| letter.is_whitespace() || letter == '#')
        .next()
}

fn of(path: &Path, message: String, next_step: &str) -> Problem {
    Problem::of_file(&path.display().to_string(), message, next_step)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let next = "check the path and its permissions";
    of(path, format!("cannot be read: {error}"), next)
}
