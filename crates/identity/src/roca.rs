//! RSA keys whose primes can be guessed (CVE-2017-15361, "ROCA").
//!
//! A library of many smart cards and security chips made primes of the form `k * M + (65537^a mod M)`, with `M` a product of the first primes. So the
//! product of two of them is a power of 65537 modulo each of these small primes. Of other moduli hardly one ever is: modulo many of the primes
//! most residues are no such power, and it would have to be one modulo all of them.

/// The odd primes up to this one divide `M` for moduli of 1,984 bits and more, and shorter ones are weak anyway.
const LARGEST: u32 = 701;
const GENERATOR: u32 = 65_537;

/// Whether a modulus (big-endian) of at least 2,048 bits has the mark of such primes.
pub(crate) fn is_predictable(modulus: &[u8]) -> bool {
    (3..=LARGEST).filter(|number| is_prime(*number)).all(|prime| is_power(remainder(modulus, prime), prime))
}

fn is_prime(number: u32) -> bool {
    (2..number).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

fn remainder(number: &[u8], prime: u32) -> u32 {
    number.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime)
}

/// Whether a residue is a power of the generator.
fn is_power(residue: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == residue {
            return true;
        }
        power = power * (GENERATOR % prime) % prime;
        // Around: a generator is no multiple of the prime.
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::Signer;

    #[test]
    fn powers_of_the_generator_are_told_from_others() {
        // 65537 is 2 modulo 3 and modulo 5, and 3 modulo 7: each generates all residues. Modulo 11 it is 10, which generates 1 and 10.
        for (prime, powers) in [(3, vec![1, 2]), (5, vec![1, 2, 3, 4]), (11, vec![1, 10])] {
            let found: Vec<u32> = (0..prime).filter(|residue| is_power(*residue, prime)).collect();
            assert_eq!(found, powers, "modulo {prime}");
        }
        let primes: Vec<u32> = (3..=LARGEST).filter(|number| is_prime(*number)).collect();
        assert_eq!((primes.len(), primes[..5].to_vec()), (125, vec![3, 5, 7, 11, 13]));
    }

    #[test]
    fn a_product_of_such_numbers_has_the_mark_and_its_neighbours_have_not() {
        let product = u128::from(GENERATOR).pow(7);
        assert!(is_predictable(&product.to_be_bytes()));
        for other in [product - 1, product + 1, product + 2, product * 2] {
            assert!(!is_predictable(&other.to_be_bytes()), "{other}");
        }
        let ordinary = Signer::rsa("k").jwk();
        let modulus = data_encoding::BASE64URL_NOPAD.decode(ordinary["n"].as_str().unwrap().as_bytes()).unwrap();
        assert!(!is_predictable(&modulus));
    }
}
