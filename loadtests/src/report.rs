//! The tables: for each work, medians over the rounds and the ratio to the first contender of the same rotation.

use crate::contenders;
use crate::run::{FIGURES, Figure, Report, Run};
use crate::works::Work;
use std::collections::BTreeSet;
use std::fmt::Write;

/// What the ratios are to.
pub const BASE: &str = "nginx";

/// A Markdown document of all works.
pub fn markdown(report: &Report, works: &[&Work]) -> String {
    let mut text = format!(
        "{}\n\n{} rounds of {} s, medians; ratios to {BASE} of the same rotation.\n",
        report.machine.line(),
        report.rounds,
        report.seconds
    );
    for work in works {
        table(&mut text, report, work);
    }
    text
}

fn table(text: &mut String, report: &Report, work: &Work) {
    let of_work: Vec<&Run> = report.runs.iter().filter(|run| run.work == work.name).collect();
    let used = |figure: &&Figure| of_work.iter().any(|run| run.figures.contains_key(figure.name));
    let columns: Vec<&Figure> = FIGURES.iter().filter(used).collect();
    let _ = write!(text, "\n### {}: {}\n\n| contender | {}: × {BASE} |", work.name, work.what, heading(work.primary));
    columns.iter().for_each(|column| text.extend([" ", column.heading, " |"]));
    text.push_str(" errors | accounted |\n|---|---|");
    text.push_str(&"---|".repeat(columns.len() + 2));
    text.push('\n');
    for contender in &contenders::ALL {
        if report.of(work.name, contender.name).next().is_some() {
            row(text, report, work, contender.name, &columns);
        } else if let Some(absent) =
            report.absent.iter().find(|absent| absent.work == work.name && absent.contender == contender.name)
        {
            let _ =
                writeln!(text, "| {} | missing: {} |{}", contender.name, absent.why, " |".repeat(columns.len() + 2));
        }
    }
    remarks(text, &of_work);
}

fn row(text: &mut String, report: &Report, work: &Work, contender: &str, columns: &[&Figure]) {
    let own = |figure: &str| report.median(work.name, contender, figure);
    let ratio = ratio(report, work, contender).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    let _ = write!(text, "| {contender} | {ratio} |");
    for column in columns {
        match own(column.name) {
            Some(value) => drop(write!(text, " {value:.*} |", column.digits)),
            None => text.push_str(" - |"),
        }
    }
    let runs: Vec<&Run> = report.of(work.name, contender).collect();
    let errors: u64 = runs.iter().map(|run| run.errors).sum();
    let failed = runs.iter().any(|run| !run.failures.is_empty());
    let accounted = match (failed, runs.iter().any(|run| run.accounted.is_some())) {
        (true, _) => "**failed**",
        (false, true) => "all",
        (false, false) => "-",
    };
    let _ = writeln!(text, " {errors} | {accounted} |");
}

/// The primary figure over that of the base.
pub fn ratio(report: &Report, work: &Work, contender: &str) -> Option<f64> {
    let base = report.median(work.name, BASE, work.primary).filter(|base| *base > 0.0)?;
    Some(report.median(work.name, contender, work.primary)? / base)
}

fn heading(name: &str) -> &str {
    FIGURES.iter().find(|figure| figure.name == name).map_or(name, |figure| figure.heading)
}

/// Each said once, with whom it concerns.
fn remarks(text: &mut String, runs: &[&Run]) {
    let mut said = BTreeSet::new();
    for run in runs {
        for failure in &run.failures {
            said.insert(format!("- **failed**: {}: {failure}", run.contender));
        }
        for note in &run.notes {
            said.insert(format!("- {}: round {}: {note}", run.contender, run.round + 1));
        }
    }
    if !said.is_empty() {
        text.push('\n');
        said.iter().for_each(|line| text.extend([line, "\n"]));
    }
}

/// The primary figures beside those of an earlier report, as ratios to the base of each.
pub fn compare(new: &Report, old: &Report, works: &[&Work]) -> String {
    let mut text = format!(
        "\n### Beside {} ({})\n\nRatios to {BASE}, each of its own rotation.\n\n| work | contender | then | now | change |\n|---|---|---|---|---|\n",
        old.machine.date, old.machine.commit
    );
    for work in works {
        for contender in contenders::ALL.iter().filter(|contender| contender.name != BASE) {
            let (then, now) = (ratio(old, work, contender.name), ratio(new, work, contender.name));
            if let (Some(then), Some(now)) = (then, now) {
                let change = (now / then - 1.0) * 100.0;
                let _ =
                    writeln!(text, "| {} | {} | {then:.2} | {now:.2} | {change:+.0} % |", work.name, contender.name);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::run::Absent;
    use crate::works;

    fn report(weir_us: f64) -> Report {
        let run = |contender: &str, round, us: f64| {
            let figures = [("worker_us".to_owned(), us)].into();
            Run { work: "h1".into(), contender: contender.into(), round, figures, ..Run::default() }
        };
        let runs = [10.0, 90.0, 11.0].iter().enumerate().map(|(round, us)| run("nginx", round, *us));
        let runs = runs.chain((0..3).map(|round| run("weir", round, weir_us))).collect();
        let why = "not installed".to_owned();
        let absent = vec![Absent { work: "h1".into(), contender: "haproxy".into(), why }];
        Report { machine: Machine::look(), seconds: 1, rounds: 3, runs, absent }
    }

    fn h1() -> Vec<&'static Work> {
        const H1: &Work = &works::ALL[0];
        vec![H1]
    }

    #[test]
    fn ratios_are_of_medians_and_who_is_missing_is_named() {
        let text = markdown(&report(16.5), &h1());
        assert!(text.contains("| weir | 1.50 | 16.50 | 0 | - |"), "{text}");
        assert!(text.contains("| haproxy | missing: not installed |"), "{text}");
    }

    #[test]
    fn a_failed_run_is_reported_as_one() {
        let mut report = report(16.5);
        report.runs[4].failures.push("2 events lost".into());
        assert!(!report.is_sound());
        let text = markdown(&report, &h1());
        assert!(text.contains("| **failed** |") && text.contains("weir: 2 events lost"), "{text}");
    }

    #[test]
    fn an_earlier_report_is_set_beside() {
        let text = compare(&report(22.0), &report(16.5), &h1());
        assert!(text.contains("| h1 | weir | 1.50 | 2.00 | +33 % |"), "{text}");
    }
}
