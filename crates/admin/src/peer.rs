//! Who asks: an account of the machine by the kernel's word, and whether it may; or whom the data plane let in.

use std::io;
use std::net::IpAddr;

use tokio::net::UnixStream;

use crate::{accounts, login};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// An account of the machine, over the unix socket.
    Account(Account),
    /// A principal that the data plane verified and permitted, over the network.
    Operator(Operator),
}

/// The other end of a connection (`SO_PEERCRED`, unix(7)): the credentials of the process that connected, at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its process, where the kernel knows it.
    pub pid: Option<i32>,
    /// The user's name, where `/etc/passwd` has it.
    pub name: Option<String>,
    /// The users behind it, by their numbers: whoever logged in before becoming this one, as far as that is known.
    pub behind: Vec<u32>,
}

/// A caller of the operators' API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The principal, as in `user:alice`.
    pub principal: String,
    /// The client's address, where it is known.
    pub client: Option<IpAddr>,
}

impl Account {
    /// # Errors
    /// When the kernel does not say who it is.
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let (uid, pid) = (credentials.uid(), credentials.pid());
        let (name, behind) = (accounts::user_name(uid), login::behind(pid, uid));
        Ok(Self { uid, gid: credentials.gid(), pid, name, behind })
    }

    /// Whether this very process connected. Nobody else has its number while it lives.
    pub(crate) fn is_this_process(stream: &UnixStream) -> bool {
        let pid = stream.peer_cred().ok().and_then(|credentials| credentials.pid());
        pid.and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id())
    }
}

impl Peer {
    /// For a line of text: `alice (uid 1000)`, `user:alice at 192.0.2.7`.
    pub fn shown(&self) -> String {
        match self {
            Self::Account(Account { uid, name: Some(name), .. }) => format!("{name} (uid {uid})"),
            Self::Account(Account { uid, name: None, .. }) => format!("uid {uid}"),
            Self::Operator(Operator { principal, client: Some(client) }) => format!("{principal} at {client}"),
            Self::Operator(Operator { principal, client: None }) => principal.clone(),
        }
    }
}

/// Who may use the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// The user that the gateway runs as, who owns the socket.
    pub(crate) owner: u32,
    /// The group whose members may, too.
    pub(crate) group: Option<u32>,
}

impl Access {
    /// Root, the owner, and whoever is in the group: by its primary group, or as `/etc/group` lists it.
    pub(crate) fn permits(self, peer: &Account) -> bool {
        self.permits_with(peer, accounts::is_listed)
    }

    fn permits_with(self, peer: &Account, is_listed: impl Fn(&str, u32) -> bool) -> bool {
        if peer.uid == 0 || peer.uid == self.owner {
            return true;
        }
        let Some(group) = self.group else { return false };
        peer.gid == group || peer.name.as_deref().is_some_and(|name| is_listed(name, group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_owner_and_the_group_may_and_nobody_else() {
        let check = |uid: u32, gid: u32, group: Option<u32>, expected: bool| {
            let peer = Account { uid, gid, pid: None, name: Some(format!("user{uid}")), behind: Vec::new() };
            let access = Access { owner: 1000, group };
            let permitted = access.permits_with(&peer, |name, gid| name == "user1002" && gid == 200);
            assert_eq!(permitted, expected, "{uid} {gid} {group:?}");
        };
        check(0, 0, None, true);
        check(1000, 1000, None, true);
        check(1001, 1001, None, false);
        check(1001, 0, None, false);
        check(1001, 1000, None, false);
        check(1001, 200, Some(200), true);
        check(1001, 201, Some(200), false);
        check(1002, 1002, Some(200), true);
        check(1002, 1002, Some(201), false);
        check(1002, 1002, None, false);
    }

    #[test]
    fn who_has_no_name_is_in_no_group_by_name() {
        let peer = Account { uid: 1001, gid: 1001, pid: None, name: None, behind: Vec::new() };
        assert!(!Access { owner: 1000, group: Some(200) }.permits_with(&peer, |_, _| true));
    }
}
