//! The written list of what differs: `scenario step path  # why`, the step of a watch as `watch:ID`, a
//! whole scenario as `scenario * *`. A path after `-` covers only what the real server has and this one has not.

use crate::replay::Found;

#[derive(Debug)]
struct Line {
    scenario: String,
    step: String,
    path: String,
    only_missing: bool,
    text: String,
    needed: bool,
}

/// The list.
#[derive(Debug)]
pub struct Differences(Vec<Line>);

impl Differences {
    /// Reads the list of this crate.
    pub fn read() -> Differences {
        let lines = include_str!("differences.txt")
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        Differences(lines.map(read_line).collect())
    }

    /// Whether a scenario is not judged at all.
    pub fn is_left_out(&self, scenario: &str) -> bool {
        self.0
            .iter()
            .any(|line| line.scenario == scenario && line.step == "*")
    }

    /// What was found that is not on the list.
    pub fn unwritten(&mut self, scenario: &str, found: &[Found]) -> Vec<String> {
        let mut unwritten = Vec::new();
        for one in found {
            let line = self.0.iter_mut().find(|line| {
                line.scenario == scenario
                    && line.step == one.step
                    && one.path.starts_with(&line.path)
                    && (!line.only_missing || one.what.starts_with("only recorded"))
            });
            match line {
                Some(line) => line.needed = true,
                None => unwritten.push(format!(
                    "{scenario} {} {}: {}",
                    one.step, one.path, one.what
                )),
            }
        }
        unwritten
    }

    /// Lines of a scenario that nothing found needs.
    pub fn unneeded(&self, scenario: &str) -> Vec<String> {
        let lines = self
            .0
            .iter()
            .filter(|line| line.scenario == scenario && !line.needed);
        lines
            .map(|line| {
                format!(
                    "differences.txt has a line that nothing needs any more: {}",
                    line.text
                )
            })
            .collect()
    }
}

fn read_line(text: &str) -> Line {
    let (place, why) = text
        .split_once('#')
        .unwrap_or_else(|| panic!("differences.txt: no reason in {text:?}"));
    assert!(
        why.trim().len() > 10,
        "differences.txt: no reason in {text:?}"
    );
    let words: Vec<&str> = place.split_whitespace().collect();
    let [scenario, step, path] = words[..] else {
        panic!("differences.txt: not `scenario step path`: {text:?}")
    };
    Line {
        scenario: scenario.to_owned(),
        step: step.to_owned(),
        path: path.trim_start_matches('-').to_owned(),
        only_missing: path.starts_with('-'),
        text: text.to_owned(),
        needed: false,
    }
}
