//! Log-log plots as SVG.
//!
//! Not here: where the points come from (`scaling.rs`).

use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

const SIZE: (u32, u32) = (760, 460);
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 90, 180), RGBColor(200, 60, 20), RGBColor(30, 140, 60), RGBColor(120, 60, 160)];

/// A line and its name.
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Draws all curves into one file; without a point, none.
pub(super) fn draw(path: &Path, x: &str, y: &str, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let range = |values: Vec<f64>| {
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        lowest / 1.5..highest * 1.5
    };
    let (xs, ys) =
        (points().map(|point| point.0).collect::<Vec<_>>(), points().map(|point| point.1).collect());
    if xs.is_empty() {
        return Ok(());
    }
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(range(xs).log_scale(), range(ys).log_scale())?;
    let label = |value: &f64| format!("{value:e}");
    chart.configure_mesh().x_desc(x).y_desc(y).x_label_formatter(&label).y_label_formatter(&label).draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(curve.points.iter().copied(), colour).point_size(3);
        chart
            .draw_series(line)?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::TempDir;

    #[test]
    fn every_curve_is_named_and_nothing_is_drawn_of_nothing() {
        let dir = TempDir::new("perdura-plot").unwrap();
        let path = dir.path().join("plot.svg");
        draw(&path, "keys", "requests", &[]).unwrap();
        assert!(!path.exists());
        let curve = |name: &str, factor: f64| Curve {
            name: name.into(),
            points: vec![(1e4, 1e6 * factor), (1e6, 5e5 * factor)],
        };
        draw(&path, "keys", "requests", &[curve("ours", 2.0), curve("theirs", 1.0)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("<svg") && text.contains("ours") && text.contains("theirs"), "{text}");
    }
}
