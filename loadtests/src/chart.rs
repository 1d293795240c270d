//! The ratios as a picture: a bar for each contender of each work, in SVG and without a font, script or link of its own.

use crate::contenders;
use crate::report::{BASE, ratio};
use crate::run::Report;
use crate::works::Work;
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 150.0;
const ROW: f64 = 18.0;
const TITLE: f64 = 34.0;
/// Bars beyond this are cut off and marked.
const MOST: f64 = 10.0;

/// All works that have a ratio.
pub fn svg(report: &Report, works: &[&Work]) -> String {
    let (mut body, mut y) = (String::new(), 30.0);
    for work in works {
        let bars: Vec<(&str, f64)> = contenders::ALL
            .iter()
            .filter_map(|contender| Some((contender.name, ratio(report, work, contender.name)?)))
            .collect();
        if bars.len() > 1 {
            group(&mut body, &mut y, work, &bars);
        }
    }
    let machine =
        escape(&format!("{}, {} cores, commit {}", report.machine.date, report.machine.cores, report.machine.commit));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {h:.0}\" width=\"{WIDTH}\" height=\"{h:.0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">\n<title>Ratios to {BASE}; shorter is better</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"8\" y=\"18\" fill=\"#555\">Ratios to {BASE}, shorter is better. {machine}</text>\n{body}</svg>\n",
        h = y + 10.0
    )
}

fn group(body: &mut String, y: &mut f64, work: &Work, bars: &[(&str, f64)]) {
    let longest = bars.iter().map(|(_, ratio)| ratio.min(MOST)).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 70.0) / longest;
    let _ = writeln!(
        body,
        "<text x=\"8\" y=\"{:.0}\" font-weight=\"600\">{}: {} ({})</text>",
        *y + 20.0,
        work.name,
        escape(work.what),
        work.primary
    );
    *y += TITLE;
    let top = *y;
    for (name, ratio) in bars {
        let (length, cut) = (ratio.min(MOST) * scale, if *ratio > MOST { " ›" } else { "" });
        let colour = if name.starts_with("weir") { "#0b6e99" } else { "#b8bec4" };
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"{:.0}\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{ratio:.2}{cut}</text>",
            LEFT - 8.0,
            *y + 12.0,
            *y,
            ROW - 4.0,
            LEFT + length + 6.0,
            *y + 12.0
        );
        *y += ROW;
    }
    // Where the base is.
    let x = LEFT + scale;
    let _ = writeln!(
        body,
        "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.0}\" y2=\"{:.0}\" stroke=\"#333\" stroke-dasharray=\"3 3\"/>",
        top - 3.0,
        *y
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
