//! Of `stats`, which is the benches' too, where tests do not run.

use crate::stats::{Estimate, geometric_means};

fn of_first(n: u32) -> Estimate {
    let values: Vec<f64> = (1..=n).rev().map(f64::from).collect();
    Estimate::of(&values).expect("there are values")
}

#[test]
fn the_interval_is_that_of_the_sign_test() {
    // From tables: the ranks of the lower ends.
    for (n, rank) in [
        (1, 1),
        (5, 1),
        (6, 1),
        (8, 1),
        (9, 2),
        (10, 2),
        (15, 4),
        (20, 6),
        (30, 10),
    ] {
        let found = of_first(n);
        assert_eq!(
            (found.low, found.high),
            (f64::from(rank), f64::from(n + 1 - rank)),
            "of {n}"
        );
    }
}

#[test]
fn a_median_is_in_the_middle() {
    assert_eq!(of_first(9).median, 5.0);
    assert_eq!(of_first(10).median, 5.5);
    assert_eq!(Estimate::of(&[]), None);
}

#[test]
fn means_are_of_each_round() {
    let means = geometric_means(&[vec![1.0, 2.0], vec![4.0, 8.0, 3.0]]);
    let is_near = |(one, other): (&f64, f64)| (one - other).abs() < 1e-9;
    assert!(means.len() == 2 && means.iter().zip([2.0, 4.0]).all(is_near));
}
