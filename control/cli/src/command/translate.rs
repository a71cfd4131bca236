//! `weir policy import`, `weir policy export --format`: documents from and to the formats of others.
//!
//! What is lost stands as comments above the text, so that it goes where the text goes.

use std::path::PathBuf;

use serde::Serialize;
use weir_api::v1;
use weir_model::{Document, Stage, parse_documents};
use weir_translate::{Effect, Format, ImportOptions, Loss, export, import};

use crate::Answer;
use crate::documents;
use crate::error::Failure;
use crate::output::{Output, Page, View};

/// A text in a format, and what it does not say.
#[derive(Serialize)]
struct Translation {
    format: String,
    text: String,
    losses: Vec<LossView>,
}

#[derive(Serialize)]
struct LossView {
    object: String,
    field: String,
    effect: &'static str,
    message: String,
    #[serde(skip)]
    line: String,
}

impl View for Translation {
    fn table(&self, page: &mut Page) {
        for loss in &self.losses {
            page.line(format!("# {}", loss.line));
        }
        self.text.lines().for_each(|line| page.line(line));
    }
}

/// Reads files of a format and prints Weir's documents.
pub fn from_others(
    format: Format,
    paths: &[PathBuf],
    stage: Option<Stage>,
    strict: bool,
    output: &mut Output,
) -> Result<Answer, Failure> {
    // What one policy leaves open another may close, so all files are one text.
    let files = documents::read(paths, false)?;
    let text = joined(&files);
    let origin = match files.as_slice() {
        [file] => file.name.clone(),
        files => format!("{} files", files.len()),
    };
    let imported = import(format, &origin, &text, ImportOptions { stage });
    let imported = imported.map_err(|problems| failed(&problems))?;
    let text = weir_model::to_yaml_stream(&imported.documents);
    print(Format::Weir, text, imported.losses, strict, output)
}

/// Prints the documents of these files in a format.
pub fn to_others(
    format: Format,
    files: &[v1::PolicyFile],
    strict: bool,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let mut documents: Vec<Document> = Vec::new();
    for file in files {
        let (read, problems) = parse_documents(&file.name, &file.content);
        if !problems.is_empty() {
            return Err(failed(&problems));
        }
        documents.extend(read.into_iter().map(|located| located.value));
    }
    documents.sort_by_key(key);
    let exported = export(format, &documents);
    print(format, exported.text, exported.losses, strict, output)
}

fn print(
    format: Format,
    text: String,
    losses: Vec<Loss>,
    strict: bool,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let wider = losses.iter().any(|loss| loss.effect == Effect::Wider);
    let view = |loss: Loss| LossView {
        line: loss.to_string(),
        object: loss.object,
        field: loss.field,
        effect: loss.effect.name(),
        message: loss.message,
    };
    output.print(&Translation {
        format: format.to_string(),
        text,
        losses: losses.into_iter().map(view).collect(),
    })?;
    Ok(if strict && wider {
        Answer::No
    } else {
        Answer::Yes
    })
}

fn joined(files: &[v1::PolicyFile]) -> String {
    let texts: Vec<&str> = files.iter().map(|file| file.content.as_str()).collect();
    texts.join("\n---\n")
}

/// The order that does not depend on files.
fn key(document: &Document) -> (weir_model::Kind, String) {
    (document.kind(), document.metadata().full_name())
}

fn failed(problems: &[weir_model::Problem]) -> Failure {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::Failed(lines.join("\n"))
}
