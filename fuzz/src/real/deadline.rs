//! Points in time and the timeouts that they are made of, beside plain arithmetic in 128 bits.

use arbitrary::{Arbitrary, Result, Unstructured};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};
use threadbare::{Deadline, Error, TIMEOUT_MAX};
use threadbare_sys::clock;

// The clock moves between two calls, so what is to be exact must be asked before it is read.
#[allow(dead_code, reason = "the rest is reached through the crate")]
#[path = "../../../src/deadline.rs"]
mod source;

/// The end of the kernel's time in nanoseconds, which stands for "never" (TIME-5).
const END: i128 = i64::MAX as i128;
const NANOS_PER_SEC: i128 = 1_000_000_000;

/// A chain of operations on points in time.
pub fn deadline(data: &[u8]) {
    // It ends where the bytes do.
    let _ = run(&mut Unstructured::new(data));
}

#[derive(Arbitrary)]
enum Operation {
    Seconds,
    SecondsInOrder,
    After,
    Add,
    Instant { is_past: bool },
    Look,
    Compare,
    Never,
}

fn run(bytes: &mut Unstructured) -> Result<()> {
    let mut point = Deadline::now();
    let mut raw = clock::Deadline::now();
    while !bytes.is_empty() {
        match Operation::arbitrary(bytes)? {
            Operation::Seconds => point = from_seconds(seconds(bytes)?).unwrap_or(point),
            Operation::SecondsInOrder => seconds_in_order(seconds(bytes)?, seconds(bytes)?),
            Operation::After => point = after(duration(bytes)?).unwrap_or(point),
            Operation::Add => {
                let by = duration(bytes)?;
                point = add(point, by);
                raw = add_raw(raw, by);
            }
            Operation::Instant { is_past } => {
                point = from_instant(duration(bytes)?, is_past).unwrap_or(point);
            }
            Operation::Look => {
                look(point);
                look_raw(raw);
            }
            Operation::Compare => {
                let other = add(Deadline::now(), duration(bytes)?);
                compare(point, other);
            }
            Operation::Never => {
                point = Deadline::NEVER;
                raw = clock::Deadline::NEVER;
            }
        }
    }
    Ok(())
}

/// Any number, or one where something changes: about a limit, a whole second, a whole nanosecond.
fn seconds(bytes: &mut Unstructured) -> Result<f64> {
    let any = f64::from_bits(bytes.arbitrary()?);
    let about = match bytes.int_in_range(0..=5)? {
        0 => TIMEOUT_MAX.as_secs_f64(),
        1 => bytes.arbitrary::<u32>()?.into(),
        2 => f64::from(bytes.arbitrary::<u32>()?) / 1e9,
        3 => f64::from(bytes.arbitrary::<u32>()?) / 4.0,
        4 => 0.0,
        _ => return Ok(any),
    };
    let ulps = i64::from(bytes.arbitrary::<i8>()?);
    Ok(f64::from_bits(about.to_bits().wrapping_add_signed(ulps)))
}

fn duration(bytes: &mut Unstructured) -> Result<Duration> {
    let about = match bytes.int_in_range(0..=4)? {
        0 => TIMEOUT_MAX,
        1 => Duration::from_nanos(i64::MAX as u64),
        2 => Duration::from_nanos(u64::MAX),
        3 => Duration::ZERO,
        _ => Duration::new(bytes.arbitrary()?, bytes.int_in_range(0..=999_999_999)?),
    };
    let by = bytes.arbitrary::<i32>()?;
    let distance = Duration::from_nanos(by.unsigned_abs().into());
    Ok(if by < 0 {
        about.saturating_sub(distance)
    } else {
        about.saturating_add(distance)
    })
}

fn as_nanos(duration: Duration) -> i128 {
    i128::from(duration.as_secs()) * NANOS_PER_SEC + i128::from(duration.subsec_nanos())
}

fn now() -> i128 {
    clock::Deadline::now().nanos().into()
}

/// The point in nanoseconds, which the public API shows as text only.
fn nanos(point: Deadline) -> i128 {
    let text = format!("{point:?}");
    if text == "Deadline(never)" {
        return END;
    }
    let number = text
        .strip_prefix("Deadline(")
        .and_then(|text| text.strip_suffix(" s)"));
    let (seconds, fraction) = number.unwrap().split_once('.').unwrap();
    assert_eq!(fraction.len(), 9, "{text}");
    let [seconds, fraction] = [seconds, fraction].map(|digits| digits.parse::<u64>().unwrap());
    i128::from(seconds) * NANOS_PER_SEC + i128::from(fraction)
}

/// Fails unless `make` gives a point `by` nanoseconds from its call.
fn is_from_now(by: i128, make: impl FnOnce() -> Deadline) -> Deadline {
    let before = now();
    let point = make();
    let after = now();
    let window = (before + by).min(END)..=(after + by).min(END);
    let got = nanos(point);
    assert!(window.contains(&got), "{got} is not within {window:?}");
    point
}

/// The limits of what `seconds` may become in nanoseconds: rounded up, except that a product of
/// doubles below 2^30 is known to 2^-24 only.
fn rounded(seconds: f64) -> std::ops::RangeInclusive<i128> {
    if seconds == 0.0 {
        return 0..=0;
    }
    let bits = seconds.to_bits();
    let exponent = (bits >> 52) as i32 & 0x7ff;
    let fraction = i128::from(bits & ((1 << 52) - 1));
    // The number is `mantissa / 2^shift`: the limit is below 2^34, so it has a shift of 19 or more.
    let (mantissa, shift) = match exponent {
        0 => (fraction, 1074),
        _ => (fraction | 1 << 52, 1075 - exponent),
    };
    if shift > 100 {
        return 1..=1; // far below a nanosecond
    }
    let unit = 1_i128 << shift;
    let product = mantissa * NANOS_PER_SEC;
    let up = |product: i128| (product + unit - 1) >> shift;
    let error = unit >> 24;
    up(product - error).max(1)..=up(product)
}

fn judge(seconds: f64) -> std::result::Result<(), Error> {
    if seconds.is_nan() || seconds < 0.0 {
        Err(Error::InvalidTimeout)
    } else if seconds > 9_223_372_036.0 {
        Err(Error::TimeoutTooLarge)
    } else {
        Ok(())
    }
}

fn from_seconds(seconds: f64) -> Option<Deadline> {
    let exact = source::duration_from_secs_f64(seconds);
    let Ok(duration) = exact else {
        assert_eq!(exact.map(drop), judge(seconds), "{seconds:e}");
        assert_eq!(Deadline::from_secs_f64(seconds).map(drop), judge(seconds));
        return None;
    };
    assert_eq!(judge(seconds), Ok(()), "{seconds:e}");
    let limits = rounded(seconds);
    let by = as_nanos(duration);
    assert!(limits.contains(&by), "{seconds:e}: {by} is not {limits:?}");
    Some(is_from_now(by, || {
        Deadline::from_secs_f64(seconds).unwrap()
    }))
}

fn seconds_in_order(one: f64, other: f64) {
    let durations = [one, other].map(source::duration_from_secs_f64);
    if let [Ok(first), Ok(second)] = durations {
        let order = one.partial_cmp(&other).unwrap();
        assert!(
            first.cmp(&second) == order || first == second,
            "{one:e} and {other:e} become {first:?} and {second:?}"
        );
    }
}

fn after(timeout: Duration) -> Option<Deadline> {
    if as_nanos(timeout) > 9_223_372_036 * NANOS_PER_SEC {
        assert_eq!(Deadline::after(timeout), Err(Error::TimeoutTooLarge));
        assert_eq!(Deadline::try_from(timeout), Err(Error::TimeoutTooLarge));
        return None;
    }
    let by = as_nanos(timeout);
    is_from_now(by, || Deadline::try_from(timeout).unwrap());
    Some(is_from_now(by, || Deadline::after(timeout).unwrap()))
}

fn add(point: Deadline, by: Duration) -> Deadline {
    let sum = point.saturating_add(by);
    assert_eq!(nanos(sum), (nanos(point) + as_nanos(by)).min(END));
    assert!(sum >= point);
    sum
}

fn add_raw(point: clock::Deadline, by: Duration) -> clock::Deadline {
    let sum = point.plus(by);
    let expected = (i128::from(point.nanos()) + as_nanos(by)).min(END);
    assert_eq!(i128::from(sum.nanos()), expected);
    assert_eq!(sum.is_never(), expected == END);
    sum
}

/// `None` where std has no such point itself.
fn from_instant(distance: Duration, is_past: bool) -> Option<Deadline> {
    let before = now();
    let instant = if is_past {
        Instant::now().checked_sub(distance)?
    } else {
        Instant::now().checked_add(distance)?
    };
    let between = now();
    let point = Deadline::from(instant);
    let after = now();
    // std reads the same clock. What has passed becomes the moment of the call; else the call
    // reads the clock twice, and the time between the two is added.
    let distance = as_nanos(distance);
    let window = if is_past {
        between..=after
    } else {
        (before + distance).max(between).min(END)..=(after + distance).min(END)
    };
    let got = nanos(point);
    assert!(window.contains(&got), "{got} is not within {window:?}");
    Some(point)
}

/// What a point says of itself, between two looks at the clock.
fn is_consistent(point: i128, before: i128, has_passed: bool, left: Option<Duration>, after: i128) {
    if point == END {
        assert_eq!((has_passed, left), (false, None));
        return;
    }
    assert!(has_passed || before < point, "it had passed");
    assert!(!has_passed || point <= after, "it has not passed yet");
    let window = (point - after).max(0)..=(point - before).max(0);
    let left = as_nanos(left.unwrap());
    assert!(window.contains(&left), "{left} is not within {window:?}");
}

fn look(point: Deadline) {
    let before = now();
    let (has_passed, left) = (point.has_passed(), point.remaining());
    is_consistent(nanos(point), before, has_passed, left, now());
}

fn look_raw(point: clock::Deadline) {
    let before = now();
    let (has_passed, left) = (point.has_passed(), point.remaining());
    is_consistent(point.nanos().into(), before, has_passed, left, now());
}

fn compare(one: Deadline, other: Deadline) {
    let hash = |point: Deadline| {
        let mut hasher = DefaultHasher::new();
        point.hash(&mut hasher);
        hasher.finish()
    };
    assert_eq!(one.cmp(&other), nanos(one).cmp(&nanos(other)));
    assert_eq!(one == other, nanos(one) == nanos(other));
    assert!(one != other || hash(one) == hash(other));
    assert!(one <= Deadline::NEVER && other <= Deadline::NEVER);
}
