//! Natural logarithms of whole numbers, in integers: the same to the last bit on every processor, which no `f64::ln` promises.

/// ln(1 + k/256) for k from 0 to 256, in Q16: 65,536 is 1.
const LN_Q16: [u32; 257] = ln_table();

/// ln 2 in Q32.
const LN_2_Q32: i64 = 2_977_044_472;

/// ln((256 + k) / 256) = 2 · artanh(k / (512 + k)), summed in Q60. Its terms fall by at least 9 each.
#[expect(clippy::indexing_slicing, reason = "evaluated while compiling, where an index out of bounds is an error")]
const fn ln_table() -> [u32; 257] {
    let mut table = [0; 257];
    let mut k = 0;
    while k <= 256 {
        let z = ((k as u128) << 60) / (512 + k as u128);
        let square = (z * z) >> 60;
        let (mut power, mut sum, mut n) = (z, 0, 1);
        while n < 60 {
            sum += power / n;
            power = (power * square) >> 60;
            n += 2;
        }
        table[k] = ((2 * sum + (1 << 43)) >> 44) as u32;
        k += 1;
    }
    table
}

/// ln(x) in Q16; that of 0 counts as that of 1. Off by at most 2⁻¹⁵ and a five-hundred-thousandth.
pub(crate) fn ln_q16(x: u128) -> i64 {
    let x = x.max(1);
    let exponent = x.ilog2();
    // 1.f in Q32.
    let mantissa = if exponent >= 32 { x >> (exponent - 32) } else { x << (32 - exponent) };
    let fraction = u64::try_from(mantissa).unwrap_or(u64::MAX) & 0xffff_ffff;
    let at = |k: u64| usize::try_from(k).ok().and_then(|k| LN_Q16.get(k)).map_or(0, |&ln| i64::from(ln));
    let (low, high) = (at(fraction >> 24), at((fraction >> 24) + 1));
    let between = ((high - low) * i64::try_from(fraction & 0xff_ffff).unwrap_or(0)) >> 24;
    ((i64::from(exponent) * LN_2_Q32) >> 16) + low + between
}

/// ln(numerator / denominator) in milli-nats, rounded to the nearest.
pub(crate) fn ln_ratio_mnats(numerator: u128, denominator: u128) -> i32 {
    let difference = ln_q16(numerator) - ln_q16(denominator);
    i32::try_from((difference * 1_000 + (1 << 15)) >> 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_logarithm() {
        for x in (1..5_000_u128).chain([1 << 40, (1 << 64) - 1, (1 << 64) + 12_345, u128::MAX]) {
            let expected = (x as f64).ln() * 65_536.0;
            assert!((ln_q16(x) as f64 - expected).abs() < 2.5, "{x}: {} {expected}", ln_q16(x));
        }
        assert_eq!(ln_q16(0), 0);
        assert_eq!(ln_q16(1), 0);
    }

    #[test]
    fn ratios_are_rounded_to_thousandths() {
        let check = |numerator: u128, denominator: u128, expected: i32| {
            assert_eq!(ln_ratio_mnats(numerator, denominator), expected, "{numerator}/{denominator}");
        };
        check(1, 1, 0);
        check(2, 1, 693);
        check(1, 2, -693);
        check(10, 1, 2_303);
        check(1, 0, 0);
        check(u128::MAX, 1, 88_723);
    }
}
