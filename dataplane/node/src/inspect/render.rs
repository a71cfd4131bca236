//! How `inspect` prints.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, StdoutLock, Write};

use comfy_table::{Table, presets::NOTHING};

use super::capture::CaptureReport;
use super::flow_line::FlowLine;
use crate::agent::Described;
use crate::eve::eve;

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: flows of one capture, a line each for several.
    Table,
    /// One object per capture.
    Json,
    /// One EVE object per event.
    Eve,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Captures and events.
    Of(Format),
    /// One JSON line per flow.
    Flows,
    /// One JSON line per threat found.
    Threats,
}

/// Prints to standard output.
pub struct Printer {
    form: Form,
    several: bool,
    out: BufWriter<StdoutLock<'static>>,
    summary: Table,
    broken: io::Result<()>,
}

impl Printer {
    /// For so many captures.
    pub fn new(form: Form, captures: usize) -> Self {
        let mut summary = Table::new();
        summary.load_style(NOTHING).set_header([
            "CAPTURE",
            "PACKETS",
            "FORWARDED",
            "DROPPED",
            "FLOWS",
            "APPLICATIONS",
            "REMARK",
        ]);
        Self {
            form,
            several: captures > 1,
            out: BufWriter::new(io::stdout().lock()),
            summary,
            broken: Ok(()),
        }
    }

    /// An event, as it happens.
    pub fn event(&mut self, described: &Described) {
        if self.form == Form::Of(Format::Eve) && self.broken.is_ok() {
            self.broken = writeln!(self.out, "{}", eve(described));
        }
    }

    /// A capture, when it is read.
    pub fn capture(&mut self, report: &CaptureReport) -> anyhow::Result<()> {
        match self.form {
            Form::Flows => {
                for flow in &report.flows {
                    let line = FlowLine::of(&report.capture, flow);
                    writeln!(self.out, "{}", serde_json::to_string(&line)?)?;
                }
            }
            Form::Threats => {
                for line in &report.threats {
                    writeln!(self.out, "{}", serde_json::to_string(line)?)?;
                }
            }
            Form::Of(Format::Eve) => {}
            Form::Of(Format::Json) => writeln!(self.out, "{}", serde_json::to_string(report)?)?,
            Form::Of(Format::Table) if self.several => {
                self.summary.add_row(summary_row(report));
            }
            Form::Of(Format::Table) => {
                writeln!(self.out, "{}", flow_table(report))?;
                writeln!(self.out, "\n{}", totals(report))?;
            }
        }
        if let Some(error) = &report.error {
            eprintln!("error: {error}");
        }
        Ok(())
    }

    /// The end.
    pub fn finish(mut self) -> anyhow::Result<()> {
        if self.form == Form::Of(Format::Table) && self.several {
            writeln!(self.out, "{}", self.summary)?;
        }
        self.broken?;
        Ok(self.out.flush()?)
    }
}

fn flow_table(report: &CaptureReport) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "CLIENT",
        "SERVER",
        "PROTO",
        "APPLICATION",
        "CONFIDENCE",
        "PACKETS",
        "BYTES",
        "RULE",
        "MODE",
        "WIRE",
        "DECIDER",
    ]);
    for flow in &report.flows {
        let end = |name: &str, address: &str, port: u32| {
            let place = if address.contains(':') {
                format!("[{address}]:{port}")
            } else {
                format!("{address}:{port}")
            };
            if name == "unknown" {
                place
            } else {
                format!("{name} {place}")
            }
        };
        let application = match flow.began_as {
            Some(began_as) => format!("{} (began as {began_as})", flow.app),
            None => flow.app.clone(),
        };
        table.add_row([
            end(&flow.client, &flow.src_ip, flow.src_port),
            end(&flow.server, &flow.dst_ip, flow.dst_port),
            flow.proto.clone(),
            application,
            flow.confidence.clone(),
            flow.packets.to_string(),
            flow.bytes.to_string(),
            flow.rule_action.clone(),
            flow.mode.clone(),
            flow.wire_action.clone(),
            flow.decider.clone(),
        ]);
    }
    table
}

fn totals(report: &CaptureReport) -> String {
    let by_reason = |counts: &[(&str, u64)]| {
        counts
            .iter()
            .map(|(name, count)| format!(" {name}={count}"))
            .collect::<String>()
    };
    let inside = match report.inside {
        0 => String::new(),
        count => format!(" and {count} within tunnels"),
    };
    let mut lines = format!(
        "{} packets{inside}: {} forwarded, {} dropped{}",
        report.packets,
        report.forwarded,
        report.dropped.iter().map(|(_, count)| count).sum::<u64>(),
        by_reason(&report.dropped)
    );
    if !report.spared.is_empty() {
        lines += &format!(
            "\nwould have been dropped in protect:{}",
            by_reason(&report.spared)
        );
    }
    for line in &report.threats {
        lines += &format!(
            "\nthreat: {} {}:{} -> {}:{}",
            line.threat, line.src_ip, line.src_port, line.dst_ip, line.dst_port
        );
    }
    for alert in &report.alerts {
        lines += &format!("\nalert: {alert}");
    }
    lines
}

fn summary_row(report: &CaptureReport) -> [String; 7] {
    let mut applications = BTreeMap::<&str, usize>::new();
    for flow in &report.flows {
        *applications
            .entry(if flow.app.is_empty() { "-" } else { &flow.app })
            .or_default() += 1;
    }
    let applications: Vec<String> = applications
        .iter()
        .map(|(name, count)| format!("{name}={count}"))
        .collect();
    [
        report.capture.clone(),
        report.packets.to_string(),
        report.forwarded.to_string(),
        report
            .dropped
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>()
            .to_string(),
        report.flows.len().to_string(),
        applications.join(" "),
        report.error.clone().unwrap_or_default(),
    ]
}
