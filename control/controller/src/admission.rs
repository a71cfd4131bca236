//! The admission webhook, run by the controller: what it knows, and where its certificate is kept.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use weir_admission::authority::{Keys, service_names};
use weir_admission::cluster::{Secret, publish, reports};
use weir_admission::keeper::{INTERVAL, Keeper, Place, unix_secs};
use weir_admission::{Claim, Image, Judgement, Knowledge, Reports, Summary, server};
use weir_compile::compile;
use weir_model::{AdmissionSettings, Document, Kind, Located, Problem};

use crate::guardrails::Gate;
use crate::source::Source;
use crate::state::State;

/// What of its work a problem is about.
const PART: &str = "the admission webhook";
/// The service by which the API server calls.
const SERVICE: &str = "weir-controller";
/// The Secret that keeps the certificate.
const SECRET: &str = "weir-webhook";
/// Weir's own namespace where the source knows of none.
const NAMESPACE: &str = "weir-system";
/// With more documents than these a change is compiled beside those alone that can collide with it.
const WHOLE_DOCUMENTS_MAX: usize = 2_000;
/// How often vulnerability reports are read.
const REPORTS_INTERVAL: Duration = Duration::from_secs(60);

/// How the webhook is run.
#[derive(Clone, Debug)]
pub struct AdmissionConfig {
    /// Where the API server asks.
    pub listen: SocketAddr,
    /// Names and addresses for the certificate besides those of the service.
    pub names: Vec<String>,
    /// The ValidatingWebhookConfiguration whose `caBundle` is written.
    pub configuration: String,
}

/// What the controller knows.
struct Known {
    state: Arc<State>,
    reports: Arc<Mutex<Arc<Reports>>>,
    namespace: String,
}

/// Starts the webhook; its tasks end with the controller.
pub async fn start(
    state: Arc<State>,
    directory: PathBuf,
    config: AdmissionConfig,
) -> std::io::Result<(SocketAddr, Vec<JoinHandle<()>>)> {
    let listener = TcpListener::bind(config.listen).await?;
    let listen = listener.local_addr()?;
    let (place, namespace) = match &state.source {
        Source::Kubernetes(source) => {
            let namespace = source.namespace().to_owned();
            let secret = Secret::new(source.client(), &namespace, SECRET);
            (Place::Secret(Box::new(secret)), namespace)
        }
        Source::Files(_) => (
            Place::Directory(directory.join("webhook")),
            NAMESPACE.to_owned(),
        ),
    };
    let mut names = service_names(&namespace, SERVICE);
    names.extend(config.names.iter().cloned());
    let keeper = Keeper::new(place, names);
    let known = Known {
        state: state.clone(),
        reports: Arc::default(),
        namespace,
    };
    let reports = known.reports.clone();
    let served = keeper.served();
    info!(%listen, "listening for admission reviews");
    let serving = state.clone();
    let serve = async move {
        let mut stopping = serving.stopping();
        let stop = async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        if let Err(error) = server::serve(listener, served, Arc::new(known), stop).await {
            warn!("the webhook cannot serve: {error}");
        }
    };
    let tasks = vec![
        tokio::spawn(serve),
        tokio::spawn(keep(state.clone(), keeper, config.configuration)),
        tokio::spawn(read_reports(state, reports)),
    ];
    Ok((listen, tasks))
}

/// Renews the certificate and lets the API server know whom to believe.
async fn keep(state: Arc<State>, keeper: Keeper, configuration: String) {
    let mut stopping = state.stopping();
    loop {
        let kept = match keeper.tick(unix_secs(SystemTime::now())).await {
            Ok(keys) => publish_to(&state, &configuration, &keys).await,
            Err(error) => Err(error.to_string()),
        };
        let problem = kept.err().map(|why| unkept(&keeper, &why));
        state.cluster.set_problem(PART, problem);
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// What it means that the certificate cannot be renewed, or its authority not be told.
fn unkept(keeper: &Keeper, why: &str) -> Problem {
    let ends = keeper.served().keys().and_then(|keys| keys.ends());
    let until = match ends {
        Some(ends) => {
            let ends = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + ends);
            format!("the certificate in use ends at {ends}")
        }
        None => "it has no certificate".to_owned(),
    };
    let next = "until then the API server asks nobody about what it is given (failurePolicy Ignore) \
                or refuses it (Fail); what guardrails refuse is refused here all the same";
    Problem::of_file("webhook", format!("{why} ({until})"), next)
}

async fn publish_to(state: &State, configuration: &str, keys: &Keys) -> Result<(), String> {
    let Source::Kubernetes(source) = &state.source else {
        return Ok(());
    };
    let published = publish(source.client(), configuration, &keys.authorities).await;
    if published.map_err(|error| error.to_string())? {
        info!(configuration, "the API server is told whom to believe");
    }
    Ok(())
}

async fn read_reports(state: Arc<State>, known: Arc<Mutex<Arc<Reports>>>) {
    let Source::Kubernetes(source) = &state.source else {
        return;
    };
    let mut stopping = state.stopping();
    let mut told = String::new();
    loop {
        let wanted = settings(&state).images.and_then(|it| it.vulnerabilities);
        if wanted.is_some() {
            let problem = match reports(source.client()).await {
                Ok(read) => {
                    *crate::lock(&known) = Arc::new(read);
                    String::new()
                }
                Err(error) => error.to_string(),
            };
            if !problem.is_empty() && problem != told {
                warn!("{problem}");
            }
            told = problem;
        }
        tokio::select! {
            () = tokio::time::sleep(REPORTS_INTERVAL) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

impl Knowledge for Known {
    fn reviewed(&self, what: &'static str, verdict: &'static str, took: Duration) {
        self.state.meters.reviewed(what, verdict, took);
    }

    fn judge(&self, old: Option<&Located<Document>>, new: Option<&Located<Document>>) -> Judgement {
        let documents = self.state.pipeline.documents();
        let each = documents.iter().map(|it| &**it);
        let (guardrails, _) = self.state.guardrails.guardrails(each);
        let mut judgement = Gate::judge(&guardrails, &documents[..], old, new);
        if let Some(new) = new {
            let (problems, warnings) = compiled(&documents, new);
            judgement.invalid.extend(problems);
            judgement.warnings.extend(warnings);
        }
        judgement.warnings.extend(weakened(&documents, old, new));
        judgement
    }

    fn settings(&self) -> AdmissionSettings {
        settings(&self.state)
    }

    fn has_allowlist(&self, namespace: &str) -> Option<bool> {
        let pipeline = &self.state.pipeline;
        if pipeline.version() == 0 {
            return None;
        }
        let all = || !pipeline.documents_of(Kind::ClusterAllowlist).is_empty();
        let mut own = pipeline.documents_of(Kind::Allowlist).into_iter();
        let is_here = |it: Arc<Located<Document>>| it.value.metadata().namespace == namespace;
        Some(own.any(is_here) || all())
    }

    fn external_claims(&self, service: &Value) -> Vec<Claim> {
        let Source::Kubernetes(source) = &self.state.source else {
            return Vec::new();
        };
        let Some(service) = weir_kubernetes::service_of(service) else {
            return Vec::new();
        };
        let claim = |claim: weir_kubernetes::Claim| Claim {
            field: match claim.field {
                weir_kubernetes::ClaimField::External => "spec.externalIPs",
                weir_kubernetes::ClaimField::Balancer => "status.loadBalancer.ingress",
            }
            .to_owned(),
            message: format!("{claim} (CVE-2020-8554)"),
            next_step: claim.next_step().to_owned(),
        };
        source.claims_of(&service).into_iter().map(claim).collect()
    }

    fn vulnerabilities(&self, image: &Image) -> Option<Summary> {
        let reports = crate::lock(&self.reports).clone();
        reports.find(image).cloned()
    }

    fn own_namespace(&self) -> &str {
        &self.namespace
    }
}

/// What a change of a document opens that stood closed; a new document is not held to what was not there.
fn weakened(
    documents: &[Arc<Located<Document>>],
    old: Option<&Located<Document>>,
    new: Option<&Located<Document>>,
) -> Vec<Problem> {
    let (Some(old), Some(about)) = (old, new.or(old)) else {
        return Vec::new();
    };
    // What Settings say of unknown addresses decides what an allowlist opens.
    let settings = documents.iter().map(|it| &it.value);
    let beside = settings.filter(|it| it.kind() == Kind::Settings && it.kind() != old.value.kind());
    let with = |one: Option<&Located<Document>>| -> Vec<Document> {
        let one = one.map(|it| it.value.clone());
        beside.clone().cloned().chain(one).collect()
    };
    let found = weir_bundle::weakening(&with(Some(old)), &with(new));
    let problem = |it: weir_bundle::Weakening| {
        let field = match it.field.as_str() {
            "" => String::new(),
            field => format!("spec.{field}"),
        };
        about.problem(&field, format!("this weakens policy: {it}"), "")
    };
    found.into_iter().map(problem).collect()
}

fn settings(state: &State) -> AdmissionSettings {
    let documents = state.pipeline.documents_of(Kind::Settings);
    let settings = documents.iter().find_map(|it| match &it.value {
        Document::Settings(settings) => settings.spec.admission.clone(),
        _ => None,
    });
    settings.unwrap_or_default()
}

/// What compiling the document beside the others comes to: problems, and what is told of it.
fn compiled(
    documents: &[Arc<Located<Document>>],
    new: &Located<Document>,
) -> (Vec<Problem>, Vec<Problem>) {
    let key = |it: &Document| (it.kind(), it.metadata().full_name());
    let own = key(&new.value);
    let whole = documents.len() <= WHOLE_DOCUMENTS_MAX;
    // Allowlists and modes collide with nothing; documents of which there can be one, or that share
    // names and addresses, do with their kind.
    let collides = |kind: Kind| {
        kind == own.0
            && !matches!(
                kind,
                Kind::Allowlist | Kind::ClusterAllowlist | Kind::Mode | Kind::LearnedProfile
            )
    };
    let beside = documents
        .iter()
        .filter(|it| key(&it.value) != own && (whole || collides(it.value.kind())));
    let mut set: Vec<Located<Document>> = beside.map(|it| (**it).clone()).collect();
    set.push(new.clone());
    let compiled = compile(&set, None);
    if !compiled.problems.is_empty() {
        return (compiled.problems, Vec::new());
    }
    let about = |it: &Problem| whole && it.file == new.file;
    let warnings = compiled.warnings.into_iter().filter(about).collect();
    (Vec::new(), warnings)
}
