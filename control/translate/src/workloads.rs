//! What documents tell of workloads and services, for formats that know labels only.

use std::collections::BTreeMap;

use weir_model::{Document, LabelSelector, Reference, Selector};

use crate::loss::Report;

/// The labels of workloads and what answers for services, by full name.
#[derive(Debug, Default)]
pub(crate) struct Workloads<'a> {
    labels: BTreeMap<String, &'a BTreeMap<String, String>>,
    services: BTreeMap<String, Vec<String>>,
}

/// Workloads as others select them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) labels: LabelSelector,
    pub(crate) namespaces: Within,
}

/// Where others look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// This namespace.
    One(String),
    /// Those with these labels; an empty selector is every one.
    Labelled(LabelSelector),
}

impl<'a> Workloads<'a> {
    pub(crate) fn of(documents: &'a [Document]) -> Self {
        let mut workloads = Self::default();
        for document in documents {
            match document {
                Document::Workload(workload) => {
                    let name = workload.metadata.full_name();
                    workloads.labels.insert(name, &workload.metadata.labels);
                }
                Document::Service(service) => {
                    let namespace = &service.metadata.namespace;
                    let answering = service.spec.workloads.iter();
                    let answering = answering.map(|workload| workload.resolve(namespace));
                    workloads
                        .services
                        .insert(service.metadata.full_name(), answering.collect());
                }
                _ => {}
            }
        }
        workloads
    }

    /// What a selector of a document in `own` means.
    pub(crate) fn select(
        &self,
        selector: &Selector,
        own: &str,
        field: &str,
        report: &mut Report,
    ) -> Option<Selected> {
        match selector {
            Selector::Name(name) => self.named(&name.resolve(own), field, report),
            Selector::Labels { labels, namespaces } => Some(Selected {
                labels: labels.clone(),
                namespaces: within(namespaces, own),
            }),
        }
    }

    /// What answers for a service.
    pub(crate) fn serving(
        &self,
        service: &Reference,
        own: &str,
        field: &str,
        report: &mut Report,
    ) -> Vec<Selected> {
        let name = service.resolve(own);
        let Some(answering) = self.services.get(&name) else {
            report.narrower(
                field,
                format!(
                    "what answers for service {name} is not known here; give its Service document"
                ),
            );
            return Vec::new();
        };
        let selected = answering.iter();
        selected
            .filter_map(|workload| self.named(workload, field, report))
            .collect()
    }

    /// The labels of a workload, where they are known.
    pub(crate) fn labels_of(&self, full_name: &str) -> Option<&'a BTreeMap<String, String>> {
        self.labels.get(full_name).copied()
    }

    fn named(&self, full_name: &str, field: &str, report: &mut Report) -> Option<Selected> {
        let (namespace, _) = full_name.split_once('/')?;
        let labels = self.labels_of(full_name);
        let Some(labels) = labels.filter(|labels| !labels.is_empty()) else {
            report.narrower(
                field,
                format!("the labels of workload {full_name} are not known here; give its Workload document"),
            );
            return None;
        };
        // Another workload with all of these labels is meant as well.
        let alike = self.labels.iter().find(|(name, others)| {
            name.as_str() != full_name
                && name.split_once('/').is_some_and(|(of, _)| of == namespace)
                && labels
                    .iter()
                    .all(|(key, value)| others.get(key) == Some(value))
        });
        if let Some((other, _)) = alike {
            report.wider(
                field,
                format!(
                    "workload {full_name} is selected by its labels, which {other} has as well"
                ),
            );
        }
        Some(Selected {
            labels: LabelSelector {
                match_labels: labels.clone(),
                match_expressions: Vec::new(),
            },
            namespaces: Within::One(namespace.to_owned()),
        })
    }
}

fn within(namespaces: &weir_model::Namespaces, own: &str) -> Within {
    match namespaces {
        weir_model::Namespaces::Own if own.is_empty() => Within::Labelled(LabelSelector::default()),
        weir_model::Namespaces::Own => Within::One(own.to_owned()),
        weir_model::Namespaces::Named(name) => Within::One(name.clone()),
        weir_model::Namespaces::Selected(labels) => Within::Labelled(labels.clone()),
    }
}
