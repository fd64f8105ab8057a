//! The charts of the report: each node's phases above the requests per second, on one time axis, and the distribution of latencies.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::{Phase, Run};

/// Colours that the style sheet of the page defines. A chart is drawn with numbers as placeholders, which are then replaced by these
/// variables.
const VARIABLES: [&str; 15] = [
    "ink",
    "grid",
    "ok",
    "failed",
    "arriving",
    "hook",
    "balancers",
    "drain",
    "stopping",
    "discovery",
    "line-1",
    "line-2",
    "line-3",
    "line-4",
    "line-5",
];

const WIDTH: u32 = 960;
/// The height of a node's strip, which has a lane for each phase.
const STRIP: u32 = 36;
const RATES: u32 = 180;

/// An SVG, or the text to show in its place.
type Drawing = Result<String, String>;

fn colour(name: &str) -> RGBColor {
    let place = VARIABLES.iter().position(|variable| *variable == name).unwrap_or(0);
    RGBColor(1, 0, u8::try_from(place).unwrap_or(0))
}

/// The variable that holds the colour of a phase.
pub(super) fn variable(phase: Phase) -> &'static str {
    match phase {
        Phase::Arriving => "arriving",
        Phase::Hook => "hook",
        Phase::Balancers => "balancers",
        Phase::Drain | Phase::Moving => "drain",
        Phase::Stopping => "stopping",
        Phase::Discovery => "discovery",
    }
}

fn with_variables(mut svg: String, label: &str) -> String {
    for (place, variable) in VARIABLES.iter().enumerate() {
        svg = svg.replace(&format!("#0100{place:02X}"), &format!("var(--{variable})"));
    }
    svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1)
}

fn text_style(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour("ink"))
}

/// The text in place of a chart. Drawing into memory does not fail in practice.
fn why(error: impl std::fmt::Display) -> String {
    format!("this chart could not be drawn: {error}")
}

/// The phases of every node, with the requests per second below, on one time axis.
pub(super) fn timeline(run: &Run) -> Drawing {
    let mut svg = String::new();
    let mut strips: Vec<_> = run.strips.iter().filter(|strip| !strip.node.is_empty()).collect();
    let number = |node: &str| node.trim_start_matches("node-").parse::<u32>().unwrap_or(0);
    strips.sort_by_key(|strip| number(&strip.node));
    let many = u32::try_from(strips.len()).unwrap_or(1).max(1);
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, many * STRIP + RATES + 20)).into_drawing_area();
        let (above, below) = area.split_vertically(many * STRIP + 10);
        let end = run.seconds;
        let rows = f64::from(many);
        let mut chart = ChartBuilder::on(&above)
            .margin_right(16)
            .set_label_area_size(LabelAreaPosition::Left, 70)
            .build_cartesian_2d(0.0..end, 0.0..rows)
            .map_err(why)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(12)
            .light_line_style(TRANSPARENT)
            .bold_line_style(colour("grid"))
            .axis_style(colour("grid"))
            .draw()
            .map_err(why)?;
        let lane = 0.84 / 6.0;
        for (row, strip) in strips.iter().enumerate() {
            let top = rows - f64::from(u32::try_from(row).unwrap_or(0)) - 0.08;
            let bars = strip.spans.iter().filter_map(|(phase, from, to)| {
                let place = Phase::ALL.iter().position(|known| known == phase)?;
                let upper = top - lane * f64::from(u32::try_from(place).unwrap_or(0));
                Some(Rectangle::new([(*from, upper), (to.min(end), upper - lane * 0.9)], colour(variable(*phase)).filled()))
            });
            chart.draw_series(bars).map_err(why)?;
            if let Some(gone) = strip.gone {
                chart
                    .draw_series([PathElement::new(vec![(gone, top), (gone, top - 0.84)], colour("ink").stroke_width(2))])
                    .map_err(why)?;
            }
            let label_style = text_style(13).pos(Pos::new(HPos::Right, VPos::Center));
            let middle = row as i32 * STRIP as i32 + STRIP as i32 / 2;
            above.draw(&Text::new(strip.node.clone(), (62, middle), label_style)).map_err(why)?;
        }
        rates(run, &below)?;
        area.present().map_err(why)?;
    }
    Ok(with_variables(svg, &format!("{}: phases of every node, and requests per second", run.driver)))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn rates(run: &Run, area: &Area<'_>) -> Result<(), String> {
    let seconds = &run.account.seconds;
    let most = seconds.iter().map(|second| second.ok + second.failed).max().unwrap_or(1);
    let mut chart = ChartBuilder::on(area)
        .margin_right(16)
        .margin_top(6)
        .set_label_area_size(LabelAreaPosition::Left, 70)
        .set_label_area_size(LabelAreaPosition::Bottom, 34)
        .build_cartesian_2d(0.0..run.seconds, 0.0..f64::from(most) * 1.05)
        .map_err(why)?;
    chart
        .configure_mesh()
        .x_labels(12)
        .y_labels(4)
        .light_line_style(TRANSPARENT)
        .bold_line_style(colour("grid"))
        .axis_style(colour("grid"))
        .label_style(text_style(13))
        .x_desc("seconds")
        .y_desc("requests/s")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()
        .map_err(why)?;
    let bar = |place: usize, from: u32, to: u32, name: &str| {
        let at = f64::from(u32::try_from(place).unwrap_or(0));
        let corners = [(at + 0.06, f64::from(from)), ((at + 0.94).min(run.seconds), f64::from(to))];
        Rectangle::new(corners, colour(name).filled())
    };
    // A few failures among hundreds of requests would be too thin to see, so they get a minimal height.
    let least = most.div_ceil(60);
    let both = seconds.iter().enumerate().flat_map(|(place, second)| {
        let all = second.ok + second.failed;
        let failed = if second.failed == 0 { 0 } else { second.failed.max(least.min(all)) };
        [(0 < failed).then(|| bar(place, 0, failed, "failed")), Some(bar(place, failed, all.max(failed), "ok"))]
    });
    chart.draw_series(both.flatten()).map_err(why)?;
    let began = run.refresh_began;
    let line = PathElement::new(vec![(began, 0.0), (began, f64::from(most) * 1.05)], colour("ink"));
    chart.draw_series([line]).map_err(why)?;
    let note = Text::new("refresh begins", (began + 0.3, f64::from(most) * 1.03), text_style(12));
    chart.draw_series([note]).map_err(why)?;
    Ok(())
}

/// The share of short requests that was answered within a number of milliseconds, for each driver.
pub(super) fn latency(runs: &[Run]) -> Drawing {
    let longest = runs.iter().map(|run| run.account.short.max).fold(10.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 300)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .set_label_area_size(LabelAreaPosition::Left, 70)
            .set_label_area_size(LabelAreaPosition::Bottom, 38)
            .build_cartesian_2d((1.0..longest * 1.05).log_scale(), 0.0..100.0)
            .map_err(why)?;
        chart
            .configure_mesh()
            .y_labels(6)
            .light_line_style(TRANSPARENT)
            .bold_line_style(colour("grid"))
            .axis_style(colour("grid"))
            .label_style(text_style(13))
            .x_desc("milliseconds")
            .y_desc("% answered")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .draw()
            .map_err(why)?;
        for (place, run) in runs.iter().enumerate() {
            let all: u64 = run.account.spread.iter().map(|(_, count)| count).sum();
            let mut below = 0;
            let points: Vec<(f64, f64)> = (run.account.spread.iter())
                .map(|(bound, count)| {
                    below += count;
                    let share = f64::from(u32::try_from(below).unwrap_or(0)) / f64::from(u32::try_from(all).unwrap_or(1).max(1));
                    (*bound, share * 100.0)
                })
                .collect();
            let line = colour(&format!("line-{}", place % 5 + 1));
            let style = line.stroke_width(2);
            let line_series = chart.draw_series([PathElement::new(points, style)]).map_err(why)?;
            line_series.label(run.driver).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font(text_style(13))
            .draw()
            .map_err(why)?;
        area.present().map_err(why)?;
    }
    Ok(with_variables(svg, "the distribution of latencies of short requests"))
}
