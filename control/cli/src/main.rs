//! The operator's command: asks the controller, and tests policy without one.

mod args;
mod command;
mod documents;
mod error;
mod output;
mod plugin;
mod text;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::args::{
    Arguments, Command, Format, GuardrailCommand, LearnCommand, ModeCommand, PolicyCommand,
    SensorCommand, SigsCommand,
};
use crate::error::Failure;
use crate::output::Output;
use crate::plugin::Called;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the command found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It was done, or the answer is yes.
    Yes,
    /// The answer is no: denied, different, not accepted.
    No,
    /// Tests failed that other tools tell by exit code 2.
    TestsFailed,
}

fn main() -> ExitCode {
    let called = Called::by(std::env::args_os().next().as_deref());
    if called == Called::Completing {
        let words: Vec<String> = std::env::args().skip(1).collect();
        print!("{}", plugin::complete(&words));
        return ExitCode::SUCCESS;
    }
    let arguments = arguments(called);
    let mut output = Output::new(arguments.output);
    let answered = run(arguments, called, &mut output);
    match answered.and_then(|answer| output.finish().map(|()| answer)) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Ok(Answer::TestsFailed) => ExitCode::from(2),
        // Whoever read the output has seen enough.
        Err(Failure::PipeClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("weir: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The command line; help and mistakes name the program as it was called.
fn arguments(called: Called) -> Arguments {
    let matches = Arguments::command().bin_name(called.name()).get_matches();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn run(arguments: Arguments, called: Called, output: &mut Output) -> Result<Answer, Failure> {
    let Arguments {
        command,
        mut controller,
        cluster,
        ..
    } = arguments;
    match command {
        Command::Completions { shell } => return command::completions::run(shell),
        Command::Manual { directory } => return command::manual::run(&directory),
        Command::Crds { kinds } => return command::crds::run(&kinds),
        Command::Threats => return command::threats::run(output),
        Command::Doctor(arguments) => {
            if arguments.json {
                *output = Output::new(Format::Json);
            }
            return command::doctor::run(&arguments, output);
        }
        Command::Host { command } => return command::host::run(command, output),
        Command::Bundle { command } => return command::bundle::run(command, output),
        Command::Policy {
            command: PolicyCommand::Test { files, guardrails },
        } => {
            return command::test::run(&files, &guardrails, output);
        }
        Command::Policy {
            command:
                PolicyCommand::Import {
                    from,
                    files,
                    stage,
                    strict,
                },
        } => {
            return command::translate::from_others(from, &files, stage, strict, output);
        }
        Command::Policy {
            command:
                PolicyCommand::Export {
                    format: Some(format),
                    files,
                    strict,
                    ..
                },
        } if !files.is_empty() => {
            let files = documents::read(&files, false)?;
            return command::translate::to_others(format, &files, strict, output);
        }
        Command::Guardrail { command } => return guardrail(command, output),
        Command::Sigs { command } => {
            return match command {
                SigsCommand::Test(arguments) => command::sigs::test(&arguments, output),
                SigsCommand::Why {
                    sid,
                    files,
                    reading,
                } => command::sigs::why(sid, &files, &reading, output),
            };
        }
        Command::Sensor {
            command: SensorCommand::Test { files, value, file },
        } => return command::sensor::run(&files, value, file.as_deref(), output),
        _ => {}
    }
    let _forward = match called == Called::Plugin || cluster.is_named() {
        true => controller.through(&cluster)?,
        false => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        if matches!(command, Command::Apps) {
            return command::apps::run(controller, output).await;
        }
        let mut client = controller.connect().await?;
        match command {
            Command::Status => command::status::run(&mut client, output).await,
            Command::Flows(arguments) => command::flows::run(&mut client, arguments, output).await,
            Command::Alerts(arguments) => {
                command::alerts::run(&mut client, arguments, output).await
            }
            Command::Map { workload } => command::map::run(&mut client, workload, output).await,
            Command::Explain { flow } => command::explain::explain(&mut client, flow, output).await,
            Command::WhatIf(arguments) => {
                command::explain::what_if(&mut client, arguments, output).await
            }
            Command::Learn { command } => match command {
                LearnCommand::Review {
                    workload,
                    of,
                    above,
                    all,
                    rejected,
                } => {
                    let asked = command::learn::Asked {
                        workload: workload.or(of),
                        above,
                        all,
                        rejected,
                    };
                    command::learn::review(&mut client, asked, output).await
                }
                LearnCommand::Why { id } => command::learn_why::run(&mut client, id, output).await,
                LearnCommand::Reject { ids, reason } => {
                    command::learn::reject(&mut client, ids, reason, output).await
                }
                LearnCommand::Same { old, new } => {
                    command::learn::same(&mut client, old, new, output).await
                }
                LearnCommand::Export { directory } => {
                    command::policy::export(&mut client, true, directory, output).await
                }
                LearnCommand::Accept { ids, all, above } => {
                    command::learn::accept(&mut client, ids, all, above, output).await
                }
            },
            Command::Policy { command } => match command {
                PolicyCommand::List => command::policy::list(&mut client, output).await,
                PolicyCommand::Apply { files } => {
                    command::policy::apply(&mut client, &files, false, output).await
                }
                PolicyCommand::Impact(arguments) => {
                    command::impact::run(&mut client, arguments, output).await
                }
                PolicyCommand::Diff { files } => {
                    command::policy::apply(&mut client, &files, true, output).await
                }
                PolicyCommand::Export {
                    learned,
                    directory,
                    format: None,
                    ..
                } => command::policy::export(&mut client, learned, directory, output).await,
                PolicyCommand::Export {
                    learned,
                    format: Some(format),
                    strict,
                    ..
                } => {
                    let files = command::policy::files(&mut client, learned).await?;
                    command::translate::to_others(format, &files, strict, output)
                }
                PolicyCommand::Import { .. } => Ok(Answer::Yes),
                PolicyCommand::Test { files, guardrails } => {
                    command::test::run(&files, &guardrails, output)
                }
            },
            Command::Sensor {
                command: SensorCommand::Test { files, value, file },
            } => command::sensor::run(&files, value, file.as_deref(), output),
            Command::Mode { command } => match command {
                ModeCommand::Get { workload } => {
                    command::mode::get(&mut client, workload, output).await
                }
                ModeCommand::Set { words, all } => {
                    command::mode::set(&mut client, &words, all, output).await
                }
            },
            Command::Quarantine { command } => {
                command::quarantine::run(&mut client, command, output).await
            }
            Command::Capture { command } => {
                command::capture::run(&mut client, command, output).await
            }
            Command::Path { node } => command::path::run(&mut client, node, output).await,
            Command::Apps
            | Command::Completions { .. }
            | Command::Crds { .. }
            | Command::Manual { .. }
            | Command::Guardrail { .. }
            | Command::Sigs { .. }
            | Command::Bundle { .. }
            | Command::Doctor(_)
            | Command::Host { .. }
            | Command::Threats => Ok(Answer::Yes),
        }
    })
}

fn guardrail(command: GuardrailCommand, output: &mut Output) -> Result<Answer, Failure> {
    match command {
        GuardrailCommand::Test {
            paths,
            verbose,
            fail_on_empty,
        } => command::guardrail::test(&paths, verbose, fail_on_empty, output),
        GuardrailCommand::Check {
            files,
            guardrails,
            old,
            input: false,
        } => command::guardrail::check(&files, &guardrails, &old, output),
        GuardrailCommand::Check { files, old, .. } => {
            command::guardrail::input(&files, &old, output)
        }
        GuardrailCommand::List => command::guardrail::list(output),
        GuardrailCommand::Show { name, rego } => command::guardrail::show(&name, rego, output),
    }
}
