//! The names that a principal carries, as bytes.

/// A group or a role that a credential carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedRow {
    /// Its name.
    pub name: String,
    /// Of a group: whether it may join a local one. Of a role: true.
    pub trusted: bool,
    /// Since when it is known to be carried. What an earlier version wrote without a time is dated by when its principal was last seen: it was carried
    /// then, and nobody knows since when.
    pub since: u32,
}

/// Groups and roles: a sign, since when and the length in four bytes each, the name. A name may hold anything. Earlier versions wrote other signs,
/// and no time.
pub(super) fn bytes(groups: &[CarriedRow], roles: &[CarriedRow]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let groups = groups.iter().map(|group| (if group.trusted { b'T' } else { b'U' }, group));
    for (sign, carried) in groups.chain(roles.iter().map(|role| (b'R', role))) {
        bytes.push(sign);
        bytes.extend_from_slice(&carried.since.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(carried.name.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(carried.name.as_bytes());
    }
    bytes
}

type Names = (Vec<CarriedRow>, Vec<CarriedRow>);

/// `undated`: the time of what an earlier version wrote.
pub(super) fn names(mut bytes: &[u8], undated: u32) -> Option<Names> {
    let (mut groups, mut roles) = Names::default();
    while let Some((sign, rest)) = bytes.split_first() {
        let (since, rest) = match sign {
            b'T' | b'U' | b'R' => {
                rest.split_first_chunk::<4>().map(|(since, rest)| (u32::from_le_bytes(*since), rest))?
            }
            _ => (undated, rest),
        };
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        let carried = |trusted: bool| CarriedRow { name, trusted, since };
        match sign {
            b'T' | b'+' => groups.push(carried(true)),
            b'U' | b'-' => groups.push(carried(false)),
            b'R' | b'r' => roles.push(carried(true)),
            _ => return None,
        }
        bytes = rest;
    }
    Some((groups, roles))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(name: &str, trusted: bool, since: u32) -> CarriedRow {
        CarriedRow { name: name.to_owned(), trusted, since }
    }

    #[test]
    fn names_that_were_cut_are_no_names() {
        let whole = bytes(&[carried("a", true, 7)], &[carried("b", true, 8)]);
        assert!(names(&whole, 0).is_some() && names(&[], 0).is_some());
        // What is whole up to a name is whole; everything between is not.
        let whole_at: Vec<usize> = (0..whole.len()).filter(|end| names(&whole[..*end], 0).is_some()).collect();
        assert_eq!(whole_at, [0, 10]);
        assert!(names(b"x\x01\0\0\0a", 0).is_none());
    }

    /// What an earlier version wrote has no times: it was carried when its principal was last seen.
    #[test]
    fn names_of_an_earlier_version_are_as_old_as_is_known() {
        let (groups, roles) = names(b"+\x01\0\0\0a-\x01\0\0\0br\x01\0\0\0c", 500).unwrap();
        assert_eq!(
            (groups, roles),
            (vec![carried("a", true, 500), carried("b", false, 500)], vec![carried("c", true, 500)])
        );
    }
}
