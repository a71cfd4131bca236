//! What the metrics are worth at one moment, and how that is written.

use std::fmt;
use std::marker::PhantomData;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::{Kind, Metric, Table};

/// What one metric is worth.
#[derive(Clone, Debug)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// Anything else.
    Real(f64),
    /// Counts by size.
    Histogram(Histogram),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<std::time::Duration> for Number {
    fn from(value: std::time::Duration) -> Self {
        Self::Real(value.as_secs_f64())
    }
}

impl From<&Histogram> for Number {
    fn from(value: &Histogram) -> Self {
        Self::Histogram(value.clone())
    }
}

/// What the metrics of a table are worth at one moment.
#[derive(Debug)]
pub struct Reading<T> {
    samples: Vec<Vec<Sample>>,
    table: PhantomData<T>,
}

/// The values of the labels, and the number.
type Sample = (Vec<String>, Number);

impl<T: Table> Default for Reading<T> {
    fn default() -> Self {
        Self {
            samples: T::ALL.iter().map(|_| Vec::new()).collect(),
            table: PhantomData,
        }
    }
}

impl<T: Table> Reading<T> {
    /// One that has no labels.
    pub fn put(&mut self, metric: T, number: impl Into<Number>) {
        self.put_by(metric, &[], number);
    }

    /// One whose labels have these values, in the order of the table.
    pub fn put_by(&mut self, metric: T, labels: &[&str], number: impl Into<Number>) {
        debug_assert_eq!(
            labels.len(),
            T::ALL[metric.index()].labels.len(),
            "labels of {}",
            T::ALL[metric.index()].name
        );
        let labels = labels.iter().map(|value| escaped(value)).collect();
        self.samples[metric.index()].push((labels, number.into()));
    }

    /// As OpenMetrics text. Metrics that were not put are left out.
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Samples {
            table: T::ALL,
            samples: self.samples,
        }));
        let mut written = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut written, &registry);
        written
    }
}

/// A label's value as it stands between quotes: the encoder writes it as it is.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for it in value.chars() {
        match it {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[derive(Debug)]
struct Samples {
    table: &'static [Metric],
    samples: Vec<Vec<Sample>>,
}

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (metric, samples) in self.table.iter().zip(&self.samples) {
            let Some((_, first)) = samples.first() else {
                continue;
            };
            // OpenMetrics has the ending at the samples of a counter, not in its name.
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            let kind = metric_type(metric.kind);
            let mut encoder = encoder.encode_descriptor(name, metric.help, None, kind)?;
            if metric.labels.is_empty() {
                encode(metric.kind, first, encoder)?;
                continue;
            }
            for (values, number) in samples {
                let values = values.iter().map(String::as_str);
                let labels: Vec<(&str, &str)> = metric.labels.iter().copied().zip(values).collect();
                encode(metric.kind, number, encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    }
}

fn encode(kind: Kind, number: &Number, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    match (kind, number) {
        (_, Number::Histogram(histogram)) => histogram.encode(encoder),
        (Kind::Counter, Number::Whole(value)) => ConstCounter::new(*value).encode(encoder),
        (Kind::Counter, Number::Real(value)) => ConstCounter::new(*value).encode(encoder),
        (_, Number::Whole(value)) => encoder.encode_gauge(value),
        (_, Number::Real(value)) => encoder.encode_gauge(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::table! {
        /// Of a mill.
        pub enum Mill {
            Sacks = Counter "mill_sacks_total" ["grain"] "Sacks that were ground.";
            Water = Gauge "mill_water_meters" [] "How high the water stands.";
            Turns = Histogram "mill_turn_seconds" [] "How long a turn takes.";
            Idle = Gauge "mill_idle" [] "Is left out where nobody looks.";
        }
    }

    #[test]
    fn what_was_not_put_is_left_out() {
        let mut reading = Reading::default();
        reading.put(Mill::Idle, true);
        let text = reading.text();
        assert!(
            text.contains("mill_idle 1\n") && !text.contains("mill_water"),
            "{text}"
        );
    }

    #[test]
    fn a_reading_is_open_metrics() {
        let turns = Histogram::new([1.0, 2.0]);
        turns.observe(1.5);
        let mut reading = Reading::default();
        reading.put(Mill::Turns, &turns);
        reading.put_by(Mill::Sacks, &["rye"], 3_u64);
        reading.put_by(Mill::Sacks, &["a \"b\"\n\\"], u64::MAX);
        reading.put(Mill::Water, 0.25);
        let expected = r##"# HELP mill_sacks Sacks that were ground.
# TYPE mill_sacks counter
mill_sacks_total{grain="rye"} 3
mill_sacks_total{grain="a \"b\"\n\\"} 18446744073709551615
# HELP mill_water_meters How high the water stands.
# TYPE mill_water_meters gauge
mill_water_meters 0.25
# HELP mill_turn_seconds How long a turn takes.
# TYPE mill_turn_seconds histogram
mill_turn_seconds_sum 1.5
mill_turn_seconds_count 1
mill_turn_seconds_bucket{le="1.0"} 0
mill_turn_seconds_bucket{le="2.0"} 1
mill_turn_seconds_bucket{le="+Inf"} 1
# EOF
"##;
        assert_eq!(reading.text(), expected);
    }
}
