//! Numbers as the Neural Engine takes and makes them.

use half::f16;

/// Steps of the accumulator in 1: it has 16 fraction bits.
pub(crate) const STEPS: f64 = 65536.0;

/// Steps from which on a running sum is infinite: 32768 in an accumulator of 32 bits.
pub(crate) const LIMIT: f64 = 2_147_483_648.0;

/// An `fp16` number as the engine decodes it: those with exponent field 31 are ordinary ones, infinity 65536 and the
/// usual NaN 98304.
pub(crate) fn decode(x: f32) -> f32 {
    if x.abs() < 65536.0 {
        return x;
    }
    let bits = f16::from_f32(x).to_bits();
    let size = 65536.0 * (1.0 + f32::from(bits & 0x3ff) / 1024.0);
    if bits & 0x8000 == 0 { size } else { -size }
}

/// Rounds to `fp16`, ties away from zero; what is too large becomes infinite.
pub(crate) fn round_away(x: f64) -> f32 {
    let size = x.abs();
    if !size.is_finite() {
        return x as f32;
    }
    // The distance of fp16 numbers around x: 2^-10 of its power of two, at least 2^-24.
    let exponent = (((size.to_bits() >> 52) & 0x7ff) as i32 - 1023).max(-14);
    let quantum = power_of_two(exponent - 10);
    let rounded = (size / quantum).round() * quantum;
    let rounded = if rounded >= 65536.0 { f64::INFINITY } else { rounded };
    rounded.copysign(x) as f32
}

/// [`round_away`] of every element; numbers of at most 24 bits keep every digit on the way.
pub(crate) fn round_all_away(values: &mut [f32]) {
    for v in values {
        let bits = v.to_bits();
        let size = bits & 0x7fff_ffff;
        // From 2^-14 on an fp16 number keeps 10 of the 23 fraction bits; a carry into the exponent is what it should be.
        let normal = (size + 0x1000) & 0xffff_e000;
        *v = if (0x3880_0000..0x477f_f000).contains(&size) {
            f32::from_bits(normal | bits & 0x8000_0000)
        } else {
            round_away(f64::from(*v))
        };
    }
}

/// 2 to the power of a whole number from -1022 to 1023.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// A start value or product in steps, rounded half away from zero.
pub(crate) fn in_steps(x: f32) -> f64 {
    (f64::from(x) * STEPS).round()
}

/// A sum in steps as `fp16`: rounded half away from zero, 0 without a sign, infinite from the limit on.
pub(crate) fn from_steps(sum: f64) -> f32 {
    if sum.abs() >= LIMIT {
        return if sum > 0.0 { f32::INFINITY } else { f32::NEG_INFINITY };
    }
    round_away(sum / STEPS) + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_away_from_zero_at_ties_only() {
        for (x, y) in
            [(2049.0, 2050.0), (-2049.0, -2050.0), (4098.0, 4100.0), (1.0 + 1.0 / 2048.0, 1.0 + 1.0 / 1024.0)]
        {
            assert_eq!(round_away(x), y);
            let mut all = [x as f32];
            round_all_away(&mut all);
            assert_eq!(all[0], y);
        }
        assert_eq!(round_away(65519.9), 65504.0);
        assert_eq!(round_away(65520.0), f32::INFINITY);
        assert_eq!(round_away(1.5 * power_of_two(-25)), power_of_two(-24) as f32);
        assert_eq!(round_away(0.49 * power_of_two(-24)), 0.0);
    }

    /// Away from ties it is the rounding of IEEE 754, of which the crate `half` has its own implementation.
    #[test]
    fn rounding_is_that_of_ieee_between_ties() {
        let mut seed = 1u32;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let x = f32::from_bits(seed & 0xbfff_ffff | 1);
            let (away, even) = (round_away(f64::from(x)), f16::from_f32(x).to_f32());
            let mut all = [x];
            round_all_away(&mut all);
            assert!(away == even && all[0] == even || x.is_nan(), "{x}: {away}, {}, {even}", all[0]);
        }
    }

    #[test]
    fn exponent_field_31_is_an_ordinary_number() {
        let of = |bits| decode(f16::from_bits(bits).to_f32());
        assert_eq!([of(0x7c00), of(0xfc00), of(0x7e00), of(0x7fff)], [65536.0, -65536.0, 98304.0, 131_008.0]);
        assert_eq!([decode(65504.0), decode(-0.5)], [65504.0, -0.5]);
    }
}
