//! `weir policy`: the documents of the controller.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::Client;
use crate::command::status::ProblemView;
use crate::documents;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};

#[derive(Serialize)]
struct Policies {
    policies: Vec<PolicyView>,
}

#[derive(Serialize)]
struct PolicyView {
    kind: String,
    namespace: String,
    name: String,
    targets: String,
    rules: u32,
    hits: u64,
    state: String,
    stage: String,
    would_allow: u64,
    would_deny: u64,
    file: String,
}

#[derive(Serialize)]
struct Applied {
    accepted: bool,
    dry_run: bool,
    policy_version: u64,
    changed: Vec<String>,
    changes: Vec<ChangeView>,
    problems: Vec<ProblemView>,
}

#[derive(Serialize)]
struct ChangeView {
    change: String,
    rule: String,
    weakens: bool,
}

#[derive(Serialize)]
struct Exported {
    files: Vec<FileView>,
}

#[derive(Serialize)]
struct FileView {
    name: String,
    content: String,
}

impl View for Policies {
    fn table(&self, page: &mut Page) {
        let row = |policy: &PolicyView| {
            let PolicyView {
                kind,
                namespace,
                name,
                targets,
                rules,
                hits,
                state,
                would_allow,
                would_deny,
                file,
                ..
            } = policy;
            let allowlist = kind == "Allowlist" || kind == "ClusterAllowlist";
            let stands = match (state.as_str(), policy.stage.as_str()) {
                ("draft", _) => {
                    format!("draft: would allow {would_allow}, deny {would_deny}")
                }
                (state, "") => state.to_owned(),
                (state, stage) => format!("{state} ({stage})"),
            };
            let count = |number: String| if allowlist { number } else { String::new() };
            let tone = if ["enforced", "draft"].contains(&state.as_str()) {
                Tone::Plain
            } else {
                Tone::Warning
            };
            let cells = vec![
                kind.clone(),
                format!("{namespace}/{name}"),
                targets.clone(),
                count(rules.to_string()),
                count(hits.to_string()),
                stands,
                file.clone(),
            ];
            (tone, cells)
        };
        let headers = ["kind", "name", "targets", "rules", "hits", "state", "file"];
        page.columns(
            &headers,
            self.policies.iter().map(row).collect(),
            "no documents",
        );
    }
}

impl View for Applied {
    fn table(&self, page: &mut Page) {
        for problem in &self.problems {
            problem.print(page);
        }
        if !self.accepted {
            page.toned(Tone::Bad, "nothing was changed");
            return;
        }
        for change in &self.changes {
            let sign = match change.change.as_str() {
                "added" => "+",
                "removed" => "-",
                _ => "~",
            };
            let (tone, note) = if change.weakens {
                (Tone::Warning, "  (opens)")
            } else {
                (Tone::Plain, "")
            };
            page.toned(tone, &format!("{sign} {}{note}", change.rule));
        }
        let documents = match self.changed.as_slice() {
            [] => "no document differs".to_owned(),
            changed => changed.join(", "),
        };
        let version = self.policy_version;
        match (self.dry_run, self.changed.is_empty()) {
            (true, _) => page.line(format!("would change: {documents}")),
            (false, true) => page.line(format!("{documents}; version {version} stays")),
            (false, false) => page.line(format!(
                "applied {documents}; the policy is version {version}"
            )),
        }
    }
}

impl View for Exported {
    /// YAML as it could stand in a directory.
    fn table(&self, page: &mut Page) {
        for (index, file) in self.files.iter().enumerate() {
            if index > 0 {
                page.line("---");
            }
            page.line(format!("# {}", file.name));
            file.content.lines().for_each(|line| page.line(line));
        }
    }
}

/// Prints the documents that there are.
pub async fn list(client: &mut Client, output: &mut Output) -> Result<Answer, Failure> {
    let reply = client
        .policy_list(v1::PolicyListRequest {})
        .await?
        .into_inner();
    let view = |policy: v1::PolicyView| PolicyView {
        kind: policy.kind,
        namespace: policy.namespace,
        name: policy.name,
        targets: policy.targets,
        rules: policy.rules,
        hits: policy.hits,
        state: policy.state,
        stage: policy.stage,
        would_allow: policy.would_allow,
        would_deny: policy.would_deny,
        file: policy.file,
    };
    output.print(&Policies {
        policies: reply.policies.into_iter().map(view).collect(),
    })?;
    Ok(Answer::Yes)
}

/// Applies documents, or says what that would change.
pub async fn apply(
    client: &mut Client,
    paths: &[PathBuf],
    dry_run: bool,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let files = documents::read(paths, false)?;
    let reply = client
        .policy_apply(v1::PolicyApplyRequest { files, dry_run })
        .await?
        .into_inner();
    let change = |change: v1::PolicyChange| ChangeView {
        change: change.change,
        rule: change.rule,
        weakens: change.weakens,
    };
    let differs = dry_run && !(reply.changed.is_empty() && reply.changes.is_empty());
    let yes = reply.accepted && !differs;
    output.print(&Applied {
        accepted: reply.accepted,
        dry_run,
        policy_version: reply.policy_version,
        changed: reply.changed,
        changes: reply.changes.into_iter().map(change).collect(),
        problems: reply.problems.into_iter().map(ProblemView::of).collect(),
    })?;
    Ok(if yes { Answer::Yes } else { Answer::No })
}

/// Prints or writes the documents.
pub async fn export(
    client: &mut Client,
    learned: bool,
    directory: Option<PathBuf>,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let files = files(client, learned).await?;
    if let Some(directory) = directory {
        for path in write_all(&directory, &files)? {
            output.print_text(&format!("{}\n", path.display()))?;
        }
        return Ok(Answer::Yes);
    }
    let view = |file: v1::PolicyFile| FileView {
        name: file.name,
        content: file.content,
    };
    output.print(&Exported {
        files: files.into_iter().map(view).collect(),
    })?;
    Ok(Answer::Yes)
}

/// The documents of the controller, as files.
pub async fn files(client: &mut Client, learned: bool) -> Result<Vec<v1::PolicyFile>, Failure> {
    let request = v1::PolicyExportRequest { learned };
    let files = client.policy_export(request).await?.into_inner().files;
    if learned && files.is_empty() {
        return Err(Failure::Failed(
            "nothing was accepted yet; look at weir learn review, then weir learn accept"
                .to_owned(),
        ));
    }
    Ok(files)
}

/// Writes new files, none where one of them stands already. Only the last part of their names counts:
/// the controller's paths are not this machine's.
fn write_all(directory: &Path, files: &[v1::PolicyFile]) -> Result<Vec<PathBuf>, Failure> {
    let failed = |path: &Path, error: &std::io::Error| {
        let next = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "move it away, or export into another directory",
            _ => "check the path, its permissions and the space",
        };
        Failure::Failed(format!("cannot write {}: {error}; {next}", path.display()))
    };
    let path = |file: &v1::PolicyFile| {
        let name = Path::new(&file.name).file_name();
        let name = name.ok_or_else(|| Failure::Failed(format!("{:?} is no file name", file.name)));
        name.map(|name| directory.join(name))
    };
    let paths: Vec<PathBuf> = files.iter().map(path).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    if let Some(twice) = paths.iter().find(|path| !seen.insert(*path)) {
        return Err(Failure::Failed(format!(
            "the controller has two files of the name {}; leave --directory out to have all printed",
            twice.display()
        )));
    }
    if let Some(standing) = paths.iter().find(|path| path.exists()) {
        return Err(failed(standing, &std::io::ErrorKind::AlreadyExists.into()));
    }
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
    for (path, file) in paths.iter().zip(files) {
        let mut new = std::fs::File::create_new(path).map_err(|error| failed(path, &error))?;
        std::io::Write::write_all(&mut new, file.content.as_bytes())
            .map_err(|error| failed(path, &error))?;
    }
    Ok(paths)
}
