//! The names that a principal carries, as bytes.

/// Groups and roles: a sign, the length in four bytes, the name. A name may hold anything.
pub(super) fn bytes(groups: &[(String, bool)], roles: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let groups = groups.iter().map(|(name, trusted)| (if *trusted { b'+' } else { b'-' }, name));
    for (sign, name) in groups.chain(roles.iter().map(|name| (b'r', name))) {
        bytes.push(sign);
        bytes.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

type Names = (Vec<(String, bool)>, Vec<String>);

pub(super) fn names(mut bytes: &[u8]) -> Option<Names> {
    let (mut groups, mut roles) = Names::default();
    while let Some((sign, rest)) = bytes.split_first() {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        match sign {
            b'+' => groups.push((name, true)),
            b'-' => groups.push((name, false)),
            b'r' => roles.push(name),
            _ => return None,
        }
        bytes = rest;
    }
    Some((groups, roles))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_cut_are_no_names() {
        let whole = bytes(&[("a".to_owned(), true)], &["b".to_owned()]);
        assert!(names(&whole).is_some() && names(&[]).is_some());
        // What is whole up to a name is whole; everything between is not.
        let whole_at: Vec<usize> = (0..whole.len()).filter(|end| names(&whole[..*end]).is_some()).collect();
        assert_eq!(whole_at, [0, 6]);
        assert!(names(b"x\x01\0\0\0a").is_none());
    }
}
