//! Lines over two logarithmic axes, as SVG.
//!
//! Relies on plotters, whose SVG backend needs no font on the machine: the reader's program brings one.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Result;

/// The size of a plot, and the part of its width that the legend has.
const SIZE: (u32, u32) = (900, 480);
const LEGEND_WIDTH: u32 = 240;
const LEGEND_LINE: i32 = 24;

/// One colour for each line, told apart by lightness as well as by hue; more lines begin anew.
const COLORS: [RGBColor; 11] = [
    RGBColor(200, 30, 30),
    RGBColor(20, 90, 200),
    RGBColor(0, 130, 70),
    RGBColor(60, 60, 60),
    RGBColor(150, 150, 150),
    RGBColor(190, 140, 60),
    RGBColor(230, 120, 0),
    RGBColor(150, 80, 190),
    RGBColor(215, 120, 190),
    RGBColor(90, 170, 200),
    RGBColor(110, 70, 30),
];

/// One line of a plot.
#[derive(Debug, Clone)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Drawn broader than the others.
    pub is_ours: bool,
    /// Its points from left to right, all positive.
    pub points: Vec<(f64, f64)>,
}

/// Draws the lines; `ticks` are the numbers at the lower axis.
///
/// # Errors
/// There is nothing to draw.
pub fn lines(title: &str, x_title: &str, y_title: &str, ticks: &[f64], series: &[Series]) -> Result<String> {
    let points = || series.iter().flat_map(|series| series.points.iter().copied());
    if points().next().is_none() || ticks.is_empty() {
        return Err(format!("nothing to draw in the plot `{title}`").into());
    }
    let (low, high) = points().fold((f64::MAX, 0_f64), |(low, high), (_, y)| (low.min(y), high.max(y)));
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(told)?;
    let (area, legend) = root.split_horizontally(SIZE.0 - LEGEND_WIDTH);
    let x = (ticks[0]..ticks[ticks.len() - 1]).log_scale().with_key_points(ticks.to_vec());
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 24))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(x, (low / 1.5..high * 1.5).log_scale())
        .map_err(told)?;
    let mut mesh = chart.configure_mesh();
    mesh.label_style(("sans-serif", 18)).axis_desc_style(("sans-serif", 20));
    mesh.x_desc(x_title).y_desc(y_title).light_line_style(TRANSPARENT);
    mesh.x_label_formatter(&|x| x.to_string()).y_label_formatter(&|y| y.to_string());
    mesh.draw().map_err(told)?;
    for (series, style) in series.iter().zip(styles(series)) {
        let points = series.points.iter().copied();
        chart.draw_series(LineSeries::new(points.clone(), style)).map_err(told)?;
        chart.draw_series(points.map(|point| Circle::new(point, 3, style.filled()))).map_err(told)?;
    }
    draw_legend(&legend, series)?;
    root.present().map_err(told)?;
    drop((chart, area, legend, root));
    Ok(tidied(&text))
}

/// The names, the highest line first.
fn draw_legend(area: &DrawingArea<SVGBackend<'_>, Shift>, series: &[Series]) -> Result {
    let last = |series: &Series| series.points.last().map_or(0.0, |&(_, y)| y);
    let mut named: Vec<_> = series.iter().zip(styles(series)).collect();
    named.sort_by(|(a, _), (b, _)| last(b).total_cmp(&last(a)));
    for (row, (series, style)) in (2..).zip(named) {
        let y = row * LEGEND_LINE;
        area.draw(&PathElement::new([(0, y), (24, y)], style)).map_err(told)?;
        area.draw(&Text::new(series.name.clone(), (32, y - 8), ("sans-serif", 20))).map_err(told)?;
    }
    Ok(())
}

fn styles(series: &[Series]) -> impl Iterator<Item = ShapeStyle> {
    series
        .iter()
        .zip(COLORS.iter().cycle())
        .map(|(series, color)| color.stroke_width(if series.is_ours { 4 } else { 2 }))
}

/// Without blanks at the ends of lines, and with a line end at the end: it is a text file of this repository.
fn tidied(svg: &str) -> String {
    svg.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// An error of the backend, whose type is not ours to name.
fn told(error: impl Error) -> Box<dyn Error> {
    format!("the plot cannot be drawn: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.to_owned(), is_ours: name == "ours", points: points.to_vec() }
    }

    /// The points of each line in the picture, from the attributes of its polylines.
    fn drawn(svg: &str, stroke: RGBColor) -> Vec<(f64, f64)> {
        let RGBColor(red, green, blue) = stroke;
        let color = format!("stroke=\"#{red:02X}{green:02X}{blue:02X}\"");
        let line = svg.lines().find(|line| line.starts_with("<polyline") && line.contains(&color));
        let points = line.and_then(|line| line.split_once("points=\"")).map_or("", |(_, rest)| rest);
        let pairs = points.split(['"', ' ']).filter_map(|pair| pair.split_once(','));
        pairs.filter_map(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?))).collect()
    }

    #[test]
    fn equal_factors_are_equal_distances_and_larger_is_higher() -> Result {
        let points = [(1.0, 0.1), (4.0, 1.0), (16.0, 10.0)];
        let flat = [(1.0, 1.0), (4.0, 1.0), (16.0, 1.0)];
        let svg = lines("title", "x", "y", &[1.0, 4.0, 16.0], &[series("ours", &points), series("flat", &flat)])?;
        let [a, b, c] = drawn(&svg, COLORS[0])[..] else { return Err("not three points".into()) };
        assert!((2.0 * b.0 - a.0 - c.0).abs() <= 2.0 && (2.0 * b.1 - a.1 - c.1).abs() <= 2.0, "{a:?} {b:?} {c:?}");
        assert!(a.0 < b.0 && a.1 > b.1, "{a:?} {b:?}");
        let flat = drawn(&svg, COLORS[1]);
        assert!(flat.iter().all(|&(_, y)| (y - b.1).abs() <= 1.0), "{flat:?}");
        Ok(())
    }

    #[test]
    fn every_line_is_named_and_ours_is_broader() -> Result {
        let svg = lines(
            "a title",
            "across",
            "up",
            &[1.0, 2.0],
            &[series("ours", &[(1.0, 1.0), (2.0, 2.0)]), series("a < b", &[(1.0, 3.0), (2.0, 4.0)])],
        )?;
        for text in ["a title", "across", "up", "ours", "a &lt; b"] {
            assert!(svg.lines().any(|line| line == text), "{text}");
        }
        let broad = svg.lines().filter(|line| line.starts_with("<polyline") && line.contains("stroke-width=\"4\""));
        assert_eq!(broad.count(), 2, "the line and its place in the legend");
        Ok(())
    }

    #[test]
    fn the_text_is_one_that_a_repository_takes() -> Result {
        let svg = lines("title", "x", "y", &[1.0], &[series("ours", &[(1.0, 5.0)])])?;
        assert!(svg.ends_with("</svg>\n"));
        assert!(svg.lines().all(|line| line.trim_end() == line && !line.contains('\t')));
        Ok(())
    }

    #[test]
    fn an_empty_plot_is_an_error() {
        assert!(lines("title", "x", "y", &[1.0], &[series("ours", &[])]).is_err());
    }
}
