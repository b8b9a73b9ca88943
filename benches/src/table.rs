//! The table of results.

/// One result: what was measured, what came out, what it is held against.
#[derive(Debug, Clone)]
pub struct Row {
    /// The target's or figure's id, `T2`, `F1`.
    pub id: &'static str,
    /// What was measured.
    pub what: String,
    /// What came out.
    pub result: String,
    /// What is aimed at; empty where a figure is only told.
    pub target: String,
    /// Whether the target was met; `None` where there is none.
    pub met: Option<bool>,
    /// The figure to draw, with its reference: labels and values of one group.
    pub bars: Vec<(String, f64)>,
    /// The unit of the bars.
    pub unit: &'static str,
}

impl Row {
    /// A result without a target.
    pub fn new(id: &'static str, what: impl Into<String>, result: impl Into<String>) -> Self {
        Self {
            id,
            what: what.into(),
            result: result.into(),
            target: String::new(),
            met: None,
            bars: Vec::new(),
            unit: "",
        }
    }
    /// Nothing came out, and why. What could have been measured and was not, misses its target.
    pub fn not_measured(id: &'static str, what: impl Into<String>, why: &str, missed: bool) -> Self {
        let why = why.lines().next().unwrap_or_default();
        let row = Self::new(id, what, format!("not measured: {why}"));
        if missed { row.against("to be measured", false) } else { row }
    }
    /// Held against a target.
    #[must_use]
    pub fn against(mut self, target: impl Into<String>, met: bool) -> Self {
        (self.target, self.met) = (target.into(), Some(met));
        self
    }
    /// With bars for the plot.
    #[must_use]
    pub fn bars(
        mut self,
        unit: &'static str,
        bars: impl IntoIterator<Item = (impl Into<String>, f64)>,
    ) -> Self {
        self.unit = unit;
        self.bars = bars.into_iter().map(|(label, value)| (label.into(), value)).collect();
        self
    }
}

/// Prints the rows, aligned.
pub fn print(rows: &[Row]) {
    let width = |cell: fn(&Row) -> &str| rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0);
    let (what, result) = (width(|row| &row.what), width(|row| &row.result));
    println!("\n{:<4} {:<what$} {:<result$} target", "id", "what", "result");
    for row in rows {
        let mark = match row.met {
            Some(true) => "  met",
            Some(false) => "  MISSED",
            None => "",
        };
        println!("{:<4} {:<what$} {:<result$} {}{mark}", row.id, row.what, row.result, row.target);
    }
}
