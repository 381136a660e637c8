//! The figures as a picture: for each row our median over the first way's, with its quartiles, on a logarithmic axis.

use std::fmt::Write as _;

use super::table::{Row, Table, Unit};

const WIDTH: f64 = 760.0;
const LINE: f64 = 22.0;
const TOP: f64 = 44.0;
/// Where the axis begins and ends.
const LEFT: f64 = 270.0;
const RIGHT: f64 = 700.0;

/// One line of the picture.
struct Bar {
    name: String,
    lower: f64,
    median: f64,
    upper: f64,
}

/// The picture, as SVG; none where no row can be compared.
pub(crate) fn draw(tables: &[Table]) -> Option<String> {
    let mut bars: Vec<Bar> = tables.iter().flat_map(|table| &table.rows).filter_map(bar).collect();
    bars.dedup_by(|a, b| (a.median, a.upper) == (b.median, b.upper));
    let most = bars.iter().map(|bar| bar.upper).fold(f64::NAN, f64::max);
    let least = bars.iter().map(|bar| bar.lower).fold(f64::NAN, f64::min);
    if !(most.is_finite() && least > 0.0) {
        return None;
    }
    // Whole powers of two around everything, and 1 among them.
    let (from, to) = (least.min(1.0).log2().floor(), most.max(2.0).log2().ceil());
    let x = |ratio: f64| LEFT + (ratio.log2() - from) / (to - from) * (RIGHT - LEFT);
    let height = TOP + LINE * bars.len() as f64 + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<title>agentbox over a bare run</title>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n<text x=\"10\" y=\"20\" font-size=\"14\">Time in the box over time outside: median, and the middle half of the rounds</text>\n"
    );
    let bottom = TOP + LINE * bars.len() as f64;
    let mut power = from;
    while power <= to {
        let (at, ratio) = (x(power.exp2()), power.exp2());
        let colour = if power == 0.0 { "#333" } else { "#ddd" };
        let _ = writeln!(svg, "<line x1=\"{at:.1}\" y1=\"{}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\"/>", TOP - 8.0);
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{ratio}×</text>", bottom + 16.0);
        power += 1.0;
    }
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + LINE * index as f64 + LINE / 2.0;
        let (lower, median, upper) = (x(bar.lower), x(bar.median), x(bar.upper));
        let _ = writeln!(svg, "<text x=\"10\" y=\"{:.1}\">{}</text>", y + 4.0, escaped(&bar.name));
        let _ = writeln!(svg, "<rect x=\"{lower:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\" fill=\"#8fb8de\"/>", y - 5.0, (upper - lower).max(1.0));
        let _ = writeln!(svg, "<circle cx=\"{median:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#1f5a93\"/>");
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#1f5a93\">{:.2}</text>", upper.max(median) + 8.0, y + 4.0, bar.median);
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// Where more is better the ratio is turned over, so that to the right is always worse.
fn bar(row: &Row) -> Option<Bar> {
    let ratio = row.ratio()?;
    Some(match row.unit {
        Unit::Nanoseconds => Bar { name: row.what.replace('`', ""), lower: ratio.lower, median: ratio.median, upper: ratio.upper },
        Unit::BytesPerSecond | Unit::PerSecond => {
            Bar { name: row.what.clone(), lower: 1.0 / ratio.upper, median: 1.0 / ratio.median, upper: 1.0 / ratio.lower }
        }
        Unit::Bytes => return None,
    })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::series::Series;

    #[test]
    fn what_is_twice_as_slow_lies_right_of_one() {
        let row = |unit| Row { what: "a<b".into(), unit, series: vec![Series(vec![1.0]), Series(vec![2.0])], aim: None };
        let table = |rows| Table { title: "t", how: String::new(), ways: vec!["bare", "box"], rows, commands: Vec::new() };
        let svg = draw(&[table(vec![row(Unit::Nanoseconds)])]).unwrap();
        assert!(svg.contains("a&lt;b") && svg.contains(">2.00</text>"), "{svg}");
        let svg = draw(&[table(vec![row(Unit::BytesPerSecond)])]).unwrap();
        assert!(svg.contains(">0.50</text>"), "{svg}");
        assert!(draw(&[table(vec![row(Unit::Bytes)])]).is_none());
    }
}
