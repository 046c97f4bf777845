//! `handfast doctor`: what this host and NIC can do, and what mends each lack.

use super::{Outcome, columns, print_json, say};
use crate::doctor::{Finding, State, examine};
use comfy_table::{ContentArrangement, Table, presets};
use std::process::ExitCode;

/// Flags of `handfast doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An interface with neither an XDP program nor an AF_XDP socket is tried: each queue is bound and let go again, for which a NIC may \
reset its link. The host's own traffic does not count as use: do not name the NIC that your ssh comes in on.

Exit codes:
  0    all works, though it may be slower than it could
  1    something does not work
  2    bad input, or the output was lost

Examples:
  handfast doctor
  handfast doctor --interface eth1")]
pub struct Args {
    /// Interface to look at; without it only the host is
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Report {
    /// Whether nothing was found that does not work.
    works: bool,
    findings: Vec<Finding>,
}

/// Runs it.
pub fn run(args: Args) -> Outcome {
    let findings = examine(args.interface.as_deref());
    let report = Report { works: findings.iter().all(|finding| finding.state != State::Bad), findings };
    if args.json {
        print_json(&report)?;
    } else {
        say(&page(&report, columns()))?;
    }
    Ok(if report.works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn page(report: &Report, columns: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "looked at", "found"]);
    // On a terminal long findings are broken to its width; in a pipe each keeps its line. Commands below stay whole anyhow.
    if let Some(columns) = columns {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
    for finding in &report.findings {
        table.add_row([mark(finding.state), &finding.topic, &finding.found]);
    }
    let mut page = format!("{}\n", table.trim_fmt());
    for finding in &report.findings {
        if let Some(cure) = &finding.cure {
            page.push_str(&format!("{} {}: {cure}\n", mark(finding.state), finding.topic));
        }
    }
    page
}

const fn mark(state: State) -> &'static str {
    match state {
        State::Good => "good",
        State::Warn => "warn",
        State::Bad => "BAD",
        State::Unknown => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lack_is_shown_with_its_cure() {
        let cure = Some("`ulimit -l unlimited`".to_string());
        let lack = Finding { topic: "locked memory".into(), state: State::Bad, found: "8 MiB".into(), cure };
        let report = Report { works: false, findings: vec![lack] };
        let page = page(&report, None);
        assert!(page.contains("BAD locked memory: `ulimit -l unlimited`\n") && page.contains("8 MiB"), "{page}");
    }

    #[test]
    fn findings_are_broken_between_words_to_the_width_of_a_terminal() {
        let found = "more words than there is room for in one line of a narrow terminal".to_string();
        let finding = Finding { topic: "words".into(), state: State::Good, found: found.clone(), cure: None };
        let report = Report { works: true, findings: vec![finding] };
        assert!(page(&report, None).contains(&found));
        let page = page(&report, Some(40));
        assert!(page.lines().all(|line| line.chars().count() <= 40), "{page}");
        assert!(page.split_whitespace().collect::<Vec<_>>().join(" ").ends_with(&found), "{page}");
    }
}
