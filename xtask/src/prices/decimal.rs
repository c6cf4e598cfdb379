//! Decimal text to whole numbers, without a float in between.

use anyhow::{Result, bail};
use oarmaster_prices::MAX_PRICE;

/// A price, and whether it was not whole and had to be rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub value: u64,
    pub rounded: bool,
}

/// Digits and exponents beyond these are no price, and would cost time to look at.
const LONGEST: usize = 64;

/// Reads a JSON number, or a string that holds one, times ten to the power of `shift`: 12 for USD per token, 6 for USD per million tokens.
/// What is not whole then goes to the nearest, a half upwards.
pub fn read(text: &str, shift: i32) -> Result<Read> {
    let number = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest).trim(),
        None => text,
    };
    if number.len() > LONGEST {
        bail!("{number:.20}... is too long for a price");
    }
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!("{number:?} is not a price: digits, a point and an exponent, not negative");
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(Read {
            value: 0,
            rounded: false,
        });
    }
    // The value is 0.<digits> times ten to the power of this: so many digits stand before its point.
    let trimmed = i32::try_from(whole.len() + fraction.len() - digits.len())?;
    let point = i32::try_from(whole.len())? - trimmed + i32::from(exponent) + shift;
    let most = MAX_PRICE.ilog10() + 1;
    if point > i32::try_from(most)? {
        bail!("{number} is more than 1 USD per token");
    }
    let kept = usize::try_from(point.max(0))?;
    let mut value = 0;
    for digit in digits.bytes().chain(std::iter::repeat(b'0')).take(kept) {
        value = value * 10 + u64::from(digit - b'0');
    }
    let rest = digits.get(kept..).unwrap_or("");
    let rounded = rest.bytes().any(|digit| digit != b'0');
    // Below a tenth there is nothing to round up.
    if point >= 0 && rest.bytes().next().is_some_and(|digit| digit >= b'5') {
        value += 1;
    }
    if value > MAX_PRICE {
        bail!("{number} is more than 1 USD per token");
    }
    Ok(Read { value, rounded })
}
