//! `weir apps`: the registry, as this version has it.

use serde::Serialize;
use weir_l7::{FieldKind, Transport, registry};

use crate::Answer;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};

#[derive(Serialize)]
struct Applications {
    applications: Vec<Application>,
}

#[derive(Serialize)]
struct Application {
    name: &'static str,
    about: &'static str,
    transports: Vec<&'static str>,
    ports: Vec<u16>,
    fields: Vec<FieldView>,
}

#[derive(Serialize)]
struct FieldView {
    name: String,
    kind: &'static str,
    condition: bool,
    about: &'static str,
}

impl View for Applications {
    fn table(&self, page: &mut Page) {
        let row = |application: &Application| {
            let ports: Vec<String> = application.ports.iter().map(u16::to_string).collect();
            let conditions = application.fields.iter().filter(|field| field.condition);
            let conditions: Vec<&str> = conditions.map(|field| field.name.as_str()).collect();
            let cells = vec![
                application.name.to_owned(),
                application.transports.join(" "),
                ports.join(" "),
                conditions.join(" "),
                application.about.to_owned(),
            ];
            (Tone::Plain, cells)
        };
        let headers = [
            "application",
            "over",
            "usual ports",
            "conditions on",
            "about",
        ];
        page.columns(
            &headers,
            self.applications.iter().map(row).collect(),
            "no applications",
        );
    }
}

/// Prints the registry.
pub fn run(output: &mut Output) -> Result<Answer, Failure> {
    let mut applications: Vec<_> = registry::applications().iter().map(application).collect();
    applications.sort_by_key(|application| application.name);
    output.print(&Applications { applications })?;
    Ok(Answer::Yes)
}

fn application(info: &registry::ApplicationInfo) -> Application {
    let transport = |transport: &Transport| match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Icmp => "icmp",
    };
    let field = |field: &weir_l7::FieldSpec| FieldView {
        name: format!("{}.{}", info.name, field.name),
        kind: match field.kind {
            FieldKind::Text => "text",
            FieldKind::Number => "number",
            FieldKind::Address => "address",
        },
        condition: field.condition,
        about: field.about,
    };
    Application {
        name: info.name,
        about: info.about,
        transports: info.transports.iter().map(transport).collect(),
        ports: info.ports.to_vec(),
        fields: info.fields.iter().map(field).collect(),
    }
}
