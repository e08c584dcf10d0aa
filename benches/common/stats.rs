//! Medians, and how far they can be trusted.

/// A median with an interval in which the true one lies, by a chance of 95 % or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Estimate {
    /// Of at least one value.
    ///
    /// The interval is one between two of the values: whatever they are distributed like, the true
    /// median lies below the `k`-th smallest of `n` with the probability of fewer than `k` heads in
    /// `n` throws of a coin. With fewer than 6 values no interval is as certain; then it spans all.
    pub fn of(values: &[f64]) -> Option<Estimate> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let cut = cut(sorted.len());
        Some(Estimate {
            median: (sorted[last / 2] + sorted[sorted.len() / 2]) / 2.0,
            low: sorted[cut],
            high: sorted[last - cut],
        })
    }
}

/// How many of `n` sorted values may be left out at each end.
fn cut(n: usize) -> usize {
    let (mut term, mut at_most) = (0.5_f64.powi(n as i32), 0.0);
    for k in 0..n {
        at_most += term; // the chance of k heads or fewer
        if at_most > 0.025 {
            return k.saturating_sub(1);
        }
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    0
}

/// The ratios of two series, round by round; of the rounds that both have.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    let pairs = ours.iter().zip(theirs);
    pairs.map(|(ours, theirs)| ours / theirs).collect()
}

/// The geometric means of some series, round by round.
pub fn geometric_means(series: &[Vec<f64>]) -> Vec<f64> {
    let rounds = series.iter().map(Vec::len).min().unwrap_or(0);
    let mean = |round: usize| {
        let logs: f64 = series.iter().map(|values| values[round].ln()).sum();
        (logs / series.len() as f64).exp()
    };
    (0..rounds).map(mean).collect()
}
