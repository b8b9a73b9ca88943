//! The plot: one group of bars per result, as SVG.

use std::{fmt::Write as _, path::Path};

use crate::{Outcome, table::Row};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 330.0;
const BAR: f64 = 18.0;

/// Draws the rows that have bars. Each group has a scale of its own.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(path: &Path, rows: &[Row]) -> Outcome {
    let mut body = String::new();
    let mut y = 10.0;
    for row in rows.iter().filter(|row| !row.bars.is_empty()) {
        writeln!(
            body,
            "<text x='10' y='{}' font-weight='bold'>{} {}</text>",
            y + 14.0,
            row.id,
            escape(&row.what)
        )?;
        y += 22.0;
        let most = row.bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        for (n, (label, value)) in row.bars.iter().enumerate() {
            let length = (WIDTH - LEFT - 130.0) * value / most;
            let colour = if n == 0 { "#2a6fb0" } else { "#b0b7bf" };
            let middle = y + 13.0;
            writeln!(
                body,
                "<text x='{}' y='{middle}' text-anchor='end'>{}</text>",
                LEFT - 8.0,
                escape(label)
            )?;
            writeln!(
                body,
                "<rect x='{LEFT}' y='{y}' width='{length:.1}' height='{}' fill='{colour}'/>",
                BAR - 3.0
            )?;
            writeln!(
                body,
                "<text x='{:.1}' y='{middle}'>{value:.2} {}</text>",
                LEFT + length + 6.0,
                row.unit
            )?;
            y += BAR;
        }
        y += 12.0;
    }
    let head = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{y}' font-family='sans-serif' font-size='12'>\n\
         <rect width='100%' height='100%' fill='white'/>\n"
    );
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(path, format!("{head}{body}</svg>\n"))?)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
