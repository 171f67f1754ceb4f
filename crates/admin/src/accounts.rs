//! Users and groups, as `/etc/passwd` and `/etc/group` (passwd(5), group(5)) name them.
//!
//! Accounts of a directory service are not seen here: they have numbers and no names, and belong to their primary group
//! alone. Nothing is granted by a name: names are for the record, and membership is looked up by the number.

use std::fs::File;
use std::io::Read as _;

/// What is read of each file at most, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The name of a user, where it is known.
pub fn user_name(uid: u32) -> Option<String> {
    user_name_in(&read("/etc/passwd"), uid)
}

/// The number of a group that is given by its name or its number.
pub fn group_id(group: &str) -> Option<u32> {
    group.parse().ok().or_else(|| group_id_in(&read("/etc/group"), group))
}

/// Whether a user is listed as a member of a group. Its primary group is not looked at.
pub fn is_listed(user: &str, gid: u32) -> bool {
    is_listed_in(&read("/etc/group"), user, gid)
}

fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    // A file that cannot be read names nobody.
    if let Ok(file) = File::open(path) {
        let _ = file.take(MAX_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn user_name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid && !name.is_empty()).then(|| name.to_owned())
    })
}

fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?.parse().ok()?;
        Some((name, number, fields.next().unwrap_or_default()))
    })
}

fn group_id_in(text: &str, name: &str) -> Option<u32> {
    groups(text).find_map(|(group, number, _)| (group == name && !name.is_empty()).then_some(number))
}

fn is_listed_in(text: &str, user: &str, gid: u32) -> bool {
    groups(text).any(|(_, number, members)| {
        number == gid && !user.is_empty() && members.split(',').any(|member| member == user)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\nx:y:z\nalice:x:1000:1000::/home/alice:/bin/sh\n::1001::::\n";
    const GROUP: &str = "root:x:0:\nops:x:200:alice,bob\n\nempty:x:201:\nlast:x:202:carol";

    #[test]
    fn a_user_has_the_name_of_its_line() {
        assert_eq!(user_name_in(PASSWD, 0).as_deref(), Some("root"));
        assert_eq!(user_name_in(PASSWD, 1000).as_deref(), Some("alice"));
        assert_eq!(user_name_in(PASSWD, 1001), None, "a line without a name");
        assert_eq!(user_name_in(PASSWD, 7), None);
        assert_eq!(user_name_in("", 0), None);
    }

    #[test]
    fn a_group_has_the_number_and_the_members_of_its_line() {
        assert_eq!(group_id_in(GROUP, "ops"), Some(200));
        assert_eq!(group_id_in(GROUP, "op"), None);
        assert_eq!(group_id_in(GROUP, ""), None);
        let check =
            |user: &str, gid: u32, expected: bool| assert_eq!(is_listed_in(GROUP, user, gid), expected, "{user}");
        check("alice", 200, true);
        check("bob", 200, true);
        check("carol", 202, true);
        check("ali", 200, false);
        check("alice", 201, false);
        check("", 201, false);
    }

    #[test]
    fn a_number_is_a_group_of_itself() {
        assert_eq!(group_id("4711"), Some(4711));
    }
}
