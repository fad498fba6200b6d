//! The numbers of a run, and the table of their medians.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::metric::Metric;
use crate::subject;

/// All numbers, by metric and server, in the order they came.
#[derive(Default)]
pub(crate) struct Report {
    values: BTreeMap<(Metric, &'static str), Vec<f64>>,
}

impl Report {
    /// Takes a number and shows it on standard error.
    pub(crate) fn record(&mut self, server: &'static str, metric: Metric, value: f64) {
        let (title, unit, digits) = metric.label();
        eprintln!("  {server:<10} {title}: {value:.digits$} {unit}");
        self.values.entry((metric, server)).or_default().push(value);
    }

    /// The median of a server's numbers.
    pub(crate) fn median(&self, server: &'static str, metric: Metric) -> Option<f64> {
        self.values
            .get(&(metric, server))
            .and_then(|values| median(values))
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut text = line(
            "measurement",
            "unit",
            [subject::NAME, "peer", "ratio"],
            "target",
            "met",
            "peer",
        );
        let mut metrics: Vec<Metric> = self.values.keys().map(|(metric, _)| *metric).collect();
        metrics.dedup();
        for metric in metrics {
            let (title, unit, digits) = metric.label();
            let own = self.median(subject::NAME, metric);
            let beside = self.beside(metric);
            let peer = beside.and_then(|name| self.median(name, metric));
            let ratio = own
                .zip(peer)
                .filter(|(_, peer)| *peer > 0.0)
                .map(|(own, peer)| own / peer);
            let number = |value: Option<f64>, digits: usize| {
                value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
            };
            let target = metric.target();
            let met = match target.is_met(own, ratio) {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "",
            };
            let numbers = [number(own, digits), number(peer, digits), number(ratio, 2)];
            text += &line(
                title,
                unit,
                numbers.each_ref().map(String::as_str),
                &target.text(),
                met,
                beside.unwrap_or_default(),
            );
        }
        text
    }

    /// The server or program that Ironhub is compared with: one for each metric.
    fn beside(&self, metric: Metric) -> Option<&'static str> {
        let mut measured = self.values.keys().filter(|(known, _)| *known == metric);
        measured
            .find(|(_, name)| *name != subject::NAME)
            .map(|(_, name)| *name)
    }
}

fn line(
    title: &str,
    unit: &str,
    [own, peer, ratio]: [&str; 3],
    target: &str,
    met: &str,
    beside: &str,
) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{title:<34} {unit:<7} {own:>10} {peer:>10} {ratio:>6}  {target:<24} {met:<4} {beside}"
    );
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// The value at a share of sorted values: the nearest one, never one in between.
pub(crate) fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It is between 0 and `last`.
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ratios_and_verdicts() {
        let mut report = Report::default();
        for value in [9.0, 1.0, 2.0] {
            report.record(subject::NAME, Metric::LoadCpu, value);
        }
        report.record(crate::peer::NAME, Metric::LoadCpu, 4.0);
        let table = report.table();
        let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            row,
            [
                "full",
                "load:",
                "CPU",
                "per",
                "million",
                "s",
                "2.00",
                "4.00",
                "0.50",
                "ratio",
                "<=",
                "0.5",
                "yes",
                "mosquitto"
            ]
        );
        assert_eq!(quantile(&[1, 2, 3, 4, 5], 0.99), Some(5));
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }
}
